"""Is a consent clip taken for what it is: the person, another one, a photograph held up, without sound?

    avatarcast bench consent_clips --film ANN=FILM --film ANN=FILM --film BOB=FILM ... [--speech WAV ...]

Films of one name show one person. Faces of all pairs of films are compared, those of one film by its halves.
Of films with speech, the last seconds are the clip: as they are, as that of every other person, as a still
picture of it that is moved about before the camera, with its sound, and without sound. In speech, words of
the sentences' list are looked for that nobody was asked to say.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.pictures.clips import FILMS, Labelled
from benchmarks.records.instrument import Instrument
from benchmarks.records.record import Record
from benchmarks.records.trust_tables import FACES, LIPS, VERDICTS
from engine.arrays import FloatArray, U8Image
from engine.media.video import read_frames
from engine.provenance.consent import WORDS
from engine.tracking.face_embedding import distance
from export.consent_clip import (
    LEAST_S,
    RATE_HZ,
    SILENT,
    face_verdict,
    heard_words,
    judge_clip,
    samples_of,
    watched,
)

CLIP_S = 6.0
FPS = 25
Faces = Sequence[FloatArray]


def written(path: Path, pictures: Sequence[U8Image], samples: FloatArray | None) -> Path:
    """A film of these pictures at FPS, as a page records it, with sound at RATE_HZ."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx", rate=FPS, options={"deadline": "realtime", "cpu-used": "8"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        sound = None if samples is None else out.add_stream("libopus", rate=48_000, layout="mono")
        for rgb in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
        if sound is not None and samples is not None:
            frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, 0
            for piece in av.AudioResampler("flt", "mono", 48_000, frame_size=960).resample(frame):
                out.mux(sound.encode(piece))
            out.mux(sound.encode(None))
    return path


def held_up(picture: U8Image, count: int, rng: np.random.Generator) -> Iterator[U8Image]:
    """A photograph that is moved and turned before a camera."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32)
    phases = rng.uniform(0, 2 * np.pi, (4, 2))
    for number in range(count):
        angle = number / FPS
        sway = 0.02 * width * (np.sin(2 * angle + phases) * 0.5 + np.sin([3 * angle, 2.3 * angle]))
        turn = cv2.getPerspectiveTransform(
            corners, (0.8 * corners + 0.1 * corners[-1] + sway).astype(np.float32)
        )
        shown = cv2.warpPerspective(picture, turn, (width, height), borderValue=(90, 90, 90))
        yield np.clip(shown + rng.normal(0, 3, shown.shape), 0, 255).astype(np.uint8)


def _even(rgb: U8Image) -> U8Image:
    scale = min(1.0, 640 / max(rgb.shape[:2]))
    sides = [round(side * scale / 2) * 2 for side in rgb.shape[1::-1]]
    return np.asarray(cv2.resize(rgb, sides, interpolation=cv2.INTER_AREA), np.uint8)


def _last(film: Path) -> tuple[list[U8Image], FloatArray]:
    """Pictures of its last CLIP_S at FPS, and the sound."""
    frames = [(frame.time_s, _even(frame.rgb)) for frame in read_frames(film)]
    times = np.array([time for time, _ in frames])
    begin_s = max(0.0, times[-1] - CLIP_S)
    at = np.searchsorted(times, np.arange(begin_s, times[-1], 1 / FPS)).clip(0, len(frames) - 1)
    samples = samples_of(film)[round(begin_s * RATE_HZ) :][: round(CLIP_S * RATE_HZ)]
    return [frames[i][1] for i in at], samples


def counted(kinds: Sequence[str], found: Iterable[str]) -> dict[str, int]:
    """How many there are of each kind."""
    counts = Counter(found)
    return {kind: counts[kind] for kind in kinds}


def compared(faces: Sequence[tuple[str, Faces]]) -> dict[str, Any]:
    """How far apart films of one person are, and those of different ones."""
    found: dict[str, list[float]] = {"same person": [], "another person": []}
    for (one, some), (other, others) in combinations(faces, 2):
        found["same person" if one == other else "another person"].append(distance(some, others))
    for _, some in faces:
        half = len(some) // 2
        if half >= 4:
            found["same person"].append(distance(some[:half], some[half:]))
    return {
        name: {
            "pairs": len(values),
            "taken_for": counted(FACES, (face_verdict(value) for value in values)),
            "distance": [round(float(np.percentile(values, q)), 3) for q in (0, 50, 100)] if values else None,
        }
        for name, values in found.items()
    }


def clips_judged(films: Sequence[Labelled], faces: Sequence[tuple[str, Faces]]) -> dict[str, Any]:
    """Verdicts by what the clip is."""
    rng = np.random.default_rng(0)
    table: dict[str, list[Any]] = {
        name: [] for name in ("the person", "another person", "a photograph held up", "without sound")
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.webm"
        for film, (label, own) in zip(tqdm(films, desc="clips"), faces, strict=True):
            pictures, samples = _last(Path(film.file))
            if min(len(pictures) / FPS, len(samples) / RATE_HZ) < LEAST_S:
                continue
            earlier = own[: len(own) // 2]
            speaking = judge_clip(written(path, pictures, samples), WORDS[0], earlier)
            if speaking.lips == SILENT:
                continue  # nobody speaks in this film
            table["the person"].append(speaking)
            for other, theirs in faces:
                if other != label:
                    apart = distance(own, theirs)
                    taken = replace(speaking, face=face_verdict(apart), face_distance=apart)
                    table["another person"].append(taken)
            still = list(held_up(pictures[len(pictures) // 2], len(pictures), rng))
            table["a photograph held up"].append(judge_clip(written(path, still, samples), WORDS[0], earlier))
            table["without sound"].append(judge_clip(written(path, pictures, None), WORDS[0], earlier))
    return {
        name: {
            "clips": len(found),
            "verdicts": counted(VERDICTS, (one.verdict for one in found)),
            "faces": counted(FACES, (one.face for one in found)),
            "lips": counted(LIPS, (one.lips for one in found)),
            "lips_range": [
                round(min(one.lips_range for one in found), 3),
                round(max(one.lips_range for one in found), 3),
            ],
        }
        for name, found in table.items()
        if found
    }


def chance_words(speech: Sequence[Path]) -> dict[str, Any] | None:
    """How often a word of the list is heard that nobody was asked for; None where nothing listens."""
    heard = [heard_words(samples_of(path)) for path in tqdm(speech, desc="speech")]
    if not heard or heard[0] is None:
        return None
    by_chance = sum(len(words & set(WORDS)) for words in heard if words)
    return {"recordings": len(heard), "words_asked": len(WORDS), "heard_by_chance": by_chance}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which films."""
    own = [f"{name}={path}" for name, path in FILMS.items()]
    parser.add_argument(
        "--film",
        action="append",
        metavar="PERSON=FILM",
        help="of one person; again for more (default the presenters', who do not speak)",
    )
    parser.add_argument(
        "--speech", nargs="*", type=Path, default=[], help="in which none of the words is asked for"
    )
    parser.set_defaults(own=own)


def measure(args: argparse.Namespace) -> Record:
    """All of it."""
    films = [Labelled.parse(text) for text in args.film or args.own]
    del args.own
    seen = [(film.label, watched(Path(film.file))[0]) for film in tqdm(films, desc="faces")]
    kept = [(film, faces) for film, faces in zip(films, seen, strict=True) if len(faces[1]) >= 4]
    return {
        "films": {"given": len(films), "with_a_face": len(kept), "persons": len({f.label for f, _ in kept})},
        "faces": compared([faces for _, faces in kept]),
        "clips": clips_judged([film for film, _ in kept], [faces for _, faces in kept]),
        "words": chance_words(args.speech),
    }


main = Instrument("consent_clips", __doc__, add_options, measure, quick={})
