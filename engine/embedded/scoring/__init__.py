"""Looks at finished clips of the made world and says what is seen and heard; simple measures, no networks.

clip_file.py reads an MP4; sprites.py finds things by hue; outline.py, path.py, mouth.py and hearing.py measure them;
judge.py compares with the scene that was asked for; wilson.py gives shares their intervals.
"""
