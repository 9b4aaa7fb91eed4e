"""An agent speaks through an avatar: it is told of turns, faces follow them, and it can be cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from aiohttp.test_utils import TestServer

from benchmarks.live.echo_server import EchoPipeline, echo_avatar
from engine.arrays import FloatArray
from engine.person.motion import build_neutral
from engine.voice.driver import LOOK_AHEAD_S
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.render.live_voice import LiveVoice
from stream.sessions.agent_voice import FRAME_S, LEAD_S, AgentVoice
from stream.sessions.registry import SessionRegistry
from tests.support.puppet import Puppet
from tests.support.sounds import babble, hush
from tests.support.waiting import WAIT_S, until

NEUTRAL = build_neutral([Puppet(128).landmarks()])
OWN, OTHER = b"\x00", b"\x01"


def pcm(sound: FloatArray) -> bytes:
    return bytes(np.round(np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())


class Agent:
    """One end of the socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Sends, and gives the next event that answers."""
        await self.socket.send_str(json.dumps(message))
        return await self.next("turn", "refused", "interrupted")

    async def next(self, *kinds: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads((await self.socket.receive(timeout=WAIT_S)).data)
            self.events.append(event)
            if event["type"] in kinds:
                return event

    async def hear(self, sound: FloatArray) -> None:
        """The other one, at the pace at which people speak."""
        for at in range(0, len(sound), 640):
            await self.socket.send_bytes(OTHER + pcm(sound[at : at + 640]))
            await asyncio.sleep(0.04)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[LiveServer, aiohttp.ClientSession, str]]:
    server = LiveServer(SessionRegistry(Avatars([echo_avatar()])), Access(token=None))
    async with TestServer(server.app()) as site, aiohttp.ClientSession() as client:
        yield server, client, str(site.make_url("/api/agent"))


@asynccontextmanager
async def conversing(query: str = "") -> AsyncIterator[tuple[LiveServer, Agent]]:
    async with served() as (server, client, url), client.ws_connect(url + query) as socket:
        yield server, Agent(socket)


async def test_a_session_lasts_as_long_as_its_socket() -> None:
    async with served() as (server, client, url):
        async with client.ws_connect(f"{url}?name=bot") as socket:
            hello = json.loads((await socket.receive()).data)
            assert (hello["type"], hello["name"], hello["avatar"]) == ("session", "bot", "echo")
            session = server.registry.session(hello["id"])
            assert server.registry.by_view("bot") is session
            await until(lambda: session.metrics.rendered > 3)  # pictures come of themselves
            assert session.stats()["driver"] == "voice"
            with pytest.raises(aiohttp.WSServerHandshakeError, match="409"):
                await client.ws_connect(f"{url}?name=bot")
        await until(lambda: not len(server.registry))
        assert session.end_reason == "the agent has gone"


async def test_what_asks_for_no_socket_is_told_so() -> None:
    async with served() as (server, client, url):
        async with client.get(url) as answer:
            assert answer.status == 400
            assert "WebSocket" in (await answer.json())["error"]
        assert not len(server.registry)


async def test_turns_carry_emotions_that_are_read_back() -> None:
    async with conversing() as (server, agent):
        hello = await agent.next("session")
        sad = await agent.ask(type="turn", who="other", text="I lost my job and I feel miserable.")
        assert sad["feeling"]["sad"] > 0.4
        assert sad["shown"]["sad"] == pytest.approx(0.5 * sad["confidence"] * sad["feeling"]["sad"], abs=1e-3)
        mine = await agent.ask(type="turn", who="agent", strengths={"happy": 0.5}, confidence=0.5)
        assert mine["parent"] == sad["number"]
        assert {"happy", "sad"} == set(mine["shown"])
        assert await agent.ask(type="read", number=0) == sad
        performer = server.registry.session(hello["id"]).performer
        assert performer._emotion._wanted[0].at(0.0).happy == pytest.approx(mine["shown"]["happy"], abs=1e-3)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"type": "sing"}', "turn, read, interrupt or settings"),
        ('{"type": "turn", "who": "other"}', "turn needs"),
        ('{"type": "turn", "who": "cat", "text": "hello"}', "give agent or other"),
        ('{"type": "read", "number": 7}', "turn 7: there are 0"),
        ('{"type": "settings", "pause_s": 9}', "0.12 to 3.0 is needed"),
        (b"\x07abc", "first byte"),
        (b"\x00abc", "3 bytes of sound"),
    ],
)
async def test_what_is_not_understood_is_answered(message: str | bytes, said: str) -> None:
    async with conversing() as (_, agent):
        if isinstance(message, str):
            await agent.socket.send_str(message)
        else:
            await agent.socket.send_bytes(message)
        assert said in (await agent.next("refused"))["error"]
        assert (await agent.ask(type="turn", who="agent", text="Hello."))["number"] == 0  # it goes on


async def test_it_is_told_whose_turn_it_is_and_when_the_other_has_spoken() -> None:
    async with conversing() as (_, agent):
        await agent.hear(np.concatenate([hush(0.4), babble(0.8), hush(0.4)]))
        spoke = await agent.next("other_spoke")
        assert spoke["for_s"] == pytest.approx(0.8, abs=0.2)
        assert {"type": "state", "state": "listens"} in agent.events
        await agent.socket.send_bytes(OWN + pcm(babble(0.6)))
        await agent.next("said")
        assert {"type": "state", "state": "speaks"} in agent.events


async def test_an_interruption_ends_what_is_said() -> None:
    """By the agent's word, and by the other one's voice."""
    async with conversing() as (_, agent):
        await agent.socket.send_bytes(OWN + pcm(babble(5.0)))
        await asyncio.sleep(0.2)
        assert (await agent.ask(type="interrupt"))["by"] == "agent"
        await agent.next("said")
        await agent.socket.send_bytes(OWN + pcm(babble(5.0)))
        await asyncio.sleep(0.2)
        await agent.hear(np.concatenate([hush(0.4), babble(0.4)]))
        assert (await agent.next("interrupted"))["by"] == "other"


async def test_a_voice_that_nobody_can_have_said_is_refused() -> None:
    async with conversing() as (_, agent):
        for _ in range(2):
            await agent.socket.send_bytes(OTHER + bytes(32_000 * 6))
        assert "faster than it is said" in (await agent.next("refused"))["error"]


async def test_a_mouth_that_is_to_shut_does_not_wait_for_the_next_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.sessions.session.VOICE_FPS", 0.001)
    async with conversing() as (server, agent):
        session = server.registry.session((await agent.next("session"))["id"])
        await until(lambda: session.performer._render is not None)
        assert not session.metrics.rendered
        await agent.ask(type="interrupt")
        await until(lambda: session.metrics.rendered > 0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """Where nothing can be done before some time, it is that time: no machine is too slow for it."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def jump(timeout: float | None) -> Any:
            events = select(0)
            if not events and timeout:
                self._now_s += timeout
            return events

        selector.select = jump

    def time(self) -> float:
        return self._now_s


