"""Trains the student: a causal network that gives, 80 ms late, what the teacher hears in whole utterances.

Distillation of features (Hinton et al., arXiv:1503.02531), onto the teacher's principal components. The
recordings reach the student through rooms, noise and codecs and the teacher clean, so the student learns to
hear through them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from engine.arrays import FloatArray
from engine.files import write_file
from engine.voice.mel import MELS, Levelling, led, log_mel
from engine.voice.student import CHANNELS, DELAY, DILATIONS, FEATURES, HIDDEN, KERNEL, STACK, STEP_S
from export.training.checkpoint import load_state, save_state
from export.training.loop import LoopConfig, TrainingLoop, TrainingProgress
from export.voice.speech import SPEEDS, as_it_came, at_speed, clean_speech
from export.voice.teacher import Teacher, at_rate

HEARD = 3  # versions of each recording: clean, and so many less one as they might have come
CROP = 400  # steps of the student: 8 s
WARM = 40  # steps of a crop that are not judged
HELD_OUT = 0.06  # of the recordings, to say how well it does


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording at one speed."""

    mels: FloatArray  # (HEARD, 2 n, 40) float16, log power
    target: FloatArray  # (n, 288) float16, the teacher's


def prepare(files: Sequence[Path], folder: Path, teacher: Teacher, told: Callable[[int, int], None]) -> None:
    """Writes each recording's frames and targets to `folder`; those that are there are left."""
    for number, path in enumerate(files):
        rng = np.random.default_rng(crc32(path.name.encode()))
        others = clean_speech(files[int(rng.integers(len(files)))])
        for name, speed in (("", 1.0), ("-sped", rng.uniform(*SPEEDS))):
            kept = folder / f"{path.stem}{name}.npz"
            if not kept.exists():
                clean = clean_speech(path)
                clean = clean if speed == 1.0 else at_speed(clean, speed)
                heard = [clean, *(as_it_came(clean, others, rng) for _ in range(HEARD - 1))]
                mels = np.stack([log_mel(led(samples)) for samples in heard])
                count = mels.shape[1] // STACK
                target = at_rate(teacher.features(clean), count, STEP_S)
                buffer = BytesIO()
                np.savez(
                    buffer, mels=mels[:, : STACK * count].astype(np.float16), target=target.astype(np.float16)
                )
                write_file(kept, buffer.getvalue())
        told(number + 1, len(files))


def load_prepared(folder: Path) -> list[Utterance]:
    """All recordings in `folder`, by name."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            found.append(Utterance(stored["mels"], stored["target"]))
    return found


@dataclass(frozen=True, slots=True)
class Components:
    """The teacher's principal components, whitened: what the student gives. F = 288."""

    mean: FloatArray  # (F,)
    scale: FloatArray  # (F,)
    axes: FloatArray  # (F, FEATURES)
    share: FloatArray  # (FEATURES,) of the variance that they hold, summing to 1

    def of(self, target: FloatArray) -> FloatArray:
        """(n, F) of the teacher as (n, FEATURES), each of variance 1."""
        return np.asarray(((target - self.mean) / self.scale) @ self.axes, np.float32)


def components_of(utterances: Sequence[Utterance]) -> tuple[Components, float]:
    """The components, and the share of the teacher's variance that they keep."""
    rows = np.concatenate([u.target for u in utterances]).astype(np.float32)
    mean, scale = rows.mean(0), rows.std(0) + 1e-3
    rows = (rows - mean) / scale
    variance, axes = np.linalg.eigh((rows.T @ rows / len(rows)).astype(np.float64))
    variance, axes = variance[::-1], axes[:, ::-1]
    kept = variance[:FEATURES]
    return Components(
        mean,
        scale,
        (axes[:, :FEATURES] / np.sqrt(kept)).astype(np.float32),
        (kept / kept.sum()).astype(np.float32),
    ), float(kept.sum() / variance.sum())


class Block(nn.Module):
    """A depthwise causal convolution and two pointwise ones around a SiLU, added to what came in."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.reach = (KERNEL - 1) * dilation
        self.depthwise = nn.Conv1d(CHANNELS, CHANNELS, KERNEL, dilation=dilation, groups=CHANNELS)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.wide = nn.Conv1d(CHANNELS, HIDDEN, 1)
        self.narrow = nn.Conv1d(HIDDEN, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, CHANNELS, T)."""
        y = self.norm(self.depthwise(nn.functional.pad(x, (self.reach, 0))))
        out: Tensor = x + self.narrow(nn.functional.silu(self.wide(y)))
        return out


class StudentNet(nn.Module):
    """See engine.voice.student, which runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Conv1d(STACK * MELS, CHANNELS, 1)
        self.blocks = nn.ModuleList([Block(dilation) for dilation in DILATIONS])
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.head = nn.Conv1d(CHANNELS, FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, STACK * MELS, T) levelled; (B, FEATURES, T), of DELAY steps earlier."""
        x = self.into(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.norm(x))
        return out


