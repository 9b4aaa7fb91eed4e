"""The keys that sign avatars: this installation's own, those of others that are trusted, what was withdrawn.

With no action it lists them. What is signed here or by a trusted key is shown so; every avatar is marked all
the same. Withdrawn avatars are refused here, and on servers that were given the list.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine.avatar.records import printable
from engine.errors import SettingsError
from engine.files import in_one_line, write_file
from engine.provenance.keys import (
    distrust,
    fingerprint,
    installation_key,
    key_line,
    key_ring,
    name_own,
    parse_key_line,
    public_text,
    trust,
)
from engine.provenance.withdrawals import MAX_LIST_BYTES, learn, own_list

_MAX_LINE_BYTES = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Actions of `avatarcast keys`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.add_argument("--json", action="store_true", help="print the list as one JSON line")
    trusting = actions.add_parser("trust", help="count the signatures of another installation's key")
    trusting.add_argument("key", help="the file, or the line, that `avatarcast keys export` wrote there")
    trusting.add_argument("--name", default="", help="what it is called here (default: as the line says)")
    actions.add_parser("distrust", help="count them no longer").add_argument(
        "key", help="its name or fingerprint"
    )
    exporting = actions.add_parser("export", help="print this installation's public key")
    exporting.add_argument("--out", type=Path, help="write it to a file instead")
    actions.add_parser("name", help="name this installation, for others").add_argument("name")
    listing = actions.add_parser("withdrawals", help="print the signed list of what was forgotten here")
    listing.add_argument("--out", type=Path, help="write it to a file instead")
    actions.add_parser("learn", help="refuse what another installation's list withdraws").add_argument(
        "list", type=Path, help="the file that `avatarcast keys withdrawals` wrote there"
    )


def run(args: argparse.Namespace) -> int:
    """Does one action, or lists."""
    if args.action is None:
        _list(args.json)
    elif args.action == "trust":
        key, suggested = parse_key_line(_line(args.key))
        trust(key, args.name or suggested)
        print(f"trusted: {args.name or suggested}, {fingerprint(key)}")
    elif args.action == "distrust":
        print(f"not trusted any more: {distrust(args.key)}")
    elif args.action == "export":
        _give(key_line(public_text(installation_key()), key_ring().name) + "\n", args.out)
    elif args.action == "name":
        name_own(args.name)
        print(f"this installation is called {args.name}")
    elif args.action == "withdrawals":
        _give(own_list().decode() + "\n", args.out)
    else:
        with in_one_line(args.list, "check its name and mode", done="read"), args.list.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        print("learnt: the list of key {}, {} withdrawn".format(*learn(data, str(args.list))))
    return 0


def _list(as_json: bool) -> None:
    ring = key_ring()
    keys = [("own", ring.own, ring.name), ("presenters", ring.presenters, ring.name_of(ring.presenters))]
    keys += [("trusted", key, name) for key, name in sorted(ring.trusted.items(), key=lambda item: item[1])]
    found = [
        {"kind": kind, "name": name, "fingerprint": fingerprint(key), "key": key}
        for kind, key, name in keys
        if key
    ]
    if as_json:
        print(json.dumps({"keys": found}))
        return
    if not ring.own:
        print("own         none yet: it is made when something is signed")
    for key in found:
        print(printable(f"{key['kind']:<12}{key['fingerprint']}  {key['name']}"))


def _line(given: str) -> str:
    """Of a file, where there is one of that name."""
    path = Path(given)
    try:
        if not path.is_file():
            return given
        with path.open("rb") as file:
            return file.read(_MAX_LINE_BYTES).decode()
    except (OSError, ValueError) as error:  # also a line too long for a name
        if isinstance(error, UnicodeDecodeError) or path.name == given:
            raise SettingsError(f"{given!r:.80}: cannot be read as a key ({error})") from error
        return given


def _give(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        write_file(out, text.encode(), shared=True)
        print(f"written: {out}")
