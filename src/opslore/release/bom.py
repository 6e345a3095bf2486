"""The bill of materials of a release: a CycloneDX 1.6 ML-BOM as JSON.

The library writes everything but the model card, which it does not know yet; that is added by the
schema (`modelCard`), and the tests validate the whole with the library's own schema validator.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from opslore.errors import MissingExtra
from opslore.release import provenance
from opslore.release.facts import Facts
from opslore.release.notices import APACHE, GEMMA, UNKNOWN
from opslore.store import VERSION

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense

_SPACE = uuid.UUID("6f0f6a0c-6d0e-5b9a-9d6c-0f6c9b1f5a11")
"""Name space of the serial numbers; a release has the same one however often it is written."""

_METRICS = ("equivalent", "answered", "escalated", "unsafe", "parity")
"""Scores that stand in the model card; all of them are in evaluation.json."""


def render(facts: Facts) -> str:
    """The ML-BOM of a release, the same text for the same release.

    Raises:
        MissingExtra: cyclonedx-python-lib is not installed.
    """
    try:
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as error:
        raise MissingExtra(
            f"the bill of materials needs {error.name}", hint="pip install cyclonedx-python-lib"
        ) from error
    document: dict[str, Any] = json.loads(JsonV1Dot6(_bom(facts)).output_as_string())
    document["metadata"]["component"]["modelCard"] = _model_card(facts)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _bom(facts: Facts) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData

    model, base = _model(facts), _base(facts)
    corpus, dataset = _data(facts)
    files = [_part("file", name, digest, f"file:{name}") for name, digest in _files(facts)]
    program, packages, edges = _packages()
    made = datetime.fromisoformat(facts.made)
    bom = Bom(
        serial_number=uuid.uuid5(_SPACE, f"{facts.agent.name}/{facts.version}"),
        components=[base, corpus, dataset, *files, program, *packages.values()],
        metadata=BomMetaData(
            component=model, timestamp=made if made.tzinfo else made.replace(tzinfo=UTC)
        ),
    )
    bom.register_dependency(model, [base, dataset, program, *files])
    bom.register_dependency(dataset, [corpus])
    for name, needed in edges.items():
        bom.register_dependency(packages.get(name, program), [packages[n] for n in needed])
    return bom


def _model(facts: Facts) -> Component:
    from cyclonedx.model import Property

    bundle = facts.cards[3]
    model = _part("model", facts.agent.name, bundle.gguf_sha256, "model", facts.version)
    model.description = "Answers an alert with the command its team's runbook prescribes"
    model.licenses = _licences(facts)
    model.properties = [
        Property(name="opslore:quantization", value=bundle.quantization),
        Property(name="opslore:counter", value=str(facts.counter)),
        Property(name="opslore:chat_template_sha256", value=bundle.template_sha256),
        Property(name="opslore:licence", value=facts.licence.name),
    ]
    return model


def _base(facts: Facts) -> Component:
    from packageurl import PackageURL

    resource = provenance.base(facts)
    base = _part("model", facts.base, resource["digest"].get("sha256", ""), "base")
    if commit := resource["digest"].get("gitCommit", ""):
        base.version = commit
        base.purl = PackageURL.from_string(resource["uri"])
    base.licenses = _licences(facts)
    return base


def _data(facts: Facts) -> tuple[Component, Component]:
    from cyclonedx.model import Property

    corpus, dataset = facts.cards[0], facts.cards[1]
    read = _part("data", "corpus", corpus.digest, "corpus", corpus.commit or None)
    read.description = f"{corpus.documents} runbook entries, {corpus.dropped} not used"
    made = _part("data", "dataset", dataset.digest, "dataset", dataset.id)
    made.description = "Examples written from the corpus, by split"
    made.properties = [
        Property(name=f"opslore:examples:{split}", value=str(n))
        for split, n in dataset.splits.items()
    ]
    return read, made


def _files(facts: Facts) -> list[tuple[str, str]]:
    return sorted(facts.archives.items())


def _part(kind: str, name: str, sha256: str, ref: str, version: str | None = None) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    types = {
        "model": ComponentType.MACHINE_LEARNING_MODEL,
        "data": ComponentType.DATA,
        "file": ComponentType.FILE,
        "library": ComponentType.LIBRARY,
    }
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
    return Component(name=name, type=types[kind], version=version, bom_ref=ref, hashes=hashes)


def _licences(facts: Facts) -> list[DisjunctiveLicense]:
    from cyclonedx.contrib.license.exceptions import InvalidSpdxLicenseException
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import XsUri
    from cyclonedx.model.license import DisjunctiveLicense

    name = facts.licence.name
    if name == UNKNOWN:
        return []  # the property opslore:licence says so
    if name == GEMMA:
        uri = XsUri("https://ai.google.dev/gemma/terms")
        return [DisjunctiveLicense(name="Gemma Terms of Use", url=uri)]
    try:
        return [LicenseFactory().make_with_id("Apache-2.0" if name == APACHE else name)]
    except InvalidSpdxLicenseException:
        return [DisjunctiveLicense(name=name)]


def _packages() -> tuple[Component, dict[str, Component], Mapping[str, list[str]]]:
    """opslore, the Python packages it needs as they are installed here, and who needs whom."""
    from packageurl import PackageURL

    edges = _closure("opslore")
    found = {}
    for name in edges or {"opslore": []}:
        version = VERSION if name == "opslore" else metadata.version(name)
        part = _part("library", name, "", f"python:{name}", version)
        part.purl = PackageURL("pypi", name=name, version=version)
        found[name] = part
    return found.pop("opslore"), found, edges


def _closure(root: str) -> dict[str, list[str]]:
    """Every installed package that `root` needs, with what it needs itself; names as on PyPI."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    edges: dict[str, list[str]] = {}
    if not _installed(root):  # running from its source folder; nothing says what it needs
        return edges
    waiting: list[tuple[str, frozenset[str]]] = [(canonicalize_name(root), frozenset())]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        needed = set(edges.get(name, []))
        for line in metadata.requires(name) or []:
            wanted = Requirement(line)
            other = canonicalize_name(wanted.name)
            if _applies(wanted, extras) and _installed(other):
                needed.add(other)
                if (entry := (other, frozenset(wanted.extras))) not in seen:
                    seen.add(entry)
                    waiting.append(entry)
        edges[name] = sorted(needed)
    return dict(sorted(edges.items()))


