"""Telling receivers of the end of tasks: what is sent, signed how, tried how often, and what is kept of it."""
