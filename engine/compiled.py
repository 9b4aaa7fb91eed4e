"""Loops over pixels, compiled: one pass over a picture where NumPy makes ten, while other Python threads run.

Numba compiles a function for this very processor when it is first called, and keeps it in the user's cache,
so that only the first start waits. Where that folder cannot be written (a disk for reading alone, no home),
every start compiles anew, some seconds long. What is kept counts until the function's own file changes: so
what a function inlines stands in that file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

from engine.user_folders import cache_folder

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator. Arithmetic is as written: sums keep their order, nothing is assumed finite."""
    return cast(Callable[P, R], _jit()(function))


def compiled_sums(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, for functions whose sums may be taken in any order, several at a time."""
    return cast(Callable[P, R], _jit(fastmath={"reassoc", "contract", "nsz", "arcp"})(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """For what only compiled functions call."""
    return cast(Callable[P, R], numba.njit(nogil=True, error_model="numpy", inline="always")(function))


def _jit(**options: Any) -> Any:
    return numba.njit(nogil=True, error_model="numpy", cache=_keeps(), **options)


@cache
def _keeps() -> bool:
    """Whether compiled code can be kept; Numba is then told where, unless the user has told it."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return False
    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(folder)  # of child processes too
    return True
