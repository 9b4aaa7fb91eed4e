"""A hundred kinds of forged and edited avatars: each is shown as what it is, and none goes unmarked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import CONSENT, load_avatar, load_cover, save_avatar
from engine.avatar.bundled import bundled_file
from engine.avatar.container import FIELDS, MANIFEST, SIGNATURES, build_manifest, encode_json, read_package
from engine.errors import PackageError, SettingsError
from engine.media.disclosure import MarkStyle
from engine.pipeline import PipelineConfig
from engine.provenance import chain
from engine.provenance.keys import installation_key, key_ring, public_text, trust
from stream.render.avatars import served_file
from tests.support.forged_package import forge, rezip, unzip
from tests.support.small_avatar import jpeg

BROKEN, HERE, REFUSED, TRUSTED = chain.BROKEN, chain.HERE, "refused", chain.TRUSTED
UNKNOWN, UNSIGNED = chain.UNKNOWN, chain.UNSIGNED
STRANGER, FRIEND = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Kind:
    """One kind of forgery, and what it must be taken for."""

    name: str
    change: Change
    state: str


def records_of(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(unzip(path)[SIGNATURES])["records"])


def with_signatures(path: Path, data: bytes | None) -> None:
    members = unzip(path)
    members.pop(SIGNATURES, None)
    rezip(path, members if data is None else {**members, SIGNATURES: data})


def with_records(path: Path, records: object, **more: object) -> None:
    with_signatures(path, json.dumps({"records": records, **more}).encode())


def digest_of(path: Path) -> str:
    return str(read_package(path).manifest["digest"])


def signed_by(path: Path, *keys: Ed25519PrivateKey) -> None:
    """Signed anew, as if each of them had made it out of what the one before made."""
    made = None
    for key in keys:
        made = chain.extended(made, key, digest_of(path), chain.MADE, digest_of(path) if made else "")
    with_signatures(path, made)


def says_synthetic(path: Path) -> bytes:
    """Its consent with the one word changed."""
    consent = json.loads(unzip(path)[CONSENT])
    return encode_json(consent | {"person": "synthetic"})


def edits() -> Iterator[tuple[str, Change]]:
    """What somebody may change in a package and make the manifest agree, digest and all."""

    def word(field: str, value: str) -> Change:
        return lambda path: forge(
            path, {CONSENT: encode_json(json.loads(unzip(path)[CONSENT]) | {field: value})}
        )

    yield "the word", lambda path: forge(path, {CONSENT: says_synthetic(path)})
    yield "who agreed", word("who", "somebody else")
    yield "to what", word("statement", "to everything")
    yield "when", word("date", "2020-01-01")
    yield "one more word", word("verified", "yes")
    yield "its name", lambda path: forge(path, {}, name="theo")
    yield "its rate", lambda path: forge(path, {}, fps=12.5)
    yield "its tools", lambda path: forge(path, {}, tools={})
    yield "its footage", lambda path: forge(path, {}, training={"footage_sha256": ["00"]})
    yield (
        "the facts of a network",
        lambda path: forge(path, {}, models={"denoiser-fp32.onnx": {"precision": "fp32", "steps": 8}}),
    )
    yield (
        "without its network",
        lambda path: forge(path, {"models/denoiser-fp32.onnx": None}, models={}),
    )
    for member in ("keyframes/00.png", "keyframes/plate.png"):
        other = {"keyframes/00.png": "keyframes/01.png"}.get(member, member)
        if other != member:
            yield f"another {member}", lambda path, a=member, b=other: forge(path, {a: unzip(path)[b]})  # type: ignore[misc]
    yield "another report", lambda path: forge(path, {"report.json": encode_json({"held_out": {"a": 1}})})
    yield "another preview", lambda path: forge(path, {"preview.jpg": jpeg(np.zeros((8, 8, 3), np.uint8))})
    yield "another person", lambda path: forge(path, {"neutral.npz": unzip(Path(_other))["neutral.npz"]})


_other = ""  # another avatar's file, as the fixture has it


def kinds() -> Iterator[Kind]:
    """All of them; the avatar was made and signed here, of a real person, who it says is real."""
    # Each edit, and what a forger may do about the signature.
    for name, change in edits():
        yield Kind(f"{name}, signature left", change, BROKEN)
        yield Kind(f"{name}, unsigned", lambda path, c=change: _then(path, c, None), UNSIGNED)  # type: ignore[misc]
        yield Kind(f"{name}, signed by a stranger", lambda path, c=change: _then(path, c, STRANGER), UNKNOWN)  # type: ignore[misc]
        yield Kind(
            f"{name}, a stranger's record after ours",
            lambda path, c=change: _then_extend(path, c, STRANGER),  # type: ignore[misc]
            UNKNOWN,
        )
    # The signature alone.
    fields = ("action", "before", "date", "digest", "key", "previous", "signature")
    for field in fields:
        yield Kind(f"{field} of another", lambda path, f=field: _record(path, f, "00"), BROKEN)  # type: ignore[misc]
        yield Kind(f"without {field}", lambda path, f=field: _record(path, f, None), BROKEN)  # type: ignore[misc]
        yield Kind(f"{field} a number", lambda path, f=field: _record(path, f, 7), BROKEN)  # type: ignore[misc]
    yield Kind("our key's name on a stranger's signature", _under_our_key, BROKEN)
    yield Kind("presenters' key on a stranger's signature", _under_the_presenters_key, BROKEN)
    yield Kind("a presenter's records", _presenters_records, BROKEN)
    yield Kind("records of another avatar of ours", _of_another_avatar, BROKEN)
    for name, data in {
        "nothing": b"",
        "no JSON": b"{",
        "a list": b"[]",
        "no records": b'{"records": []}',
        "deep": b"[" * 5000,
        "huge": b'{"records": "' + b"x" * 100_000 + b'"}',
        "not UTF-8": b"\xff\xfe\xfd",
    }.items():
        yield Kind(f"signatures that are {name}", lambda path, d=data: with_signatures(path, d), BROKEN)  # type: ignore[misc]
    yield Kind(
        "a word more beside the records", lambda path: with_records(path, records_of(path), a=1), BROKEN
    )
    yield Kind("records beyond number", lambda path: with_records(path, records_of(path) * 99), BROKEN)
    yield Kind("the record twice", lambda path: with_records(path, records_of(path) * 2), BROKEN)
    # Chains.
    yield Kind("an older chain", _older_chain, BROKEN)
    yield Kind("a chain without its middle", lambda path: _cut(path, 1), BROKEN)
    yield Kind("a chain without its beginning", lambda path: _cut(path, 0), BROKEN)
    yield Kind("a chain without its end", lambda path: _cut(path, 2), BROKEN)
    yield Kind("a chain in another order", _reordered, BROKEN)
    yield Kind("made of an unsigned file", _laundered, UNKNOWN)
    yield Kind("a stranger's, packed anew here", lambda path: _packed_after(path, STRANGER), UNKNOWN)
    yield Kind("broken, packed anew here", _broken_then_packed, BROKEN)
    # What is no forgery, and marked all the same.
    yield Kind("as it was", lambda path: None, HERE)
    yield Kind("packed anew here", _packed, HERE)
    yield Kind("says synthetic, signed here", _synthetic_here, HERE)
    yield Kind("says synthetic, signed by a friend", lambda path: _synthetic_by(path, FRIEND), TRUSTED)
    yield Kind("says synthetic, signed by a stranger", lambda path: _synthetic_by(path, STRANGER), UNKNOWN)
    yield Kind("a friend's, packed anew here", lambda path: _packed_after(path, FRIEND), HERE)
    # Packages that are none.
    for where, how in product((MANIFEST, CONSENT, "neutral.npz"), ("a flipped bit", "cut", "gone")):
        yield Kind(f"{where} {how}", lambda path, w=where, h=how: _damaged(path, w, h), REFUSED)  # type: ignore[misc]
    yield Kind("signatures in the manifest", _listed_signatures, REFUSED)
    yield Kind("a member more", lambda path: rezip(path, {**unzip(path), "more.txt": b"x"}), REFUSED)


def _then(path: Path, change: Change, key: Ed25519PrivateKey | None) -> None:
    with_signatures(path, None)
    change(path)
    if key is not None:
        signed_by(path, key)


def _then_extend(path: Path, change: Change, key: Ed25519PrivateKey) -> None:
    kept, before = unzip(path)[SIGNATURES], digest_of(path)
    with_signatures(path, None)
    change(path)
    with_signatures(path, chain.extended(kept, key, digest_of(path), chain.CHANGED, before))


def _record(path: Path, field: str, value: object) -> None:
    (record,) = records_of(path)
    if value is None:
        del record[field]
    else:
        record[field] = value
    with_records(path, [record])


def _under_our_key(path: Path) -> None:
    signed_by(path, STRANGER)
    _record(path, "key", key_ring().own)


def _under_the_presenters_key(path: Path) -> None:
    forge(path, {CONSENT: says_synthetic(path), SIGNATURES: None})
    signed_by(path, STRANGER)
    _record(path, "key", key_ring().presenters)


def _presenters_records(path: Path) -> None:
    with bundled_file("theo") as file:
        shipped = load_cover(file).standing.records
    forge(path, {CONSENT: says_synthetic(path), SIGNATURES: None})
    with_records(path, [dict(record) for record in shipped])


def _of_another_avatar(path: Path) -> None:
    with_records(path, records_of(Path(_other)))


def _packed(path: Path) -> None:
    save_avatar(path, load_avatar(path))


def _packed_after(path: Path, key: Ed25519PrivateKey) -> None:
    signed_by(path, key)
    _packed(path)


def _broken_then_packed(path: Path) -> None:
    _record(path, "date", "2020-01-01")
    _packed(path)


def _laundered(path: Path) -> None:
    with_signatures(path, None)
    _packed(path)


def _three(path: Path) -> list[dict[str, Any]]:
    """Records of an avatar that was changed twice here."""
    for fps in (20.0, 15.0):
        save_avatar(path, replace(load_avatar(path), fps=fps))
    return records_of(path)


def _older_chain(path: Path) -> None:
    with_records(path, _three(path)[:1])


def _cut(path: Path, index: int) -> None:
    records = _three(path)
    with_records(path, records[:index] + records[index + 1 :])


def _reordered(path: Path) -> None:
    first, second, third = _three(path)
    with_records(path, [second, first, third])


def _synthetic_here(path: Path) -> None:
    avatar = load_avatar(path)
    save_avatar(path, replace(avatar, consent=avatar.consent | {"person": "synthetic"}, stored=None))


def _synthetic_by(path: Path, key: Ed25519PrivateKey) -> None:
    with_signatures(path, None)
    forge(path, {CONSENT: says_synthetic(path)})
    signed_by(path, key)


def _damaged(path: Path, member: str, how: str) -> None:
    members = unzip(path)
    data = members[member]
    if how == "gone":
        del members[member]
    else:
        members[member] = data[: len(data) // 2] if how == "cut" else data[:-9] + b"~" + data[-8:]
    rezip(path, members)


def _listed_signatures(path: Path) -> None:
    members = unzip(path)
    manifest = json.loads(members.pop(MANIFEST))
    fields = {key: manifest[key] for key in FIELDS}
    rezip(
        path, {MANIFEST: encode_json(build_manifest(members, fields)), **members}
    )  # as its writer would not


ALL = list(kinds())


@pytest.fixture(scope="module")
def real(noise: Avatar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real person's avatar that was made here; another one beside it."""
    global _other
    folder = tmp_path_factory.mktemp("real")
    consent = noise.consent | {"person": "real"}
    save_avatar(folder / "noise.avatar", replace(noise, consent=consent))
    support = replace(noise.support, high=noise.support.high + 1)
    save_avatar(folder / "other.avatar", replace(noise, consent=consent, support=support))
    _other = str(folder / "other.avatar")
    trust(public_text(FRIEND), "a friend")
    return folder / "noise.avatar"


