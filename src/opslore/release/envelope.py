"""What a `model.sig` says it signs, read strictly; whether that is true is signing.py's question.

A Sigstore bundle (v0.3) around a DSSE envelope around an in-toto statement. model-signing would
also accept older forms, other hashes and ignored files; a release of ours has none of them.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore.cards_scores import FINAL
from opslore.errors import IntegrityError
from opslore.release.listing import EVALUATION, SIGNATURE

MAX_BYTES = 1 << 20
"""A signature over ten files has 3 KiB."""

PREDICATE = "https://model_signing/signature/v1.0"

_SERIALISED = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [SIGNATURE],
}
_AGAIN = "do not use it: fetch the release again, or publish it again"


@dataclass(frozen=True)
class Signature:
    """What stands in a signature file."""

    key: str
    """Fingerprint of the key that it says signed it."""
    files: dict[str, str]
    """SHA-256 by file name, as signed."""


def read(path: Path) -> bytes:
    """The bytes of a signature file.

    Raises:
        IntegrityError: it cannot be read, or is far too large.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise IntegrityError(f"{path}: {error.strerror or error}", hint=_AGAIN) from error
    if len(raw) > MAX_BYTES:
        raise IntegrityError(f"{path}: over {MAX_BYTES} bytes; not a signature", hint=_AGAIN)
    return raw


def opened(path: Path, raw: bytes) -> Signature:
    """What a signature signs, by its own words.

    Raises:
        IntegrityError: it is no signature, or not one made the way ours are.
    """
    try:
        return _opened(raw)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{path}: not a signature of a release: {error}", _AGAIN) from error


def _opened(raw: bytes) -> Signature:
    bundle = json.loads(raw)
    key = bundle["verificationMaterial"]["publicKey"]["hint"]
    if not re.fullmatch("[0-9a-f]{64}", key):
        raise ValueError("it does not name its key")
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
    if statement["predicateType"] != PREDICATE:
        raise ValueError(f"predicate {statement['predicateType']!r}")
    predicate: dict[str, Any] = statement["predicate"]
    if predicate["serialization"] != _SERIALISED:
        raise ValueError("it does not cover every file by its SHA-256")
    files: dict[str, str] = {}
    for item in predicate["resources"]:
        name, digest = item["name"], item["digest"]
        if item["algorithm"] != "sha256" or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError(f"{name!r} has no SHA-256")
        if name in files:
            raise ValueError(f"{name!r} is there twice")
        files[name] = digest
    return Signature(key, files)


def differences(found: dict[str, str], signed: dict[str, str]) -> str:
    """Every file that is changed, missing or extra, in words; "" when there is none."""
    told = [f"{name} was changed" for name in sorted(found.keys() & signed.keys())
            if found[name] != signed[name]]  # fmt: skip
    told += [f"{name} is missing" for name in sorted(signed.keys() - found.keys())]
    told += [f"{name} is extra" for name in sorted(found.keys() - signed.keys())]
    return "; ".join(told)


def blessed(folder: Path, evaluation: str) -> None:
    """Refuse a release whose evaluation did not pass, or is another one.

    A failed gate passes only in the name of a person with a reason, and never G2 or G8.

    Raises:
        IntegrityError: evaluation.json says no, or cannot be read.
    """
    path = folder / EVALUATION
    try:
        found = json.loads(path.read_bytes())
        let = {o["gate"] for o in found.get("overrides", []) if o["person"] and o["reason"]}
        failed = {gate["name"] for gate in found["gates"] if gate["passed"] is not True}
        passed = found["passed"] is True and failed <= let - set(FINAL)
        same = found["id"] == evaluation
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise IntegrityError(f"{path}: not an evaluation: {error}", hint=_AGAIN) from error
    if not passed or not same:
        raise IntegrityError(
            f"{path}: "
            + ("the evaluation did not pass" if same else "not the evaluation of this release"),
            hint="do not use it: only a release that passed every gate is published",
        )