def batch_of(
    utterances: Sequence[Utterance],
    components: Components,
    count: int,
    rng: np.random.Generator,
    rough: bool = True,
) -> tuple[Tensor, Tensor]:
    """(count, STACK * MELS, CROP), and the target (count, FEATURES, CROP). rough: as it may come."""
    mels, targets = [], []
    for _ in range(count):
        one = utterances[int(rng.integers(len(utterances)))]
        mel = one.mels[int(rng.integers(HEARD)) if rough else 0].astype(np.float32)
        target = one.target.astype(np.float32)
        start = int(rng.integers(0, max(1, len(target) - CROP + 1)))
        mel, target = mel[STACK * start : STACK * (start + CROP)], target[start : start + CROP]
        short = CROP - len(target)
        mel = np.pad(mel, ((STACK * short, 0), (0, 0)), mode="edge")
        target = np.pad(target, ((short, 0), (0, 0)), mode="edge")
        if rough:
            mel = _of_another_throat(mel, rng) + rng.normal(0.0, 1.0) + np.cumsum(rng.normal(0.0, 0.12, MELS))
            if rng.random() < 0.3:
                mel = np.logaddexp(mel, rng.uniform(-16.0, -10.0) + rng.normal(0.0, 0.5, mel.shape))
        mels.append(mel)
        targets.append(components.of(target))
    levelled = Levelling(count).push(np.stack(mels).astype(np.float32))
    stacked = levelled.reshape(count, CROP, STACK * MELS)
    return torch.from_numpy(stacked).transpose(1, 2), torch.from_numpy(np.stack(targets)).transpose(1, 2)


def _of_another_throat(mel: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Formants moved by up to a tenth (vocal tract length perturbation, Jaitly and Hinton, 2013)."""
    at = np.clip(np.arange(MELS) * rng.uniform(0.9, 1.1), 0.0, MELS - 1.001)
    low = at.astype(int)
    share = (at - low).astype(np.float32)
    return np.asarray((1.0 - share) * mel[:, low] + share * mel[:, low + 1], np.float32)


def unexplained(given: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """Share of the target's variance that is not given, over a batch; 1 is a guess of the mean."""
    judged = (given[..., WARM + DELAY :] - target[..., WARM:-DELAY]) ** 2
    return (judged.mean((0, 2)) * share).sum()


@dataclass(frozen=True, slots=True)
class StudentRecord:
    """How the student came about."""

    steps: int
    seconds: float
    recordings: int
    teacher_kept: float  # share of the teacher's variance in the components
    unexplained: float  # of the components, on recordings that were held out, clean
    unexplained_rough: float  # the same as it might have come


def train_student(
    folder: Path, checkpoint: Path, config: LoopConfig, told: Callable[[TrainingProgress], None]
) -> tuple[StudentNet, Components, StudentRecord]:
    """folder: see `prepare`. Goes on from `checkpoint`; gives the network in evaluation mode."""
    found = load_prepared(folder)
    held = max(2, int(HELD_OUT * len(found))) // 2 * 2  # both speeds of a recording stand together
    kept_back, used = found[:held], found[held:]
    components, kept = components_of(used)
    share = torch.from_numpy(components.share)
    torch.manual_seed(config.seed)
    net = StudentNet()
    optimiser = torch.optim.AdamW(net.parameters(), config.learning_rate, weight_decay=1e-2)
    loop = TrainingLoop(config.budget_s)
    shape = {"channels": CHANNELS, "dilations": list(DILATIONS), "recordings": len(used)}
    if state := load_state(checkpoint, shape, torch.device("cpu")):
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        loop.state = state["loop"]
    rng = np.random.default_rng([config.seed, loop.steps])

    def step() -> float:
        left = 1.0 - min(loop.elapsed_s / config.budget_s, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * min(1.0, (loop.steps + 1) / 50) * max(0.02, left)
        net.train()
        heard, target = batch_of(used, components, config.batch, rng)
        loss = unexplained(net(heard), target, share)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        return float(loss.detach())

    def save() -> None:
        state = {
            "shape": shape,
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "loop": loop.state,
        }
        save_state(checkpoint, state)

    loop.run(step, lambda: None, save, told)
    net.eval()
    judged = []
    with torch.no_grad():
        for rough in (False, True):
            heard, target = batch_of(kept_back, components, 48, np.random.default_rng(7), rough)
            judged.append(float(unexplained(net(heard), target, share)))
    record = StudentRecord(loop.steps, loop.elapsed_s, len(used), kept, *judged)
    return net, components, record


def exported(net: StudentNet) -> dict[str, FloatArray]:
    """The weights as engine.voice.student reads them: norms folded in, big ones INT8 with a scale a row."""
    arrays: dict[str, FloatArray] = {}

    def put(name: str, weight: Tensor, bias: Tensor) -> None:
        rows = weight.detach().double().numpy()
        scale = np.abs(rows).max(1) / 127.0 + 1e-12
        arrays[f"{name}.int8"] = np.round(rows / scale[:, None]).astype(np.int8)
        arrays[f"{name}.scale"] = scale.astype(np.float32)
        arrays[f"{name}.bias"] = bias.detach().numpy().astype(np.float32)

    def folded(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return gain, norm.bias - gain * norm.running_mean

    put("into", net.into.weight[..., 0], net.into.bias)  # type: ignore[arg-type]
    for number, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        gain, shift = folded(block.norm)
        depthwise = block.depthwise.weight[:, 0] * gain[:, None]
        bias = block.depthwise.bias * gain + shift  # type: ignore[operator]
        arrays[f"{number}.depthwise"] = depthwise.detach().numpy().T.astype(np.float32)
        arrays[f"{number}.depthwise_bias"] = bias.detach().numpy().astype(np.float32)
        put(f"{number}.wide", block.wide.weight[..., 0], block.wide.bias)  # type: ignore[arg-type]
        put(f"{number}.narrow", block.narrow.weight[..., 0], block.narrow.bias)  # type: ignore[arg-type]
    gain, shift = folded(net.norm)
    head = net.head.weight[..., 0]
    put("head", head * gain, net.head.bias + head @ shift)  # type: ignore[operator]
    return arrays
