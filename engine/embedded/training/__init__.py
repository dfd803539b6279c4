"""Training of the embedded checkpoint, on the made world alone."""
