"""The embedded checkpoint, begun: a made world of sprites, scorers that look at its clips, a codec of its sound."""
