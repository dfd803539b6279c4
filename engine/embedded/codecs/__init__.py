"""Codecs of the made world with the strides of the real ones. Sound only, so far; nothing is trained."""
