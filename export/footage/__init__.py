"""From video files to prepared footage: cuts, checks, framing, landmarks and mattes."""
