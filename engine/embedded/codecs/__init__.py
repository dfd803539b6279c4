"""Small codecs of the made world with the strides of the real ones; they satisfy the protocols of engine.codecs.base.

Video: a linear projection of 4 x 16 x 16 pixels onto 48 numbers, and a small trained network back. Sound: 64 numbers
each 1/25 s that say how loud each band of pitches is, when it clicks and on which side; nothing is trained.
"""
