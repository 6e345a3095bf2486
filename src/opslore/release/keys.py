"""The keys that sign and verify releases: elliptic curve, PEM, never in the agent file or store.

The private key is the file that OPSLORE_SIGNING_KEY names, or its text (its password is in
OPSLORE_SIGNING_PASSWORD); without it, a P-256 key of this user, made once in
`~/.config/opslore/signing.pem`, with its public half beside it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opslore.config import Agent
from opslore.errors import ConfigError
from opslore.store import sync

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

KEY = "OPSLORE_SIGNING_KEY"
"""The private key, as a path or as PEM text (a secret of a cluster)."""
PASSWORD = "OPSLORE_SIGNING_PASSWORD"
"""Password of an encrypted private key."""
TRUSTED = "OPSLORE_TRUSTED_KEY"
"""Public key, as a path or as PEM text, where there is no agent file (a pod in a cluster)."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""What model-signing signs with."""

MAX_BYTES = 64 << 10
"""A PEM file has some hundred bytes; this leaves room for many public keys."""

_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Public:
    """A key that verifies."""

    pem: bytes
    fingerprint: str
    """SHA-256 of the PEM text, 64 hex digits: the `publicKey.hint` inside a signature."""


@dataclass(frozen=True)
class Private:
    """A key that signs; the key itself stays in its file."""

    path: Path
    public: Public
    password: bytes | None = field(default=None, repr=False)


def home() -> Path:
    """The folder of this user's own key: `$XDG_CONFIG_HOME/opslore`, or `~/.config/opslore`."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(named) if os.path.isabs(named) else Path.home() / ".config") / "opslore"


def private() -> Private:
    """The key that signs on this machine; made when there is none and none is named.

    Raises:
        ConfigError: it is missing, not readable, readable by others, not an EC key, or its
            password is missing or wrong.
    """
    named = os.environ.get(KEY, "")
    if "-----BEGIN" in named:
        return _loaded(_given(named))
    path = Path(named).expanduser() if named else home() / "signing.pem"
    if not named and not os.path.lexists(path):
        _make(path)
    found = _loaded(path)
    beside = path.with_name("signing.pub")
    if not named and (not beside.is_file() or beside.read_bytes() != found.public.pem):
        _written(beside.parent, found.public.pem, 0o644).replace(beside)
    return found


def trusted(agent: Agent | None = None) -> list[Public]:
    """Who may have signed: OPSLORE_TRUSTED_KEY, else `publish.key`, else this machine's own key.

    A file may hold several keys, one PEM block after another, so that a key can be replaced.

    Raises:
        ConfigError: there is no such key, so that nothing can be verified; or it is unusable.
    """
    if text := os.environ.get(TRUSTED, ""):
        if "-----BEGIN" in text:
            return _public_keys(text.encode(), TRUSTED)
        return _public_keys(_read(Path(text).expanduser(), TRUSTED), f"{TRUSTED}={text}")
    if agent is not None and agent.publish.key:
        path = Path(agent.publish.key).expanduser()
        return _public_keys(_read(path, "publish.key"), f"publish.key: {path}")
    if os.environ.get(KEY):
        return [private().public]
    own = home() / "signing.pub"
    if own.is_file():
        return _public_keys(_read(own, str(own)), str(own))
    if own.with_name("signing.pem").is_file():
        return [private().public]
    raise ConfigError(
        "no trusted key: nothing says who may sign a release, so none can be verified",
        hint="copy the signer's ~/.config/opslore/signing.pub beside the agent file and name it in"
        f" publish.key, or set {TRUSTED} to it",
    )


def _given(pem: str) -> Path:
    """A key that came as text, in a file of this user's: what signs wants a path."""
    path = home() / "given.pem"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _written(path.parent, pem.encode(), 0o600).replace(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path} for the key in {KEY}: {error.strerror or error}",
            hint=f"make {path.parent} writable, or set {KEY} to the path of the key",
        ) from error


def _make(path: Path) -> None:
    """Write a new P-256 key; if another process was first, its key stays."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    password = _password()
    raw = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = _written(path.parent, raw, 0o600)
        try:
            os.link(temporary, path)  # unlike a rename it never replaces a key
        finally:
            temporary.unlink()
        sync(path.parent)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigError(
            f"cannot make a signing key in {path.parent}: {error.strerror or error}",
            hint=f"make {path.parent} writable, or set {KEY} to the path of a private key",
        ) from error
    _logger.warning(
        "made a signing key: %s; keep a copy of it in a safe place. To let other machines verify"
        " your releases, commit its public half, %s, and name it in publish.key",
        path,
        path.with_name("signing.pub"),
    )


def _written(folder: Path, raw: bytes, mode: int) -> Path:
    """A new file under a name that nobody else has, safe on disk; mkstemp makes it 0600."""
    handle, name = tempfile.mkstemp(prefix=".signing-", suffix=".tmp", dir=folder)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(raw)
        file.flush()
        os.fsync(handle)
    return Path(name)


def _loaded(path: Path) -> Private:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    raw = _secret(path)
    password = _password()
    try:
        key = serialization.load_pem_private_key(raw, password)
    except TypeError as error:
        # cryptography's two reasons: a password is missing, or there is one too many.
        raise ConfigError(
            f"{path}: the key is encrypted"
            if password is None
            else f"{path}: {PASSWORD} is set, but the key is not encrypted",
            hint=f"set {PASSWORD} to its password" if password is None else f"unset {PASSWORD}",
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{path}: not a private key in PEM, or {PASSWORD} is not its password",
            hint=f"check {PASSWORD}, or make a key: openssl ecparam -name prime256v1 -genkey"
            f" -noout -out {path}",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise ConfigError(
            f"{path}: not an elliptic curve key on {', '.join(CURVES)}",
            hint=f"openssl ecparam -name prime256v1 -genkey -noout -out {path}",
        )
    return Private(path, _public(key.public_key()), password)


def _secret(path: Path) -> bytes:
    """The private key's file, if nobody else may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(MAX_BYTES)
    except OSError as error:
        raise ConfigError(
            f"signing key {path}: {error.strerror or error}",
            hint=f"set {KEY} to a private key you can read, or unset it to use your own",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            f"signing key {path}: others may read or write it (mode {mode & 0o777:o})",
            hint=f"chmod 600 {path}; if others could read it, make a new key",
        )
    return raw


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{what}: {path}: {error.strerror or error}",
            hint=f"on the machine that signs: cp {home() / 'signing.pub'} {path}",
        ) from error


def _public_keys(raw: bytes, where: str) -> list[Public]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if b"PRIVATE KEY" in raw:
        raise ConfigError(
            f"{where} holds a private key; whoever has it can sign as you",
            hint="put the public half there (openssl pkey -in KEY -pubout), and make a new key",
        )
    found = []
    for block in _PUBLIC.findall(raw):
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError as error:
            raise ConfigError(f"{where}: a public key in it is damaged: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
            raise ConfigError(f"{where}: not an elliptic curve key on {', '.join(CURVES)}")
        found.append(_public(key))
    if not found:
        raise ConfigError(
            f"{where}: no public key in PEM (-----BEGIN PUBLIC KEY-----)",
            hint=f"on the machine that signs: cp {home() / 'signing.pub'} there",
        )
    return found


def _public(key: ec.EllipticCurvePublicKey) -> Public:
    from cryptography.hazmat.primitives import serialization

    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Public(pem, hashlib.sha256(pem).hexdigest())


def _password() -> bytes | None:
    return os.environ.get(PASSWORD, "").encode() or None
