"""Two who talk: whose turn it is, what a face does that listens, what earlier turns leave on it.

turns      speaks, listens, idles: from whether each of the two is heard
pitch      how high a voice is, as the sound comes in
laughter   whether somebody laughs, from how loud they are
hearing    both sounds, heard once: all of the above, row by row
listening  nods, a smile, looks: what is added to a face that listens
tree       turns as a tree, and the emotion of each
"""
