"""The live server: WebRTC in and out, HTTP signalling, the page, sessions. Renders through engine.

The rooms, each building on those above it:

    budgets         how much one client may take, all numbers in one place
    logs, tasks     what is logged, and what never is; how a task that fails is heard of
    refusal         what is raised wherever a request is not served
    media           frames and sound between WebRTC and us: tracks, encoders, pacing
    webrtc          connections: offers and answers, ICE, what aiortc is tuned to
    render          from a presenter's pictures to the avatar's, one pipeline each
    sessions        who is live, who watches, what it costs
    studio          enrolment from the page
    http            routes, and who may ask for what
    fleet           many servers as one, on Ray
    commands        `avatarcast serve`, `fleet`, `camera` and `forget`
    page            what the browser loads
    avatar_track    an avatar as one aiortc track, for programs of others; example_call uses it
    example_agent   a program that talks through an avatar, and one who calls it
    example_pipecat the end of a Pipecat pipeline, which gets a face
    forward_rtp     a program of its own: one WHEP view as plain RTP, for a media server
"""
