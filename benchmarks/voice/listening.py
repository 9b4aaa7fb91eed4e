"""Does the avatar know whose turn it is, and listen as a person does?

    avatarcast bench listening --speech FOLDER [--avatar FILE] [--minutes 8]

Makes dialogues of read speech: FOLDER holds a folder for each reader, with sounds in it. Two take turns;
between them are short gaps, long silences, and interruptions, which take the turn. A noise lies under both.
When each speaks is known from the script and from how loud the clean recording is, not from what is measured.

States are told picture by picture. Lips are compared, listening (and saying
nothing meanwhile) with speaking. Nods must begin in the other's
pauses more often than chance: each turn's nods are shifted in it, all together, a thousand times. Laughter is
told by a rule: how often it is wrong is counted over all speech, how often it is right over bouts that
espeak-ng says ("ha ha ha"), where that is installed, which is no proof for people.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.instrument import Instrument, add_common
from benchmarks.records.record import Record
from engine.arrays import FloatArray
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar
from engine.conversation.laughter import Laughter
from engine.conversation.listening import Listening, Overheard
from engine.conversation.turns import PAUSE_S, State
from engine.errors import SettingsError
from engine.media.sound import read_sound
from engine.person import topology as topo
from engine.person.motion import Motion, in_head_axes, lip_gap
from engine.person.retarget import Retargeter
from engine.voice.driver import SpokenLips, VoiceDriver
from engine.voice.features import ROWS_HZ
from engine.voice.idle import Habits, Idle
from engine.voice.mel import SAMPLE_RATE_HZ
from engine.voice.speaker import Speaker

GAPS_S = (0.15, 0.25, 0.35, 0.5, -0.6, 0.3, 2.5, 0.2)  # from turn to turn; below 0 one interrupts
NOISE = 10 ** (-55 / 20)  # of full scale, under both
QUIET_DB = 32.0  # below a recording's loudest moment it is a pause
LEAST_PAUSE_S = 0.25
SHUT_S = 0.3  # after its last sound a mouth is shut
SHUFFLED = 1000
LAUGHS = ("ha ha ha ha ha ha", "he he he he he", "ha ha ha ha", "ho ho ho ho ho")
# Fixed before anything was measured; at least, and at most.
BOUNDS: dict[str, tuple[float, float]] = {
    "states_right": (0.95, 1.0), "lips_share": (0.0, 0.05), "nods_p": (0.0, 0.01),
    "nods_share_of_own_rate": (0.3, 1.15), "blinks_share_of_own_rate": (0.85, 1.15), "step_px": (0.0, 2.0),
    "laughs_found": (0.75, 1.0), "laughs_wrong_per_min": (0.0, 0.2),
}  # fmt: skip
_WINDOW = SAMPLE_RATE_HZ // 50
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """Two sounds of one length, 16 kHz, and what is true of each 40 ms."""

    own: FloatArray
    other: FloatArray
    states: list[State]
    silent: BoolArray  # (n,): the avatar says nothing, and has not for SHUT_S
    pauses: BoolArray  # (n,): within a turn of the other's, nothing is said
    turns: list[tuple[float, float]]  # of the other's: begins, ends, seconds


def heard(samples: FloatArray) -> BoolArray:
    """(n,) 50 a second: not quiet."""
    windows = samples[: len(samples) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    levels = 10.0 * np.log10(np.square(windows, dtype=np.float64).mean(1) + 1e-12)
    return np.asarray(levels > levels.max() - QUIET_DB)


def trimmed(samples: FloatArray) -> FloatArray:
    """Without the silence before and after."""
    loud = np.flatnonzero(heard(samples))
    return samples[loud[0] * _WINDOW : (loud[-1] + 1) * _WINDOW]


def long_pauses(samples: FloatArray) -> BoolArray:
    """(n,) 50 a second: in a silence of LEAST_PAUSE_S or more."""
    quiet = ~heard(samples)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    out = np.zeros(len(quiet), bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        out[start:end] = (end - start) / 50 >= LEAST_PAUSE_S
    return out


def dialogue(mine: Sequence[FloatArray], theirs: Sequence[FloatArray], seed: int) -> Dialogue:
    """Turn by turn, the other first. Each (n,) float32, trimmed, 16 kHz."""
    placed: list[tuple[bool, float, FloatArray]] = []
    at_s = 1.0
    for number, pair in enumerate(zip(theirs, mine, strict=True)):
        for is_own, sound in ((False, pair[0]), (True, pair[1])):
            placed.append((is_own, at_s, sound))
            gap_s = GAPS_S[(2 * number + is_own + seed) % len(GAPS_S)]
            at_s += len(sound) / SAMPLE_RATE_HZ + gap_s
    count = round((at_s + 2.0) * SAMPLE_RATE_HZ)
    random = np.random.default_rng(seed)
    own, other = (NOISE * random.standard_normal((2, count))).astype(np.float32)
    rows = count * ROWS_HZ // SAMPLE_RATE_HZ
    states, pauses, silent = [State.IDLES] * rows, np.zeros(rows, bool), np.ones(rows, bool)
    turns = []
    for is_own, begins_s, sound in placed:  # in order: who began last has the turn
        first = round(begins_s * SAMPLE_RATE_HZ)
        (own if is_own else other)[first : first + len(sound)] += sound
        ends_s = begins_s + len(sound) / SAMPLE_RATE_HZ
        for row in range(round(begins_s * ROWS_HZ), min(rows, round((ends_s + PAUSE_S) * ROWS_HZ))):
            states[row] = State.SPEAKS if is_own else State.LISTENS
        if is_own:
            silent[round((begins_s - SHUT_S) * ROWS_HZ) : round((ends_s + SHUT_S) * ROWS_HZ)] = False
        else:
            turns.append((begins_s, ends_s + PAUSE_S))
            within = np.concatenate([long_pauses(sound), np.ones(round(50 * PAUSE_S), bool)])
            for row in range(round(begins_s * ROWS_HZ), min(rows, round((ends_s + PAUSE_S) * ROWS_HZ))):
                pauses[row] = within[min(round((row / ROWS_HZ - begins_s) * 50), len(within) - 1)]
    return Dialogue(own, other, states, silent, pauses, turns)


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What the avatar did."""

    states: list[State]
    gaps: FloatArray  # (n,) of the lips of the face that would be drawn, head units
    lids: FloatArray  # (n,)
    steps_px: FloatArray  # (n - 1,) how far that point of the skull went which went furthest, at 256 px
    nods_s: list[float]
    habits: Habits  # what is theirs