def test_a_voice_is_passed_on_at_its_own_pace_ahead_of_when_it_is_due() -> None:
    with closing(JumpingLoop()) as loop:
        loop.run_until_complete(a_voice_is_passed_on())


async def a_voice_is_passed_on() -> None:
    played: list[tuple[bool, float, float]] = []  # whether it says something, when it is due, when it came
    clock = asyncio.get_running_loop().time

    def play(frame: av.AudioFrame, due_s: float) -> None:
        played.append((bool(frame.to_ndarray().any()), due_s, clock()))

    voice = AgentVoice(play)
    running = asyncio.create_task(voice.run())
    await asyncio.sleep(0.1)
    voice.say(pcm(babble(1.0)))
    said_s = clock()
    await until(lambda: not voice.speaks)
    running.cancel()
    await asyncio.wait([running])
    due_s = [due for says, due, _ in played if says]
    assert due_s[0] - said_s < 2 * FRAME_S  # at once
    assert np.allclose(np.diff([due for _, due, _ in played]), FRAME_S, atol=1e-6)
    ahead_s = [due - came for says, due, came in played if says]
    assert max(ahead_s) < LEAD_S + FRAME_S
    assert ahead_s[len(ahead_s) // 2] > LOOK_AHEAD_S  # lips are known before they are shown
    assert clock() - said_s == pytest.approx(1.0, abs=2 * FRAME_S)


class Asked(EchoPipeline):
    """Remembers who has its say."""

    def accompany(self, companion: Any) -> None:
        self.companion = companion


def test_lips_go_with_sound_that_is_ahead_and_shut_when_hushed() -> None:
    """Heard LEAD_S before it is due, lips move with it at once; hushed, shut with the next picture."""
    voice, pipeline, second = LiveVoice(hold_s=0.0), Asked(), 1_000_000_000
    voice.attach(pipeline)
    sound = np.concatenate([hush(1.0), babble(3.0)])
    fed_s, gaps = 0.0, []
    for picture in range(75):
        now_s = 5.0 + picture / 25
        while fed_s < now_s - 5.0 + (LEAD_S if now_s >= 6.0 else 0.0) and not picture >= 60:
            at = round(fed_s * 16_000)
            frame = av.AudioFrame.from_ndarray(
                np.frombuffer(pcm(sound[at : at + 320]), "<i2")[None], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = 16_000, at
            fed_s += 0.02
            voice.hear(frame, round((5.0 + fed_s) * second))
        if picture == 60:
            voice.hush(round(now_s * second))
        voice.advance(round(now_s * second))
        motion = pipeline.companion.motion(None, NEUTRAL)
        gaps.append(motion.lip_gap - float(NEUTRAL.lip_closed))
    opened = next(picture for picture, gap in enumerate(gaps) if gap > 0.02 * max(gaps))
    assert 24 <= opened <= 28  # speech is due with picture 25
    assert max(gaps[52:60]) > 0.3 * max(gaps)
    assert max(map(abs, gaps[62:])) < 0.05 * max(gaps)
