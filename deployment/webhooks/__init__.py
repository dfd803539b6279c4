"""Telling receivers of the end of tasks: who is told, what, signed how, how often it is tried, and what is kept of it."""