def play(avatar: Avatar, talk: Dialogue, seed: int) -> Played:
    """At 25 pictures a second, everything as it comes in."""
    own = avatar.voice
    lips = SpokenLips(Speaker(None if own is None else own.fit), kept_rows=None)
    lips.push(talk.own)
    lips.finish()
    habits = None if own is None else own.habits
    driver = VoiceDriver(lips, Idle(seed, habits))
    overheard = Overheard(Listening(habits, seed), talk.own, talk.other)
    listening = overheard.listening
    retargeter = Retargeter(
        avatar.neutral, avatar.support, avatar.torso, avatar.size, [one.landmarks for one in avatar.keyframes]
    )
    states: list[State] = []
    gaps, lids, faces = [], [], []
    for row in range(len(talk.states)):
        time_s = row / ROWS_HZ
        states.append(overheard.at(time_s))
        driver.at(time_s, time_s)
        motion: Motion = listening.adjusted(driver.motion_at(avatar.neutral), retargeter, 0)
        face = retargeter.target(motion).face
        gaps.append(lip_gap(in_head_axes(face, avatar.neutral.face)[0]))
        lids.append(float(motion.lid_gap.mean()))
        faces.append(face[topo.RIGID, :2] * (256 / avatar.size))
    steps = np.linalg.norm(np.diff(np.stack(faces), axis=0), axis=2).max(1)
    return Played(states, np.array(gaps), np.array(lids), steps, list(listening.nods_s), listening.habits)


def beyond_chance(talks: Sequence[Dialogue], played: Sequence[Played]) -> dict[str, float]:
    """Of the nods, the share that begins in a pause of the other's; by chance; and how likely that is."""
    random = np.random.default_rng(0)
    grouped = []  # of each turn: its pauses row by row, the rows of its nods
    for talk, one in zip(talks, played, strict=True):
        for begins_s, ends_s in talk.turns:
            rows = talk.pauses[round(begins_s * ROWS_HZ) : round(ends_s * ROWS_HZ)]
            nods = [round((nod - begins_s) * ROWS_HZ) for nod in one.nods_s if begins_s <= nod < ends_s]
            if nods and len(rows):
                grouped.append((rows, np.array(nods)))
    count = sum(len(nods) for _, nods in grouped)
    found = sum(int(rows[nods % len(rows)].sum()) for rows, nods in grouped) / count
    by_chance = np.array([
        sum(int(rows[(nods + random.integers(len(rows))) % len(rows)].sum()) for rows, nods in grouped)
        for _ in range(SHUFFLED)
    ]) / count  # fmt: skip
    p = (1 + int((by_chance >= found).sum())) / (1 + SHUFFLED)
    return {"count": count, "share": found, "by_chance": float(by_chance.mean()), "p": p}


