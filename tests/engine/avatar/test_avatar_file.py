"""The `.avatar` file: round trip, every kind of tampering, and random damage."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.avatar import avatar_file as avatar_file_module
from engine.avatar import container as package_module
from engine.avatar.avatar import MAX_HELD_OUT, MAX_PICTURE_BYTES, Avatar, most_keyframes, picture_bytes
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.avatar.container import MANIFEST, SIGNATURES, encode_json, write_package
from engine.errors import FileError, PackageError
from tests.support.forged_package import forge, rezip, unzip

FIELD_NAMES = ("name", "size_px", "fps", "tools", "training", "models")


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def refused(path: Path) -> str:
    with pytest.raises(PackageError) as caught:
        load_avatar(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def assert_same(one: Avatar, other: Avatar) -> None:
    for field in fields(Avatar):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "keyframes":
            for a, b in zip(mine, theirs, strict=True):
                assert np.array_equal(a.rgb, b.rgb)
                assert np.array_equal(a.matte, b.matte)
                for part in (
                    "face",
                    "pose",
                    "hands",
                    "face_confidence",
                    "pose_confidence",
                    "hand_confidence",
                ):
                    assert np.array_equal(getattr(a.landmarks, part), getattr(b.landmarks, part)), part
        elif field.name in ("neutral", "support", "torso"):
            for array in fields(mine):
                assert np.array_equal(getattr(mine, array.name), getattr(theirs, array.name)), array.name
        elif field.name == "plate":
            assert np.array_equal(mine, theirs)
        else:
            assert mine == theirs, field.name


def test_round_trip(tmp_path: Path, noise: Avatar) -> None:
    path = tmp_path / "one.avatar"
    saved = save_avatar(path, noise)
    loaded = load_avatar(path)
    assert_same(saved, loaded)
    assert loaded.name == "noise"
    assert np.array_equal(loaded.keyframes[1].rgb, noise.keyframes[1].rgb)
    assert np.array_equal(loaded.keyframes[1].matte, noise.keyframes[1].matte)
    assert np.array_equal(loaded.plate, noise.plate)
    assert loaded.models == noise.models
    assert loaded.variants["denoiser-fp32.onnx"]["precision"] == "fp32"
    assert loaded.stored is not None
    assert loaded.stored.tools["avatarcast"]


def test_same_content_gives_same_bytes(tmp_path: Path, noise: Avatar) -> None:
    paths = [tmp_path / name for name in ("a.avatar", "b.avatar")]
    for path in paths:
        save_avatar(path, noise)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_failed_write_leaves_the_old_file(avatar_file: Path, noise: Avatar) -> None:
    before = avatar_file.read_bytes()
    with pytest.raises(PackageError, match=r"consent\.json"):
        save_avatar(avatar_file, replace(noise, consent=noise.consent | {"person": "unknown"}))
    with pytest.raises(PackageError, match=r"name that is not allowed"):
        write_package(avatar_file, {"../out": b""}, dict.fromkeys(FIELD_NAMES))
    assert avatar_file.read_bytes() == before
    assert list(avatar_file.parent.iterdir()) == [avatar_file]


def test_a_place_that_cannot_be_written(tmp_path: Path, noise: Avatar) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        save_avatar(tmp_path / "no" / "such" / "folder.avatar", noise)


def test_a_flipped_byte_in_any_member_names_it(avatar_file: Path) -> None:
    whole = avatar_file.read_bytes()
    for name, data in unzip(avatar_file).items():
        if name == MANIFEST:
            continue
        damaged = bytearray(whole)
        damaged[whole.index(data) + len(data) // 2] ^= 0x10
        avatar_file.write_bytes(damaged)
        assert f"member {name} " in refused(avatar_file)


def test_truncation_at_any_length(avatar_file: Path) -> None:
    whole = avatar_file.read_bytes()
    for length in [0, 1, 3, 30, 1000, *range(1500, len(whole), len(whole) // 23), len(whole) - 1]:
        avatar_file.write_bytes(whole[:length])
        refused(avatar_file)


def test_not_a_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "gone.avatar")
    assert "a folder" in refused(tmp_path)
    (tmp_path / "text.avatar").write_text("hello")
    assert "not a whole .avatar" in refused(tmp_path / "text.avatar")


def test_extra_and_missing_members(avatar_file: Path) -> None:
    members = unzip(avatar_file)
    rezip(avatar_file, {**members, "notes.txt": b"hi"})
    assert "member notes.txt is not in the manifest" in refused(avatar_file)
    for name in set(members) - {SIGNATURES}:  # without them it is an unsigned avatar
        rezip(avatar_file, {key: data for key, data in members.items() if key != name})
        assert f"member {name} is missing" in refused(avatar_file)


def test_a_member_twice(avatar_file: Path) -> None:
    with zipfile.ZipFile(avatar_file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("report.json", b"{}")
    assert "member report.json is there twice" in refused(avatar_file)


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/../../b", "a\\b", "C:x", "a/b/c", "folder/", "UPPER", "~", "models/..onnx"],
)
def test_names_that_are_not_allowed(avatar_file: Path, name: str) -> None:
    rezip(avatar_file, {**unzip(avatar_file), name: b""})
    assert "name that is not allowed" in refused(avatar_file)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFIFO])
def test_only_regular_files(avatar_file: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(avatar_file, "a") as archive:
        archive.writestr(info, b"/etc/passwd")
    assert "'link' is not a regular file" in refused(avatar_file)


def test_compression(avatar_file: Path) -> None:
    members = unzip(avatar_file)
    rezip(avatar_file, members, zipfile.ZIP_DEFLATED)  # a person unzipped it and zipped it again
    load_avatar(avatar_file)
    rezip(avatar_file, members, zipfile.ZIP_BZIP2)
    assert "compression method 12" in refused(avatar_file)


def test_bombs(avatar_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = unzip(avatar_file)
    rezip(avatar_file, {**members, "zeros": bytes(2_000_000)}, zipfile.ZIP_DEFLATED)
    assert "member 'zeros' unpacks" in refused(avatar_file)
    rezip(avatar_file, {**members, **{f"m{index}": b"" for index in range(300)}})
    assert "wanted at most 256" in refused(avatar_file)
    monkeypatch.setattr(package_module, "MAX_TOTAL_BYTES", 100_000)
    rezip(
        avatar_file, {**members, **{f"m{index}": bytes(60_000) for index in range(2)}}, zipfile.ZIP_DEFLATED
    )
    assert "bytes unpacked; wanted at most 100000" in refused(avatar_file)
    rezip(avatar_file, {**members, "big": bytes(200_000)})
    assert "wanted at most 100000" in refused(avatar_file)


def test_pictures_that_would_fill_the_memory(
    avatar_file: Path, monkeypatch: pytest.MonkeyPatch, noise: Avatar
) -> None:
    monkeypatch.setattr(avatar_file_module, "MAX_PICTURE_BYTES", 2 * 64 * 64 * 4 - 1)
    assert "its pictures of 64 px take 32768 bytes; wanted at most 32767" in refused(avatar_file)


@pytest.mark.parametrize(("size", "most"), [(256, 1000), (512, 232), (1024, 40)])
def test_how_many_key_frames_fit(size: int, most: int) -> None:
    assert most_keyframes(size) == most
    assert picture_bytes(size, most, MAX_HELD_OUT) <= MAX_PICTURE_BYTES


def test_an_entry_that_understates_its_size(avatar_file: Path) -> None:
    """The sizes in the directory are a claim."""
    members = unzip(avatar_file)
    rezip(avatar_file, {**members, "report.json": bytes(50_000)}, zipfile.ZIP_DEFLATED)
    data = bytearray(avatar_file.read_bytes())
    at = data.rindex(b"report.json") - 46 + 24  # the uncompressed size in the central directory
    data[at : at + 4] = (10).to_bytes(4, "little")
    avatar_file.write_bytes(data)
    assert "member report.json" in refused(avatar_file)


def test_an_encrypted_member(avatar_file: Path) -> None:
    data = bytearray(avatar_file.read_bytes())
    data[data.rindex(b"report.json") - 46 + 8] |= 1
    avatar_file.write_bytes(data)
    assert "'report.json' is encrypted" in refused(avatar_file)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0])
def test_another_version(avatar_file: Path, version: Any) -> None:
    members = unzip(avatar_file)
    manifest = json.loads(members[MANIFEST]) | {"format_version": version}
    rezip(avatar_file, members | {MANIFEST: json.dumps(manifest).encode()})
    assert "member manifest.json: format_version is" in refused(avatar_file)


@pytest.mark.parametrize("change", [{"fps": 30}, {"surprise": 1}, {"members": {}}])
def test_an_edited_manifest(avatar_file: Path, change: dict[str, Any]) -> None:
    members = unzip(avatar_file)
    manifest = json.loads(members[MANIFEST]) | change
    rezip(avatar_file, members | {MANIFEST: json.dumps(manifest).encode()})
    assert "digest" in refused(avatar_file)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"surprise": 1}, "'surprise' is unknown"),
        ({"fps": 0.5}, "fps is 0.5"),
        ({"size_px": 63}, "size_px is 63"),
        ({"size_px": 1 << 20}, "size_px"),
        ({"size_px": True}, "size_px is True"),
        ({"size_px": 128}, "is 64x64; wanted 128x128"),
        ({"name": 3}, "name is 3"),
        ({"models": {}}, "models are []"),
        ({"models": {"denoiser-fp32.onnx": []}}, "models: 'denoiser-fp32.onnx' is []; wanted an object"),
        ({"models": {"a\nb" * 99: {}}}, "models are ['a"),
        ({"name": "two\nlines"}, "wanted 1 to 200 printable characters"),
        ({"name": ""}, "wanted 1 to 200 printable characters"),
        ({"fps": 10**17}, "fps is 100000000000000000"),
        ({"fps": 10**30}, "has more than 18 digits"),
        ({"members": {"a\nb": {}}}, r"members: 'a\nb' is a name that is not allowed"),
        ({"members": []}, "members is a list"),
        ({"members": {"report.json": {"bytes": 1}}}, "the entry of report.json"),
    ],
)
def test_a_forged_manifest(avatar_file: Path, change: dict[str, Any], complaint: str) -> None:
    members = unzip(avatar_file)
    manifest = json.loads(members[MANIFEST]) | change
    del manifest["digest"]
    manifest["digest"] = hashlib.sha256(encode_json(manifest)).hexdigest()
    rezip(avatar_file, members | {MANIFEST: encode_json(manifest)})
    assert complaint in refused(avatar_file)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000])
def test_a_manifest_that_is_no_manifest(avatar_file: Path, text: bytes) -> None:
    rezip(avatar_file, unzip(avatar_file) | {MANIFEST: text})
    assert "manifest.json" in refused(avatar_file)


class Payload:
    """Unpickling this would be seen."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


