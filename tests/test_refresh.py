"""`opslore refresh`: a trained model answers from entries that it was not trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import new_entries
import pytest
from flow_world import Flow, call, flow, runbook

from opslore import answer, asking, config, refreshing, steps, store
from opslore.answer import judged
from opslore.cards import Adapter, Bundle, Dataset, Example
from opslore.errors import ConfigError, MissingInput
from opslore.index import Index
from opslore.lineage import newest

pytest_plugins = ["trained_world"]
__all__ = ["flow"]

LEAST = 14
"""Answers of twenty that must be right (17 were, once); the others go to a person."""


@pytest.fixture
def made(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the flow's folder, as the current one."""
    folder = tmp_path / "made"
    shutil.copytree(flow.folder, folder)
    monkeypatch.chdir(folder)
    return folder


class TestRefresh:
    def test_the_model_stays_and_the_entries_are_new(self, made: Path) -> None:
        home = steps.store_of(agent := config.load(Path("tiny.yaml")))
        before = home.latest(Bundle)
        (made / "RUNBOOK.md").write_text(runbook() + new_entries.text())
        said = call(made, "refresh", "tiny.yaml", "--json")
        assert said.code == 0, said.err
        cards = json.loads(said.out)
        after = home.latest(Bundle)
        assert after.id == cards["bundle"]["id"] != before.id
        assert after.gguf_sha256 == before.gguf_sha256
        assert store.sha256(home.path(after) / "model.gguf") == before.gguf_sha256
        for name in ("Modelfile", "settings.json"):
            both = [(home.path(one) / name).read_text() for one in (before, after)]
            assert both[0] == both[1]
        assert [card.kind for card in home.cards(Adapter)] == ["adapter"]

        titles = {one.title for one in Index.read(home.path(after)).entries}
        old = {one.title for one in Index.read(home.path(before)).entries}
        assert titles == old | {one.title for one in new_entries.ENTRIES}
        catalogue = json.loads((home.path(after) / "catalogue.json").read_text())
        assert after.commands > before.commands
        assert len(catalogue["templates"]) == after.commands
        chain = newest(home)
        assert [card.kind for card in chain[:4]] == ["corpus", "dataset", "adapter", "bundle"]
        assert chain[1].id == cards["dataset"]["id"]
        assert steps.dataset_of(home, before).id != cards["dataset"]["id"]

        found = answer.ask(agent, new_entries.ENTRIES[0].question)
        assert found.shown[0].startswith("KafkaBrokerOffline")

    def test_no_alert_changes_from_trained_to_never_seen(self, made: Path) -> None:
        (made / "RUNBOOK.md").write_text(runbook() + new_entries.text())
        agent = config.load(Path("tiny.yaml"))
        home = steps.store_of(agent)
        adapter = home.latest(Adapter)
        old = home.path(steps.parent(home, adapter, Dataset))
        new = home.path(refreshing.refresh(agent)[0])

        def groups(folder: Path, split: str) -> set[str]:
            return {row.group for row in store.read_rows(folder / f"{split}.jsonl", Example)}

        assert not groups(old, "train") & groups(new, "s2")

    def test_an_unchanged_runbook_gives_the_bundle_that_is_there(self, made: Path) -> None:
        agent = config.load(Path("tiny.yaml"))
        before = steps.store_of(agent).latest(Bundle)
        assert refreshing.refresh(agent)[1].id == before.id

    @pytest.mark.parametrize("change", ["system_prompt: You are a poet.", "prepare: {entries: 3}"])
    def test_other_prompts_need_a_training(self, made: Path, change: str) -> None:
        key = change.split(":")[0]
        lines = [x for x in Path("tiny.yaml").read_text().splitlines() if not x.startswith(key)]
        Path("tiny.yaml").write_text("\n".join([*lines, change]) + "\n")
        with pytest.raises(ConfigError, match="changed since the training") as raised:
            refreshing.refresh(config.load(Path("tiny.yaml")))
        assert "opslore run" in raised.value.hint

    def test_without_a_bundle_it_says_what_to_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.yaml").write_text("name: a\ncollect: [{path: RUNBOOK.md}]\n")
        with pytest.raises(MissingInput):
            refreshing.refresh(config.load(Path("a.yaml")))


@pytest.mark.slow
def test_a_new_entry_is_answered_without_training(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty alerts join the runbook of a trained model, and are asked in other words."""
    folder = tmp_path / "trained"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    agent = config.load(Path("agent.yaml"))
    before = steps.store_of(agent).latest(Bundle)
    Path("RUNBOOK.md").write_text(runbook() + new_entries.text())
    _, bundle = refreshing.refresh(agent)
    assert bundle.gguf_sha256 == before.gguf_sha256

    files = steps.store_of(agent).path(bundle)
    replies = {}
    with asking.Asking(agent, files) as model:
        for one in new_entries.ENTRIES:
            hits, reply = model.ask(one.question)
            replies[one.title] = judged(reply, hits, one.question, {})
    right = [one.title for one in new_entries.ENTRIES if replies[one.title].command == one.command]
    # An answer is the right one or none: what is not sure goes to a person.
    wrong = {t: r.command for t, r in replies.items() if t not in right and not r.escalate}
    assert wrong == {}
    assert len(right) >= LEAST, {t: r.why for t, r in replies.items() if t not in right}
