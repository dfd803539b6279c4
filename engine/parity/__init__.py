"""Our numbers against those the published implementation recorded: `python -m engine.parity DIR`.

A golden directory holds inputs, intermediate and final tensors of the published implementation at a small random size.
Every case is run through the code the server runs, and every recorded output is compared.
"""
