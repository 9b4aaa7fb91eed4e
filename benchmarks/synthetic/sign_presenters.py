"""Signs the bundled presenters: `python -m benchmarks.synthetic.sign_presenters KEY.pem`.

Writes engine/assets/presenters.json: the public half of the key, and a signature of each presenter's digest.
The private half never enters the repository; where there is none at that path, one is made there. With
another key the avatars that the earlier one signed, of other versions, are marked. What the installation that
enrolled a presenter signed is taken out of its file: it would stand before the presenters' list.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.avatar.bundled import FOLDER, bundled_file, bundled_names
from engine.avatar.container import FIELDS, read_package, write_package
from engine.errors import SettingsError
from engine.files import write_file
from engine.provenance.chain import MADE, extended
from engine.provenance.keys import private_pem, public_text, read_private


def main(argv: Sequence[str] | None = None) -> int:
    """Reads or makes the key, signs, writes."""
    (name,) = sys.argv[1:] if argv is None else argv
    path = Path(name)
    if not path.exists():
        write_file(path, private_pem(Ed25519PrivateKey.generate()))
    key = read_private(path.read_bytes())
    if key is None:
        raise SettingsError(f"{path}: is no Ed25519 key in PEM; wanted the presenters' key, or a new name")
    for presenter in bundled_names():
        with bundled_file(presenter) as file:
            take_out_signatures(file)
    write_file(Path(str(FOLDER)) / "presenters.json", signed_list(key), shared=True)
    return 0


def take_out_signatures(file: Path) -> None:
    """Leaves the package as it is but for those in it; what they signed, its digest, stays."""
    package = read_package(file)
    if package.signatures is not None:
        write_package(file, package.members, {name: package.manifest[name] for name in FIELDS})


def signed_list(key: Ed25519PrivateKey) -> bytes:
    """What is shipped: public key, and by digest the records of each presenter."""
    avatars = {}
    for name in bundled_names():
        with bundled_file(name) as file:
            digest = read_package(file).manifest["digest"]
        avatars[digest] = json.loads(extended(None, key, digest, MADE))["records"]
    return (
        json.dumps({"key": public_text(key), "avatars": avatars}, indent=1, sort_keys=True).encode() + b"\n"
    )


if __name__ == "__main__":
    sys.exit(main())
