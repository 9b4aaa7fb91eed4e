"""Enrolment: footage to a finished avatar, in steps that read top to bottom.

Needs torch; LiteRT only to track videos, not to train from a prepared file. Knows nothing of the command
line; `export.commands.enroll` shows its progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import save_avatar
from engine.errors import RunnerError, SettingsError
from engine.files import sweep
from engine.network.contract import denoiser_inputs
from engine.network.denoiser import Denoiser, DenoiserConfig
from engine.network.network_check import checked_denoiser
from engine.provenance.consent import CLIP, sentence
from export.assembly import assembled
from export.convert.gate import held_out_frames
from export.convert.onnx_export import export_onnx, parity
from export.convert.variants import Variant, convert
from export.enroll_options import EnrollOptions
from export.evaluate.held_out import measure_held_out
from export.evaluate.report_sheets import held_out_picture
from export.footage.prepared import Identity, Prepared, learn_identity
from export.footage.prepared_file import Origin, load_prepared, save_prepared
from export.progress import Listener
from export.training.base_weights import BaseWeights, load_base, starting_network
from export.training.loop import TrainingProgress, pick_device
from export.training.train import TrainConfig, Trainer, TrainRecord
from export.training.training_set import TrainingSet
from export.work_folder import WorkFolder, remove_finished_work

MODEL_NAME = "denoiser-fp32.onnx"
PARITY_FEEDS = 3
# Of the time that INT8 takes, from and to, by the parts of export.convert.variants.convert.
_INT8_PARTS = {
    "posing": (0.0, 0.3),
    "converting": (0.3, 0.5),
    "quantising": (0.5, 0.7),
    "judging": (0.7, 0.9),
    "timing": (0.9, 1.0),
}


def enroll(options: EnrollOptions, listener: Listener) -> Avatar:
    """Makes the avatar and writes it. Interrupted, it can be called again and goes on where it was.

    Raises VideoError or FootageError for footage that will not do, SettingsError for contradictory settings.
    """
    started = perf_counter()
    pick_device(options.device)  # now, not after minutes of tracking
    if options.consent_clip is not None:
        from export.consent_clip import check_clip  # LiteRT, only where there is a clip to look at

        check_clip(options.consent_clip)  # now too
    base = load_base(options.base)  # now too
    sweep(options.out.parent)
    _refuse_existing(options.out)
    with WorkFolder(options, listener.warn) as work:
        _refuse_existing(options.out)  # it may have been made while this waited
        return _enroll(options, work, listener, started, base)


def _refuse_existing(out: Path) -> None:
    if out.exists():
        remove_finished_work(out)
        raise SettingsError(f"--out {out}: exists already; choose another name, or remove it first")


def _enroll(
    options: EnrollOptions, work: WorkFolder, listener: Listener, started: float, base: BaseWeights | None
) -> Avatar:
    prepared, origin = _prepared(options, work, listener)
    consent = _consent(options, prepared, listener)
    identity = learn_identity(prepared)
    listener.stage("building priors", 1.0)
    data = TrainingSet(prepared, identity, seed=7, progress=listener.advance)
    listener.advance(1.0)
    budget_s = work.training_budget_s(options.minutes * 60.0, perf_counter() - started)
    network = starting_network(DenoiserConfig(size=prepared.size), base)
    config = TrainConfig(budget_s, device=options.device)
    trainer = Trainer(config, network, work.checkpoint, warn=listener.warn)
    listener.stage("training", budget_s)
    record = trainer.run(
        data, data.validation(prepared, identity), lambda progress: _tell(listener, progress)
    )
    avatar = _package(options, consent, prepared, identity, trainer.result(), record, origin, listener)
    work.remove()
    return avatar


def _tell(listener: Listener, progress: TrainingProgress) -> None:
    listener.advance(progress.elapsed_s, f"{progress.steps} steps, loss {progress.loss:.4f}")


def _prepared(options: EnrollOptions, work: WorkFolder, listener: Listener) -> tuple[Prepared, Origin]:
    kept = work.kept_footage() if options.prepared is None else load_prepared(options.prepared)
    if kept is None:
        from export.footage.prepare import prepare_footage  # LiteRT, only where there is a video to track

        prepared, origin = prepare_footage(
            options.footage, options.framing, options.size, listener, options.voice, options.voice_print
        )
        work.keep()
        save_prepared(work.prepared, prepared, origin)
        return prepared, origin
    prepared, origin = kept
    if options.size not in (None, prepared.size):
        raise SettingsError(
            f"--size {options.size}: {options.prepared or work.prepared} holds {prepared.size} px; "
            "leave --size out, or prepare again"
        )
    for warning in origin.warnings:
        listener.warn(warning)
    return prepared, origin


def _package(
    options: EnrollOptions,
    consent: Mapping[str, Any],
    prepared: Prepared,
    identity: Identity,
    network: Denoiser,
    record: TrainRecord,
    origin: Origin,
    listener: Listener,
) -> Avatar:
    """Exports, measures on the held-out tail, and writes the avatar: all or nothing."""
    listener.stage("exporting", 1.0)
    model, agreement = _export(network, prepared.size)
    listener.advance(1.0)
    if not options.voice:
        prepared = replace(prepared, voice=None)
    elif prepared.voice is not None and not options.voice_print:  # prepared when the consent named it
        prepared = replace(prepared, voice=replace(prepared.voice, print=None))
    unmeasured = replace(
        assembled(options.out.stem, prepared, identity, {MODEL_NAME: model}, consent),
        held_out=tuple(held_out_frames(prepared)),
    )
    listener.stage("measuring", 1.0)
    measured = measure_held_out(
        unmeasured, prepared, progress=lambda done, total: listener.advance(done / total)
    )
    training = {
        **asdict(record),
        "frames": prepared.tail_start,
        "held_out_frames": len(prepared.rgb) - prepared.tail_start,
        **origin.to_dict(),
        "network": network.config.to_dict(),
        "base": Path(options.base).name,
    }
    variants: dict[str, dict[str, Any]] = {MODEL_NAME: {"precision": "fp32", "steps": 1, "parity": agreement}}
    models = dict(unmeasured.models)
    if (int8 := _int8(unmeasured, network, listener)) is not None:
        models[int8.name] = int8.model
        variants[int8.name] = int8.facts
    finished = replace(
        unmeasured,
        models=models,
        variants=variants,
        training=training,
        report=measured.report | ({} if origin.sound is None else {"sound": dict(origin.sound)}),
        report_png=held_out_picture(measured, unmeasured.name, prepared.fps, training),
    )
    return save_avatar(options.out, finished)


def _export(network: Denoiser, size: int) -> tuple[bytes, dict[str, Any]]:
    """The ONNX model and how well it agrees with torch. Raises RunnerError beyond the bound."""
    generator = torch.Generator().manual_seed(0)
    feeds = [
        {name: torch.rand(spec.shape, generator=generator) for name, spec in denoiser_inputs(size).items()}
        for _ in range(PARITY_FEEDS)
    ]
    model = checked_denoiser(export_onnx(network, feeds[0]), size)  # as it will load
    agreement = parity(network, model, [{k: v.numpy() for k, v in feed.items()} for feed in feeds])
    return model, asdict(agreement)


def _int8(avatar: Avatar, network: Denoiser, listener: Listener) -> Variant | None:
    """The network as CPUs run it fastest; None, and a word about it, where it does not pass its gate."""
    listener.stage("quantising", 1.0)

    def tell(part: str, share: float) -> None:
        start, end = _INT8_PARTS[part]
        listener.advance(start + share * (end - start), part)

    try:
        variant = convert(avatar, network, "onnx-int8", avatar.held_out, tell)
    except RunnerError as error:
        listener.warn(f"kept in float32 alone, since {str(error).partition(': ')[0]}")
        return None
    listener.advance(1.0)
    return variant


def _consent(options: EnrollOptions, prepared: Prepared, listener: Listener) -> dict[str, Any]:
    """Who agreed, to what, when, and what the clip shows in which they say so, if there is one."""
    consent: dict[str, Any] = {
        "who": options.statement.split(",")[0].strip(),
        "statement": options.statement.strip(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "person": options.person,
    }
    if options.consent_clip is None:
        return consent
    from export.consent_clip import consent_record, warning_of

    listener.stage("consent", 1.0)
    record = consent_record(options.consent_clip, sentence(options.statement), prepared)
    listener.advance(1.0)
    if warning := warning_of(record):
        listener.warn(warning)
    return {**consent, CLIP: record}
