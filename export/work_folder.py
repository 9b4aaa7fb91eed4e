"""The folder beside an avatar that is being made: what an interrupted enrolment needs to go on.

NAME.avatar.work holds prepared.npz, checkpoint.pt and settings.json, which says what the others are of. Needs
no torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.avatar.beside import work_path
from engine.avatar.container import read_package
from engine.errors import AvatarcastError, BusyError, FootageError, SettingsError
from engine.files import LOCK, FolderLock, in_one_line, locked, private_folder, set_aside, write_file
from export.enroll_options import EnrollOptions
from export.footage.prepared import Prepared
from export.footage.prepared_file import Origin, load_prepared, sha256_of
from export.progress import note

SETTINGS = "settings.json"
REPORT_S = 90.0  # set aside for the report and INT8 at the end
MIN_TRAINING_SHARE = 0.5  # of the budget, however long tracking took


class WorkFolder:
    """What an interrupted enrolment needs to go on. Use it in a `with`: then it is this process's alone.

    Where nothing is kept in it, it is gone at the end.
    """

    def __init__(self, options: EnrollOptions, warn: Callable[[str], None] = note) -> None:
        """warn: is told, in a line, what could not be read and is begun anew."""
        self.path = work_path(options.out)
        self.prepared = self.path / "prepared.npz"
        self.checkpoint = self.path / "checkpoint.pt"
        self._settings_file = self.path / SETTINGS
        self._footage = [str(path.absolute()) for path in options.footage]
        self._warn = warn
        self._lock = FolderLock(self.path)
        self.settings: dict[str, Any] = {
            "footage_sha256": [sha256_of(path) for path in options.footage],
            "size": options.size,
            "framing": str(options.framing),
            "base": options.base,
        }
        if (kept := self._kept_settings()) is not None:
            differing = [name for name, value in self.settings.items() if kept.get(name) != value]
            if differing:
                raise SettingsError(
                    f"{self.path} holds an unfinished enrolment with another {' and '.join(differing)}: "
                    "repeat that command to finish it, or remove the folder"
                )
            self.settings = kept

    def __enter__(self) -> WorkFolder:
        """Raises BusyError where another process is at work on it, FileError."""
        if private_folder(self.path):
            self._warn(f"{self.path} could be read by others: it is closed to them now")
        with in_one_line(self.path):
            ours = self._lock.acquire()
        if not ours:
            raise BusyError(
                f"{self.path}: {self._lock.holder()} makes this avatar already: wait for it, or stop it first"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        with suppress(OSError):  # it holds something
            self.path.rmdir()

    def keep(self, **values: Any) -> None:
        """Adds to the settings and writes them."""
        private_folder(self.path)
        self.settings |= {"footage": self._footage, **values}
        write_file(self._settings_file, json.dumps(self.settings, indent=1).encode())

    def kept_footage(self) -> tuple[Prepared, Origin] | None:
        """What was prepared before; None where nothing was, or what cannot be read and is set aside."""
        if not self.prepared.exists():
            return None
        try:
            return load_prepared(self.prepared)
        except FootageError as error:
            self._set_aside(f"{error}, which is done now", self.prepared)
            return None

    def training_budget_s(self, budget_s: float, spent_s: float) -> float:
        """Seconds for training: what tracking and report leave of the budget; fixed at the first start."""
        if "training_s" not in self.settings:
            left_s = budget_s - spent_s - min(REPORT_S, 0.2 * budget_s)
            self.keep(training_s=max(left_s, MIN_TRAINING_SHARE * budget_s))
        return float(self.settings["training_s"])

    def remove(self) -> None:
        """Nothing is left to resume."""
        remove_work(self.path)

    def _kept_settings(self) -> dict[str, Any] | None:
        """Without them it is not known what the other files are of: all are set aside."""
        try:
            with in_one_line(self.path, "check its owner and mode", done="read"):
                return read_settings(self.path)
        except ValueError as error:
            files = [self._settings_file, self.prepared, self.checkpoint]
            what = f"{self._settings_file} cannot be read ({error}): the enrolment begins anew"
            self._set_aside(what, *(path for path in files if path.exists()))
            return None

    def _set_aside(self, what: str, *paths: Path) -> None:
        with in_one_line(self.path):
            names = [set_aside(path).name for path in paths]
        self._warn(f"{what}; what was there is now {', '.join(names)}")


def read_settings(work: Path) -> dict[str, Any] | None:
    """Those of a work folder; None where it has none. Raises ValueError for a file that is not whole."""
    try:
        kept = json.loads((work / SETTINGS).read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(kept, dict) or type(kept.get("training_s", 0.0)) is not float:
        raise ValueError("it is not what was written")
    return kept


def remove_work(work: Path) -> None:
    """The settings go last: as long as anything is there, they say of what. Raises FileError."""
    with in_one_line(work):
        for path in work.iterdir():
            if path.name not in (SETTINGS, LOCK):
                path.unlink()
        shutil.rmtree(work)


def remove_finished_work(out: Path) -> None:
    """The work folder of this avatar, where a process died before it could do that itself."""
    work = work_path(out)
    with suppress(OSError, ValueError, LookupError, AvatarcastError):  # then it is not known to be that
        settings = read_settings(work)
        made_of = read_package(out).manifest["training"]["footage_sha256"]
        if settings is None or settings["footage_sha256"] == made_of:
            with locked(work, "wait"):
                remove_work(work)
