"""The benchmark: how fast the engine's stages run on this machine, with random weights and without a server."""
