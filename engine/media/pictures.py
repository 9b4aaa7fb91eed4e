"""Picture files: how Pillow says that it cannot read one."""

from __future__ import annotations

import zlib
from struct import error as struct_error

from PIL import Image

UNREADABLE = (
    OSError,  # includes PIL.UnidentifiedImageError
    SyntaxError,  # a broken PNG
    ValueError,
    EOFError,
    struct_error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
