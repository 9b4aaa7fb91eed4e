"""What must hold for the repository as a whole: names, sizes, import edges, words that must not appear."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tokenize
from functools import cache
from importlib import metadata
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN_PACKAGES = ("engine", "export", "stream")
MAX_LINES = 500
# Longer files, each with its reason.
LONGER: dict[str, str] = {}
SOURCES = (".py", ".js", ".sh")
WITH_ROOMS = (*OWN_PACKAGES, "benchmarks")
# Modules that refuse requests, and whose tests need no WebRTC.
REFUSING = (
    *("stream.http.bodies", "stream.http.pictures", "stream.http.rules", "stream.http.security"),
    *("stream.render.avatars", "stream.sessions.tokens", "stream.studio.studio"),
)
# What a text may name: `engine.person.motion`, `stream/page/call/link.js`, `tests/data/*.mp4`.
MODULE = re.compile(r"(?<![\w./-])((?:engine|export|stream|benchmarks|tests)(?:\.[A-Za-z_]\w*)+)")
FILE = re.compile(r"(?<![\w./-])(?:engine|export|stream|benchmarks|tests)/[\w./*-]*\w")
# Paths of somebody's machine: in a repository they are wrong on every other one.
MACHINE_PATHS = re.compile(r"(?<![\w.~$}/<-])/(?:home|Users|work|root|mnt|opt|data)/\w+")


def tracked() -> list[Path]:
    """Every file git knows, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """None for a binary file."""
    data = path.read_bytes()
    return None if b"\0" in data else data.decode()


def docstring(path: Path) -> str:
    """Of a Python file; "" where it has none."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def prose(path: Path) -> str:
    """What is written for people: of a Python file the docstrings and comments, of another all."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join([*(ast.get_docstring(node) or "" for node in nodes), *comments])


@cache
def is_module(name: str) -> bool:
    """A module of ours, or something in one: `engine.cli`, `engine.person.motion.Pose`."""
    path = ROOT
    for part in name.split("."):
        path /= part
        if path.with_suffix(".py").is_file():
            return True
        if not path.is_dir():
            return False
    return True


@cache
def is_file(pattern: str) -> bool:
    """A file or folder of ours: `stream/page/call/link.js`, `tests/data/*.mp4`."""
    return any(ROOT.glob(pattern))


@pytest.fixture(scope="module")
def files() -> list[Path]:
    found = tracked()
    assert len(found) > 20
    return found


@pytest.mark.parametrize("name", OWN_PACKAGES)
def test_nobody_else_owns_the_import_names(name: str) -> None:
    owners = set(metadata.packages_distributions().get(name, ["avatarcast"]))
    assert owners == {"avatarcast"}
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / name


def test_files_stay_short(files: list[Path]) -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in files
        if path.suffix in SOURCES
    }
    too_long = {name: count for name, count in lines.items() if count > MAX_LINES and name not in LONGER}
    assert not too_long
    assert set(LONGER) <= set(lines), "an exception for a file that is gone"


def test_no_machine_paths(files: list[Path]) -> None:
    found = []
    for path in files:
        text = text_of(path)
        if text is None or path == Path(__file__):
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATHS.finditer(text)]
    assert not found


def test_nothing_is_pickled(files: list[Path]) -> None:
    pickling = re.compile(
        r"^\s*(?:import|from) (?:pickle|dill|shelve|joblib|marshal)\b|allow_pickle=True|weights_only=False",
        re.MULTILINE,
    )
    for path in files:
        if path.suffix == ".py" and path.is_relative_to(ROOT) and path.parts[len(ROOT.parts)] in OWN_PACKAGES:
            assert not pickling.search(path.read_text(encoding="utf-8")), path


def test_tests_are_no_package(files: list[Path]) -> None:
    """A package `engine` among them would hide ours."""
    assert not [path for path in files if path.name == "__init__.py" and path.is_relative_to(ROOT / "tests")]


