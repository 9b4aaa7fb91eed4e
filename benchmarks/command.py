"""Run one of the repository's measuring instruments; without a name, list them.

Each instrument answers one question, and ends with one line of JSON: its figures, the machine, the commit.
What follows the name goes to the instrument: `avatarcast bench NAME --help` explains it, and with --quick it
runs through in seconds.
"""

from __future__ import annotations

import argparse
import ast
import importlib
from pathlib import Path

from engine.errors import SettingsError

FOLDER = Path(__file__).parent


def instruments() -> dict[str, tuple[str, str]]:
    """Of each instrument its name, module and question: those whose docstring starts with a question."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py"), key=lambda path: path.stem):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        question = " ".join(text.partition("\n\n")[0].split())
        if question.endswith("?"):
            module = ".".join(("benchmarks", *path.relative_to(FOLDER).with_suffix("").parts))
            found[path.stem] = module, question
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast bench`."""
    parser.add_argument("name", nargs="?", help="an instrument")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="its options")


def run(args: argparse.Namespace) -> int:
    """The exit status of the instrument."""
    known = instruments()
    if args.name is None:
        width = max(map(len, known))
        print("\n".join(f"{name:<{width}}  {question}" for name, (_, question) in known.items()))
        return 0
    if args.name not in known:
        raise SettingsError(f"instrument is {args.name!r}; wanted one of {', '.join(known)}")
    return int(importlib.import_module(known[args.name][0]).main(args.options))
