"""Content Credentials of the files that are made here: C2PA manifests, written and read by the C2PA library.

A manifest says `c2pa.created` by a trained model, and which avatar, with its chain of signatures. It is
signed by this installation's key under a certificate that it made itself, or by one that the user names:
so it proves that a file was not changed since, and not who somebody is. Nothing is fetched: no time stamps,
no revocation lists, no manifests from elsewhere. C2PA specification 2.2; c2pa-python of the Content
Authenticity Initiative.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.errors import FileError, SettingsError
from engine.files import Part, write_file
from engine.media.disclosure import SOURCE_TYPE
from engine.provenance.keys import (
    fingerprint,
    installation_key,
    keys_folder,
    private_pem,
    public_text,
    read_kept,
)

# Of files that can carry them. Matroska and WebM cannot: theirs lie beside them.
TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
SIDECAR, SIDECAR_TYPE = ".c2pa", "application/c2pa"
_OTHER_TYPE = "application/octet-stream"
_MAX_SIDECAR_BYTES = 8 * 1024 * 1024
ASSERTION = "org.avatarcast.avatar"
VALID, TRUSTED, INVALID = "valid", "here", "invalid"  # here: by this installation's own chain
_CHAIN = "credentials.pem"
_MAX_CHAIN_BYTES = 64 * 1024
_CHUNK = 1024 * 1024
_YEARS = 10
_RENEWED = timedelta(days=30)  # before a certificate ends
_CURVES = {"secp256r1": "es256", "secp384r1": "es384"}
_OFFLINE: dict[str, Any] = {
    "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False, "verify_trust": False},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What files are signed with."""

    chain_pem: bytes  # the signer's certificate first
    key_pem: bytes
    algorithm: str  # in C2PA's words


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a file's active manifest says, and whether it holds."""

    state: str  # VALID, TRUSTED or INVALID
    signer: str  # the certificate's common name, which anybody may choose
    generator: str
    source_type: str  # of what was created, a term of IPTC's; empty for none
    avatar: Mapping[str, Any]  # of ASSERTION; empty for none
    flaws: tuple[str, ...] = ()  # C2PA's codes


def add_certificate_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of what writes files; read them with `certificate_of`."""
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="CHAIN.pem",
        help="sign the file's Content Credentials with this certificate (default: one that was made here)",
    )
    parser.add_argument("--certificate-key", type=Path, metavar="KEY.pem", help="its private key")


def certificate_of(args: argparse.Namespace) -> Certificate | None:
    """What the options name; None for this installation's own. Raises SettingsError."""
    if args.certificate is None and args.certificate_key is None:
        return None
    if args.certificate is None or args.certificate_key is None:
        raise SettingsError("--certificate and --certificate-key: give both, or neither")
    data = []
    for path in (args.certificate, args.certificate_key):
        try:
            data.append(path.read_bytes())
        except OSError as error:
            raise SettingsError(
                f"{path}: cannot be read ({error.strerror}): check its name and mode"
            ) from error
    return _named(args.certificate, args.certificate_key, *data)


def _named(chain_path: Path, key_path: Path, chain: bytes, key_data: bytes) -> Certificate:
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise SettingsError(f"{chain_path}: is no certificate in PEM ({error})") from error
    try:
        key = serialization.load_pem_private_key(key_data, password=None)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{key_path}: is no private key in PEM without a password ({error})") from error
    algorithm = _algorithm(key)
    if algorithm is None:
        raise SettingsError(f"{key_path}: is of another kind; wanted Ed25519, or ECDSA on P-256 or P-384")
    if certificates[0].public_key() != key.public_key():
        raise SettingsError(f"{key_path}: is not the key of the first certificate in {chain_path}")
    return Certificate(chain, key_data, algorithm)


def _algorithm(key: Any) -> str | None:
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    return _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePrivateKey) else None


def installation_certificate() -> Certificate:
    """This installation's key under a chain of two that it made itself. Raises FileError."""
    key = installation_key()
    path = keys_folder() / _CHAIN
    chain = _kept_chain(path, key)
    if chain is None:
        chain = _made_chain(key)
        write_file(path, chain)
    return Certificate(chain, private_pem(key), "ed25519")


def _kept_chain(path: Path, key: Ed25519PrivateKey) -> bytes | None:
    """None where there is none of this key that still holds."""
    try:
        chain = read_kept(path, _MAX_CHAIN_BYTES)
        leaf, _ = x509.load_pem_x509_certificates(chain or b"")
    except (OSError, ValueError):
        return None
    holds = leaf.not_valid_after_utc - _RENEWED > datetime.now(timezone.utc)
    return chain if holds and leaf.public_key() == key.public_key() else None


def _made_chain(key: Ed25519PrivateKey) -> bytes:
    """The root signs this one certificate, and its key is thrown away."""
    root_key = Ed25519PrivateKey.generate()
    name = f"avatarcast {fingerprint(public_text(key))}"
    root_name, leaf_name = _x509_name(f"{name}, self-made root"), _x509_name(name)
    root = (
        _certificate(root_name, root_name, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, None)
    )
    leaf = (
        _certificate(leaf_name, root_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, None)
    )
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))


def _x509_name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "an avatarcast installation, self-made"),
        ]
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: Ed25519PrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def unavailable() -> str:
    """Why none can be written or read here; empty where they can."""
    return "" if find_spec("c2pa") else "c2pa-python is not installed: run `make setup` again"


