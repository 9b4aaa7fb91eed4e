"""The command line of enrolment: `avatarcast enroll`, `export`, `evaluate`, `render` and `base`."""
