"""By how much the avatar's mouth is later than the presenter's, and than its voice.

For `avatarcast bench glass_to_glass --driver voice`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live.glass_call import pictures_came
from benchmarks.live.mouth_peer import BURST_S, EVERY_S, Heard, MouthPeer, Shown, SpeechMicrophone, bursts_of
from benchmarks.live.peer import StampedCamera, without_colour_in_the_corner
from benchmarks.live.server_process import ServerWatch, Serving, server_process, without_token
from benchmarks.live.sync_peer import SAMPLE_RATE_HZ
from benchmarks.records.series import correlation
from engine.arrays import DoubleArray, FloatArray
from engine.errors import SettingsError
from engine.person.landmarks import Landmarks
from engine.person.motion import build_neutral, motion_of
from engine.stages import percentiles
from engine.tracking.face_finder import FaceFinder
from engine.voice.driver import SpokenLips
from engine.voice.mel import SAMPLE_RATE_HZ as HEARING_HZ
from engine.voice.motion_code import LIP_GAP
from engine.voice.speaker import Speaker

# Asked before anything was measured.
BOUNDS_MS = {"mouth_to_photon_p95": 300.0, "offset_size_p95": 45.0}
CURVE_HZ = 200
MOST_LAG_S = 0.9
ALIKE = 0.7  # a burst whose curves correlate less is left out
_ENVELOPE_S = 0.02


def lags_s(made: DoubleArray, came: DoubleArray, bursts: Sequence[float]) -> list[tuple[float, float]]:
    """(time, lag) in s of each burst that is found again.

    made, came: (n,) both from 0 s on, CURVE_HZ; bursts: when each begins in `made`.
    """
    found = []
    before, length = round(0.3 * CURVE_HZ), round((BURST_S + 0.6) * CURVE_HZ)
    for burst_s in bursts:
        start = round(burst_s * CURVE_HZ) - before
        if start < 0 or start + length + round(MOST_LAG_S * CURVE_HZ) > min(len(made), len(came)):
            continue
        wanted = made[start : start + length].astype(np.float32)
        alike = [
            correlation(wanted, came[start + by : start + by + length].astype(np.float32))
            for by in range(round(MOST_LAG_S * CURVE_HZ))
        ]
        best = int(np.argmax(alike))
        if alike[best] >= ALIKE and 0 < best < len(alike) - 1:
            low, mid, high = alike[best - 1 : best + 2]
            bend = low - 2.0 * mid + high
            found.append((burst_s, (best + (0.5 * (low - high) / bend if bend < 0 else 0.0)) / CURVE_HZ))
    return found


def gaps_of(pictures: Sequence[Shown]) -> tuple[DoubleArray, FloatArray]:
    """Indices (m,) of the pictures with a face, and (m,) the gap of their lips, head units."""
    finder, seen, faces = FaceFinder(), [], []
    for number, picture in enumerate(pictures):
        face = finder.find(np.repeat(picture.luma[..., None], 3, axis=2))
        if face is not None:
            seen.append(number)
            faces.append(Landmarks(1, 1, face=face, face_confidence=1.0))
    if not faces:
        raise SettingsError(f"no face in {len(pictures)} pictures that came; wanted an avatar of a person")
    neutral = build_neutral(faces)
    return np.array(seen), np.array([motion_of(face, neutral).lip_gap for face in faces], np.float32)


def envelope(sounds: Sequence[Heard], times_s: DoubleArray, curve_s: DoubleArray) -> DoubleArray:
    """Loudness at the times of a curve. times_s: (len(sounds),) of each piece's first sample."""
    width = round(_ENVELOPE_S / 2 * SAMPLE_RATE_HZ)
    parts_s, levels = [], []
    for at_s, one in zip(times_s, sounds, strict=True):
        for first in range(0, len(one.samples), width):
            parts_s.append(at_s + (first + width / 2) / SAMPLE_RATE_HZ)
            levels.append(float(np.sqrt(np.mean(np.square(one.samples[first : first + width])))))
    return np.interp(curve_s, parts_s, levels)


