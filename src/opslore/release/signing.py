"""Sign a release folder as one thing, and verify it: every file is covered, nothing may be extra.

The signature is `model.sig`, written last: a Sigstore bundle of the OpenSSF `model-signing`
package, which its own command line verifies too. ECDSA takes a random number, so two signatures of
the same files differ; everything else in the folder does not.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opslore.cards import Record
from opslore.config import Agent
from opslore.errors import ConfigError, IntegrityError, MissingExtra, MissingInput, OpsloreError
from opslore.release import envelope, keys
from opslore.release.listing import RELEASE, SIGNATURE, Listing, files_of
from opslore.store import sync, write

_AGAIN = "do not use it: fetch the release again, or publish it again"


class Verified(Record):
    """A release that is signed by a trusted key and whole."""

    agent: str
    version: str
    """`v{YYYYMMDD}-{8 hex}`."""
    counter: int
    """Grows with every release of the agent; see counter.py."""
    key: str
    """Fingerprint of the key that signed it, 64 hex digits."""
    pem: str
    """That key's public half."""
    files: dict[str, str]
    """SHA-256 of every file but the signature, by name."""


def sign(folder: Path, agent: Agent) -> str:
    """Sign a release folder; a folder that this key has signed already stays as it is.

    Args:
        folder: the release, complete: archives and papers.
        agent: the agent file; with `publish.key` the signing key must be one of those trusted.

    Returns:
        The key's fingerprint, 64 hex digits.

    Raises:
        MissingInput: there is no release in the folder.
        ConfigError: the key cannot be used, or is not the one that others trust.
        IntegrityError: a file is not what release.json says, or was changed after it was signed.
    """
    key = keys.private()
    if (agent.publish.key or os.environ.get(keys.TRUSTED)) and key.public not in keys.trusted(
        agent
    ):
        raise ConfigError(
            f"{key.path}: this key (fingerprint {key.public.fingerprint[:16]}) is not one of those"
            f" that publish.key or {keys.TRUSTED} trusts; nobody could verify the release",
            hint=f"set {keys.KEY} to the right private key, or add the public half of this one to"
            " publish.key",
        )
    if not (folder / RELEASE).is_file():
        raise MissingInput(f"no release in {folder}", hint="run `opslore publish AGENT.yaml`")
    files_of(folder)
    if (folder / SIGNATURE).is_file() and _signed_by(folder, key.public):
        # Signing a changed folder again would bless whatever somebody has put there.
        _verified(folder, [key.public], agent.name)
        return key.public.fingerprint
    _write_signature(folder, key)
    return key.public.fingerprint


def verify(folder: Path, agent: Agent, version: str = "") -> Verified:
    """Check that a release folder is whole, and signed by a key that the agent trusts.

    Args:
        folder: the release, as published or downloaded.
        agent: the agent file; its `publish.key` names the trusted key.
        version: the version that was asked for, if one was; another one is refused.

    Raises:
        ConfigError: no trusted key is known, so nothing can be verified.
        IntegrityError: a file was changed, is missing, is extra or is no regular file; the
            signature is missing, damaged or of another key; the release is another agent's or
            another version, or its evaluation did not pass. The message names the file.
    """
    return check(folder, keys.trusted(agent), agent.name, version)


def check(folder: Path, trusted: list[keys.Public], agent: str, version: str = "") -> Verified:
    """`verify` for whoever has a public key and no agent file; see `keys.trusted()`."""
    found = _verified(folder, trusted, agent)
    if version and found.version != version:
        raise IntegrityError(
            f"{folder / RELEASE}: this is {found.version}, and {version} was asked for", hint=_AGAIN
        )
    return found


def quarantine(path: Path, reason: str) -> Path:
    """Move a tampered copy aside, with the reason beside it; nothing is deleted.

    Args:
        path: the folder or file that failed.
        reason: what was wrong with it.

    Returns:
        Where it is now: `.quarantine/NAME`, or NAME.2 and so on, beside where it was.

    Raises:
        OpsloreError: it cannot be moved.
    """
    room = path.parent / ".quarantine"
    number = 1
    try:
        room.mkdir(exist_ok=True)
        while True:
            kept = room / (path.name if number == 1 else f"{path.name}.{number}")
            if not os.path.lexists(kept):
                break
            number += 1
        # The reason first: what is in quarantine without one could be taken for a good copy.
        write(kept.with_name(f"{kept.name}.reason.txt"), reason.rstrip("\n") + "\n")
        path.rename(kept)
        sync(room)
        sync(path.parent)
    except OSError as error:
        raise OpsloreError(
            f"cannot move {path} to {room}: {error.strerror or error}",
            hint=f"move it away yourself; it is not to be used: {reason}",
        ) from error
    return kept


