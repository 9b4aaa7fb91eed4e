"""Training batches: what the network will see live, built from prepared footage.

The previous output that a batch is given is the network's own earlier output for that frame, kept in a store:
a roll-out on its own pictures that costs no extra pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import FloatArray, U8Image
from engine.person import topology as topo
from engine.person.landmarks import VISIBLE, Landmarks
from engine.person.motion import motion_of
from engine.render.guidance import GuidancePainter
from engine.render.keyframes import region_features
from engine.render.planes import to_picture, to_planes
from engine.render.prior import PriorBuilder
from engine.render.sampler import STEADY_LEVEL
from engine.render.temporal_cache import warm_start
from engine.render.warp import remap
from export.footage.prepared import Identity, Prepared

AWAY_FRAMES = 30  # a key frame nearer in time than this would hand over the answer
DAMAGED = 0.1  # share of the samples whose prior is spoilt, so that it is not copied blindly
STARTING, STARTED = 0.15, 0.1  # shares of fresh starts and of the steps after them; the rest are steady
# Moved, turned and scaled samples: without them the network learns by heart where the torso was in the
# footage, and on unseen frames loses 2 dB against the plain prior.
MOVED = 0.6  # share of the samples
MOVE_SHIFT, MOVE_TURN_DEG, MOVE_SCALE = 0.08, 5.0, 0.07  # of the canvas; degrees; ratio
VALIDATION_FRAMES = 24
REGION_WEIGHT = 2.0  # extra weight of mouth, eyes and hands in the loss
_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples, float32; pictures are in [-1, 1]."""

    frames: NDArray[np.intp]  # (B,)
    moved: NDArray[np.bool_]  # (B,) shifted, turned and scaled as a whole
    noisy: FloatArray  # (B, 3, S, S)
    prior: FloatArray  # (B, 3, S, S)
    guidance: FloatArray  # (B, 8, S/2, S/2), 0..1
    level: FloatArray  # (B,) 0..1
    clean: FloatArray  # (B, 3, S, S)
    weight: FloatArray  # (B, 1, S, S)
    boxes: FloatArray  # (B, 5, 4) px, x0 y0 x1 y1 of mouth, eyes and hands; what does not show has no extent

    def sample(self, index: int) -> Batch:
        """The batch of that one sample."""
        return Batch(*(getattr(self, field.name)[index : index + 1] for field in fields(self)))

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """All samples of `batches`, in their order."""
        return cls(*(np.concatenate([getattr(b, field.name) for b in batches]) for field in fields(cls)))


