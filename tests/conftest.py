"""Fixtures that more than one test file needs: made-up avatars, their footage and their file."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from engine.avatar.avatar import Avatar, KeyFrame, save_avatar
from engine.network.contract import Runner, denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.person.landmarks import FACE_POINTS, HAND_POINTS, POSE_POINTS, Landmarks
from engine.pipeline import PipelineConfig
from export.convert.gate import held_out_frames
from export.convert.onnx_export import export_onnx
from export.footage.prepared import Identity, Prepared, learn_identity
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import Make, Stage
from tests.support.small_avatar import least_network

SIZE_PX = 64

# A machine that renders beside the tests is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _nobodys_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers under test do not offer the avatars that the person at this machine has made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


def _landmarks(rng: np.random.Generator) -> Landmarks:
    return Landmarks(
        width=SIZE_PX,
        height=SIZE_PX,
        face=rng.uniform(0, SIZE_PX, (FACE_POINTS, 3)).astype(np.float32),
        face_confidence=1.0,
        pose=rng.uniform(0, SIZE_PX, (POSE_POINTS, 3)).astype(np.float32),
        pose_confidence=rng.uniform(0, 1, POSE_POINTS).astype(np.float32),
        hands=rng.uniform(0, SIZE_PX, (2, HAND_POINTS, 3)).astype(np.float32),
        hand_confidence=np.array([1.0, 0.0], np.float32),
    )


@pytest.fixture
def avatar_fields() -> dict[str, Any]:
    """The arguments of save_avatar for a made-up person of noise, 64 px; a fresh copy for each test."""
    rng = np.random.default_rng(7)

    def image(channels: int) -> Any:
        return rng.integers(0, 256, (SIZE_PX, SIZE_PX, channels), np.uint8)

    preview = BytesIO()
    Image.fromarray(image(3)).save(preview, "JPEG")
    return {
        "name": "noise",
        "size": SIZE_PX,
        "fps": 25.0,
        "neutral": {"face": rng.normal(size=(FACE_POINTS, 3)).astype(np.float32)},
        "keyframes": [KeyFrame(image(3), image(1)[..., 0], _landmarks(rng)) for _ in range(2)],
        "plate": image(3),
        "models": {"denoiser-fp32.onnx": least_network(SIZE_PX)},
        "consent": {
            "who": "nobody: noise",
            "statement": "made for tests",
            "date": "2024-05-01",
            "person": "synthetic",
        },
        "report": {"held_out": None},
        "preview_jpeg": preview.getvalue(),
        "training": {"minutes": 0.0},
        "variants": {"denoiser-fp32.onnx": {"precision": "fp32", "steps": 1}},
    }


@pytest.fixture
def avatar_file(tmp_path: Path, avatar_fields: dict[str, Any]) -> Path:
    """A well-formed `.avatar` of that person."""
    path = tmp_path / "noise.avatar"
    save_avatar(path, **avatar_fields)
    return path


PUPPET_PX = 128
SMALL = DenoiserConfig(PUPPET_PX, (8, 8, 8), 1)


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    """Three seconds of a drawn puppet with its exact landmarks, 128 px; nobody changes it."""
    rgb, matte, landmarks = Puppet(PUPPET_PX).film(lively(75, seed=2, hands=True))
    return Prepared(25.0, rgb, matte, landmarks, np.zeros(75, np.int32))


@pytest.fixture(scope="session")
def identity(prepared: Prepared) -> Identity:
    """What is learnt from that footage."""
    return learn_identity(prepared, bank_size=6)


@pytest.fixture(scope="session")
def puppet_avatar(identity: Identity) -> Avatar:
    """The puppet as an avatar, without a network: for the null runner."""
    keyframes = tuple(
        KeyFrame(key.rgba[..., :3].copy(), key.rgba[..., 3].copy(), key.landmarks) for key in identity.keys
    )
    return Avatar(
        name="puppet",
        size=PUPPET_PX,
        fps=25.0,
        neutral=identity.arrays(),
        keyframes=keyframes,
        plate=identity.plate,
        bare_torso=identity.bare_torso,
        models={},
        consent={},
        manifest={},
        report={},
        preview_jpeg=b"",
    )


@pytest.fixture(scope="session")
def small_network() -> bytes:
    """A small denoiser of the puppet's size, as ONNX; it corrects the prior a little, as after training."""
    torch.manual_seed(0)
    network = Denoiser(SMALL)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return export_onnx(
        network, {name: torch.zeros(spec.shape) for name, spec in denoiser_inputs(PUPPET_PX).items()}
    )


@pytest.fixture
def networked_file(tmp_path: Path, puppet_avatar: Avatar, prepared: Prepared, small_network: bytes) -> Path:
    """The puppet with that network and four held-out frames, in a file."""
    path = tmp_path / "puppet.avatar"
    held_out = held_out_frames(prepared, 4)
    save_avatar(
        path,
        name="puppet",
        size=PUPPET_PX,
        fps=puppet_avatar.fps,
        neutral=puppet_avatar.neutral,
        keyframes=puppet_avatar.keyframes,
        plate=puppet_avatar.plate,
        bare_torso=puppet_avatar.bare_torso,
        models={"denoiser-fp32.onnx": small_network},
        consent={"who": "nobody", "statement": "a puppet", "date": "2024-05-01", "person": "synthetic"},
        report={"held_out": None},
        preview_jpeg=held_out[0].jpeg,
        training={"network": SMALL.to_dict()},
        variants={"denoiser-fp32.onnx": {"precision": "fp32", "steps": 1}},
        held_out=held_out,
    )
    return path


@pytest.fixture
def make(puppet_avatar: Avatar) -> Make:
    """Makes a pipeline of the puppet that a script of poses drives."""

    def stage(poses: Sequence[Pose], config: PipelineConfig | None = None, **rest: Runner) -> Stage:
        return Stage(puppet_avatar, poses, config or PipelineConfig(), **rest)

    return stage


FullDisk = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def full_disk() -> FullDisk:
    """A context in which no file grows beyond so many bytes: the kernel refuses the rest of a write."""

    @contextmanager
    def limited(size_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def error_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What went to standard error since the last call, which must be one line."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return read
