"""The router's policy, pure: what waits, in which order, on how many ranks. No Ray, no clock, no database, no chance.

Unit tests, the router and the capacity simulator run the same code; time comes in as an argument.
"""