def pickled() -> bytes:
    return npz(face=np.array([Payload()], dtype=object))


@pytest.mark.parametrize(
    ("member", "data", "complaint"),
    [
        ("neutral.npz", b"nonsense", "not readable arrays"),
        ("neutral.npz", pickle.dumps({"a": 1}), "not readable arrays"),
        ("neutral.npz", pickled(), "not readable arrays"),
        ("neutral.npz", npz(), "holds 0 arrays"),
        ("neutral.npz", npz(a=np.zeros(3)), "float64; wanted float32"),
        ("neutral.npz", npz(a=np.array([np.nan], np.float32)), "not finite"),
        ("neutral.npz", npz(a=np.zeros(20_000_000, np.float32)), "unpacks to"),
        (
            "neutral.npz",
            npz(**{f"a{index}": np.zeros(1, np.float32) for index in range(65)}),
            "holds 65 arrays",
        ),
        ("keyframes/landmarks.npz", npz(a=np.zeros(3, np.float32)), "array 'a' is unknown"),
        ("keyframes/00.png", b"\x89PNG\r\n\x1a\n", "not a readable PNG"),
        ("keyframes/plate.png", b"GIF89a", "not a readable PNG"),
        ("preview.jpg", b"\xff\xd8\xff", "not a readable JPEG"),
        ("report.json", b"[1]", "is a JSON list"),
        ("consent.json", b"{}", "who is None"),
        ("keyframes/01.png", None, "array face is"),
        ("keyframes/00.png", None, "without a gap"),
        ("consent.json", None, "is missing"),
        ("models/denoiser-fp32.onnx", b"", "this is no ONNX network: export it again"),
        ("models/denoiser-fp32.onnx", b"not a network", "unknown wire type 6: export it again"),
        ("models/other.onnx", b"", "has no meaning"),
        ("models/evil.py", b"", "has no meaning"),
        ("keyframes/07.png", b"", "without a gap"),
    ],
)
def test_forged_members(avatar_file: Path, member: str, data: bytes | None, complaint: str) -> None:
    forge(avatar_file, {member: data})
    message = refused(avatar_file)
    assert complaint in message
    assert member.partition("/")[0] in message


