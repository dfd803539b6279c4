"""The transformer: mathematics only."""
