"""The capacity simulator: the shipped scheduler on a virtual clock, with clips that cost what a file says.

`python -m loadtests.simulator` compares policies on one arrival process. Nothing here waits, and nothing needs Ray.
"""
