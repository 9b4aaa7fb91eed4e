"""What draws a person: the maths, tracking and rendering that enrolment and the live server share.

The rooms, each building on those above it:

    errors      what is said to the user; beside it arrays, cores, library_reporting,
                user_folders, and files, the one writer
    compiled    loops over pixels as machine code
    stages      how long each part of a picture takes; beside it effort, how much is done for it
    person      landmarks, and what is measured on them: pose, motion, retargeting, the torso
    voice       from sound to what lips do, as a motion code; what a person does when no camera sees them
    expression  what is added to the motion of whatever drives
    conversation  two who talk: whose turn it is, a face that listens, the emotions of a dialogue
    media       video, audio and picture files, and the marks that say a picture is synthetic
    provenance  whose signature an avatar carries, what was withdrawn
    tracking    from a camera's pictures to landmarks
    render      from landmarks to the picture that the network corrects, and what stands behind the person
    network     the network itself: what goes in and out, its layers, its weights in ONNX
    avatar      the .avatar file
    runners     what the network runs on: ONNX Runtime, torch, TensorRT
    picture     from a target's landmarks to the picture: step by step, or as one graph on a GPU
    pipeline    all of that for one picture after another
    verification  whether a file was made by avatarcast, and by which layers that shows
    forgetting  removes an avatar with all that was made of it
    commands    `avatarcast doctor`, `info`, `keys` and `verify`
    cli         the command line; it finds every command by its entry point
"""

from engine.cores import limit_libraries
from engine.library_reporting import switch_off

switch_off()
limit_libraries()
