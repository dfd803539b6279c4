"""Training of the embedded checkpoint: its codecs, its text encoder, its transformer, and the distillation of that."""
