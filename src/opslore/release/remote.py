"""A signed release known by the address of its archive: the papers lie beside it.

    s3://bucket/prefix/agent-sre/v20260131-0123abcd/ollama-model.tar.gz
    https://releases.example.com/agent-sre/v20260131-0123abcd/ollama-model.tar.gz

Both layouts are that of a store's folder. Nothing that lies there is believed: release.json says
what to fetch, and signing.py says whether all of it is what a trusted key has signed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from opslore import shelf
from opslore.bucket import SMALL, Bucket
from opslore.errors import IntegrityError, MissingInput
from opslore.release import download, keys, signing
from opslore.release.listing import MAX_FILES, RELEASE, SIGNATURE, Listing, is_plain
from opslore.release.manifest import MAX_BYTES

_AGAIN = "nothing was installed; publish the release again, and find out who changed it"


def verified(
    uri: str, sha256: str, folder: Path, trusted: list[keys.Public], agent: str, version: str
) -> Path:
    """Fetch the whole release of an archive, and verify it.

    Args:
        uri: the archive: `s3://bucket/key`, `https://host/path`, or a path.
        sha256: what the archive must be, 64 hex digits.
        folder: where to; the folder of a path is where it is.
        trusted: who may have signed it.
        agent: whose release it must be.
        version: which release it must be.

    Returns:
        The archive, one of the files that the signature covers.

    Raises:
        ConfigError: no such URI, or a key of the bucket is not in the environment.
        IntegrityError: the signature or release.json is missing, they do not name this archive,
            a file is not the signed one, or it is another agent's or another version.
        ServerError: the bucket or the web server does not answer.
    """
    place, _, name = uri.rpartition("/")
    folder = _fetched(place, name, sha256, folder) if "://" in uri else Path(uri).parent
    try:
        signed = signing.check(folder, trusted, agent, version).files
    except IntegrityError as error:
        # A pod's own folder is nowhere by now; the place is what a person can look at.
        raise IntegrityError(error.message.replace(str(folder), place), hint=_AGAIN) from error
    if signed.get(name) != sha256:
        raise _another(f"{place}/{SIGNATURE}", name, signed.get(name, ""), sha256)
    return folder / name


def archive(uri: str, sha256: str, folder: Path) -> Path:
    """Fetch one file and check its digest; that of a path is the path itself.

    Raises:
        ConfigError: no such URI.
        MissingInput: there is no such file.
        IntegrityError: it is another file.
        ServerError: the bucket or the web server does not answer.
    """
    if not uri.startswith("https://"):
        return shelf.fetch(f"{uri}#sha256={sha256}", folder)
    path = folder / uri.rpartition("/")[2]
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in download.pieces(uri, MAX_BYTES):
            digest.update(part)
            file.write(part)
    if digest.hexdigest() != sha256:
        raise IntegrityError(f"{uri} has sha256 {digest.hexdigest()}, not {sha256}", hint=_AGAIN)
    return path


def _fetched(place: str, name: str, sha256: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for paper in (RELEASE, SIGNATURE):
        (folder / paper).write_bytes(_small(place, paper))
    files = _listed(place, folder / RELEASE)
    if files.get(name) != sha256:  # before gigabytes are fetched for nothing
        raise _another(f"{place}/{RELEASE}", name, files.get(name, ""), sha256)
    for wanted, digest in files.items():
        try:
            archive(f"{place}/{wanted}", digest, folder)
        except MissingInput as error:
            raise IntegrityError(f"{place}: {wanted} is missing", hint=_AGAIN) from error
    return folder


def _small(place: str, name: str) -> bytes:
    """A paper of few bytes, whose digest nobody knows yet."""
    uri = f"{place}/{name}"
    if uri.startswith("https://"):
        try:
            return b"".join(download.pieces(uri, SMALL))
        except MissingInput:
            pass
    elif (found := Bucket.open(place).get(name)) is not None:
        return found.data
    raise IntegrityError(f"{place}: {name} is missing, so nothing is verified", hint=_AGAIN)


def _listed(place: str, path: Path) -> dict[str, str]:
    """What release.json names; whether it may is not known yet, so the names are checked."""
    try:
        files = Listing.model_validate_json(path.read_bytes()).files
    except ValidationError as error:
        raise IntegrityError(
            f"{place}/{RELEASE}: {error.errors()[0]['msg']}", hint=_AGAIN
        ) from error
    wrong = [n for n in files if not is_plain(n) or n in (RELEASE, SIGNATURE)]
    if wrong or len(files) > MAX_FILES:
        what = repr(wrong[0]) if wrong else f"{len(files)} files"
        raise IntegrityError(f"{place}/{RELEASE} names {what}; no release has that", hint=_AGAIN)
    return dict(files)


def _another(where: str, name: str, there: str, wanted: str) -> IntegrityError:
    return IntegrityError(
        f"{where}: {name} has sha256 {there or 'none'}; {wanted} was asked for", hint=_AGAIN
    )
