from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import release_world
import tiny_models
from release_world import (  # noqa: F401
    ADAPTERS,
    CREATED,
    MODEL,
    VERSION,
    World,
    base,
    built,
    world,
)

from opslore import models
from opslore.errors import DataError, IntegrityError
from opslore.release import notices, papers
from opslore.release.facts import settings

PAPERS = {
    *("model-card.md", "evaluation.json", "dataset.json", "provenance.json", "bom.cdx.json"),
    *("release.json", "NOTICE", "LICENSE"),
}


def read(world: World, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((world.folder / name).read_text())  # type: ignore[no-any-return]


def write_with(world: World, base: Path) -> None:
    """The papers for another base model."""
    agent = world.agent.model_copy(update={"base_model": str(base)})
    papers.write(world.folder, agent, release_world.cards(), VERSION, 1, world.archives)


def test_every_paper_is_there_and_listed(world: World) -> None:
    there = {p.name for p in world.folder.iterdir()}
    assert there == PAPERS | {MODEL, ADAPTERS}
    listed = read(world, "release.json")
    assert (listed["agent"], listed["version"], listed["counter"]) == ("sre", VERSION, 1)
    for name in there - {"release.json"}:
        done = subprocess.run(
            ["sha256sum", world.folder / name], capture_output=True, text=True, check=True
        )
        assert listed["files"].pop(name) == done.stdout.split()[0]
    assert listed["files"] == {}


def test_the_same_bytes_from_another_process_another_day(world: World, tmp_path: Path) -> None:
    """Another process, place, time zone, language and hash seed: byte for byte the same."""
    first = {name: (world.folder / name).read_bytes() for name in PAPERS}
    for name in PAPERS:
        (world.folder / name).unlink()
    moved = world.folder.rename(tmp_path / "elsewhere")
    code = (
        "import sys, release_world as r; from pathlib import Path; from opslore.release import"
        " papers; folder, base = map(Path, sys.argv[1:]);"
        "import hashlib;"
        "of = lambda n: hashlib.sha256((folder / n).read_bytes()).hexdigest();"
        "papers.write(folder, r.agent(base), r.cards(), r.VERSION, 1,"
        " {r.ADAPTERS: of(r.ADAPTERS), r.MODEL: of(r.MODEL)})"
    )
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    strange = {"PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", code, moved, world.agent.base_model],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), **strange},
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    assert {name: (moved / name).read_bytes() for name in PAPERS} == first


def test_a_second_time_writes_nothing(world: World) -> None:
    before = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in world.folder.iterdir()}
    world.papers()
    after = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in world.folder.iterdir()}
    assert after == before


def test_a_killed_try_is_completed(world: World) -> None:
    whole = {p.name: p.read_bytes() for p in world.folder.iterdir()}
    (world.folder / ".release.json.4711.tmp").write_text("{")
    (world.folder / "release.json").unlink()
    (world.folder / "model-card.md").write_text("half")
    world.papers()
    assert {p.name: p.read_bytes() for p in world.folder.iterdir()} == whole


def test_the_only_time_is_the_bundles(world: World) -> None:
    found = set()
    for name in PAPERS - {"LICENSE"}:
        found |= set(re.findall(r"20\d\d-\d\d-\d\dT[0-9:.+Z]+", (world.folder / name).read_text()))
    assert found == {CREATED}
    text = "".join((world.folder / name).read_text() for name in PAPERS)
    assert time.strftime("%Y-%m-%d") not in text


def test_no_path_and_no_secret(world: World, base: Path) -> None:
    agent = world.agent.model_copy(
        update={
            "collect": [
                world.agent.collect[0].model_copy(update={"path": "https://me:Kd7z@example.com/R"}),
                world.agent.collect[0].model_copy(update={"path": "/home/somebody/RUNBOOK.md"}),
            ],
            "publish": world.agent.publish.model_copy(update={"registry": "postgresql://u:Kd7z@h"}),
        }
    )
    papers.write(world.folder, agent, release_world.cards(seed="2"), VERSION, 1, world.archives)
    text = "".join((world.folder / name).read_text() for name in PAPERS)
    for word in ("Kd7z", "/home/somebody", str(base.parent), str(world.root), os.uname().nodename):
        assert word not in text
    assert settings(agent)["collect"][0]["path"] == "https://example.com/R"


def test_wrong_archives_and_versions(world: World) -> None:
    with pytest.raises(IntegrityError, match=f"{MODEL} is not the archive"):
        papers.write(
            world.folder, world.agent, release_world.cards(), VERSION, 1, {MODEL: "0" * 64}
        )
    with pytest.raises(DataError, match="not a release version"):
        world.papers(version="../../etc")


