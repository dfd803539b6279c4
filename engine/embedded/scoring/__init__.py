"""Looks at finished clips of the made world and says what is seen and heard; simple measures, no networks.

clip_file.py reads an MP4; sprites.py finds things by hue; outline.py, path.py, mouth.py and hearing.py measure them;
judge.py compares with the scene that was asked for; wilson.py gives shares their intervals.

Whole checkpoints are scored by rounds: tasks.py and conditions.py say what is asked for, makers.py and sampled.py make
it, rounds.py judges, counts and shuffles, checks.py asks what a mode asks beside the rest, modes.py and compare.py put
rounds together, report.py and sheet.py show them.
"""
