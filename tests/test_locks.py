"""The locked versions: whole, hashed, within the bounds of pyproject.toml, naming no place to fetch from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import tomllib  # type: ignore[import-not-found]  # mypy looks at 3.10
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import ROOT

LOCK = ROOT / ".ci" / "lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = {"serve": ("cpu",), "dev": ("cpu", "train", "trt-rtx", "camera", "dev")}
KINDS = ("build", "serve", "dev", "torch", "tools")


@dataclass(frozen=True)
class Locked:
    """One requirement of a lock."""

    requirement: Requirement
    hashes: list[str]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def locked(kind: str) -> list[Locked]:
    """What .ci/lock/KIND.txt lists."""
    text = (LOCK / f"{kind}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        requirement, *hashes = line.split(" --hash=")
        found.append(Locked(Requirement(requirement), [value.strip() for value in hashes]))
    return found


def wanted(kind: str) -> list[Requirement]:
    """What pyproject.toml asks for."""
    if kind in PROJECT["dependency-groups"]:
        return [Requirement(text) for text in PROJECT["dependency-groups"][kind]]
    project = PROJECT["project"]
    texts = [*project["dependencies"]]
    for extra in EXTRAS[kind]:
        texts += project["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_is_pinned_and_hashed_and_nothing_else(kind: str) -> None:
    found = locked(kind)
    assert found
    for one in found:
        assert one.version
        assert one.requirement.url is None
        assert one.hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in one.hashes), one.name
    assert "://" not in (LOCK / f"{kind}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["build", "serve", "dev", "tools"])
def test_what_the_project_asks_for_is_locked_within_its_bounds(kind: str) -> None:
    """A dependency that was added, or a bound that was raised, without `make lock`."""
    found = locked(kind) + (locked("torch") if kind == "dev" else [])
    for requirement in wanted(kind):
        versions = [one.version for one in found if one.name == canonicalize_name(requirement.name)]
        assert versions, f"{requirement.name} is not in .ci/lock/{kind}.txt: run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version), f"{requirement}: {version} is locked"


def test_serving_needs_no_torch_and_shares_its_versions_with_the_tests() -> None:
    serve = {(one.name, one.version) for one in locked("serve")}
    assert serve <= {(one.name, one.version) for one in locked("dev")}
    torch = {one.name for one in locked("torch")}
    assert "torch" in torch
    assert not torch & {one.name for one in locked("dev")}
