"""A made world: clips of moving shapes and talking faces, drawn and sounded from plain data, with exact labels.

scene.py says what a clip shows; canvas.py how large it is; motion.py where things are; render.py and sound.py make
frames and sound of it; grammar.py says it in words; sampling.py draws scenes and keeps a part of them out of training.
Needs numpy alone.

Lengths are in heights of the picture, y points down, times are in seconds from the first frame.
"""
