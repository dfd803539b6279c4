"""`hhray fetch-weights`: the one command that talks to a hub. Nothing here is used while requests are served."""
