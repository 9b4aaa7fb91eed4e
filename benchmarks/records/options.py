"""The command line that every instrument has: its docstring is its help."""

from __future__ import annotations

import argparse


def instrument_parser(text: str | None, name: str) -> argparse.ArgumentParser:
    """text: the module's docstring; name: as `avatarcast bench` has it. @FILE stands for options in it."""
    return argparse.ArgumentParser(
        prog=name,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
