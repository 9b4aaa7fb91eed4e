"""From recordings to the networks that come with avatarcast. A step that is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.arrays import FloatArray
from engine.files import write_file
from export.training.loop import LoopConfig
from export.voice.base import BaseRecord, train_base
from export.voice.expert import STEPS, ExpertRecord, train_expert
from export.voice.phones import align
from export.voice.speech import speech_files
from export.voice.student import StudentRecord, exported, prepare, train_student
from export.voice.teacher import Teacher, encoder_file
from export.voice.virtual import load_spoken, prepare_spoken

BATCH, RATE = 12, 3e-3


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """How all three came about."""

    student: StudentRecord
    base: BaseRecord
    expert: ExpertRecord


def train_voice(
    speech: Path,
    out: Path,
    minutes: float,
    encoder: Path | None,
    told: Callable[[str, float, float, str], None],
) -> VoiceRecord:
    """Writes student.npz, base.npz, expert.npz and record.json to `out`, below `work` what they are made of.

    speech: folder of recordings; minutes: for the student; told: stage, done, total, unit. Raises
    SettingsError, and ModuleNotFoundError for what is missing to build.
    """
    torch.set_num_threads(1)
    files, encoder = speech_files(speech), encoder_file(encoder)
    folders = {name: out / "work" / name for name in ("teacher", "phones")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(encoder)
    prepare(files, folders["teacher"], teacher, lambda done, total: told("teacher", done, total, "files"))
    align(
        files, folders["phones"], teacher, encoder, lambda done, total: told("phones", done, total, "files")
    )
    config = LoopConfig(minutes * 60.0, BATCH, RATE, seed=0)
    net, _, student = train_student(
        folders["teacher"],
        out / "work" / "student.pt",
        config,
        lambda now: told("student", now.elapsed_s, now.budget_s, "s"),
    )
    weights = exported(net)
    digest = sha256(_packed(weights)).hexdigest()[:12]  # another student hears other rows
    folders["spoken"] = out / "work" / f"spoken-{digest}"
    folders["spoken"].mkdir(exist_ok=True)
    prepare_spoken(
        files,
        folders["phones"],
        folders["spoken"],
        weights,
        lambda done, total: told("speakers", done, total, "files"),
    )
    spoken = load_spoken(folders["spoken"])
    base, record = train_base(spoken)
    expert, judged = train_expert(spoken, STEPS, lambda done, total: told("expert", done, total, "steps"))
    write_file(out / "student.npz", _packed(weights))
    write_file(out / "base.npz", _packed({name: array.astype(np.float16) for name, array in base.items()}))
    write_file(
        out / "expert.npz", _packed({name: array.astype(np.float16) for name, array in expert.items()})
    )
    all_ = VoiceRecord(student, record, judged)
    write_file(out / "record.json", json.dumps(asdict(all_), indent=1).encode() + b"\n")
    return all_


def _packed(arrays: dict[str, FloatArray] | dict[str, NDArray[np.float16]]) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
