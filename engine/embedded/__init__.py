"""The embedded checkpoint: a made world of sprites, scorers that look at clips of it, and small codecs for it."""
