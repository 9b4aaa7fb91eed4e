"""The voice drives live: lips go with what is heard, the camera gives way and is back, sound alone does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from time import perf_counter_ns

import av
import numpy as np
import pytest
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from benchmarks.live.echo_server import EchoedFrame, EchoPipeline
from benchmarks.live.peer import AiortcPeer
from engine.arrays import FloatArray
from engine.person.motion import build_neutral
from engine.pipeline import Companion
from engine.voice.idle import Habits
from engine.voice.own import OwnVoice
from engine.voice.voice_print import NUMBERS, Whose, print_of
from stream.budgets import Account
from stream.media.picture_clock import PictureClock
from stream.media.voice import VOICE_LAG_MS, SmoothDelay
from stream.refusal import RequestRefused
from stream.render.live_voice import HOLD_S, LiveVoice
from stream.sessions.registry import RegistryConfig, SessionRegistry
from stream.sessions.tokens import OPERATOR
from stream.webrtc.aiortc_tuning import gather_on_loopback
from stream.webrtc.negotiation import read_agent_request, read_publish_request
from tests.support.direct_call import WatchingPeer, avatars_of, present
from tests.support.grey_camera import grey_camera
from tests.support.puppet import Puppet
from tests.support.sounds import babble, hush, vowel
from tests.support.waiting import until

NEUTRAL = build_neutral([Puppet(128).landmarks()])
_NS = 1_000_000_000


def frames_of(sound: FloatArray) -> list[av.AudioFrame]:
    """20 ms each, as a decoder gives them. sound: 48 kHz."""
    frames = []
    for number in range(len(sound) // 960):
        piece = np.round(sound[None, number * 960 : (number + 1) * 960] * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = number * 960, 48_000, Fraction(1, 48_000)
        frames.append(frame)
    return frames


class Asked(EchoPipeline):
    """Remembers who has its say, and what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.companion: Companion | None = None
        self.seen: list[bool] = []

    def accompany(self, companion: Companion | None) -> None:
        self.companion = companion

    def process(self, rgb: NDArray[np.uint8] | None, time_ns: int) -> EchoedFrame:
        self.seen.append(rgb is not None)
        if self.companion is not None:
            self.companion.motion(None, NEUTRAL)
        return super().process(rgb, time_ns)


def lips_over(sound: FloatArray, seconds: float, jitter_ns: int = 0) -> FloatArray:
    """(N,) gaps of the lips, 100 a second, while this sound comes in."""
    voice, pipeline = LiveVoice(), Asked()
    voice.attach(pipeline)
    assert pipeline.companion is not None
    random, coming = np.random.default_rng(2), list(enumerate(frames_of(sound)))
    gaps = []
    for moment in range(round(100 * seconds)):
        now_ns = 7 * _NS + moment * _NS // 100
        while coming and 7 * _NS + (coming[0][0] + 1) * _NS // 50 + jitter_ns <= now_ns:
            number, frame = coming.pop(0)
            arrived_ns = 7 * _NS + (number + 1) * _NS // 50 + int(random.integers(0, jitter_ns + 1))
            voice.hear(frame, arrived_ns)
        voice.advance(now_ns)
        motion = pipeline.companion.motion(None, NEUTRAL)
        assert motion is not None
        gaps.append(motion.lip_gap - float(NEUTRAL.lip_closed))
    return np.array(gaps, np.float32)


@pytest.mark.parametrize("jitter_ms", [0, 15])
def test_lips_are_so_late_as_the_sound_is_held_back(jitter_ms: int) -> None:
    sound = np.concatenate([hush(1.0, 48_000), babble(1.0, 48_000), hush(1.0, 48_000)])
    gaps = lips_over(sound, 3.0, jitter_ms * 1_000_000)
    parted = np.flatnonzero(gaps > 0.3 * gaps.max()) / 100
    assert parted[0] == pytest.approx(1.0 + HOLD_S, abs=0.12)  # lips open a little before the sound
    assert 2.0 + HOLD_S - 0.1 <= parted[-1] <= 2.0 + HOLD_S + 0.25  # and shut when nobody speaks any more
    assert HOLD_S < 0.3
    assert np.abs(np.diff(gaps)).max() < 0.3 * gaps.max()


def test_a_microphone_that_stops_shuts_the_mouth() -> None:
    gaps = lips_over(babble(1.0, 48_000), 3.0)
    assert gaps[60:100].mean() > 0.01
    assert np.abs(gaps[180:]).max() < 0.002


