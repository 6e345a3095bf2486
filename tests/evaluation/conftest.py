"""A small runbook with its test prompts, and a real GGUF of 3 million random weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluation.world import SYSTEM, documents, example, examples, write_tiny

from opslore import ggufheader, models, store
from opslore.bundle.catalogue import Catalogue
from opslore.cards import TESTS, Bundle
from opslore.config import Agent
from opslore.evaluation import run
from opslore.index import Index, entry


@pytest.fixture(scope="session")
def index() -> Index:
    return Index([entry(document) for document in documents()])


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, index: Index) -> Path:
    """A dataset folder with its test prompts."""
    folder = tmp_path_factory.mktemp("dataset")
    index.write(folder)
    rows = examples(index)
    for split in TESTS:
        store.write_rows(folder / f"{split}.jsonl", [r for r in rows if r.split == split])
    store.write_rows(folder / "documents.jsonl", documents())
    question = "the pod cart-1 in web restarts"
    seen = example(index, 0, "train", "ticket/train-0", question)
    store.write_rows(folder / "train.jsonl", [seen])
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model that answers nonsense."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_tiny(path)
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of these tests, instead of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def agent(tiny: Path, cache: Path) -> Agent:
    """An agent whose base model is the tiny one, asked a few prompts."""
    return Agent.model_validate(
        {
            "name": "tiny",
            "base_model": str(tiny),
            "system_prompt": SYSTEM,
            "collect": [{"path": "RUNBOOK.md"}],
            "export": {"quantization": "f16", "num_ctx": 1024},
            "evaluate": {
                "max_tokens": 8,
                "general": 60,
                "parity": 6,
                "base": 5,
                "closed": 4,
                "resamples": 200,
                "gate": {"min_s1": 10, "min_s3": 2, "min_s4": 3},
            },
        }
    )


@pytest.fixture(scope="session")
def made(agent: Agent, tmp_path_factory: pytest.TempPathFactory, index: Index) -> tuple[Path, Path]:
    """Bundle and adapter folders of the tiny model, as `export` and `train` leave them."""
    from opslore.bundle import catalogue, gguf

    base = models.resolve(agent.base_model)
    adapter, bundle = tmp_path_factory.mktemp("adapter"), tmp_path_factory.mktemp("bundle")
    shutil.copytree(base.folder, adapter / "merged")
    template = ggufheader.template(Path(agent.base_model))
    gguf.write(adapter / "merged", bundle / "model.gguf", "f16", base, template)
    known = catalogue.build(c for e in index.entries for c in e.commands)
    store.write(bundle / "catalogue.json", known.model_dump_json())
    index.write(bundle)
    store.write(bundle / "card.json", card(bundle, known).model_dump_json())
    return bundle, adapter


def card(bundle: Path, known: Catalogue) -> Bundle:
    """The bundle's card, as `export` writes it."""
    return Bundle(
        **{"id": "b" * 64, "uri": "tiny/bundle/b", "created": "c", "made_with": "m"},
        base_model="tiny",
        quantization="f16",
        gguf_sha256=store.sha256(bundle / "model.gguf"),
        template_sha256="",
        commands=len(known.templates),
    )


Whole = tuple[dict[str, Any], Path, list[tuple[str, int, int]]]


@pytest.fixture(scope="session")
def whole(
    agent: Agent,
    dataset: Path,
    made: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Whole:
    """An evaluation that nobody interrupted: its fields, its folder, and what it told."""
    told: list[tuple[str, int, int]] = []
    work = tmp_path_factory.mktemp("whole")
    return run.evaluate(agent, dataset, *made, work, lambda *now: told.append(now)), work, told
