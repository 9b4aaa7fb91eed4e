"""What is killed: recording, enrolment, export and writing packages, as small as they can be.

Every file is written by the product's own code. Left out is arithmetic that takes long and touches no disk:
tracking, measuring, the conversion of networks; the network is small and trained for half a second. Imported
late, as it needs all that the product needs.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch._dynamo  # which an optimiser wants: seconds that each process would take

from benchmarks.live.echo_server import echo_avatar
from benchmarks.robustness.victims import limit_disk
from engine.avatar.avatar import Avatar
from engine.avatar.avatar_file import load_avatar, save_avatar
from engine.cli import main as command
from engine.errors import AvatarcastError
from engine.network.denoiser import DenoiserConfig
from export import enroll
from export.convert import variants
from export.footage import prepare
from export.footage.prepared import Prepared
from export.footage.prepared_file import Origin, sha256_of
from export.training import loop
from stream.commands.serve import Serving, serve
from stream.http.exposure import listen
from stream.http.security import Access
from stream.render.avatars import Avatars
from stream.sessions.registry import SessionRegistry
from stream.studio.studio import Studio, StudioConfig

CONSENT = "Nobody, a synthetic person"
FRAMES = 12
PACKAGES = 4  # written one over the other
RECORDINGS, CHUNKS = 8, 4
AVATAR, MODEL = "a.avatar", "denoiser-int8.onnx"
RIGHT = ""  # of what is as it should be


class Workload:
    """State lies in `folder`, which may hold anything when the work begins again; input elsewhere.

    Unless a kind of work says otherwise, it begins in an empty folder, with a small avatar as its input, and
    makes an avatar.
    """

    name: str

    def make_input(self, folder: Path) -> None:
        """What the work is done from; in a process of its own."""
        save_small(load_avatar("bundled"), folder / "small.avatar", 0)

    def place(self, source: Path, folder: Path) -> None:
        """Puts what is there before the work begins into the folder."""

    def work(self, source: Path, folder: Path) -> int:
        """Do it, or go on with it; the exit status."""
        raise NotImplementedError

    def flaw(self, source: Path, folder: Path, cut: Path | None) -> str:
        """What was lost, the first time or after all; RIGHT where nothing was. cut: a file damaged since."""
        return RIGHT if cut == folder / AVATAR else flaw_of_avatar(folder / AVATAR)


class Packages(Workload):
    """An avatar's file, written again and again."""

    name = "packages"

    def work(self, source: Path, folder: Path) -> int:
        """As a program does that uses the engine."""
        avatar = load_avatar(source / "small.avatar")
        try:
            for number in range(PACKAGES):
                save_small(avatar, folder / AVATAR, number)
        except AvatarcastError as error:
            print(f"avatarcast: error: {error}", file=sys.stderr)
            return 1
        return 0

    def flaw(self, source: Path, folder: Path, cut: Path | None) -> str:
        """It is one of those that were written, or none; a cut one was written anew."""
        return flaw_of_avatar(folder / AVATAR)


class Export(Workload):
    """`avatarcast export`: a variant is put into the avatar's file."""

    name = "export"

    def place(self, source: Path, folder: Path) -> None:
        """The avatar that is exported."""
        shutil.copyfile(source / "small.avatar", folder / AVATAR)

    def work(self, source: Path, folder: Path) -> int:
        """The command; its conversion gives back the network that there is."""
        model = load_avatar(source / "small.avatar").models[MODEL]
        facts: dict[str, Any] = {
            "precision": "fp16",
            "weights_sha256": hashlib.sha256(model).hexdigest(),
            "held_out": {"before_db": {}, "after_db": {}, "loss_db": 0.0, "frames": 0}
            | {"flip_growth": 0.0, "sharpness_kept": 1.0, "motion": {"note": "", "parts": {}}},
        }
        variant = variants.Variant("denoiser-fp16.onnx", model, facts)
        put(variants, network_of=lambda _: None, convert=lambda *_: variant)
        return command(["export", str(folder / AVATAR), "--target", "onnx-fp16"])


class Enrolment(Workload):
    """`avatarcast enroll`: footage is prepared, a network trained, with a checkpoint a step, and packed."""

    name = "enrolment"

    def make_input(self, folder: Path) -> None:
        """A clip in name only, and what tracking it would give."""
        (folder / "clip.mp4").write_bytes(b"a film in name only")
        avatar = load_avatar("bundled")
        frames = avatar.keyframes[:FRAMES]
        prepared = Prepared(
            fps=25.0,
            rgb=np.stack([frame.rgb for frame in frames]),
            matte=np.stack([frame.matte for frame in frames]),
            landmarks=[frame.landmarks for frame in frames],
            shot=np.zeros(len(frames), np.int32),
        )
        prepared.save(folder / "tracked.npz")
        (folder / MODEL).write_bytes(avatar.models[MODEL])

    def work(self, source: Path, folder: Path) -> int:
        """The command."""
        clip, model = source / "clip.mp4", (source / MODEL).read_bytes()

        def prepared(*_: Any) -> tuple[Prepared, Origin]:
            origin = Origin((sha256_of(clip),), ("0,0,256",), (), metadata.version("avatarcast"))
            return Prepared.load(source / "tracked.npz"), origin

        torch.set_num_threads(1)
        put(prepare, prepare_footage=prepared)
        put(loop, CHECKPOINT_S=0.0)
        put(
            enroll,
            DenoiserConfig=lambda size: DenoiserConfig(size, (8, 8, 8), 1),
            _export=lambda *_: (model, {}),
            measure_held_out=lambda *_, **__: SimpleNamespace(report={}),
            held_out_picture=lambda *_: b"",
            _int8=lambda *_: None,
        )
        out = str(folder / AVATAR)
        options = ["--out", out, "--consent", CONSENT, "--person", "synthetic", "--minutes", "0.015"]
        return command(["enroll", str(clip), *options, "--base", "none", "--progress", "json", "--json"])


