"""Enrolment: footage to a finished avatar, in steps that read top to bottom.

Knows nothing of the command line; `export.command_enroll` shows its progress.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from engine.avatar import Avatar, KeyFrame, save_avatar
from engine.denoiser import Denoiser, DenoiserConfig
from engine.errors import SettingsError
from engine.runner import denoiser_inputs
from export.footage import load_footage
from export.framing import Framing
from export.held_out import measure_held_out
from export.onnx_export import export_onnx, parity
from export.prepare import frame_footage, prepare
from export.prepared import Identity, Prepared, learn_identity
from export.progress import Listener
from export.quality_gate import held_out_frames
from export.report_sheets import held_out_picture
from export.train import Progress, TrainConfig, Trainer, TrainRecord, pick_device
from export.training_set import TrainingSet

MODEL_NAME = "denoiser-fp32.onnx"
REPORT_S = 60.0  # set aside for the report at the end
MIN_TRAINING_SHARE = 0.5  # of the budget, however long tracking took
PARITY_FEEDS = 3


@dataclass(frozen=True, slots=True)
class EnrollOptions:
    """What the user asked for."""

    footage: tuple[Path, ...]
    out: Path
    statement: str  # who agreed, to what
    person: str = "real"  # or "synthetic"
    minutes: float = 15.0  # for everything, from file to avatar
    size: int = 256  # px of the canvas
    framing: str | Framing = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.statement.strip():
            raise SettingsError(
                "--consent is empty: say who agreed and to what, "
                'such as "Ada Lovelace, to an avatar for her talks"'
            )
        if self.minutes <= 0:
            raise SettingsError(
                f"--minutes {self.minutes}: must be above 0; 15 gives a good avatar on two cores"
            )
        if self.out.suffix != ".avatar":
            raise SettingsError(f"--out {self.out}: must end in .avatar")
        if not self.out.parent.is_dir():
            raise SettingsError(f"--out {self.out}: there is no folder {self.out.parent}; make it first")
        DenoiserConfig(size=self.size)  # refuses odd sizes
        pick_device(self.device)  # now, not after minutes of tracking


def enroll(options: EnrollOptions, listener: Listener) -> Avatar:
    """Makes the avatar and writes it. Interrupted, it can be called again and goes on where it was.

    Raises VideoError or FootageError for footage that will not do, SettingsError for contradictory settings.
    """
    started = perf_counter()
    if options.out.exists():
        raise SettingsError(f"--out {options.out}: exists already; choose another name, or remove it first")
    work = WorkFolder(options)
    prepared, framings = _prepared(options, work, listener)
    identity = learn_identity(prepared)
    listener.stage("building priors", 1.0)
    data = TrainingSet(prepared, identity, seed=7, progress=listener.advance)
    listener.advance(1.0)
    budget_s = work.training_budget_s(options.minutes * 60.0, perf_counter() - started)
    trainer = Trainer(
        TrainConfig(budget_s, device=options.device), DenoiserConfig(size=options.size), work.checkpoint
    )
    listener.stage("training", budget_s)
    record = trainer.run(
        data, data.validation(prepared, identity), lambda progress: _tell(listener, progress)
    )
    avatar = _package(options, prepared, identity, trainer.result(), record, framings, listener)
    work.remove()
    return avatar


def _tell(listener: Listener, progress: Progress) -> None:
    listener.advance(progress.elapsed_s, f"{progress.steps} steps, loss {progress.loss:.4f}")


def work_path(out: Path) -> Path:
    """`NAME.avatar.work` beside the result."""
    return out.with_name(out.name + ".work")


class WorkFolder:
    """What an interrupted enrolment needs to go on. It appears when there is something to keep."""

    def __init__(self, options: EnrollOptions) -> None:
        self.path = work_path(options.out)
        self.prepared = self.path / "prepared.npz"
        self.checkpoint = self.path / "checkpoint.pt"
        self._settings_file = self.path / "settings.json"
        self.settings: dict[str, Any] = {
            "footage_sha256": [_sha256(path) for path in options.footage],
            "size": options.size,
            "framing": str(options.framing),
        }
        if self._settings_file.exists():
            kept = json.loads(self._settings_file.read_text())
            differing = [name for name, value in self.settings.items() if kept.get(name) != value]
            if differing:
                raise SettingsError(
                    f"{self.path} holds an unfinished enrolment with another {' and '.join(differing)}: "
                    "repeat that command to finish it, or remove the folder"
                )
            self.settings = kept

    def keep(self, **values: Any) -> None:
        """Adds to the settings and writes them."""
        self.settings |= values
        self.path.mkdir(exist_ok=True)
        self._settings_file.write_text(json.dumps(self.settings, indent=1))

    def training_budget_s(self, budget_s: float, spent_s: float) -> float:
        """Seconds for training: what tracking and report leave of the budget; fixed at the first start."""
        if "training_s" not in self.settings:
            left_s = budget_s - spent_s - min(REPORT_S, 0.2 * budget_s)
            self.keep(training_s=max(left_s, MIN_TRAINING_SHARE * budget_s))
        return float(self.settings["training_s"])

    def remove(self) -> None:
        """Nothing is left to resume."""
        shutil.rmtree(self.path)


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise SettingsError(f"{path}: there is no such file; give one or more video files of the person")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _prepared(options: EnrollOptions, work: WorkFolder, listener: Listener) -> tuple[Prepared, list[str]]:
    if work.prepared.exists():
        return Prepared.load(work.prepared), work.settings["framings"]
    listener.stage("tracking", 1.0)
    footage = load_footage(
        options.footage, progress=lambda done, total: listener.advance(done / max(total, 1))
    )
    for warning in footage.warnings:
        listener.warn(warning)
    framings = frame_footage(footage, options.framing)
    listener.stage("cutting out", 1.0)
    prepared = prepare(
        footage, framings, options.size, lambda done, total: listener.advance(done / max(total, 1))
    )
    work.keep(framings=[str(framing) for framing in framings], warnings=list(footage.warnings))
    prepared.save(work.prepared)
    return prepared, work.settings["framings"]


def _package(
    options: EnrollOptions,
    prepared: Prepared,
    identity: Identity,
    network: Denoiser,
    record: TrainRecord,
    framings: Sequence[str],
    listener: Listener,
) -> Avatar:
    """Exports, measures on the held-out tail, and writes the avatar: all or nothing."""
    listener.stage("exporting", 1.0)
    model, agreement = _export(network, prepared.size)
    listener.advance(1.0)
    keyframes = tuple(
        KeyFrame(
            np.ascontiguousarray(key.rgba[..., :3]), np.ascontiguousarray(key.rgba[..., 3]), key.landmarks
        )
        for key in identity.keys
    )
    fields: dict[str, Any] = {
        "name": options.out.stem,
        "size": prepared.size,
        "fps": prepared.fps,
        "neutral": identity.arrays(),
        "keyframes": keyframes,
        "plate": identity.plate,
        "models": {MODEL_NAME: model},
        "consent": _consent(options),
        "preview_jpeg": _jpeg(keyframes[0].rgb),
    }
    unmeasured = Avatar(manifest={}, report={}, **fields)
    listener.stage("measuring", 1.0)
    measured = measure_held_out(
        unmeasured, prepared, progress=lambda done, total: listener.advance(done / total)
    )
    training = {
        **asdict(record),
        "frames": prepared.tail_start,
        "held_out_frames": len(prepared.rgb) - prepared.tail_start,
        "framings": list(framings),
        "network": network.config.to_dict(),
    }
    variants: Mapping[str, Mapping[str, Any]] = {
        MODEL_NAME: {"precision": "fp32", "steps": 1, "parity": agreement}
    }
    fields["held_out"] = held_out_frames(prepared)
    fields["report_png"] = held_out_picture(measured, fields["name"], prepared.fps, training)
    return save_avatar(
        options.out, **fields, report=measured.report, training=training, variants=variants
    )


def _export(network: Denoiser, size: int) -> tuple[bytes, dict[str, Any]]:
    """The ONNX model and how well it agrees with torch. Raises RunnerError beyond the bound."""
    generator = torch.Generator().manual_seed(0)
    feeds = [
        {name: torch.rand(spec.shape, generator=generator) for name, spec in denoiser_inputs(size).items()}
        for _ in range(PARITY_FEEDS)
    ]
    model = export_onnx(network, feeds[0])
    agreement = parity(network, model, [{k: v.numpy() for k, v in feed.items()} for feed in feeds])
    return model, asdict(agreement)


def _consent(options: EnrollOptions) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    return {
        "who": options.statement.split(",")[0].strip(),
        "statement": options.statement.strip(),
        "date": now.date().isoformat(),
        "person": options.person,
    }


def _jpeg(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
