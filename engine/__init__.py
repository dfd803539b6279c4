"""Turns one request into one clip on a group of ranks: torch, no ray, no web, no database."""
