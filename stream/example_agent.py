"""A talking agent in one process: server, agent, and somebody who calls it, watches it and interrupts it.

    python -m stream.example_agent --out talk.mp4

What a program of yours does is in `Agent`: it hears that the other one has spoken, answers, has the answer
said by a synthesiser, and sends that to the avatar. Here rules stand for a language model, and espeak-ng
(Debian's package of that name) for a better voice; the caller's words are handed over as text, where a
recogniser would find them. No packet leaves this machine.

The caller asks three things, and breaks into the last answer. `avatarcast bench agent` measures such a call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import av
import numpy as np
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from engine.arrays import FloatArray, U8Image
from engine.commands.options import add_avatar, add_runner
from engine.errors import AvatarcastError, SettingsError
from engine.media.disclosure import COMMENT, DEFAULT_MARK, SOURCE_TYPE
from engine.media.sound import read_sound
from engine.media.video import VideoWriter
from engine.pipeline import PipelineConfig
from engine.voice.mel import SAMPLE_RATE_HZ
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.media.tracks import rgb_from_frame
from stream.render.avatars import Avatars, ServedAvatar, served_file
from stream.sessions.registry import SessionRegistry
from stream.webrtc.aiortc_tuning import gather_on_loopback

VOICES = {"agent": ["-v", "en-us", "-p", "40", "-s", "160"], "other": ["-v", "en+f3", "-s", "165"]}
OWN, OTHER = b"\x00", b"\x01"
PIECE_S = 0.02
CALLS = (
    "Hello, are you there?",
    "I have lost my keys and I feel miserable.",
    "Now tell me the whole story of the lighthouse.",
)
CUT_IN = "Stop, that is enough."
CUT_IN_AFTER_S = 2.0


def reply(text: str) -> str:
    """What a language model would say."""
    if "keys" in text:
        return "Oh no, I am so sorry. Let us look for them together."
    if "story" in text:
        return (
            "Once upon a time there was a lighthouse at the end of the world and nobody had been there for a"
            " hundred years until one morning a small boat came in from the fog and in it sat a cat."
        )
    return "Hello! I am so happy to see you."


def spoken(text: str, voice: str) -> FloatArray:
    """(n,) float32, -1..1, 16 kHz. Raises SettingsError where there is no espeak-ng."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise SettingsError("espeak-ng is not installed; install the package of that name")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run([program, *VOICES[voice], "-w", str(path), text], check=True)
        sound = read_sound(path, SAMPLE_RATE_HZ)
    assert sound is not None
    return sound.from_picture()


