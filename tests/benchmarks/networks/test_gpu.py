"""The instrument of the one graph: presenters made larger, what is left on the CPU, that it runs through."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.networks.gpu import drawn_at_once, enlarged, left_on_cpu
from engine.avatar.avatar import Avatar
from engine.cli import main
from engine.network.contract import NullRunner
from engine.picture.contract import graph_inputs, graph_outputs
from tests.conftest import PUPPET_PX, SMALL


def test_a_larger_presenter_moves_as_it_did(puppet_avatar: Avatar) -> None:
    large = enlarged(replace(puppet_avatar, training={"network": SMALL.to_dict()}), 2 * PUPPET_PX)
    assert large.plate.shape == (2 * PUPPET_PX, 2 * PUPPET_PX, 3)
    key, small = large.keyframes[1], puppet_avatar.keyframes[1]
    assert key.rgba.shape[:2] == (2 * PUPPET_PX, 2 * PUPPET_PX)
    assert np.allclose(key.landmarks.face, 2 * small.landmarks.face)
    found = left_on_cpu(large, [key.landmarks for key in large.keyframes])
    assert found["size"] == 2 * PUPPET_PX
    parts = sum(found[name]["p50"] for name in ("guidance", "decide", "hand_over"))
    assert 0 < parts < 3 * found["all"]["p95"]


class Counted(NullRunner):
    """Counts what a round asks of each session."""

    def __init__(self) -> None:
        super().__init__(graph_inputs(64), graph_outputs(64, (64, 64)))
        self.asked: list[str] = []

    def put(self, feed: object) -> None:
        self.asked.append("put")

    def infer(self) -> None:
        self.asked.append("infer")

    def read(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        self.asked.append(name)
        return np.zeros(1, np.uint8)

    def carry(self, output: str, into: str) -> None:
        raise AssertionError("not in a round")


def test_a_round_hands_over_to_all_before_it_waits_for_any() -> None:
    sessions = [Counted(), Counted()]
    drawn_at_once(sessions, {})()
    assert [one.asked for one in sessions] == [["put", "infer", "i420"]] * 2


@pytest.mark.long
def test_it_runs_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gpu", "--quick", "--everything"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {row["precision"] for row in record["parity"]} == {"fp32", "fp16"}
    assert all(row["picture_ms"] > 0 for row in record["runners"])
    assert record["beside"][0]["gflop"] > 900
