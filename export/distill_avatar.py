"""Distils an avatar's network on its own footage; the file is changed once the student has passed the gate.

Knows nothing of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engine.avatar.avatar import Avatar
from engine.avatar.beside import distillation_path
from export.convert.gate import held_out_frames
from export.convert.put_variant import put_variant
from export.convert.variants import Variant, convert, network_of
from export.footage.prepare import prepare_again
from export.footage.prepared import learn_identity
from export.progress import StageShareDone
from export.training.distill import DistillConfig, Distiller
from export.training.training_set import TrainingSet


def distill_avatar(
    path: Path, avatar: Avatar, footage: Sequence[Path], minutes: float, progress: StageShareDone
) -> tuple[Variant, list[str]]:
    """Puts the student in the place of the avatar's float32 network; gives it and the variants it drove out.

    footage: what the avatar was enrolled from. Interrupted, it can be called again and goes on where it was.
    Raises RunnerError when no student is sharper within the bound, or the gate refuses it.
    """
    prepared = prepare_again(
        avatar, footage, lambda stage, done, total: progress(stage, done / max(total, 1))
    )
    identity = learn_identity(prepared)
    data = TrainingSet(prepared, identity, seed=7, progress=lambda done: progress("building priors", done))
    checkpoint = distillation_path(path)
    distiller = Distiller(DistillConfig(minutes * 60.0), network_of(avatar), checkpoint)
    record = distiller.run(
        data,
        data.validation(prepared, identity),
        lambda now: progress("distilling", min(now.elapsed_s / now.budget_s, 1.0)),
    )
    frames = avatar.held_out or held_out_frames(prepared)
    student = convert(avatar, distiller.result(), "onnx", frames, progress)
    student.facts["distillation"] = asdict(record)
    dropped = put_variant(path, avatar, student, () if avatar.held_out else frames)
    checkpoint.unlink()
    return student, dropped