def test_there_are_a_hundred() -> None:
    assert len(ALL) >= 100
    assert len({kind.name for kind in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_it_is_shown_as_what_it_is_and_marked(kind: Kind, real: Path, tmp_path: Path) -> None:
    path = tmp_path / "it.avatar"
    shutil.copy(real, path)
    kind.change(path)
    if kind.state == REFUSED:
        with pytest.raises(PackageError):
            served_file(path, PipelineConfig("null"), MarkStyle())
        return
    served = served_file(path, PipelineConfig("null"), MarkStyle())
    assert served.mark_style is not None
    assert served.signed == kind.state
    assert (served.signature == "signed here") == (kind.state == HERE)
    avatar = load_avatar(path)
    assert avatar.wants_mark
    assert avatar.stored is not None
    assert avatar.stored.standing.state == kind.state
    hidden = MarkStyle(visible=False)  # as three lines with our library ask for
    for one in (avatar, load_cover(path)):
        if kind.state in (HERE, TRUSTED):
            marked = one.marks(hidden)
            assert marked is not None
            assert marked.bits()
        else:
            with pytest.raises(SettingsError, match="only what is signed here"):
                one.marks(hidden)


def test_whoever_loses_the_key_loses_signed_here_alone(real: Path, tmp_path: Path) -> None:
    from engine.provenance.keys import OWN, keys_folder

    assert load_cover(real).standing.words == "signed here"
    kept = (keys_folder() / OWN).read_bytes()
    (keys_folder() / OWN).unlink()
    cover = load_cover(real)
    assert cover.standing.state == UNKNOWN
    assert cover.wants_mark
    installation_key()  # another
    assert load_cover(real).standing.state == UNKNOWN
    (keys_folder() / OWN).write_bytes(kept)
    assert load_cover(real).standing.state == HERE
