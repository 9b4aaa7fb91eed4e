"""Many servers as one: Ray keeps one on every machine, and a head in front of them says who goes where."""
