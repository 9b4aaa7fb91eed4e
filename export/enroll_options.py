"""What the user asks of an enrolment, checked once. Needs neither torch nor LiteRT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.avatar.avatar import MAX_SIZE_PX
from engine.avatar.beside import prepared_path
from engine.errors import SettingsError
from engine.voice.voice_print import consent_names_print
from export.footage.framing import Framing

DEFAULT_BASE = "bundled"
# As the networks want it (engine.network.denoiser.DenoiserConfig, which needs torch).
SIZE_STEP_PX = 128


@dataclass(frozen=True, slots=True)
class EnrollOptions:
    """What the user asked for."""

    footage: tuple[Path, ...]  # videos, or one prepared file
    out: Path
    statement: str  # who agreed, to what
    person: str = "real"  # or "synthetic"
    minutes: float = 15.0  # for everything, from file to avatar
    size: int | None = None  # px of the canvas; None: the prepared file's, else what the footage fills
    framing: str | Framing = "auto"
    device: str = "auto"
    base: str = DEFAULT_BASE  # bundled, none, or a file of base weights
    consent_clip: Path | None = None  # in which the person says engine.provenance.consent.sentence
    voice: bool = True  # learn how they speak and rest

    def __post_init__(self) -> None:
        if not self.statement.strip():
            raise SettingsError(
                "--consent is empty: say who agreed and to what, "
                'such as "Ada Lovelace, to an avatar for her talks"'
            )
        if not self.minutes > 0:
            raise SettingsError(
                f"--minutes {self.minutes}: must be above 0; 15 gives a good avatar on two cores"
            )
        if self.out.suffix != ".avatar":
            raise SettingsError(f"--out {self.out}: must end in .avatar")
        if not self.out.parent.is_dir():
            raise SettingsError(f"--out {self.out}: there is no folder {self.out.parent}; make it first")
        if self.size is not None and (
            self.size % SIZE_STEP_PX or not SIZE_STEP_PX <= self.size <= MAX_SIZE_PX
        ):
            raise SettingsError(
                f"--size {self.size}: must be a multiple of {SIZE_STEP_PX} up to {MAX_SIZE_PX}"
            )
        for path in self.footage:
            if not path.is_file():
                raise SettingsError(
                    f"{path}: there is no such file; give one or more video files of the person"
                )
        if self.consent_clip is not None and not self.consent_clip.is_file():
            raise SettingsError(f"--consent-clip {self.consent_clip}: there is no such file")
        if any(_is_prepared(path) for path in self.footage):
            self._check_prepared()

    def _check_prepared(self) -> None:
        if len(self.footage) > 1:
            raise SettingsError(
                f"{len(self.footage)} files, one of them prepared: give one prepared file alone, "
                "or the videos that it was prepared from"
            )
        if self.framing != "auto":
            raise SettingsError(
                f"--framing {self.framing}: {self.footage[0]} is cut out already; leave it out, "
                "or prepare the footage again with it"
            )

    @property
    def voice_print(self) -> bool:
        """Whether a print of their voice is kept: where they agreed to that."""
        return self.voice and consent_names_print(self.statement)

    @property
    def prepared(self) -> Path | None:
        """The prepared file to train from; None for videos."""
        return self.footage[0] if _is_prepared(self.footage[0]) else None

    @property
    def prepared_out(self) -> Path:
        """Where `--prepare-only` puts its result."""
        return prepared_path(self.out)


def _is_prepared(path: Path) -> bool:
    return path.suffix == ".npz"