class TrainingSet:
    """Draws batches from the frames before the held-out tail."""

    def __init__(
        self,
        prepared: Prepared,
        identity: Identity,
        seed: int,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """progress is called with 0..1 while priors and guidance are made."""
        self._rng = np.random.default_rng(seed)
        end = prepared.tail_start
        retargeter = identity.retargeter()
        self.targets = [
            retargeter.target(motion_of(frame, identity.neutral)) for frame in prepared.landmarks[:end]
        ]
        self._builder = PriorBuilder(
            identity.keys, identity.neutral, identity.plate, bare_torso=identity.bare_torso
        )
        painter = GuidancePainter(prepared.size)
        self._clean = prepared.rgb[:end]
        self._shot = prepared.shot
        self._usable = np.flatnonzero([frame.face_confidence > 0 for frame in prepared.landmarks[:end]])
        size = prepared.size
        self._guidance = np.zeros((end, size // 2, size // 2, 8), np.uint8)
        self._priors = np.zeros((2, end, size, size, 3), np.uint8)
        bank = np.array(identity.bank)
        for done, index in enumerate(self._usable):
            target = self.targets[index]
            self._guidance[index] = painter.draw(target)
            near = np.abs(bank - index) < AWAY_FRAMES
            sparse = near | (self._rng.random(len(bank)) < 0.5)
            for variant, forbidden in enumerate((near, near if sparse.all() else sparse)):
                self._builder.chooser.forget()
                allowed = None if forbidden.all() else forbidden
                self._priors[variant, index] = self._builder.build(target, allowed).rgb
            if progress and done % 10 == 0:
                progress(done / len(self._usable))
        self._own_output = self._priors[0].copy()
        self._chances = _rarity(self.targets, self._usable, identity)

    def validation(self, prepared: Prepared, identity: Identity) -> Batch:
        """A fixed batch from the held-out tail: steady first steps without a previous picture."""
        tail = [
            index
            for index in range(prepared.tail_start, len(prepared.rgb))
            if prepared.landmarks[index].face_confidence > 0
        ]
        chosen = np.array(tail)[np.linspace(0, len(tail) - 1, min(VALIDATION_FRAMES, len(tail))).astype(int)]
        retargeter, painter = identity.retargeter(), GuidancePainter(prepared.size)
        noise = np.random.default_rng(0).standard_normal((3, prepared.size, prepared.size)).astype(np.float32)
        samples = []
        for index in chosen:
            target = retargeter.target(motion_of(prepared.landmarks[index], identity.neutral))
            self._builder.chooser.forget()
            prior = self._builder.build(target).rgb
            guidance = painter.draw(target).copy()
            clean, weight = prepared.rgb[index], np.ones(prior.shape[:2], np.float32)
            boxes = _region_boxes(target, prepared.size)
            samples.append(_Sample(prior, prior, guidance, clean, weight, noise, STEADY_LEVEL, boxes))
        return _stack(chosen, np.zeros(len(chosen), bool), samples)

    def __len__(self) -> int:
        return len(self._usable)

    def remember(self, batch: Batch, output: FloatArray) -> None:
        """Stores the network's output (B, 3, S, S), [-1, 1], as what it last made of the batch's frames."""
        own = ~batch.moved
        self._own_output[batch.frames[own]] = to_picture(output[own])

    def draw(self, size: int) -> Batch:
        """A batch of `size` samples; rare poses are drawn more often than common ones."""
        frames = self._rng.choice(self._usable, size, p=self._chances)
        moved = self._rng.random(size) < MOVED
        return _stack(
            frames, moved, [self._sample(int(f), bool(m)) for f, m in zip(frames, moved, strict=True)]
        )

    def _sample(self, frame: int, moved: bool) -> _Sample:
        """One sample for training."""
        prior = self._priors[int(self._rng.random() < 0.35), frame]
        kind = self._rng.random()
        level = float(self._rng.uniform(0.7 * STEADY_LEVEL, 0.6))
        if kind < STARTING:
            level, start = float(self._rng.uniform(0.6, 1.0)), prior
        elif kind < STARTING + STARTED:
            start = self._first_guess(frame, prior)
        else:
            start = warm_start(prior, self._previous(frame))
        if self._rng.random() < DAMAGED:
            prior = self._damaged(prior)
        boxes = _region_boxes(self.targets[frame], prior.shape[0])
        weight = _weight_of(boxes, prior.shape[0])
        noise = self._rng.standard_normal((3, *prior.shape[:2]), np.float32)
        sample = _Sample(start, prior, self._guidance[frame], self._clean[frame], weight, noise, level, boxes)
        return self._moved(sample) if moved else sample

    def _first_guess(self, frame: int, prior: U8Image) -> U8Image:
        """What the step from pure noise may leave as the warm start of the next.

        The network's own output, made as poor as on unseen frames: on those it trains on a step is better
        than it will ever be live, and one that only knew such guesses would pass them on.
        """
        own = float(self._rng.uniform(0.2, 1.0))
        guess = cv2.addWeighted(self._own_output[frame], own, prior, 1.0 - own, 0)
        return self._damaged(guess) if self._rng.random() < 0.25 else np.asarray(guess, np.uint8)

    def _moved(self, sample: _Sample) -> _Sample:
        """The sample with its pictures and maps shifted, turned and scaled alike; the noise stays."""
        shift = self._rng.uniform(-MOVE_SHIFT, MOVE_SHIFT, 2)
        turn = float(self._rng.uniform(-MOVE_TURN_DEG, MOVE_TURN_DEG))
        scale = float(self._rng.uniform(1 - MOVE_SCALE, 1 + MOVE_SCALE))

        def move(part: NDArray[Any]) -> NDArray[Any]:
            return _transformed(part, _transformation(part.shape[0], shift, turn, scale))

        side = sample.prior.shape[0]
        return replace(
            sample,
            start=move(sample.start),
            prior=move(sample.prior),
            guidance=move(sample.guidance),
            clean=move(sample.clean),
            weight=move(sample.weight),
            boxes=_moved_boxes(sample.boxes, _transformation(side, shift, turn, scale), side),
        )

    def _previous(self, frame: int) -> U8Image:
        """The network's own picture of an earlier frame, warped; sometimes stale, blurred or off colour."""
        back = 1 if self._rng.random() < 0.8 else int(self._rng.integers(2, 8))
        earlier = frame - back
        if earlier < 0 or self._shot[earlier] != self._shot[frame] or self._rng.random() < 0.1:
            return np.asarray(self._priors[0, frame])
        flow = self._builder.flow_between(self.targets[earlier], self.targets[frame])
        picture = remap(self._own_output[earlier], flow)
        return self._damaged(picture) if self._rng.random() < 0.2 else picture

    def _damaged(self, picture: U8Image) -> U8Image:
        kind = self._rng.integers(3)
        if kind == 0:
            return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(self._rng.uniform(0.8, 2.5))))
        if kind == 1:
            gain = self._rng.uniform(0.85, 1.15, 3)
            return np.clip(picture * gain + self._rng.uniform(-12, 12), 0, 255).astype(np.uint8)
        shift = np.array([[1, 0, self._rng.uniform(-3, 3)], [0, 1, self._rng.uniform(-3, 3)]], np.float32)
        side = picture.shape[0]
        return np.asarray(cv2.warpAffine(picture, shift, (side, side), borderMode=cv2.BORDER_REPLICATE))


@dataclass(frozen=True, slots=True)
class _Sample:
    start: U8Image  # (S, S, 3)
    prior: U8Image
    guidance: U8Image  # (S/2, S/2, 8)
    clean: U8Image
    weight: FloatArray  # (S, S)
    noise: FloatArray  # (3, S, S)
    level: float
    boxes: FloatArray  # (5, 4)


def _stack(frames: NDArray[np.intp], moved: NDArray[np.bool_], samples: list[_Sample]) -> Batch:
    level = np.array([sample.level for sample in samples], np.float32)
    start = to_planes(np.stack([sample.start for sample in samples]))
    noise = np.stack([sample.noise for sample in samples])
    guidance = np.stack([sample.guidance for sample in samples]).transpose(0, 3, 1, 2)
    return Batch(
        frames=frames,
        moved=moved,
        noisy=start + level[:, None, None, None] * (noise - start),
        prior=to_planes(np.stack([sample.prior for sample in samples])),
        guidance=np.ascontiguousarray(guidance, np.float32) / np.float32(255),
        level=level,
        clean=to_planes(np.stack([sample.clean for sample in samples])),
        weight=np.stack([sample.weight for sample in samples])[:, None],
        boxes=np.stack([sample.boxes for sample in samples]),
    )


def _region_boxes(target: Landmarks, side: int) -> FloatArray:
    """(5, 4) px: x0 y0 x1 y1 of mouth, both eyes and both hands on the canvas; a hidden hand has zeros."""
    parts = [target.face[topo.LIPS_OUTER], *(target.face[eye] for eye in topo.EYES), *target.hands]
    shown = np.concatenate([np.ones(3, bool), target.hand_confidence > VISIBLE])
    boxes = np.zeros((len(parts), 4), np.float32)
    for box, points, visible in zip(boxes, parts, shown, strict=True):
        if visible:
            low, high = points[:, :2].min(0), points[:, :2].max(0)
            pad = 0.2 * (high - low) + 2
            box[:] = np.clip(np.concatenate([low - pad, high + pad]), 0, side)
    return boxes


def _weight_of(boxes: FloatArray, side: int) -> FloatArray:
    """(S, S) weight of each pixel in the loss: mouth, eyes and hands count more."""
    weight = np.ones((side, side), np.float32)
    for x0, y0, x1, y1 in boxes.astype(int):
        weight[y0:y1, x0:x1] = 1.0 + REGION_WEIGHT
    return weight


def _transformation(side: int, shift: NDArray[np.float64], turn: float, scale: float) -> NDArray[np.float64]:
    """(2, 3) affine map about the middle. shift: (2,) share of the side; turn: degrees."""
    middle = (side - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), turn, scale))
    matrix[:, 2] += shift * side
    return matrix


