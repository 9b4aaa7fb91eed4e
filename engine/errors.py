"""Errors a user can meet. Each message states the value found, the value wanted and the cure, in one line.

AvatarcastError
|-- FootageError      footage that cannot become an avatar (too short, no face, several people, ...)
|-- VideoError        a file that cannot be read or written as video
|-- FileError         a file or folder that cannot be written, or is not private
|-- PackageError      a `.avatar` that is truncated, tampered with, or of another format version
|-- RunnerError       a backend that cannot start, or tensors that do not fit the network
|-- SettingsError     an option or a configuration value out of its range
`-- BusyError         no room: session limit reached, port taken, a folder in use
"""

from __future__ import annotations


class AvatarcastError(Exception):
    """Base of every error shown to the user as one line."""


class FootageError(AvatarcastError):
    """The footage cannot become an avatar."""


class VideoError(AvatarcastError):
    """A video file cannot be read or written."""


class FileError(AvatarcastError):
    """A file or folder cannot be written, or shows to others what must be private."""


class PackageError(AvatarcastError):
    """An avatar package is damaged, forged, or of an unknown version."""


class RunnerError(AvatarcastError):
    """A backend cannot start, or was fed tensors that do not fit."""


class SettingsError(AvatarcastError):
    """An option or a configuration value is out of range."""


class BusyError(AvatarcastError):
    """A limit is reached; try again later or raise the limit."""