def test_the_manifest_of_the_data_has_no_text(world: World) -> None:
    found = read(world, "dataset.json")
    assert found["dataset"]["splits"] == {"train": 400, "valid": 20, "s1": 120, "s2": 40, "s3": 80}
    assert found["corpus"]["commit"] == release_world.hexes("git", 40)
    assert found["dataset"]["sha256"] == release_world.hexes("d")
    assert set(found["corpus"]) == {"id", "documents", "dropped", "sha256", "commit"}


def test_the_card_says_what_was_measured(world: World) -> None:
    card = (world.folder / "model-card.md").read_text()
    assert "| 0.90 [0.80, 1.00] of 120 |" in card
    assert "12 of 120 answers wrong" in card
    assert "3 of 80 answered with a command" in card
    assert 'license: "apache-2.0"' in card
    assert f"ollama create sre:{VERSION} -f Modelfile" in card
    assert r"0.9 \| x" in card, "a bar in a cell does not make a new one"
    rows = [line for line in card.splitlines() if line.startswith("| G")]
    assert len(rows) == 2


def test_the_cards_front_matter_is_yaml(world: World) -> None:
    from ruamel.yaml import YAML

    front = (world.folder / "model-card.md").read_text().split("---\n")[1]
    found = YAML(typ="safe").load(front)
    assert found["license"] == "apache-2.0"
    assert found["base_model"] == "tiny"


def test_the_evaluation_is_the_blessing(world: World) -> None:
    found = read(world, "evaluation.json")
    assert found == release_world.cards()[4].model_dump(mode="json")
    assert found["passed"] is True


def test_the_provenance_is_slsa(world: World) -> None:
    """Read by in-toto's own schema: an unknown field, a wrong type or a bad digest is refused."""
    from google.protobuf import json_format

    statements = importlib.import_module("in_toto_attestation.v1.statement_pb2")
    checked = importlib.import_module("in_toto_attestation.v1.statement").Statement
    slsa = importlib.import_module("in_toto_attestation.predicates.provenance.v1.provenance_pb2")
    found = read(world, "provenance.json")
    statement = json_format.ParseDict(found, statements.Statement())
    checked.copy_from_pb(statement).validate()
    predicate = json_format.ParseDict(found["predicate"], slsa.Provenance())
    assert predicate.build_definition.build_type == "opslore:build/release/v1"
    needed = {
        item.name: dict(item.digest) for item in predicate.build_definition.resolved_dependencies
    }
    assert needed["dataset"] == {"sha256": release_world.hexes("d")}
    assert needed["base model"] == {"sha256": release_world.hexes("base")}
    assert needed["runbook"] == {"gitCommit": release_world.hexes("git", 40)}
    about = {item.name: item.digest["sha256"] for item in statement.subject}
    assert about == {**world.archives, "model.gguf": release_world.hexes("gguf")}


def test_a_hub_model_is_named_by_its_commit(world: World) -> None:
    from opslore.release import bom, provenance
    from opslore.release.facts import Facts

    commit = release_world.hexes("hub", 40)
    agent = world.agent.model_copy(update={"base_model": "org/model", "revision": commit})
    licence = notices.Licence("apache-2.0", "")
    facts = Facts(agent, release_world.cards(), VERSION, 1, world.archives, licence)
    assert provenance.base(facts)["digest"] == {"gitCommit": commit}
    parts = {part["bom-ref"]: part for part in json.loads(bom.render(facts))["components"]}
    assert parts["base"]["purl"] == f"pkg:huggingface/org/model@{commit}"


def test_the_code_is_named_by_its_commit() -> None:
    from opslore.release import provenance

    commit, modified = provenance.code()
    root = Path(provenance.__file__).parents[1]
    asked = ["git", "-C", root, "log", "-1", "--format=%H", "--", "*.py"]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode != 0:
        assert (commit, modified) == ("", False)
        return
    assert commit == done.stdout.strip()
    status = subprocess.run(
        ["git", "-C", root, "status", "--porcelain", "--", "*.py"], capture_output=True, text=True
    )
    assert modified == bool(status.stdout.strip())


def test_the_bill_of_materials_fits_the_schema(world: World) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if importlib.util.find_spec("jsonschema") is None:
        message = "no jsonschema: pip install 'cyclonedx-python-lib[json-validation]'"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    text = (world.folder / "bom.cdx.json").read_text()
    assert validator.validate_str(text) is None
    broken = json.loads(text)
    broken["metadata"]["component"]["modelCard"]["scores"] = []
    assert validator.validate_str(json.dumps(broken)) is not None, "the validator does look"