def add_credentials(
    path: Path, kind: str, avatar: Mapping[str, Any], certificate: Certificate, thumbnail: bytes = b""
) -> None:
    """Puts Content Credentials into a finished file, in its place.

    kind: a content type of TYPES. avatar: what is said of it. thumbnail: a JPEG. Raises FileError, OSError.
    """
    part = Part(path.parent, path.suffix)
    try:
        with path.open("rb") as source:
            _sign(source, part.file, kind, avatar, certificate, thumbnail)
        part.file.seek(0)
        with path.open("r+b") as target:
            shutil.copyfileobj(part.file, target)
            target.truncate()
    finally:
        part.discard()


def credentialed(
    data: bytes, kind: str, avatar: Mapping[str, Any], certificate: Certificate, thumbnail: bytes = b""
) -> bytes:
    """The same of a file in memory. Raises FileError."""
    out = io.BytesIO()
    _sign(io.BytesIO(data), out, kind, avatar, certificate, thumbnail)
    return out.getvalue()


def detached(
    source: BinaryIO, avatar: Mapping[str, Any], certificate: Certificate, thumbnail: bytes = b""
) -> bytes:
    """Content Credentials of a file that cannot carry any, to lie beside it. Raises FileError, OSError."""
    return _sign(source, io.BytesIO(), _OTHER_TYPE, avatar, certificate, thumbnail, embed=False)


def sidecar(path: Path) -> Path:
    """Where Content Credentials beside a file lie (C2PA 2.2, 11.4: the same name, another ending)."""
    return path.with_suffix(SIDECAR)


def read_sidecar(path: Path) -> Credentials | None:
    """What lies beside a file; None for nothing. Raises OSError."""
    try:
        with sidecar(path).open("rb") as file:
            manifest = file.read(_MAX_SIDECAR_BYTES)
    except FileNotFoundError:
        return None
    with path.open("rb") as source:
        return read_credentials(source, _OTHER_TYPE, manifest)


def _sign(
    source: BinaryIO,
    out: Any,
    kind: str,
    avatar: Mapping[str, Any],
    certificate: Certificate,
    thumbnail: bytes,
    embed: bool = True,
) -> bytes:
    """The manifest, which is also put into `out`, with the source."""
    import c2pa  # 23 MB, and only here

    generator = {"name": "avatarcast", "version": metadata.version("avatarcast")}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": generator}
    manifest: dict[str, Any] = {
        "claim_generator_info": [generator],
        "format": kind,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": ASSERTION, "data": dict(avatar)},
        ],
    }
    if thumbnail:
        manifest["thumbnail"] = {"format": "image/jpeg", "identifier": "thumbnail.jpg"}
    try:
        info = c2pa.C2paSignerInfo(
            certificate.algorithm, certificate.chain_pem, certificate.key_pem, None
        )  # None: no time stamp is asked for
        with (
            c2pa.Context.from_dict(_OFFLINE) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(json.dumps(manifest), context) as builder,
        ):
            if thumbnail:
                builder.add_resource("thumbnail.jpg", io.BytesIO(thumbnail))
            if not embed:
                builder.set_no_embed()
            return bytes(builder.sign(signer, kind, source, out))
    except c2pa.C2paError as error:
        raise FileError(f"the Content Credentials cannot be made: {error}: check the certificate") from error


def read_credentials(source: BinaryIO, kind: str, manifest: bytes | None = None) -> Credentials | None:
    """What a file of this content type carries; None for nothing.

    kind: one of TYPES. manifest: of a file beside it, which is read instead.
    """
    import c2pa

    offline: dict[str, Any] = {**_OFFLINE, "verify": {**_OFFLINE["verify"], "verify_trust": True}}
    if root := _own_root():
        offline["trust"] = {"user_anchors": root}
    try:
        with (
            c2pa.Context.from_dict(offline) as context,
            c2pa.Reader(kind, source, manifest, context=context) as reader,
        ):
            active = reader.get_active_manifest() or {}
            state = str(reader.get_validation_state())
            results = (reader.get_validation_results() or {}).get("activeManifest", {})
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:  # of what is no such file, too
        named = manifest is not None or _names_c2pa(source)
        return Credentials(INVALID, "", "", "", {}, (f"{error}"[:100],)) if named else None
    states = {"Trusted": TRUSTED, "Valid": VALID}
    flaws = tuple(sorted({str(one.get("code")) for one in results.get("failure", [])}))
    return Credentials(
        state=states.get(state, INVALID),
        signer=str(active.get("signature_info", {}).get("common_name", "")),
        generator=str((active.get("claim_generator_info") or [{}])[0].get("name", "")),
        source_type=_source_type(active),
        avatar=_assertion(active, ASSERTION),
        flaws=() if state in states else flaws,
    )


def _names_c2pa(source: BinaryIO) -> bool:
    """Whether there is a manifest in it at all, whole or not."""
    source.seek(0)
    before = b""
    while chunk := source.read(_CHUNK):
        if b"c2pa" in before + chunk:
            return True
        before = chunk[-3:]
    return False


def _own_root() -> str:
    """The root that vouches for this installation's key alone; empty where nothing was signed yet."""
    try:
        chain = read_kept(keys_folder() / _CHAIN, _MAX_CHAIN_BYTES)
        _, root = x509.load_pem_x509_certificates(chain or b"")
    except (OSError, ValueError):
        return ""
    return root.public_bytes(serialization.Encoding.PEM).decode()


def _assertion(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    found: Sequence[Any] = [
        one.get("data") for one in manifest.get("assertions", []) if one.get("label") == label
    ]
    return found[0] if found and isinstance(found[0], dict) else {}


def _source_type(manifest: Mapping[str, Any]) -> str:
    actions = _assertion(manifest, "c2pa.actions.v2").get("actions", [])
    created = [one for one in actions if isinstance(one, dict) and one.get("action") == "c2pa.created"]
    return str(created[0].get("digitalSourceType", "")) if created else ""
