"""Whether a file was made by avatarcast, and how that shows: marks, Content Credentials, signatures.

FILE is a film, a picture (a screenshot too) or an .avatar; of an address the file is fetched first. Ends
with 0 where something says so and holds, 3 where nothing was found, 4 where something is broken. What is not
found proves nothing.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from engine.avatar.records import printable
from engine.errors import SettingsError
from engine.files import in_one_line, scratch
from engine.verification import CONTRADICTED, NOTHING, Verdict, verify

EXIT_NOTHING, EXIT_BROKEN = 3, 4
MAX_BYTES = 1024**3  # of what is fetched
_LIMIT_S = 30.0  # without a byte
_CHUNK = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `avatarcast verify`."""
    parser.add_argument("file", help="a film, a picture or an .avatar; or the http(s) address of one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Looks, and says what it found."""
    with _local(args.file) as path:
        verdict = verify(path)
    if args.json:
        print(json.dumps({"file": args.file, **verdict.to_dict()}))
    else:
        print("\n".join(printable(line) for line in _lines(args.file, verdict)))
    return {NOTHING: EXIT_NOTHING, CONTRADICTED: EXIT_BROKEN}.get(verdict.summary, 0)


def _lines(name: str, verdict: Verdict) -> Iterator[str]:
    """For people."""
    yield f"{name}: {verdict.kind}, {verdict.summary}"
    for layer in verdict.layers:
        certainty = f" ({layer.certainty})" if layer.certainty else ""
        yield f"  {layer.name:<20} {layer.state:<8} {layer.words}{certainty}"
    yield f"  {verdict.to_dict()['caveat']}"


@contextmanager
def _local(given: str) -> Iterator[Path]:
    """The file, or what an address gives, for as long as the context lasts. Raises SettingsError."""
    if not given.lower().startswith(("http://", "https://")):
        yield Path(given)
        return
    with scratch() as folder:
        path = folder / ("fetched" + Path(urlsplit(given).path).suffix[:8])
        with (
            in_one_line(path, "try again, or download it yourself", done="fetched"),
            urllib.request.urlopen(given, timeout=_LIMIT_S) as reply,
            path.open("wb") as file,
        ):
            while chunk := reply.read(_CHUNK):
                if file.tell() + len(chunk) > MAX_BYTES:
                    raise SettingsError(f"{given}: has more than {MAX_BYTES} bytes; download it yourself")
                file.write(chunk)
        yield path
