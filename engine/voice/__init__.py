"""From sound to `Motion`: what a voice says about lips, and how sure one can be of it.

mel          log-mel frames, levelled
student      the network that hears speech in them
features     both as 25 rows a second, as the sound comes in
motion_code  `Motion` as 48 numbers, and back
speaker      rows to the lips' part of that code, in a person's own way
sync         how far a film's picture is from its sound
"""