def test_forged_landmarks_and_images(avatar_file: Path) -> None:
    member = "keyframes/landmarks.npz"
    members = unzip(avatar_file)
    with np.load(io.BytesIO(members[member])) as loaded:
        arrays = dict(loaded)
    confident = arrays["pose_confidence"] + 1
    forge(avatar_file, {member: npz(**arrays | {"pose_confidence": confident})})
    assert "array pose_confidence leaves 0..1" in refused(avatar_file)
    forge(avatar_file, {member: npz(**{key: arrays[key] for key in arrays if key != "hands"})})
    assert "array 'hands' is missing" in refused(avatar_file)
    forge(avatar_file, {member: members[member], "keyframes/plate.png": members["keyframes/00.png"]})
    assert "member keyframes/plate.png has mode RGBA; wanted RGB" in refused(avatar_file)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("who", ""),
        ("statement", None),
        ("date", "yesterday"),
        ("date", "20240501"),
        ("person", "both"),
        ("who", 3),
    ],
)
def test_consent_is_required(tmp_path: Path, noise: Avatar, field: str, value: Any) -> None:
    forged = replace(noise, consent=noise.consent | {field: value})
    with pytest.raises(PackageError, match=rf"consent\.json: {field} is"):
        save_avatar(tmp_path / "x.avatar", forged)


