"""Key frames stored as JPEG and the torso without arms: they come back; older files need none; flaws."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.avatar.avatar import LOSSLESS_KEYFRAMES, MAX_MEMORY, Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.errors import PackageError
from engine.render.keyframes import KeyFrame
from engine.render.scene import Scene
from tests.support.forged_package import forge, unzip
from tests.support.puppet import Pose, Puppet

SIZE = 64  # of the avatar in conftest
PUPPET = Puppet(SIZE)
REMEMBERED = 3


def keyframe(turn: float) -> KeyFrame:
    landmarks = PUPPET.landmarks(Pose(yaw_deg=turn))
    return KeyFrame.of(*PUPPET.picture(landmarks), landmarks)


@pytest.fixture(scope="module")
def keyframes() -> list[KeyFrame]:
    return [keyframe(0.5 * index) for index in range(LOSSLESS_KEYFRAMES + REMEMBERED)]


@pytest.fixture
def path(tmp_path: Path, noise: Avatar, keyframes: list[KeyFrame]) -> Path:
    path = tmp_path / "memory.avatar"
    torso = np.dstack([keyframes[1].rgb, keyframes[0].matte])
    save_avatar(path, replace(noise, keyframes=tuple(keyframes), bare_torso=torso))
    return path


def picture(kind: str, mode: str, width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind)
    return buffer.getvalue()


def test_all_key_frames_come_back_in_order(path: Path, keyframes: list[KeyFrame]) -> None:
    avatar = load_avatar(path)
    assert len(avatar.keyframes) == len(keyframes)
    for index, (found, wanted) in enumerate(zip(avatar.keyframes, keyframes, strict=True)):
        assert np.array_equal(found.landmarks.face, wanted.landmarks.face)
        assert found.rgb.shape == (SIZE, SIZE, 3)
        assert found.matte.shape == (SIZE, SIZE)
        if index < LOSSLESS_KEYFRAMES:
            assert np.array_equal(found.rgb, wanted.rgb)
            assert np.array_equal(found.matte, wanted.matte)
        else:
            assert np.abs(found.rgb.astype(int) - wanted.rgb).mean() < 4
            assert np.abs(found.matte.astype(int) - wanted.matte).mean() < 4
    assert avatar.bare_torso is not None
    assert np.array_equal(avatar.bare_torso[..., :3], keyframes[1].rgb)
    assert np.array_equal(avatar.bare_torso[..., 3], keyframes[0].matte)


def test_a_file_needs_neither(avatar_file: Path) -> None:
    assert not any(name.startswith("memory/") for name in unzip(avatar_file))
    avatar = load_avatar(avatar_file)
    assert len(avatar.keyframes) == 2
    assert avatar.bare_torso is None


@pytest.mark.parametrize(
    ("member", "data", "complaint"),
    [
        ("memory/landmarks.npz", None, "memory/landmarks.npz is missing"),
        ("memory/landmarks.npz", b"nonsense", "not readable arrays"),
        ("memory/00.jpg", None, "without a gap"),
        ("memory/02.jpg", None, "wanted (2,"),
        ("memory/07.jpg", b"", "without a gap"),
        ("memory/00.jpg", b"\xff\xd8\xff", "not a readable JPEG"),
        ("memory/00.jpg", picture("PNG", "RGB", 2 * SIZE, SIZE), "not a readable JPEG"),
        ("memory/00.jpg", picture("JPEG", "RGB", SIZE, SIZE), "is 64x64; wanted 128x64"),
        ("memory/00.jpg", picture("JPEG", "L", 2 * SIZE, SIZE), "mode L; wanted RGB"),
        ("memory/notes.txt", b"", "has no meaning"),
        ("keyframes/bare_torso.png", picture("PNG", "RGB", SIZE, SIZE), "mode RGB; wanted RGBA"),
        ("keyframes/bare_torso.png", picture("PNG", "RGBA", 32, 32), "is 32x32; wanted 64x64"),
        ("keyframes/bare_torso.png", b"\x89PNG\r\n\x1a\n", "not a readable PNG"),
    ],
)
def test_forged_members_are_refused(path: Path, member: str, data: bytes | None, complaint: str) -> None:
    forge(path, {member: data})
    with pytest.raises(PackageError) as caught:
        load_avatar(path)
    message = str(caught.value)
    assert complaint in message
    assert member.partition("/")[0] in message
    assert "\n" not in message


def test_landmarks_without_their_pictures(path: Path) -> None:
    forge(path, {f"memory/{index:02d}.jpg": None for index in range(REMEMBERED)})
    with pytest.raises(PackageError, match=r"member memory/00\.jpg is missing"):
        load_avatar(path)


@pytest.mark.parametrize(
    ("canvas", "rgb", "complaint"),
    [
        (None, True, "member scene.json is missing"),
        (b"", False, "member scene.jpg is missing"),
        (b"{}", True, "wanted the integers left, top, side"),
        (b'{"left": 0, "top": 32, "side": 64, "more": 1}', True, "wanted the integers"),
        (b'{"left": 0.0, "top": 32, "side": 64}', True, "wanted the integers"),
        (b'{"left": 0, "top": 32, "side": true}', True, "wanted the integers"),
        (b'{"left": 100, "top": 32, "side": 64}', True, "wanted within its 128x96 picture"),
        (b'{"left": -1, "top": 32, "side": 64}', True, "wanted within its 128x96 picture"),
        (b'{"left": 0, "top": 0, "side": 64}', True, "at its bottom"),
    ],
)
def test_a_forged_scene_is_refused(
    path: Path, noise: Avatar, canvas: bytes | None, rgb: bool, complaint: str
) -> None:
    scene = Scene(np.full((96, 128, 3), 90, np.uint8), 10, 32, 64)
    save_avatar(path, replace(noise, scene=scene))
    loaded = load_avatar(path).scene
    assert loaded is not None
    assert (loaded.left, loaded.top, loaded.side, loaded.rgb.shape) == (10, 32, 64, (96, 128, 3))
    changes: dict[str, bytes | None] = {} if rgb else {"scene.jpg": None}
    if canvas != b"":
        changes["scene.json"] = canvas
    forge(path, changes)
    with pytest.raises(PackageError, match=complaint) as caught:
        load_avatar(path)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for name in ("memory/01.jpg", "memory/landmarks.npz", "keyframes/bare_torso.png"):
        data = unzip(path)[name]
        damaged = bytearray(whole)
        damaged[whole.index(data) + len(data) // 2] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(PackageError, match=f"member {name} "):
            load_avatar(path)
        path.write_bytes(whole)


def test_more_than_a_file_may_hold(tmp_path: Path, noise: Avatar, keyframes: list[KeyFrame]) -> None:
    many = (keyframes[0],) * (LOSSLESS_KEYFRAMES + MAX_MEMORY + 1)
    with pytest.raises(PackageError, match=f"at most {MAX_MEMORY}"):
        save_avatar(tmp_path / "big.avatar", replace(noise, keyframes=many))
    assert not list(tmp_path.iterdir())