def test_sound_after_a_gap_goes_with_its_own_time() -> None:
    """Half a second of packets lost: what comes later is not early by that."""
    voice, pipeline = LiveVoice(), Asked()
    voice.attach(pipeline)
    assert pipeline.companion is not None
    sound = np.concatenate([hush(2.0, 48_000), babble(1.0, 48_000), hush(1.0, 48_000)])
    opened = []
    for moment in range(400):
        now_ns = moment * _NS // 100
        if moment % 2 == 0 and not 50 <= moment < 100:
            voice.hear(frames_of(sound[moment * 480 : (moment + 2) * 480])[0], now_ns + _NS // 50)
        voice.advance(now_ns + _NS // 50)
        motion = pipeline.companion.motion(None, NEUTRAL)
        assert motion is not None
        if motion.lip_gap > float(NEUTRAL.lip_closed) + 0.03:
            opened.append(moment / 100)
    assert opened[0] == pytest.approx(2.0 + HOLD_S, abs=0.12)


def mouth_of(print_: FloatArray | None, only_own: bool) -> tuple[LiveVoice, float]:
    """How far lips part while somebody speaks for 5 s to an avatar with this print."""
    voice, pipeline = LiveVoice(), Asked()
    pipeline.own_voice = OwnVoice(Habits(), print=print_)
    voice.only_own = only_own
    voice.attach(pipeline)
    assert pipeline.companion is not None
    widest = 0.0
    for number, frame in enumerate(frames_of(np.repeat(SPEECH, 3))):
        now_ns = (number + 1) * _NS // 50
        voice.hear(frame, now_ns)
        voice.advance(now_ns)
        voice.settle()
        motion = pipeline.companion.motion(None, NEUTRAL)
        assert motion is not None
        if number > 190:
            widest = max(widest, motion.lip_gap - float(NEUTRAL.lip_closed))
    return voice, widest


SPEECH = vowel(4.5, 110.0, (500.0, 1200.0, 2400.0))


@pytest.mark.parametrize(
    ("of_them", "only_own", "whose", "refused"),
    [
        (True, True, Whose.OWN, False),
        (False, True, Whose.OTHER, True),
        (False, False, Whose.OTHER, False),
        (None, True, None, False),
    ],
)
def test_a_voice_that_is_not_the_prints_is_noted_and_refused_where_that_is_wanted(
    of_them: bool | None, only_own: bool, whose: Whose | None, refused: bool
) -> None:
    prints = {None: None, True: print_of([np.tile(SPEECH, 2)]), False: np.eye(NUMBERS, dtype=np.float32)[0]}
    voice, widest = mouth_of(prints[of_them], only_own)
    assert (voice.whose, voice.refused) == (whose, refused)
    assert widest < 0.002 if refused else widest > 0.01


async def test_a_session_cannot_undo_what_the_server_wants_of_voices() -> None:
    for wanted, chosen, holds in ((False, True, True), (False, False, False), (True, False, True)):
        registry = SessionRegistry(avatars_of({"asked": Asked}), RegistryConfig(only_own_voice=wanted))
        session = await registry.begin(read_agent_request(None, None), OPERATOR, Account())
        session.set_only_own_voice(chosen)
        voice = session.performer._voice
        assert voice is not None
        assert voice.only_own is holds
        assert (session.stats()["voice_is"], session.stats()["voice_refused"]) == (None, False)
        await registry.close()


def test_the_pictures_clock_goes_on_through_camera_and_voice() -> None:
    clock = PictureClock()
    assert [clock.of_camera(500 + 3_000 * n, n * _NS // 30) for n in range(3)] == [500, 3_500, 6_500]
    ticks = [clock.of_voice(_NS), clock.of_voice(_NS + _NS // 25)]
    assert ticks == [90_500, 94_100]
    again = clock.of_camera(7, 2 * _NS)  # another camera, whose clock begins anew
    assert again == 180_500
    assert clock.of_camera(3_007, 2 * _NS + _NS // 30) == 183_500


def test_the_hold_jumps_with_the_driver_and_only_then() -> None:
    delay = SmoothDelay()
    for _ in range(300):
        delay.update(80.0)
    assert delay.delay_ms == pytest.approx(80.0 - VOICE_LAG_MS, abs=1)
    delay.update(300.0, at_once=True)
    assert delay.delay_ms == pytest.approx(300.0 - VOICE_LAG_MS)
    delay.update(80.0)
    assert delay.delay_ms > 260.0 - VOICE_LAG_MS
    delay.update(80.0, at_once=True)
    assert delay.delay_ms == pytest.approx(80.0 - VOICE_LAG_MS)


class Talker(MediaStreamTrack):
    """A microphone that babbles."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._frames = frames_of(babble(3.0, 48_000))
        self._sent = 0
        self._begun_ns = perf_counter_ns()

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        frame = self._frames[self._sent % len(self._frames)]
        self._sent += 1
        await asyncio.sleep(self._sent / 50 - (perf_counter_ns() - self._begun_ns) / 1e9)
        frame.pts = self._sent * 960
        return frame


@asynccontextmanager
async def serving(pipeline: EchoPipeline) -> AsyncIterator[SessionRegistry]:
    registry = SessionRegistry(avatars_of({"asked": lambda: pipeline}))
    try:
        yield registry
    finally:
        await registry.close()


def test_a_conversation_is_told_while_somebody_else_is_heard() -> None:
    voice = LiveVoice()

    def told() -> str | None:
        return None if voice.conversation is None else voice.conversation.value

    assert told() is None
    sound, found = np.concatenate([hush(0.4), babble(1.0)]), []
    for number in range(len(sound) // 640):
        now_ns = round((5.0 + (number + 1) / 25) * _NS)
        voice.hear_other(sound[640 * number : 640 * (number + 1)], now_ns)
        found.append(told())
    assert (found[0], found[-1]) == ("idles", "listens")
    voice.attend(round(7.8 * _NS))  # long after their turn
    assert told() == "idles"
    voice.attend(round(10.0 * _NS))  # and nothing more came
    assert told() is None


async def test_sound_alone_is_published_and_watched() -> None:
    gather_on_loopback()
    pipeline, connection = Asked(), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    viewer = WatchingPeer(audio=True)
    async with serving(pipeline) as registry:
        try:
            for _ in range(2):  # the second is somebody who speaks to the presenter
                connection.addTransceiver(Talker(), "sendonly")
            await connection.setLocalDescription()
            request = read_publish_request(connection.localDescription.sdp, None, None)
            assert request.driver == "voice"
            session, answer = await registry.create(request)
            await connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
            await viewer.watch(session)
            await until(lambda: len(viewer.arrivals) > 10 and len(viewer.sounds) > 10)
            assert session.by_voice
            stats = session.stats()
            assert (stats["state"], stats["driver"], stats["driven_by"]) == ("live", "voice", "voice")
            assert stats["audio_delay_ms"] == pytest.approx(HOLD_S * 1e3, abs=80)
            assert not any(pipeline.seen)
            voice = session.performer._voice
            assert voice is not None
            await until(lambda: voice._listening is not None)
        finally:
            await viewer.close()
            await connection.close()


async def test_a_second_voice_is_heard_beside_a_camera() -> None:
    gather_on_loopback()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    async with serving(Asked()) as registry:
        try:
            for track in (grey_camera(5.0), Talker(), Talker()):
                connection.addTransceiver(track, "sendonly")
            await connection.setLocalDescription()
            request = read_publish_request(connection.localDescription.sdp, None, None, "both")
            session, answer = await registry.create(request)
            await connection.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
            await until(lambda: session.stats()["conversation"] is not None)
        finally:
            await connection.close()


async def test_an_offer_of_sound_alone_needs_the_voice_to_drive() -> None:
    gather_on_loopback()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTransceiver("audio", "sendonly")
        await connection.setLocalDescription()
        sdp = connection.localDescription.sdp
        with pytest.raises(RequestRefused, match="no video to send"):
            read_publish_request(sdp, None, None, "camera")
        with pytest.raises(RequestRefused, match="driver is 'mouse'; one of camera, voice, both"):
            read_publish_request(sdp, None, None, "mouse")
        assert read_publish_request(sdp, None, None, "both").driver == "both"
    finally:
        await connection.close()


async def test_who_drives_is_chosen_while_it_goes_on() -> None:
    """By the voice the camera is not even looked at; by both it is, and where it stops pictures go on."""
    pipeline, camera = Asked(), grey_camera()
    peer = AiortcPeer("", camera, Talker())
    async with serving(pipeline) as registry:
        try:
            session = await present(registry, peer)
            await until(lambda: len(pipeline.seen) > 5)
            assert all(pipeline.seen)
            assert session.stats()["driven_by"] == "camera"
            session.set_driver("voice")
            await until(lambda: pipeline.seen[-5:] == [False] * 5)
            assert session.stats()["driven_by"] == "voice"
            session.set_driver("both")
            await until(lambda: pipeline.seen[-5:] == [True] * 5)
            camera.stop()
            await until(lambda: pipeline.seen[-5:] == [False] * 5)
            session.set_driver("camera")
            count = len(pipeline.seen)
            await asyncio.sleep(0.3)
            assert len(pipeline.seen) <= count + 1
            assert pipeline.companion is None or len(pipeline.seen) == count
        finally:
            await peer.close()
