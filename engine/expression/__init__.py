"""What is added to the motion of whatever drives.

eye_contact  the eyes turn to the camera
feeling      six emotions, each 0 to 1, and when
repertoire   what one person's face does for each of them
emotion      added to the motion, eased
lexicon, words, asked  what a sentence says of feelings
"""
