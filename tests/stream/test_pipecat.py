"""A Pipecat pipeline speaks through an avatar and is told of turns. Needs Pipecat, which is in no extra."""

from __future__ import annotations

import numpy as np
import pytest
from aiohttp.test_utils import TestServer

from benchmarks.live.echo_server import echo_avatar
from engine.arrays import FloatArray
from stream.http.security import Access
from stream.http.server import LiveServer
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from tests.support.sounds import babble, hush
from tests.support.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]  # Pipecat's own are its makers'
TOKEN = "a-token-of-sixteen-and-more"


def pcm(sound: FloatArray) -> bytes:
    return bytes(np.round(np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())


async def test_a_pipeline_gets_a_face_and_its_turns() -> None:
    pytest.importorskip("pipecat", reason="Pipecat is not installed: pip install pipecat-ai")
    from pipecat.frames import frames
    from pipecat.tests.utils import SleepFrame, run_test

    from stream.example_pipecat import AvatarFace

    other = np.concatenate([hush(0.4), babble(0.8), hush(0.4)])
    sent = []
    for at in range(0, len(other), 640):
        sent += [frames.InputAudioRawFrame(pcm(other[at : at + 640]), 16_000, 1), SleepFrame(0.04)]
    sent.append(frames.TTSAudioRawFrame(pcm(babble(0.6, 24_000)), 24_000, 1))
    server = LiveServer(SessionRegistry(Avatars([echo_avatar()])), Access(token=TOKEN))
    async with TestServer(server.app()) as site:
        face = AvatarFace(str(site.make_url("")).rstrip("/"), TOKEN, name="bot")
        down, up = await run_test(face, frames_to_send=sent)
        assert face.session["name"] == "bot"
        await until(lambda: not len(server.registry))  # it lasts as long as the pipeline
    told = [type(frame).__name__ for frame in up]
    wanted = ["ProposedUserStarted", "ProposedUserStopped", "BotStarted", "BotStopped"]
    assert [name for name in told if name.startswith(("Proposed", "Bot"))] == [
        f"{name}SpeakingFrame" for name in wanted
    ]
    assert not [frame for frame in down if isinstance(frame, frames.OutputAudioRawFrame)]
