"""Converting a network: the same function, bounds that hold, and an avatar's file that is whole."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.cli import main
from engine.errors import FileError, PackageError, RunnerError
from engine.network.contract import denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.runners.choice import choose_runner
from export.convert import variants
from export.convert.fused import FusedDenoiser, HalfDenoiser
from export.convert.gate import held_out_frames
from export.convert.onnx_export import export_onnx, parity
from export.convert.put_variant import put_variant
from export.convert.quantise import quantise
from export.convert.variants import TARGETS, Variant, network_of, weights_sha256
from export.evaluate.replay import Feed, poses
from export.footage.prepared import Prepared
from tests.support.small_avatar import least_network

SHAPE = DenoiserConfig(128, (8, 8, 8), 1)


def network(seed: int = 0) -> Denoiser:
    """A small denoiser whose correction of the prior is small, as after training."""
    torch.manual_seed(seed)
    made = Denoiser(SHAPE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return made.eval()


def feeds(count: int) -> list[Feed]:
    rng = np.random.default_rng(1)
    return [
        {name: rng.random(spec.shape, np.float32) for name, spec in denoiser_inputs(SHAPE.size).items()}
        for _ in range(count)
    ]


def exported(module: torch.nn.Module) -> bytes:
    return export_onnx(module, {name: torch.from_numpy(array) for name, array in feeds(1)[0].items()})


@pytest.fixture(scope="module")
def running() -> bytes:
    return exported(FusedDenoiser(network()).eval())


@pytest.fixture
def path(networked_file: Path) -> Path:
    """The puppet with a network, in a file."""
    return networked_file


def variant(name: str = "denoiser-int8.onnx", weights: str = "a") -> Variant:
    return Variant(name, least_network(SHAPE.size), {"precision": "int8", "weights_sha256": weights})


def test_the_fused_denoiser_is_the_same_function(running: bytes) -> None:
    assert parity(network(), running, feeds(3)).max_abs_error < 1e-5


def test_the_half_denoiser_is_near_and_leaves_the_network_alone() -> None:
    source = network()
    before = weights_sha256(source)
    assert parity(source, exported(HalfDenoiser(source).eval()), feeds(3), bound=math.inf).psnr_db > 50
    assert weights_sha256(source) == before


def test_int8_holds_its_bound_and_ranks_the_layers(running: bytes) -> None:
    found = quantise(running, feeds(6), feeds(2), 30.0)
    assert found.psnr_db >= 30.0
    assert found.float_layers == ()
    convolutions = [node for node in onnx.load_from_string(found.model).graph.node if node.op_type == "Conv"]
    assert len(convolutions) == len(found.sensitivity_db)
    assert all("DequantizeLinear" in node.input[0] for node in convolutions)
    assert list(found.sensitivity_db.values()) == sorted(found.sensitivity_db.values())
    assert {"noisy", "fine_in.first", "coarse.0.last", "head"} <= set(found.sensitivity_db)
    stricter = quantise(running, feeds(6), feeds(2), found.psnr_db + 0.5)
    assert stricter.psnr_db >= found.psnr_db + 0.5
    assert stricter.float_layers == tuple(found.sensitivity_db)[: len(stricter.float_layers)] != ()


def test_int8_that_cannot_hold_its_bound_is_refused(running: bytes) -> None:
    with pytest.raises(RunnerError, match=r"in INT8 the network reaches .* wanted 200 dB"):
        quantise(running, feeds(2), feeds(1), 200.0)


def test_poses_run_through_all_key_frames(puppet_avatar: Avatar) -> None:
    found = poses(puppet_avatar, between=1)
    keys = [key.landmarks for key in puppet_avatar.keyframes]
    assert len(found) == 2 * len(keys) - 1
    for pose, key in zip(found[::2], keys, strict=True):
        np.testing.assert_allclose(pose.face, key.face, atol=1e-3)
    np.testing.assert_allclose(found[1].face, (keys[0].face + keys[1].face) / 2, atol=1e-3)


def test_export_makes_what_auto_then_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_avatar(path)
    assert main(["export", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    after = load_avatar(path)
    assert set(after.models) == {"denoiser-fp32.onnx", "denoiser-int8.onnx"}
    assert after.models["denoiser-fp32.onnx"] == before.models["denoiser-fp32.onnx"]
    assert after.consent == before.consent
    facts = after.variants["denoiser-int8.onnx"]
    assert facts.items() <= result.items()
    assert facts["parity"]["psnr_db"] >= TARGETS["onnx-int8"].parity_db
    assert facts["weights_sha256"] == weights_sha256(network_of(before))
    assert facts["held_out"]["frames"] == 4
    assert facts["held_out"]["loss_db"] <= 0.3
    assert "a face was found in only" in facts["held_out"]["motion"]["note"]  # no tracker knows a puppet
    assert facts["speed"]["p50_ms"] > 0
    assert "denoiser-int8.onnx" in choose_runner("auto", after)[1]
    assert main(["export", str(path), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["denoiser-fp32.onnx", "denoiser-int8.onnx"]
    assert "dB of the float32 output" in lines[1]
    assert "x float32) on one core of" in lines[1]


def test_fp16_and_fp32(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target, name in (("onnx-fp16", "denoiser-fp16.onnx"), ("onnx", "denoiser-fp32.onnx")):
        assert main(["export", str(path), "--target", target, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["model"] == name
        assert result["parity"]["psnr_db"] >= TARGETS[target].parity_db
    assert set(load_avatar(path).models) == {"denoiser-fp32.onnx", "denoiser-fp16.onnx"}


def test_a_network_that_loses_too_much_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path.read_bytes()
    hard = {**TARGETS, "onnx-fp16": replace(TARGETS["onnx-fp16"], loss_db=-50.0)}
    monkeypatch.setattr(variants, "TARGETS", hard)
    assert main(["export", str(path), "--target", "onnx-fp16", "--json"]) == 1
    assert "the new network loses" in capsys.readouterr().err.splitlines()[-1]
    assert path.read_bytes() == before


def test_export_needs_frames_to_judge_by(avatar_file: Path, error_line: Callable[[], str]) -> None:
    assert main(["export", str(avatar_file)]) == 1
    assert "holds no held-out frames" in error_line()
    assert main(["export", "bundled"]) == 1
    assert "is part of avatarcast" in error_line()


def test_another_networks_variants_are_dropped(path: Path) -> None:
    put_variant(path, load_avatar(path), variant())
    put_variant(path, load_avatar(path), variant("denoiser-fp16.onnx", "b"))
    assert put_variant(path, load_avatar(path), variant("denoiser-fp32.onnx", "b")) == ["denoiser-int8.onnx"]
    assert set(load_avatar(path).models) == {"denoiser-fp16.onnx", "denoiser-fp32.onnx"}
    assert put_variant(path, load_avatar(path), variant(weights="c")) == []


def test_a_file_that_changed_meanwhile_is_left(path: Path) -> None:
    stale = load_avatar(path)
    put_variant(path, stale, variant())
    before = path.read_bytes()
    with pytest.raises(PackageError, match="changed while it was being exported"):
        put_variant(path, stale, variant("denoiser-fp16.onnx"))
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_old_file(
    path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    before, avatar = path.read_bytes(), load_avatar(path)
    with full_disk(len(before) // 2), pytest.raises(FileError, match="cannot be written"):
        put_variant(path, avatar, variant())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.small_avatar import least_network
from engine.avatar.avatar_file import load_avatar
from export.convert.put_variant import put_variant
from export.convert.variants import Variant

path = Path(sys.argv[1])
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)  # the new file is written, not yet in place
network = Variant("denoiser-int8.onnx", least_network(128), {"weights_sha256": "a"})
put_variant(path, load_avatar(path), network)
"""


def test_killed_half_way_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    died = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    put_variant(path, load_avatar(path), variant())
    assert "denoiser-int8.onnx" in load_avatar(path).models


def test_held_out_frames_are_the_liveliest_of_the_tail(prepared: Prepared) -> None:
    frames = held_out_frames(prepared, 5)
    assert len(frames) == 5
    starts = [
        index
        for index in range(prepared.tail_start, len(prepared.rgb) - 4)
        if prepared.landmarks[index] is frames[0].landmarks
    ]
    assert len(starts) == 1
    for offset, frame in enumerate(frames):
        assert frame.landmarks is prepared.landmarks[starts[0] + offset]
        assert np.abs(frame.rgb.astype(int) - prepared.rgb[starts[0] + offset]).mean() < 4
    assert len(held_out_frames(prepared, 10_000)) == len(prepared.rgb) - prepared.tail_start
