"""Trains the parts of the embedded checkpoint."""
