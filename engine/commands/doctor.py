"""What this machine can run: versions, devices, runners, codecs, and for what is missing, how to get it.

Exit status 0 if this machine can serve. Works when any package is missing: it is what tells. Every line is
one check: the packages are really imported, since an installed one may still not load.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.avatar.bundled import bundled_names
from engine.cores import usable_share

PYTHON_WANTED = ((3, 11), (3, 14))
MIB = 1024 * 1024
WEBRTC_CODECS = ("libvpx", "libx264", "libopus")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RUNNERS = ("onnx-cpu", "onnx-cuda", "tensorrt", "tensorrt-rtx", "torch", "null")
EXPORTERS = ("torch", "onnx", "onnxscript", "onnxruntime")  # what every export needs
TENSORRT = ("tensorrt", "tensorrt-rtx")
SYSTEM_LIBRARIES = "on Debian/Ubuntu: apt-get install libgl1 libglib2.0-0"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    detail: str  # what was found, or why not and the cure
    needed: bool = False  # to serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `avatarcast doctor`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> int:
    """Prints the report; 0 if this machine can serve, else 1."""
    checks = list(run_checks())
    lacking = [check for check in checks if check.needed and not check.ok]
    can_serve = not lacking and any(check.ok for check in checks if check.name in ("onnx-cpu", "onnx-cuda"))
    if args.json:
        print(json.dumps({"can_serve": can_serve, "checks": [asdict(check) for check in checks]}))
        return 0 if can_serve else 1
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = "ok" if check.ok else ("MISSING" if check.needed else "no")
        print(f"{state:<7} {check.name:<{width}}  {check.detail}")
    if can_serve:
        print("This machine can serve: avatarcast serve")
    else:
        wanted = ", ".join(check.name for check in lacking) or "onnx-cpu or onnx-cuda"
        print(f"This machine cannot serve yet; it lacks {wanted} (see the lines above)")
    return 0 if can_serve else 1


def run_checks() -> Iterator[Check]:
    """Every check, one after the other; each may take a second for the import."""
    yield _python()
    yield Check("platform", True, f"{platform.platform()}, {platform.machine()}")
    yield Check("cpu", True, f"{cpu_name()}, {usable_share():g} cores usable, {_memory()}")
    yield _package("numpy", "", needed=True)
    yield _package("cv2", "", needed=True, cure=SYSTEM_LIBRARIES)
    yield _package("ai_edge_litert", "", needed=True)
    yield _package("aiohttp", "", needed=True)
    yield _package("aiortc", "", needed=True)
    yield _package("prometheus_client", "", needed=True)
    yield _guarded("av", _av, needed=True)
    for name in RUNNERS:
        yield _guarded(name, partial(_runner, name))
    yield _guarded("cuda", _cuda)
    yield _guarded("export onnx", _exporters)
    for name in TENSORRT:
        yield _guarded(f"export {name}", partial(_engines, name))
    yield _package("pyvirtualcam", "camera")
    yield _browser()
    names = bundled_names()
    if not names:
        yield Check("presenters", False, "no file in engine/assets: install avatarcast again", needed=True)
    for name in names:
        yield _guarded(f"presenter {name}", partial(_bundled, name), needed=True)


def _python() -> Check:
    low, high = PYTHON_WANTED
    ok = low <= sys.version_info[:2] <= high
    wanted = (
        ""
        if ok
        else f"; wanted {low[0]}.{low[1]} to {high[0]}.{high[1]}: make setup PYTHON=/path/to/python3.13"
    )
    return Check("python", ok, f"{platform.python_version()} at {sys.executable}{wanted}", needed=True)


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // MIB} MiB of memory"
    except (AttributeError, ValueError, OSError):
        return "unknown memory"


def _guarded(name: str, check: Callable[[], tuple[bool, str]], needed: bool = False) -> Check:
    try:
        ok, detail = check()
    except Exception as error:  # a broken package may raise anything, and this command must say so, not break
        ok, detail = False, _reason(error)
    return Check(name, ok, detail, needed)


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _package(package: str, extra: str, needed: bool = False, cure: str = "") -> Check:
    """Whether the package loads, and its version. cure: for one that is installed and does not load."""

    def check() -> tuple[bool, str]:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some print advice there, and --json is one line
                module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            install = f"pip install 'avatarcast[{extra}]'" if extra else "run `make setup`"
            return False, f"not installed ({error}): {install}"
        except Exception as error:  # as in _guarded
            lacks = isinstance(error, ImportError)  # something else is no matter of what is installed
            return False, f"does not load ({_reason(error)})" + (f": {cure}" if cure and lacks else "")
        return True, _version(package, module)

    return _guarded(package, check, needed)


def _version(package: str, module: Any) -> str:
    version = getattr(module, "__version__", None)
    return str(version) if version else metadata.version(package)


def _av() -> tuple[bool, str]:
    import av

    codecs = {name: name in av.codecs_available for name in WEBRTC_CODECS}
    found = f"{av.__version__}, " + ", ".join(
        f"{name} {'yes' if ok else 'no'}" for name, ok in codecs.items()
    )
    # VP8 is what the server speaks unless told otherwise.
    return codecs["libvpx"], found if codecs["libvpx"] else found + ": pip install --force-reinstall av"


def _runner(name: str) -> tuple[bool, str]:
    from engine.runners.choice import default_threads, unavailable

    if reason := unavailable(name):
        return False, reason
    if name == "null":
        return True, "passes the prior through; for trials"
    if name in TENSORRT:
        from engine.runners import cuda, trt_build

        gpu, capability = cuda.device()
        version = trt_build.library(name).__version__
        return (
            True,
            f"{name} {version} on {gpu}, {capability}; needs an engine: avatarcast export --target {name}",
        )
    package = "torch" if name == "torch" else "onnxruntime"
    version = _version(package, importlib.import_module(package))
    return True, f"{package} {version}" + (
        f", up to {default_threads()} threads" if name == "onnx-cpu" else ""
    )


def _exporters() -> tuple[bool, str]:
    """Whether --target onnx, onnx-fp16 and onnx-int8 can be made."""
    missing = [package for package in EXPORTERS if importlib.util.find_spec(package) is None]
    if missing:
        return False, f"lacks {', '.join(missing)}: pip install 'avatarcast[train]'"
    return True, "onnx, onnx-fp16, onnx-int8; onnx-fp16 pays off on a GPU only"


def _engines(target: str) -> tuple[bool, str]:
    from engine.runners import trt_build

    made, why = _exporters()
    if reason := trt_build.cannot_build(target) or (None if made else why):
        return False, reason
    version = trt_build.library(target).__version__
    here = trt_build.no_gpu()
    return True, f"{target} {version}" + (f", for another machine's GPU only ({here})" if here else "")


def _cuda() -> tuple[bool, str]:
    from engine.runners.choice import unavailable

    if reason := unavailable("torch"):
        return False, reason
    import torch

    if not torch.cuda.is_available():
        return (
            False,
            f"torch {torch.__version__} sees none: needs an NVIDIA GPU, its driver, and torch for CUDA",
        )
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return True, f"{', '.join(names)} with CUDA {torch.version.cuda}"


def _browser() -> Check:
    path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    cure = "none of " + ", ".join(BROWSERS) + ": only the browser tests need one"
    return Check("browser for tests", path is not None, path or cure)


def _bundled(name: str) -> tuple[bool, str]:
    from engine.avatar.avatar_file import load_avatar

    avatar = load_avatar(name)
    models = ", ".join(f"{name} ({len(data) / MIB:.1f} MiB)" for name, data in avatar.models.items())
    detail = f"{avatar.size} px, {len(avatar.keyframes)} key frames, {models or 'no networks'}"
    return bool(avatar.models), detail
