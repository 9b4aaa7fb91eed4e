"""How the bundled presenters are signed."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.synthetic.sign_presenters import take_out_signatures
from engine.avatar.container import FIELDS, read_package, write_package
from engine.provenance.chain import MADE, extended


def test_what_the_enrolling_installation_signed_is_taken_out(avatar_file: Path) -> None:
    package, key = read_package(avatar_file), Ed25519PrivateKey.generate()
    fields = {name: package.manifest[name] for name in FIELDS}
    write_package(avatar_file, package.members, fields, lambda digest: extended(None, key, digest, MADE))
    assert read_package(avatar_file).signatures is not None
    take_out_signatures(avatar_file)
    left = read_package(avatar_file)
    assert left.signatures is None
    assert left.manifest == package.manifest
    assert left.members == package.members
