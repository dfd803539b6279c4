"""Samplers: from noise to latents in a fixed number of steps (model specification 3)."""