def figures(
    peer: MouthPeer, microphone: SpeechMicrophone, spoken: FloatArray, from_s: float
) -> dict[str, Any]:
    """Of the bursts from `from_s` on. spoken: what the microphone repeats, 48 kHz."""
    start_ns = microphone.start_ns
    seconds = (peer.pictures[-1].at_ns - start_ns) / 1e9
    curve_s = np.arange(round(seconds * CURVE_HZ)) / CURVE_HZ
    said = np.tile(spoken, int(np.ceil(seconds * SAMPLE_RATE_HZ / len(spoken))))
    lips = SpokenLips(Speaker(), kept_rows=None)
    lips.push(_for_hearing(said))
    lips.finish()
    made_gaps = np.array([lips.at(time_s)[LIP_GAP] for time_s in curve_s])
    own = [Heard(0, 0, said)]
    made_sound = envelope(own, np.zeros(1), curve_s)
    bursts = np.arange(from_s, seconds, EVERY_S) // EVERY_S * EVERY_S + EVERY_S - BURST_S
    seen, gaps = gaps_of(peer.pictures)
    shown = [peer.pictures[int(number)] for number in seen]
    # The server's clock, brought to ours where its quickest picture would have taken no time.
    both: list[Shown | Heard] = [*shown, *peer.sounds]
    apart_ns = min((one.at_ns - one.sent_ns for one in both if one.sent_ns is not None), default=0)
    result: dict[str, Any] = {}
    offsets: dict[str, list[float]] = {}
    for name in ("by_arrival", "by_reports"):
        pictures_s = np.array([_time_ns(one, name, apart_ns) - start_ns for one in shown]) / 1e9
        sounds_s = np.array([_time_ns(one, name, apart_ns) - start_ns for one in peer.sounds]) / 1e9
        mouth = dict(lags_s(made_gaps, np.interp(curve_s, pictures_s, gaps), bursts.tolist()))
        voice = dict(lags_s(made_sound, envelope(peer.sounds, sounds_s, curve_s), bursts.tolist()))
        offsets[name] = [1e3 * (mouth[at] - voice[at]) for at in mouth.keys() & voice.keys()]
        if name == "by_arrival":
            result["mouth_to_photon_ms"] = percentiles([1e3 * lag for lag in mouth.values()])
            result["mouth_to_ear_ms"] = percentiles([1e3 * lag for lag in voice.values()])
            result["bursts"] = {"said": len(bursts), "seen": len(mouth), "heard": len(voice)}
    result["offset_ms"] = {name: percentiles(values) for name, values in offsets.items()}
    result["offset_size_ms"] = percentiles([abs(value) for value in offsets["by_reports"]])
    return result


def _for_hearing(samples: FloatArray) -> FloatArray:
    """48 kHz to 16 kHz."""
    count = len(samples) * HEARING_HZ // SAMPLE_RATE_HZ
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, count) * (count / len(samples)), np.float32)


def _time_ns(one: Shown | Heard, name: str, apart_ns: int) -> int:
    if name == "by_arrival" or one.sent_ns is None:
        return one.at_ns
    return one.sent_ns + apart_ns


async def mouth_call(serving: Serving, speech: Path, seconds: float, warm_up: float) -> dict[str, Any]:
    """Start a server, speak, sum up."""
    spoken = bursts_of(speech)
    black = without_colour_in_the_corner(np.zeros((384, 256), np.uint8))
    with server_process(serving) as (pid, facts):
        async with ServerWatch(pid) as watch:
            microphone = SpeechMicrophone(spoken)
            peer = MouthPeer(facts["link"], StampedCamera(lambda _: black, 1.0), microphone)
            try:
                await peer.connect()
                await pictures_came(peer)
                from_s = (peer.pictures[0].at_ns - microphone.start_ns) / 1e9 + warm_up
                await asyncio.sleep(warm_up + seconds)
            finally:
                await peer.close()
    last = peer.stats[-1][1] if peer.stats else {}
    cpu = [used for at_ns, used in watch.cpu_s if at_ns >= microphone.start_ns + from_s * 1e9]
    told = {name: last.get(name) for name in ("server_ms", "stage_ms", "audio_delay_ms", "driven_by")}
    return {
        **figures(peer, microphone, spoken, from_s),
        "fps_delivered": round(
            len(peer.pictures) / ((peer.pictures[-1].at_ns - peer.pictures[0].at_ns) / 1e9), 2
        ),
        "server_core_share": round((cpu[-1] - cpu[0]) / (len(cpu) - 1), 3) if len(cpu) > 1 else None,
        "last": told,
        "server": without_token(facts),
    }


def failures(found: dict[str, Any]) -> list[str]:
    """What is above its bound, in words."""
    judged = {
        "mouth_to_photon_p95": found["mouth_to_photon_ms"]["p95"],
        "offset_size_p95": found["offset_size_ms"]["p95"],
    }
    return [
        f"{name}: {value if value is None else round(value)} ms, wanted {BOUNDS_MS[name]:.0f} or less"
        for name, value in judged.items()
        if value is None or value > BOUNDS_MS[name]
    ]