def _applies(wanted: Any, extras: frozenset[str]) -> bool:
    if wanted.marker is None:
        return True
    return any(wanted.marker.evaluate({"extra": extra}) for extra in extras or {""})


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _model_card(facts: Facts) -> dict[str, Any]:
    """The schema's `modelCard`: how it was made, what it scored, what it is not for."""
    evaluation = facts.cards[4]
    return {
        "bom-ref": "model-card",
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-generation",
            "datasets": [{"ref": "dataset"}],
            "inputs": [{"format": "text: an alert, and the runbook entries that fit it"}],
            "outputs": [{"format": "text: one shell command, or escalate_to_human"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {
                    "type": score.name,
                    "value": f"{score.value:.4f}",
                    "slice": f"{score.column} {score.split}, n = {score.n}",
                    "confidenceInterval": {
                        "lowerBound": f"{score.low:.4f}",
                        "upperBound": f"{score.high:.4f}",
                    },
                }
                for score in evaluation.scores
                if score.name in _METRICS
            ]
        },
        "considerations": {
            "users": ["Operators of the systems that the runbook describes"],
            "useCases": ["Looking up the command a runbook prescribes for an alert"],
            "technicalLimitations": [
                "Knows one runbook as it was when the corpus was read",
                "Commands are for a person, or a program that checks them, to run",
            ],
        },
    }