@pytest.mark.parametrize("package", WITH_ROOMS)
def test_a_package_says_what_its_rooms_are(package: str, files: list[Path]) -> None:
    """Its docstring is the map; each room with modules of its own says in its own what it is."""
    tops = {
        path.relative_to(ROOT / package).parts[0] for path in files if path.is_relative_to(ROOT / package)
    }
    rooms = {top for top in tops if (ROOT / package / top / "__init__.py").is_file()}
    modules = {Path(top).stem for top in tops if top.endswith(".py")} - {"__init__"}
    assert len(rooms) > 3
    text = docstring(ROOT / package / "__init__.py")
    assert not {name for name in rooms | modules if not re.search(rf"\b{name}\b", text)}
    assert not {room for room in rooms if not docstring(ROOT / package / room / "__init__.py")}


def test_modules_and_files_that_a_text_names_exist(files: list[Path]) -> None:
    missing = []
    for path in files:
        if path.suffix not in (".py", ".md", ".toml", ".js", "") or path.name == "LICENSE":
            continue
        text = prose(path)
        named = [] if path.suffix == ".js" else MODULE.findall(text)
        missing += [f"{path.relative_to(ROOT)}: {name}" for name in named if not is_module(name)]
        missing += [f"{path.relative_to(ROOT)}: {name}" for name in FILE.findall(text) if not is_file(name)]
    assert not missing


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        ("stream.http.server", ("torch", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx", "pyvirtualcam")),
        ("stream.commands.serve", ("torch", "onnx", "onnxscript")),
        (" ".join(REFUSING), ("aiortc", "aioice")),
        ("engine.pipeline", ("torch", "onnx", "onnxscript", "aiortc", "ai_edge_litert")),
        ("engine.runners.choice", ("torch", "onnxruntime", "tensorrt", "ai_edge_litert", "aiortc")),
        ("engine.avatar.avatar_file", ("torch", "onnxruntime", "ai_edge_litert", "aiortc", "av")),
        ("engine.cli", ("torch", "onnxruntime", "ai_edge_litert", "aiortc", "numpy", "cv2")),
        (
            "engine.commands.doctor",
            ("torch", "onnxruntime", "ai_edge_litert", "aiortc", "numpy", "cv2", "av"),
        ),
        (
            "engine.network.denoiser export.training.train",
            ("ai_edge_litert", "aiortc", "onnxruntime", "onnx"),
        ),
        ("export.convert.onnx_export export.enroll", ("ai_edge_litert", "aiortc", "av")),
        ("export.footage.prepare", ("torch", "onnx", "onnxscript", "onnxruntime", "aiortc")),
        ("export.commands.enroll", ("torch", "ai_edge_litert", "aiortc", "onnxruntime", "av")),
    ],
)
def test_imports_without(modules: str, without: tuple[str, ...]) -> None:
    """Serving needs no torch, training neither LiteRT nor aiortc: heavy imports stay where they belong."""
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in without)
    code = f"import importlib, sys\n{blocked}\nfor name in {modules.split()!r}: importlib.import_module(name)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_command_of_the_package_is_there() -> None:
    entries = {entry.name: entry for entry in metadata.entry_points(group="avatarcast.commands")}
    assert set(entries) == {
        "serve",
        "camera",
        "fleet",
        "enroll",
        "render",
        "evaluate",
        "export",
        "base",
        "voice-base",
        "forget",
        "info",
        "keys",
        "verify",
        "doctor",
        "bench",
    }
    for entry in entries.values():
        module = entry.load()
        assert callable(module.add_arguments)
        assert callable(module.run)
        assert (module.__doc__ or "").strip()


def test_readme_names_only_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```.*?```|`[^`\n]+`", readme, re.DOTALL)
    named = {name for block in code for name in re.findall(r"\bmake ([a-z][a-z-]*)", block)}
    assert {"run", "test"} <= named
    assert named <= targets


def test_the_distribution_is_private() -> None:
    assert "Private :: Do Not Upload" in metadata.metadata("avatarcast").get_all("Classifier", [])