def _transformed(part: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[Any]:
    """A picture or map (S, S) or (S, S, C), mapped; edges are continued."""
    side = part.shape[0]
    # OpenCV takes four channels at a time.
    groups = [part] if part.ndim == 2 else [part[..., i : i + 4] for i in range(0, part.shape[2], 4)]
    moved = [
        cv2.warpAffine(np.ascontiguousarray(g), matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        for g in groups
    ]
    return moved[0] if len(moved) == 1 else np.concatenate(moved, axis=2)


def _moved_boxes(boxes: FloatArray, matrix: NDArray[np.float64], side: int) -> FloatArray:
    """(5, 4) px: the boxes' centres mapped, their sizes kept: turns and scales are small."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    moved = centre @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(np.clip(np.concatenate([moved - half, moved + half], 1), 0, side), np.float32)


def _rarity(targets: list[Landmarks], usable: NDArray[np.intp], identity: Identity) -> FloatArray:
    """Chance (len(usable),) of drawing each frame: the emptier around it, the likelier, at most six to 1."""
    features = [region_features(targets[index], identity.neutral) for index in usable]
    table = np.stack(
        [np.concatenate([f["head"], f["mouth"], f["eye_left"], f["eye_right"]]) for f in features]
    )
    squares = (table**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * table @ table.T, 0))
    nearest = np.sort(distances, axis=1)[:, 1 : _NEIGHBOURS + 1].mean(1)
    chance = np.clip(nearest / np.median(nearest), 0.5, 3.0)
    return np.asarray(chance / chance.sum())