def test_values_that_json_cannot_hold(tmp_path: Path, noise: Avatar) -> None:
    with pytest.raises(PackageError, match="JSON"):
        save_avatar(tmp_path / "x.avatar", replace(noise, report={"psnr_db": float("nan")}))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_loads_the_same_or_is_refused(avatar_file: Path, data: st.DataObject) -> None:
    """Any flipped bytes, most in the zip's own structures: the same avatar, or PackageError."""
    whole = avatar_file.read_bytes()
    pristine = load_avatar(avatar_file)
    damaged = bytearray(whole)
    directory = whole.index(b"PK\x01\x02")
    headers = [match.start() + at for match in re.finditer(b"PK\x03\x04", whole) for at in range(60)]
    places = st.one_of(
        st.integers(directory, len(whole) - 1), st.sampled_from(headers), st.integers(0, len(whole) - 1)
    )
    for at, flip in data.draw(st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=3)):
        damaged[at] ^= flip
    path = avatar_file.with_name("damaged.avatar")
    path.write_bytes(damaged)
    try:
        loaded = load_avatar(path)
    except PackageError:
        return
    assert_same(loaded, pristine)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_forged_payload_bytes_never_raise_anything_else(avatar_file: Path, data: st.DataObject) -> None:
    """The same one level down: damage inside a member whose hashes were made to agree."""
    members = {name: content for name, content in unzip(avatar_file).items() if name != MANIFEST}
    name = data.draw(st.sampled_from(sorted(members)))
    content = bytearray(members[name])
    for at, flip in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), min_size=1, max_size=3)
    ):
        content[at] ^= flip
    path = avatar_file.with_name("forged.avatar")
    path.write_bytes(avatar_file.read_bytes())
    forge(path, {name: bytes(content)})
    with suppress(PackageError):
        load_avatar(path)
