"""Trains what hears speech and what forms lips for it: `avatarcast voice-base`, which needs torch.

speech        recordings, and the same through rooms, noise and codecs
teacher       a large speech encoder, of which the student learns to give what it gives
student       that training
articulation  phones to lip shapes, by rule
phones        which sound of speech is heard when
virtual       speakers who do not exist: speech, and lips that follow the rule
base          lips for what is heard, learnt from those
expert        whether lips go with a sound, learnt from the same
training      all of that, one after the other
"""
