"""Fixtures that more than one test file needs: made-up avatars, their footage and their file."""

from __future__ import annotations

import gc
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import save_avatar
from engine.cores import usable_cores
from engine.network.contract import Runner, denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.pipeline import PipelineConfig
from export.convert.gate import held_out_frames
from export.convert.onnx_export import export_onnx
from export.footage.prepared import Identity, Prepared, learn_identity
from tests.support.puppet import Pose, Puppet, lively
from tests.support.puppet_stage import Make, Stage
from tests.support.small_avatar import noise_avatar

FOLDER = Path(__file__).parent

# A machine that renders beside the tests is not a failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


# A file stays on one core, so that what its tests share is made once. The longest come first, or the last of
# them would leave the other core idle; a browser, whose pictures must come in time, beside what has time.
LONGEST_FIRST = (
    "browser/test_call.py",
    "test_types.py",
    "browser/test_studio.py",
    "benchmarks/pictures/test_cross_driving.py",
    "export/footage/test_prepared_file.py",
    "browser/test_failures.py",
    "export/test_enroll.py",
    "browser/test_gaps.py",
    "export/footage/test_footage_problems.py",
    "browser/test_two_people.py",
    "test_egress.py",
    "browser/test_firefox.py",
    "export/commands/test_export.py",
    "test_container.py",
    "export/test_distill_avatar.py",
    "export/test_consent_clip.py",
    "export/evaluate/test_held_out.py",
    "test_repository.py",
    "engine/test_cli.py",
    "export/training/test_training.py",
    "engine/picture/test_picture_graph.py",
    "engine/network/test_network_check.py",
    "benchmarks/records/test_instrument.py",
    "stream/test_overload.py",
    "stream/test_loopback.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of LONGEST_FIRST, then as they are; `--no-loadscope-reorder` leaves it so."""
    rank = {FOLDER / name: number for number, name in enumerate(LONGEST_FIRST)}
    assert all(path.is_file() for path in rank), "LONGEST_FIRST names a file that is not there"
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one more than may compute at once, since calls and pages also wait; xdist knows no quota."""
    return usable_cores() + 1


@pytest.fixture(scope="module", autouse=True)
def _nobodys_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No avatar that the person at this machine has made, no key of theirs, nobody who was forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _loaded_stays() -> None:
    """As `avatarcast serve` has it: a collection does not look through all that was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """More for networks this small take longer beside other tests."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _usual_signals() -> None:
    """nohup and a shell's background ignore some, and the programs that a test starts inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def noise() -> Avatar:
    """A made-up person of noise, 64 px."""
    return noise_avatar()


@pytest.fixture
def avatar_file(tmp_path: Path, noise: Avatar) -> Path:
    """A well-formed `.avatar` of that person."""
    path = tmp_path / "noise.avatar"
    save_avatar(path, noise)
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
    return Avatar(
        name="puppet",
        size=PUPPET_PX,
        fps=25.0,
        neutral=identity.neutral,
        support=identity.support,
        torso=identity.torso,
        keyframes=identity.keys,
        plate=identity.plate,
        bare_torso=identity.bare_torso,
        models={},
        consent={},
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
    networked = replace(
        puppet_avatar,
        models={"denoiser-fp32.onnx": small_network},
        variants={"denoiser-fp32.onnx": {"precision": "fp32", "steps": 1}},
        consent={"who": "nobody", "statement": "a puppet", "date": "2024-05-01", "person": "synthetic"},
        report={"held_out": None},
        preview_jpeg=held_out[0].jpeg,
        training={"network": SMALL.to_dict()},
        held_out=tuple(held_out),
    )
    save_avatar(path, networked)
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