def laughs_found() -> dict[str, int] | None:
    """Of bouts that a speech synthesiser says in four voices; None where it is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    found = count = 0
    for text in LAUGHS:
        for words in (["-v", "en", "-p", "30"], ["-v", "en+f2"], ["-v", "en-us", "-s", "200"], ["-v", "de"]):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "laugh.wav"
                subprocess.run([program, *words, "-w", str(path), text], check=True)
                samples = sound_of(path)
            laughter = Laughter()
            pieces = np.array_split(np.concatenate([samples, np.zeros(8000, np.float32)]), 20)
            found += any(laughter.push(piece) for piece in pieces)
            count += 1
    return {"found": found, "count": count}


def sound_of(path: Path) -> FloatArray:
    """(n,) float32, 16 kHz. Raises SettingsError."""
    sound = read_sound(path, SAMPLE_RATE_HZ)
    if sound is None:
        raise SettingsError(f"{path}: no sound in it; give recordings of read speech")
    return sound.from_picture()


def measure(args: argparse.Namespace) -> Record:
    """Each pair of neighbouring readers talks, until there is enough."""
    folders = sorted(path for path in args.speech.iterdir() if path.is_dir()) if args.speech else []
    if len(folders) < 2:
        raise SettingsError(
            f"--speech {args.speech}: wanted a folder with a folder of sounds for each reader"
        )
    readers = [[trimmed(sound_of(path)) for path in sorted(one.iterdir())] for one in folders]
    avatar = load_avatar(args.avatar)
    talks: list[Dialogue] = []
    played: list[Played] = []
    for seed in range(len(readers)):
        if sum(len(talk.states) for talk in talks) / ROWS_HZ > 60 * args.minutes:
            break
        mine, theirs = readers[seed], readers[(seed + 1) % len(readers)]
        turns = min(len(mine), len(theirs))
        talks.append(dialogue(mine[:turns], theirs[:turns], seed))
        played.append(play(avatar, talks[-1], seed))
    return judged(avatar, talks, played, args.minutes)


def judged(avatar: Avatar, talks: Sequence[Dialogue], played: Sequence[Played], minutes: float) -> Record:
    """All figures."""
    true = [state for talk in talks for state in talk.states]
    told = [state for one in played for state in one.states]
    gaps = np.concatenate([one.gaps for one in played])
    of = {state: np.array([one is state for one in true]) for state in State}
    listened = of[State.LISTENS] & np.concatenate([talk.silent for talk in talks])
    listened_min = float(of[State.LISTENS].sum()) / ROWS_HZ / 60
    lids = np.concatenate([one.lids for one in played])
    half = 0.5 * float((avatar.neutral.lid_open + avatar.neutral.lid_closed).mean())
    blinks_per_min = float(((lids[1:] < half) & (lids[:-1] >= half)).sum()) / (len(lids) / ROWS_HZ / 60)
    habits = played[0].habits
    laughter, others_min = Laughter(), sum(len(talk.other) for talk in talks) / SAMPLE_RATE_HZ / 60
    wrong = 0
    for talk in talks:
        was = False
        for piece in np.array_split(talk.other, max(1, len(talk.other) // 8000)):
            wrong += (now := laughter.push(piece)) and not was
            was = now
    nods, laughs = beyond_chance(talks, played), laughs_found()
    figures: dict[str, Any] = {
        "name": avatar.name,
        "dialogue_min": len(true) / ROWS_HZ / 60,
        "turns": sum(len(talk.turns) for talk in talks) * 2,
        "states_right": float(np.mean([a is b for a, b in zip(true, told, strict=True)])),
        "states": {
            state.value: float(
                np.mean([one is state for one, is_it in zip(told, of[state], strict=True) if is_it])
            )
            for state in State
        },
        "lips_sd": {state.value: float(gaps[of[state]].std()) for state in State},
        "lips_share": float(gaps[listened].std() / gaps[of[State.SPEAKS]].std()),
        "nods": nods,
        "nods_per_min": nods["count"] / listened_min,
        "own": {"nods_per_min": habits.nods_per_min, "blinks_per_min": habits.blinks_per_min},
        "blinks_per_min": blinks_per_min,
        "step_px": float(np.concatenate([one.steps_px for one in played]).max()),
        "laughs": laughs,
        "laughs_wrong_per_min": wrong / others_min,
        "bounds": BOUNDS,
        "config": {"minutes": minutes},
    }
    return figures | {"failures": failures(figures)}


def share_told(told: Sequence[State], is_it: BoolArray, state: State) -> float:
    """Of the pictures that are of this state, those that are told to be."""
    return float(np.mean([one is state for one, counts in zip(told, is_it, strict=True) if counts]))


def failures(figures: Record) -> list[str]:
    """What is out of its bounds, in words."""
    laughs, own = figures["laughs"], figures["own"]
    values = {
        "states_right": figures["states_right"],
        "lips_share": figures["lips_share"],
        "nods_p": figures["nods"]["p"],
        "nods_share_of_own_rate": figures["nods_per_min"] / own["nods_per_min"],
        "blinks_share_of_own_rate": figures["blinks_per_min"] / own["blinks_per_min"],
        "step_px": figures["step_px"],
        "laughs_wrong_per_min": figures["laughs_wrong_per_min"],
    } | ({} if laughs is None else {"laughs_found": laughs["found"] / laughs["count"]})
    return [
        f"{name}: {value:.3f}, wanted {BOUNDS[name][0]:g} to {BOUNDS[name][1]:g}"
        for name, value in values.items()
        if not BOUNDS[name][0] <= value <= BOUNDS[name][1]
    ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Whose speech, and how much of it."""
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="a folder of sounds for each reader")
    add_common(parser, "avatar", minutes=8.0)


main = Instrument("listening", __doc__, add_options, measure, quick={"minutes": 0.1})