class OpenRegistry(SessionRegistry):
    """Whoever records is let in: there is no call."""

    def session(self, session_id: str) -> Any:
        """Every id is one."""
        return SimpleNamespace(id=session_id)


class Recording(Workload):
    """A live server whose studio takes in recordings over HTTP, until whoever records has had enough."""

    name = "recording"

    def make_input(self, folder: Path) -> None:
        """Films of no meaning."""
        (folder / "film").write_bytes(np.random.default_rng(7).bytes(200_000))

    def work(self, source: Path, folder: Path) -> int:
        """The server; beside it, in a process of its own, its guest."""
        with listen("127.0.0.1", 0) as listener:
            if os.fork() == 0:
                host, port = listener.getsockname()[:2]
                listener.close()
                limit_disk(resource.RLIM_INFINITY)
                os._exit(_record(host, port, source))
            avatars = Avatars([echo_avatar()])
            studio = Studio(StudioConfig(folder, needs=()), avatars, lambda _: echo_avatar(name="made"))
            studio.offer_avatars()
            access = Access(requests_per_s=1e5, burst=1e6)
            return serve(listener, Serving(OpenRegistry(avatars), access, studio=studio), as_json=True)

    def flaw(self, source: Path, folder: Path, cut: Path | None) -> str:
        """All that was said to be kept is kept, with its consent."""
        kept = source / "kept.jsonl"
        lines = kept.read_text().splitlines() if kept.exists() else []
        for name, digest in (json.loads(line) for line in lines):
            film, consent = (folder / "recordings" / f"{name}{ending}" for ending in (".webm", ".json"))
            if cut in (film, consent):
                continue
            if not film.exists() or not consent.exists():
                return f"{name} was said to be kept and is not there"
            if hashlib.sha256(film.read_bytes()).hexdigest() != digest:
                return f"{name} is not what was sent"
            if json.loads(consent.read_bytes())["statement"] != CONSENT:
                return f"the consent of {name} is another"
        return RIGHT


def _record(host: str, port: int, source: Path) -> int:
    """The guest: makes recordings while it is answered, notes those that are kept, then stops the server."""
    server, film = os.getppid(), (source / "film").read_bytes()
    http_client = http.client.HTTPConnection(host, port, timeout=20)

    def ask(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> dict[str, Any]:
        http_client.request(method, f"/api/studio/recordings{path}", body, {"Content-Type": kind})
        answer: dict[str, Any] = json.loads(http_client.getresponse().read())
        if "error" in answer:
            print(f"avatarcast: error: {answer['error']}", file=sys.stderr, flush=True)
        return answer

    try:
        for number in range(RECORDINGS):
            who = {"session": f"s{number}-{port}", "who": "Nobody", "statement": CONSENT, "agreed": True}
            begun = ask("POST", "", json.dumps({**who, "kind": "video/webm"}).encode())
            if "id" not in begun:
                break
            size = len(film) // (1 + number) // CHUNKS
            chunks = [film[index * size : (index + 1) * size] for index in range(CHUNKS)]
            path = f"/{begun['id']}"
            told = [ask("PUT", f"{path}/{index}", chunk, "video/webm") for index, chunk in enumerate(chunks)]
            if any("error" in answer for answer in told):  # as the page does
                ask("DELETE", path)
                continue
            kept_as = ask("POST", f"{path}/finish", b"{}").get("name")
            if kept_as is not None:
                digest = hashlib.sha256(b"".join(chunks)).hexdigest()
                with (source / "kept.jsonl").open("a") as kept:
                    kept.write(json.dumps([kept_as, digest]) + "\n")
    except (OSError, http.client.HTTPException):
        return 0  # the server is gone, as it was to be
    os.kill(server, signal.SIGTERM)
    return 0


def put(module: ModuleType, **parts: Any) -> None:
    """In the place of parts of a module, for as long as this process lives."""
    for name, part in parts.items():
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name} any more")
        setattr(module, name, part)


def save_small(avatar: Avatar, path: Path, number: int) -> None:
    """Two key frames, one network and a few held-out frames."""
    small = replace(
        avatar,
        keyframes=avatar.keyframes[:2],
        models={MODEL: avatar.models[MODEL]},
        held_out=avatar.held_out[:2],
        report={"number": number},
        report_png=b"",
        bare_torso=None,
    )
    save_avatar(path, small)


def flaw_of_avatar(path: Path) -> str:
    """RIGHT where it loads, or is not there."""
    try:
        if path.exists():
            load_avatar(path)
    except AvatarcastError as error:
        return str(error)
    return RIGHT


WORKLOADS: Sequence[Workload] = (Recording(), Packages(), Enrolment(), Export())