def test_the_bill_of_materials_names_every_part(world: World) -> None:
    found = read(world, "bom.cdx.json")
    model = found["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": release_world.hexes("gguf")}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0]["value"] == "0.9000"
    assert metrics[0]["confidenceInterval"] == {"lowerBound": "0.8000", "upperBound": "1.0000"}
    parts = {part["bom-ref"]: part for part in found["components"]}
    assert parts["dataset"]["type"] == "data"
    assert parts[f"file:{MODEL}"]["hashes"][0]["content"] == world.archives[MODEL]
    for name in ("torch", "pydantic", "typing-extensions"):  # the last one is nobody's direct need
        assert parts[f"python:{name}"]["version"] == metadata.version(name)
        assert parts[f"python:{name}"]["purl"].startswith(f"pkg:pypi/{name}@")
    assert "python:pytest" not in parts, "what only developers need is no part of it"
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in found["dependencies"]}
    assert {"base", "dataset", "python:opslore"} <= set(edges["model"])
    assert "python:torch" in edges["python:opslore"]
    refs = set(parts) | {"model"}
    assert all(set(needed) <= refs for needed in edges.values())


# Licences: read from the base, never guessed.

GEMMA_SAYS = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at"
    " ai.google.dev/gemma/terms"
)


def test_gemma_carries_its_notice(world: World, tmp_path: Path) -> None:
    base = release_world.model_folder(tmp_path / "gemma-folder", "gemma")
    write_with(world, base)
    assert GEMMA_SAYS in (world.folder / "NOTICE").read_text()
    assert "Gemma Terms of Use" in (world.folder / "bom.cdx.json").read_text()
    assert read(world, "release.json")["licence"] == "gemma"
    card = (world.folder / "model-card.md").read_text()
    assert GEMMA_SAYS in card
    assert "brings no copy of its licence (gemma)" in card
    assert "Apache" not in (world.folder / "NOTICE").read_text()


def test_the_bases_own_licence_travels(tmp_path: Path) -> None:
    base = release_world.model_folder(tmp_path / "base", "gemma")
    (base / "LICENSE.md").write_text("# Gemma Terms of Use\nSection 1 ...\n")
    (base / "NOTICE").write_text("Made by the makers.\n")
    found = notices.read(base, "gemma", "base")
    assert (found.text, found.warning) == (b"# Gemma Terms of Use\nSection 1 ...\n", "")
    assert "Notice of the base model:\n\nMade by the makers." in found.notice


def test_apache_brings_its_text(world: World) -> None:
    text = (world.folder / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert text.rstrip().endswith("limitations under the License.")
    assert "Apache License, Version 2.0" in (world.folder / "NOTICE").read_text()


def test_an_unknown_licence_is_said(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = release_world.model_folder(tmp_path / "mystery", "")
    write_with(world, base)
    assert "base model mystery: its licence is unknown" in caplog.text
    assert read(world, "release.json")["licence"] == "unknown"
    assert "**Warning:**" in (world.folder / "model-card.md").read_text()
    assert "WARNING" in (world.folder / "NOTICE").read_text()
    model = read(world, "bom.cdx.json")["metadata"]["component"]
    assert "licenses" not in model
    assert {"name": "opslore:licence", "value": "unknown"} in model["properties"]


def test_metadata_and_file_that_disagree(tmp_path: Path) -> None:
    base = release_world.model_folder(tmp_path / "base", "apache-2.0")
    (base / "LICENSE").write_text("GEMMA TERMS OF USE\n")
    found = notices.read(base, "apache-2.0", "base")
    assert "metadata say apache-2.0, but its LICENSE file reads like gemma" in found.warning
    assert GEMMA_SAYS in found.notice


def test_a_licence_that_only_the_file_tells(tmp_path: Path) -> None:
    base = release_world.model_folder(tmp_path / "base", "other")
    (base / "LICENSE").write_text("Gemma Terms of Use\n")
    assert notices.read(base, "other", "base").name == "gemma"


@pytest.mark.slow
def test_the_licence_comes_from_the_gguf(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "cache"))
    base = tiny_models.llama(tmp_path / "tiny-llama.gguf")
    assert models.resolve(str(base)).licence == "apache-2.0"
    write_with(world, base)
    notice = (world.folder / "NOTICE").read_text()
    assert "fine-tuned by opslore from tiny-llama.gguf (licence: apache-2.0)" in notice
