"""Training batches: what the network will see live, built from prepared footage.

The previous output that a batch is given is the network's own earlier output for that frame, kept in a store:
a roll-out on its own pictures that costs no extra pass. Knows nothing of optimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import topology as topo
from engine.guidance import GuidancePainter
from engine.keyframes import region_features
from engine.landmarks import Landmarks
from engine.motion import VISIBLE, motion_of
from engine.prior import PriorBuilder
from engine.sampler import REFINE_LEVELS, STEADY_LEVEL
from engine.temporal_cache import PREVIOUS_WEIGHT
from engine.warp import sample as fetch
from export.prepared import Identity, Prepared

U8Image = NDArray[np.uint8]
FloatArray = NDArray[np.float32]

AWAY_FRAMES = 30  # a key frame nearer in time than this would hand over the answer
DAMAGED = 0.1  # share of the samples whose prior is spoilt, so that it is not copied blindly
REFINING, STARTING = 0.25, 0.15  # shares of later steps and of fresh starts; the rest are steady first steps
REGION_WEIGHT = 2.0  # extra weight of mouth, eyes and hands in the loss
_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples, float32; pictures are in [-1, 1]."""

    frames: NDArray[np.intp]  # (B,)
    noisy: FloatArray  # (B, 3, S, S)
    prior: FloatArray  # (B, 3, S, S)
    guidance: FloatArray  # (B, 8, S/2, S/2), 0..1
    level: FloatArray  # (B,) 0..1
    clean: FloatArray  # (B, 3, S, S)
    weight: FloatArray  # (B, 1, S, S)


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
        self._builder = PriorBuilder(identity.keys, identity.neutral, identity.plate)
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

    def __len__(self) -> int:
        return len(self._usable)

    def remember(self, frames: NDArray[np.intp], output: FloatArray) -> None:
        """Stores the network's output (B, 3, S, S), [-1, 1], as what it last made of these frames."""
        pictures = np.clip((output + 1.0) * 127.5, 0, 255).astype(np.uint8)
        self._own_output[frames] = pictures.transpose(0, 2, 3, 1)

    def draw(self, size: int) -> Batch:
        """A batch of `size` samples; rare poses are drawn more often than common ones."""
        frames = self._rng.choice(self._usable, size, p=self._chances)
        samples = [self._sample(int(frame)) for frame in frames]
        noisy, prior, level = zip(*samples, strict=True)
        return Batch(
            frames=frames,
            noisy=np.stack(noisy),
            prior=np.stack(prior),
            guidance=np.ascontiguousarray(self._guidance[frames].transpose(0, 3, 1, 2), np.float32)
            / np.float32(255),
            level=np.array(level, np.float32),
            clean=_planes(self._clean[frames]),
            weight=np.stack([self._weight(self.targets[frame]) for frame in frames])[:, None],
        )

    def _sample(self, frame: int) -> tuple[FloatArray, FloatArray, float]:
        """noisy, prior (3, S, S) and the noise level of one sample."""
        prior = self._priors[int(self._rng.random() < 0.35), frame]
        kind = self._rng.random()
        if kind < REFINING:
            level = float(self._rng.uniform(0.5 * REFINE_LEVELS[-1], 0.8 * STEADY_LEVEL))
            start = self._own_output[frame]
        elif kind < REFINING + STARTING:
            level, start = float(self._rng.uniform(0.6, 1.0)), prior
        else:
            level = float(self._rng.uniform(0.7 * STEADY_LEVEL, 0.6))
            start = cv2.addWeighted(prior, 1 - PREVIOUS_WEIGHT, self._previous(frame), PREVIOUS_WEIGHT, 0)
        if self._rng.random() < DAMAGED:
            prior = self._damaged(prior)
        noise = self._rng.standard_normal((3, *prior.shape[:2]), np.float32)
        clean = _planes(start[None])[0]
        return clean + np.float32(level) * (noise - clean), _planes(prior[None])[0], level

    def _previous(self, frame: int) -> U8Image:
        """The network's own picture of an earlier frame, warped; sometimes stale, blurred or off colour."""
        back = 1 if self._rng.random() < 0.8 else int(self._rng.integers(2, 8))
        earlier = frame - back
        if earlier < 0 or self._shot[earlier] != self._shot[frame] or self._rng.random() < 0.1:
            return np.asarray(self._priors[0, frame])
        flow = self._builder.flow_between(self.targets[earlier], self.targets[frame])
        picture = fetch(self._own_output[earlier], flow)
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

    def _weight(self, target: Landmarks) -> FloatArray:
        """(S, S) weight of each pixel in the loss: mouth, eyes and hands count more."""
        side = self._clean.shape[1]
        weight = np.ones((side, side), np.float32)
        parts = [target.face[topo.LIPS_OUTER], *(target.face[eye] for eye in topo.EYES)]
        parts += [
            hand for hand, seen in zip(target.hands, target.hand_confidence, strict=True) if seen > VISIBLE
        ]
        for points in parts:
            low, high = points[:, :2].min(0), points[:, :2].max(0)
            pad = 0.2 * (high - low) + 2
            x0, y0 = np.clip(low - pad, 0, side).astype(int)
            x1, y1 = np.clip(high + pad, 0, side).astype(int)
            weight[y0:y1, x0:x1] = 1.0 + REGION_WEIGHT
        return weight


def _planes(pictures: U8Image) -> FloatArray:
    """(B, S, S, 3) uint8 to (B, 3, S, S) float32, [-1, 1]."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - np.float32(
        1
    )


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