def _verified(folder: Path, trusted: list[keys.Public], agent: str) -> Verified:
    names = files_of(folder)
    if SIGNATURE not in names:
        raise IntegrityError(
            f"{folder}: not signed: {SIGNATURE} is missing",
            hint="run `opslore publish AGENT.yaml`, or fetch the release again",
        )
    raw = envelope.read(folder / SIGNATURE)
    signature = envelope.opened(folder / SIGNATURE, raw)
    key = next((key for key in trusted if key.fingerprint == signature.key), None)
    if key is None:
        known = ", ".join(key.fingerprint[:16] for key in trusted)
        raise IntegrityError(
            f"{folder / SIGNATURE}: signed by the key {signature.key[:16]}, which is not trusted"
            f" (trusted: {known})",
            hint="do not use it; if that key is right, add its public half to publish.key",
        )
    _cryptographically(folder, raw, key, signature.files)
    return _consistent(folder, agent, key, signature.files)


def _consistent(folder: Path, agent: str, key: keys.Public, signed: dict[str, str]) -> Verified:
    """What release.json says, if it is what was signed and what we asked for."""
    listing = _listing(folder)
    promised = {**listing.files, RELEASE: signed.get(RELEASE, "")}
    if wrong := envelope.differences(signed, promised):
        raise IntegrityError(f"{folder / RELEASE} does not fit what was signed: {wrong}", _AGAIN)
    if listing.agent != agent:
        raise IntegrityError(
            f"{folder / RELEASE}: a release of {listing.agent}, not of {agent}", hint=_AGAIN
        )
    envelope.blessed(folder, listing.evaluation)
    return Verified(
        agent=listing.agent,
        version=listing.version,
        counter=listing.counter,
        key=key.fingerprint,
        pem=key.pem.decode(),
        files=signed,
    )


def _listing(folder: Path) -> Listing:
    try:
        return Listing.model_validate_json((folder / RELEASE).read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise IntegrityError(f"{folder / RELEASE}: {reason}", hint=_AGAIN) from error


def _signed_by(folder: Path, key: keys.Public) -> bool:
    """Whether the signature that lies there says it is of this key; nothing is verified here."""
    try:
        path = folder / SIGNATURE
        return envelope.opened(path, envelope.read(path)).key == key.fingerprint
    except IntegrityError:
        return False


def _write_signature(folder: Path, key: keys.Private) -> None:
    signing, _, _ = _library()
    config = signing.Config().set_hashing_config(_hashing())
    config.use_elliptic_key_signer(private_key=key.path, password=key.password)
    # In a folder of its own: a torn file inside the release would be an extra file for ever.
    with tempfile.TemporaryDirectory() as room:
        fresh = Path(room) / SIGNATURE
        try:
            config.sign(folder, fresh)
            raw = fresh.read_bytes()
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{folder} cannot be signed: {error}") from error
    _consistent_before(folder, envelope.opened(folder / SIGNATURE, raw).files)
    write(folder / SIGNATURE, raw)


def _consistent_before(folder: Path, signed: dict[str, str]) -> None:
    """Refuse to sign files that are not those the papers were written for."""
    listing = _listing(folder)
    promised = {**listing.files, RELEASE: signed.get(RELEASE, "")}
    if wrong := envelope.differences(signed, promised):
        raise IntegrityError(
            f"{folder}: not signed, because it is not what {RELEASE} says: {wrong}",
            hint="run `opslore publish AGENT.yaml` again; it writes the folder anew",
        )
    envelope.blessed(folder, listing.evaluation)


def _cryptographically(folder: Path, raw: bytes, key: keys.Public, signed: dict[str, str]) -> None:
    """Let model-signing check the signature, and every file against it."""
    from cryptography.exceptions import InvalidSignature

    _, verifying, _ = _library()
    # The bytes that were read are those that are verified, whatever happens to the file meanwhile.
    with tempfile.TemporaryDirectory() as room:
        public, signature = Path(room) / "trusted.pub", Path(room) / SIGNATURE
        public.write_bytes(key.pem)
        signature.write_bytes(raw)
        config = verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(_hashing())
        try:
            config.verify(folder, signature)
        except InvalidSignature as error:
            raise IntegrityError(
                f"{folder / SIGNATURE}: the signature was edited, or is not of the key it names",
                hint=_AGAIN,
            ) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            wrong = envelope.differences(_digests(folder), signed)
            raise IntegrityError(f"{folder}: {wrong or error}", hint=_AGAIN) from error


def _digests(folder: Path) -> dict[str, str]:
    found = _hashing().hash(folder).resource_descriptors()
    return {item.identifier: item.digest.digest_hex for item in found}


def _hashing() -> Any:
    """Whole files by SHA-256; only the signature is left out, no `.git*` as by default."""
    _, _, hashing = _library()
    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256")
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _library() -> tuple[Any, Any, Any]:
    """model-signing's modules; importing them takes a second, so only here."""
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise MissingExtra(
            f"signing needs the package {error.name}",
            hint="pip install model-signing pyOpenSSL",
        ) from error
    return signing, verifying, hashing
