"""From footage of a person to an avatar: enrolment, conversion for other runners, evaluation.

The rooms, each building on those above it:

    progress        how commands tell where they stand
    footage         from video files to prepared footage: cuts, checks, framing, landmarks, mattes
    evaluate        how good an avatar is: against held-out frames, baselines and the driver
    convert         from a trained network to what runners load, and the gates it must pass
    consent_clip    whether the person of the footage was seen to agree
    training        fits the network to a person; base weights; distillation
    enroll_options, assembly, work_folder, enroll, distill_avatar    the whole of one piece of work
    stills          pictures driven by pictures
    voice           trains what hears speech and forms lips for it, from recordings alone
    drivers         what drives an avatar offline: a film, or recorded motion
    commands        `avatarcast enroll`, `export`, `evaluate`, `render`, `base` and `voice-base`
"""
