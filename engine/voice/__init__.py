"""From sound to `Motion`: what a voice says about lips, and how sure one can be of it.

Its parts:

    mel          log-mel frames, levelled
    student      the network that hears speech in them
    features     25 rows of both a second, as the sound comes in
    base         what is said in those, and what lips do for it in nobody's own way
    motion_code  `Motion` as 48 numbers, and back
    speaker      rows to the lips' part of that code, in a person's own way
    expert       whether lips go with a sound, told without the base
    sync         how far a film's picture is from its sound
    gate         whether somebody speaks
    idle         what a person does who does nothing: blinks, breath, glances
    manner       how face and head of a person wander as they speak
    takeover     when a voice drives and when the camera, and how one becomes the other
    own          what an avatar keeps of how its person speaks and rests
    driver       all of that as a source of motion
"""
