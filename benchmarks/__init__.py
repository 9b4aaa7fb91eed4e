"""Measuring instruments; `avatarcast bench` lists them, each with the question that it answers.

The rooms: `robustness`, `pictures` and `networks` build on `live`, `pictures` on `synthetic` too,
whose motions are known, `voice` on `pictures`, all on `records`:

    records     how an instrument is run, what it writes, and the tables made of that
    live        calls to a live server: latency, first picture, lip sync, load, endurance, cost of each stage
    robustness  what crashes, damaged files, strangers' datagrams and harmful token holders can do
    networks    what the network costs on this machine, and beside what others run
    pictures    how good the pictures are
    voice       how well a voice alone drives a face
    synthetic   makes the people and the presenters who do not exist
    results     the records
    command     `avatarcast bench`
"""
