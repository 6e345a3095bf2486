"""The base model's own replies, learned again beside the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models

from opslore import models
from opslore.trainers import general
from opslore.trainers.packing import tokenize


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> models.Base:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        path = tiny_models.llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
        return models.resolve(str(path))


def test_questions_are_many_and_each_is_asked_once() -> None:
    asked = general.prompts()
    assert len(asked) == len(set(asked)) >= 100


def test_the_bundled_model_needs_not_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = models.resolve("smollm2-135m-instruct")
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path))
    monkeypatch.setattr(general, "_replies", lambda *_: pytest.fail("asked again"))
    rows = general.examples(base, 1000)
    assert len(rows) > 100
    assert all(row.target and row.messages[0].role == "user" for row in rows)


def test_another_model_is_asked_once_and_its_replies_are_kept(
    tiny: models.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path))
    # Random words end no sentence; what is tested is the asking and the keeping.
    monkeypatch.setattr(general, "_text", lambda tokenizer, said, ends: tokenizer.decode(said[:4]))
    rows = general.examples(tiny, 9)
    assert [row.question for row in rows if row.target] == general.prompts()[:9]
    monkeypatch.setattr(general, "_replies", lambda *_: pytest.fail("asked again"))
    assert general.examples(tiny, 9) == rows
    tokenizer = AutoTokenizer.from_pretrained(tiny.folder, local_files_only=True)
    assert "SRE" not in tokenizer.decode(tokenize(tokenizer, rows[0], 512).ids)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("One. Two", "One."), ("no end at all", ""), ("3.5 apples. And 2", "3.5 apples.")],
)
def test_a_reply_that_was_cut_ends_with_its_last_sentence(said: str, kept: str) -> None:
    class Words:
        def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
            return said

    assert general._text(Words(), [5, 6, 7], [1]) == kept
    assert general._text(Words(), [5, 6, 1], [1]) == said, "what ended by itself stays whole"
