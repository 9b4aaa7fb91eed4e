"""Measuring instruments; `avatarcast bench` lists them, each with the question that it answers.

The rooms, `disk`, `pictures` and `networks` building on `live`, and all on `records`, as does `files`:

    records     how an instrument is run, what it writes, and the tables made of that
    live        calls to a live server: latency, first picture, lip sync, load, endurance, cost of each stage
    disk        what crashes, full disks and cut files leave behind
    networks    what the network costs on this machine, and beside what others run
    pictures    how good the pictures are
    files       what files from elsewhere can do to whoever opens them
    synthetic   makes the people and the presenters who do not exist
    results     the records
    command     `avatarcast bench`
"""