def pcm(samples: FloatArray) -> bytes:
    """As it goes over the socket."""
    return bytes(np.round(np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2").tobytes())


class Agent:
    """Use: converse() as a task. What the other one said comes in `texts`, as of a recogniser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.said = asyncio.Event()  # nothing is left to say
        self._socket = socket

    async def converse(self) -> None:
        """Until the socket closes."""
        async for message in self._socket:
            match json.loads(message.data):
                case {"type": "other_spoke"}:
                    with suppress(asyncio.QueueEmpty):
                        await self._answer(self.texts.get_nowait())
                case {"type": "said"}:
                    self.said.set()
                case {"type": "refused", "error": str(error)}:
                    print(f"stream.example_agent: refused: {error}", file=sys.stderr)

    async def _answer(self, text: str) -> None:
        self.said.clear()
        answer = reply(text)
        sound = speech(await asyncio.to_thread(spoken, answer, "agent"))
        for piece in np.array_split(sound, max(1, len(sound) // SAMPLE_RATE_HZ)):
            await self._socket.send_bytes(OWN + pcm(piece))
        for who, words in (("other", text), ("agent", answer)):
            await self._socket.send_str(json.dumps({"type": "turn", "who": who, "text": words}))


@dataclass
class Watched:
    """What the caller saw, and what they did, by one clock (monotonic, s)."""

    frames: list[tuple[float, U8Image]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # the first picture is here
    ended_s: list[float] = field(default_factory=list)  # of their sentences
    broke_in_s: float = 0.0


class Caller:
    """Speaks at the pace of people; sends silence between."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket
        self._waiting = np.zeros(0, np.float32)
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled."""
        piece, due_s = round(PIECE_S * SAMPLE_RATE_HZ), monotonic()
        quiet = np.random.default_rng(0)
        while True:
            due_s += PIECE_S
            await asyncio.sleep(max(0.0, due_s - monotonic()))
            said, self._waiting = self._waiting[:piece], self._waiting[piece:]
            sound = 1e-4 * quiet.standard_normal(piece).astype(np.float32)
            sound[: len(said)] += said
            await self._socket.send_bytes(OTHER + pcm(sound))
            if not len(self._waiting):
                self._done.set()

    async def say(self, sound: FloatArray) -> None:
        """Until its last piece is sent."""
        self._done.clear()
        self._waiting = sound
        await self._done.wait()


@asynccontextmanager
async def served(avatar: ServedAvatar) -> AsyncIterator[str]:
    """The address of a server on this machine alone."""
    registry = SessionRegistry(Avatars([avatar]))
    await registry.warm()
    site_runner = web.AppRunner(LiveServer(registry, Access(token=None)).app())
    await site_runner.setup()
    site = web.TCPSite(site_runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site_runner.addresses[0][1]}"
    finally:
        await site_runner.cleanup()


@asynccontextmanager
async def watching(
    http: aiohttp.ClientSession, address: str, view: str, seen: Watched
) -> AsyncIterator[None]:
    """Pictures come in by WHEP."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tasks = []

    @peer.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        tasks.append(asyncio.create_task(_see(track, seen)))

    peer.addTransceiver("video", "recvonly")
    peer.addTransceiver("audio", "recvonly")
    await peer.setLocalDescription()
    headers = {"Content-Type": "application/sdp"}
    async with http.post(f"{address}/whep/{view}", data=peer.localDescription.sdp, headers=headers) as answer:
        await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    try:
        yield
    finally:
        await peer.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _see(track: MediaStreamTrack, seen: Watched) -> None:
    with suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            if isinstance(frame, av.VideoFrame):
                seen.frames.append((monotonic(), rgb_from_frame(frame).copy()))
                seen.begun.set()


async def talk(avatar: ServedAvatar) -> Watched:
    """The whole call."""
    gather_on_loopback()
    seen = Watched()
    calls = {text: speech(await asyncio.to_thread(spoken, text, "other")) for text in (*CALLS, CUT_IN)}
    async with (
        served(avatar) as address,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{address}/api/agent?name=bot", max_msg_size=0) as socket,
    ):
        await socket.receive()  # which session it is
        agent, caller = Agent(socket), Caller(socket)
        running = [asyncio.create_task(one) for one in (agent.converse(), caller.run())]
        try:
            await asyncio.sleep(1.0)  # the server takes up a pipeline with the first sound
            async with watching(http, address, "bot", seen):
                await asyncio.wait_for(seen.begun.wait(), 30.0)
                await asyncio.sleep(1.5)
                for text in CALLS:
                    agent.said.clear()
                    agent.texts.put_nowait(text)
                    await caller.say(calls[text])
                    seen.ended_s.append(monotonic())
                    if text is CALLS[-1]:
                        await asyncio.sleep(1.0 + CUT_IN_AFTER_S)
                        seen.broke_in_s = monotonic()
                        await caller.say(calls[CUT_IN])
                    await asyncio.wait_for(agent.said.wait(), 30.0)
                    await asyncio.sleep(1.0)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    return seen


def speech(sound: FloatArray) -> FloatArray:
    """Without the silence before and after it."""
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def write(seen: Watched, out: Path) -> None:
    """What the caller saw, without sound."""
    first_s, rgb = seen.frames[0]
    height, width = rgb.shape[:2]
    options: dict[str, Any] = {"variable": True, "comment": COMMENT, "source_type": SOURCE_TYPE}
    with VideoWriter(out, width, height, Fraction(25), **options) as writer:
        for time_s, picture in seen.frames:
            if picture.shape == rgb.shape:
                writer.write(picture, time_s - first_s)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, type=Path, help="the video to write, of what the caller saw")
    add_avatar(parser)
    add_runner(parser)
    args = parser.parse_args()
    try:
        avatar = served_file(args.avatar, PipelineConfig(runner=args.runner), DEFAULT_MARK)
        seen = asyncio.run(talk(avatar))
        write(seen, args.out)
    except AvatarcastError as error:
        print(f"stream.example_agent: error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {len(seen.frames)} pictures of {avatar.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
