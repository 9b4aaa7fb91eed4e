"""Commands that look at a machine or a file: `avatarcast doctor` and `info`."""
