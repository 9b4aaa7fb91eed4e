"""Content Credentials: read by the C2PA library's own reader, broken by a flipped byte."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from engine.errors import SettingsError
from engine.media.disclosure import SOURCE_TYPE
from engine.media.video import VideoWriter, probe
from engine.provenance.credentials import (
    INVALID,
    TRUSTED,
    VALID,
    add_certificate_arguments,
    add_credentials,
    certificate_of,
    credentialed,
    installation_certificate,
    read_credentials,
)
from engine.provenance.keys import keys_folder
from tests.support.small_avatar import jpeg

AVATAR = {"digest": "ab" * 32, "records": []}
GREY = np.full((64, 64, 3), 90, np.uint8)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    """A signed film."""
    path = tmp_path / "film.mp4"
    certificate = installation_certificate()
    with VideoWriter(
        path,
        64,
        64,
        Fraction(25),
        finish=lambda part: add_credentials(part, "video/mp4", AVATAR, certificate, jpeg(GREY)),
    ) as writer:
        for level in range(0, 250, 10):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    assert probe(path).frames == 25  # players do not mind
    assert [left.name for left in tmp_path.iterdir()] == ["data", "film.mp4"]
    return path.read_bytes()


def test_a_film_says_what_made_it(film: bytes) -> None:
    found = read_credentials(io.BytesIO(film), "video/mp4")
    assert found is not None
    assert (found.state, found.flaws) == (TRUSTED, ())
    assert found.source_type == SOURCE_TYPE
    assert found.generator == "avatarcast"
    assert dict(found.avatar) == AVATAR


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_flipped_byte_is_found(film: bytes, share: float) -> None:
    changed = bytearray(film)
    changed[int(len(changed) * share)] ^= 1
    found = read_credentials(io.BytesIO(bytes(changed)), "video/mp4")
    assert found is not None
    assert found.state == INVALID
    assert found.flaws


def test_elsewhere_it_holds_and_is_not_theirs(
    film: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    for _ in range(2):
        found = read_credentials(io.BytesIO(film), "video/mp4")
        assert found is not None
        assert (found.state, found.flaws) == (VALID, ())
        installation_certificate()


def test_pictures_carry_them_too_and_what_has_none_has_none() -> None:
    picture = jpeg(GREY)
    signed = credentialed(picture, "image/jpeg", AVATAR, installation_certificate())
    found = read_credentials(io.BytesIO(signed), "image/jpeg")
    assert found is not None
    assert found.state == TRUSTED
    assert read_credentials(io.BytesIO(picture), "image/jpeg") is None


def test_the_chain_is_kept_and_made_anew_for_another_key() -> None:
    first = installation_certificate()
    assert installation_certificate() == first
    (keys_folder() / "installation.pem").unlink()
    assert installation_certificate().chain_pem != first.chain_pem
    (keys_folder() / "credentials.pem").write_bytes(b"damaged")
    installation_certificate()


Options = Callable[..., argparse.Namespace]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    def parse(*words: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        add_certificate_arguments(parser)
        return parser.parse_args(words)

    return parse


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_certificate_that_the_user_names_signs(options: Options, tmp_path: Path) -> None:
    own = installation_certificate()
    (tmp_path / "chain.pem").write_bytes(own.chain_pem)
    (tmp_path / "key.pem").write_bytes(own.key_pem)
    words = ("--certificate", str(tmp_path / "chain.pem"), "--certificate-key", str(tmp_path / "key.pem"))
    certificate = certificate_of(options(*words))
    assert certificate == own
    assert certificate_of(options()) is None


@pytest.mark.parametrize(
    ("chain", "key", "reason"),
    [
        (b"x", None, "is no certificate in PEM"),
        (None, b"x", "is no private key in PEM without a password"),
        (None, pem(rsa.generate_private_key(65537, 2048)), "is of another kind; wanted Ed25519, or ECDSA"),
        (None, pem(Ed25519PrivateKey.generate()), "is not the key of the first certificate"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: Options, tmp_path: Path, chain: bytes | None, key: bytes | None, reason: str
) -> None:
    own = installation_certificate()
    (tmp_path / "chain.pem").write_bytes(chain or own.chain_pem)
    (tmp_path / "key.pem").write_bytes(key or own.key_pem)
    with pytest.raises(SettingsError, match=reason):
        certificate_of(
            options(
                "--certificate", str(tmp_path / "chain.pem"), "--certificate-key", str(tmp_path / "key.pem")
            )
        )
    with pytest.raises(SettingsError, match="give both, or neither"):
        certificate_of(options("--certificate", str(tmp_path / "chain.pem")))
