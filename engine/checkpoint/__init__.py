"""Checkpoints on disk: their layouts and files, what they can do, loading and quantising them."""
