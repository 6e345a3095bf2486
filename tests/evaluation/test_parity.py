"""G7 in a live Ollama: three roads of one tiny real model, which talks nonsense of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from evaluation.conftest import Whole
from evaluation.world import SYSTEM

from opslore import ggufheader
from opslore.bundle import modelfile
from opslore.cards import Result
from opslore.config import Agent
from opslore.errors import DataError, MissingInput
from opslore.evaluation.parity import Parity, parity
from opslore.release.ollama import recipe_of
from opslore.servers.ollama_client import Client
from opslore.servers.ollama_install import install
from opslore.store import read_rows, sha256, write_rows

pytest_plugins = ["real.fixtures"]

MODEL = "nonsense:v20260101-00000001"


@pytest.fixture(scope="module")
def bundle(
    ollama_server: str, made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The tiny model's bundle with its Modelfile, installed."""
    files = tmp_path_factory.mktemp("parity") / "bundle"
    shutil.copytree(made[0], files)
    template = ggufheader.template(files / "model.gguf")
    text = modelfile.render(
        "model.gguf",
        template,
        SYSTEM,
        modelfile.stops(template),
        {"num_ctx": 1024, "temperature": 0, "num_predict": 8},
    )
    (files / "Modelfile").write_text(text)
    gguf, recipe = recipe_of(files)
    with Client(ollama_server) as client:
        install(client, MODEL, gguf, sha256(gguf), recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_OLLAMA_THREADS", "1")
        yield files


def test_three_roads_agree_and_ollama_is_asked_anew(
    ollama_server: str, agent: Agent, dataset: Path, bundle: Path, whole: Whole
) -> None:
    results = whole[1] / "results.jsonl"
    before = results.read_bytes()
    heard: list[tuple[str, int, int]] = []
    found = parity(
        agent, dataset, bundle, results, ollama_server, MODEL, lambda *now: heard.append(now)
    )
    assert results.read_bytes() == before
    assert heard[-1] == ("ollama", agent.evaluate.parity, agent.evaluate.parity)
    assert found.prompts == agent.evaluate.parity
    assert found.rendered == found.prompts
    assert found.between == found.prompts
    assert found.gguf == found.ollama
    assert set(found.line()) == {"parity_gguf", "parity_ollama", "stops"}
    stopped = {row.example for row in read_rows(results, Result)
               if row.column == "tuned" and row.scores["stopped"] == 1.0}  # fmt: skip
    asked = {row.example for row in read_rows(results, Result) if row.column == "trained"}
    assert found.stops == len(stopped & asked)


def test_another_reply_and_another_prompt_are_told(
    ollama_server: str, agent: Agent, dataset: Path, bundle: Path, whole: Whole, tmp_path: Path
) -> None:
    rows = list(read_rows(whole[1] / "results.jsonl", Result))
    changed = next(row for row in rows if row.column == "trained")
    other = [r.model_copy(update={"reply": "df -h"}) if r is changed else r for r in rows]
    write_rows(tmp_path / "results.jsonl", other)
    model = "nonsense:spaced"
    gguf, recipe = recipe_of(bundle)
    from dataclasses import replace

    spaced = replace(recipe, template=recipe.template.replace("<|im_start|>{{", "<|im_start|> {{"))
    with Client(ollama_server) as client:
        install(client, model, gguf, sha256(gguf), spaced)
    found = parity(agent, dataset, bundle, tmp_path / "results.jsonl", ollama_server, model)
    assert found.rendered == 0
    assert found.gguf == found.prompts - 1
    assert any(
        line.startswith(f"{changed.example}: trained 'df -h', tuned") for line in found.differ
    )
    assert sum("writes another prompt" in line for line in found.differ) == found.prompts
    assert not found.passed()


def test_what_was_never_asked_cannot_be_compared(
    ollama_server: str, agent: Agent, dataset: Path, bundle: Path, whole: Whole, tmp_path: Path
) -> None:
    with pytest.raises(MissingInput, match=r"none\.jsonl: no such file") as caught:
        parity(agent, dataset, bundle, tmp_path / "none.jsonl", ollama_server, MODEL)
    assert "opslore evaluate" in caught.value.hint
    rows = [r for r in read_rows(whole[1] / "results.jsonl", Result) if r.column != "trained"]
    write_rows(tmp_path / "results.jsonl", rows)
    with pytest.raises(MissingInput, match="6 of 6 trained replies are missing"):
        parity(agent, dataset, bundle, tmp_path / "results.jsonl", ollama_server, MODEL)
    none = agent.model_copy(update={"evaluate": agent.evaluate.model_copy(update={"parity": 0})})
    with pytest.raises(DataError, match="no prompt is asked"):
        parity(none, dataset, bundle, whole[1] / "results.jsonl", ollama_server, MODEL)


def test_the_line_and_the_verdict() -> None:
    whole = Parity(model="a:b", prompts=50, gguf=49, ollama=50, between=49, rendered=50, stops=50,
                   seconds=1.0, differ=[])  # fmt: skip
    assert json.dumps(whole.line()) == '{"parity_gguf": 0.98, "parity_ollama": 1.0, "stops": 1.0}'
    assert whole.passed()
    for change in ({"gguf": 48}, {"ollama": 48}, {"rendered": 49}, {"stops": 49}):
        assert not whole.model_copy(update=change).passed()
