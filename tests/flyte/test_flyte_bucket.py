"""A step in a pod of its own: its inputs come from the bucket, its card and files go there."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from base_models import model_cache  # noqa: F401
from flyte_world import here, local, started  # noqa: F401
from real.s3 import S3

from opslore import config, flowing, flows, harvesting, steps, store
from opslore.cards import Adapter, Corpus, Dataset

pytest_plugins = ["real.fixtures"]


@pytest.mark.slow
def test_a_pod_finds_its_input_in_the_bucket_and_leaves_its_card_there(
    here: Path, s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    uri = f"s3://ml-{secrets.token_hex(6)}/team"
    agent = config.load(Path("tiny.yaml")).model_copy(update={"store": uri})

    def machine(name: str) -> store.Store:
        """Each has its own disk; all they share is the bucket."""
        monkeypatch.setenv("OPSLORE_CACHE", str(here / name))
        return steps.store_of(agent)

    found = []
    for number in range(len(agent.collect)):
        machine(f"source-{number}")
        found.append(local(flows.harvest, agent, number))
    machine("together")
    corpus = local(flows.together, agent, found)
    machine("prepare")
    dataset = local(flows.prepare, agent, corpus)

    elsewhere = machine("elsewhere")
    assert elsewhere.latest(Corpus) == corpus
    assert elsewhere.latest(Dataset) == dataset
    keys = elsewhere.bucket.sizes("tiny/dataset")  # type: ignore[union-attr]
    assert f"tiny/dataset/{dataset.id[:16]}/card.json" in keys
    assert (elsewhere.path(dataset) / "train.jsonl").read_bytes()
    # The same as on one machine's own disk, read in one go.
    on_disk = agent.model_copy(update={"store": "./runs"})
    alone = steps.collect(on_disk)
    assert alone.id == corpus.id
    assert steps.prepare(on_disk, alone).id == dataset.id
    monkeypatch.setenv("OPSLORE_CACHE", str(here / "again"))
    assert harvesting.together(agent, found) == corpus

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    machine("train")
    adapter = local(flows.train, agent, dataset)
    reader = machine("reader")
    assert adapter.id[:12] in flowing.page(agent, adapter)  # for which no model is fetched
    assert reader.folder(Dataset, dataset.id).is_dir()
    assert not reader.folder(Adapter, adapter.id).exists()
