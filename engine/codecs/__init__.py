"""Codecs: latents to pixels and sound, text and pictures to latents."""
