"""What people say, in the words that runbooks use."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest
from entries import made

from opslore import jargon
from opslore.index import Index
from opslore.stems import words


def data(name: str) -> Any:
    return json.loads(files("opslore").joinpath(f"data/{name}.json").read_text("utf-8"))


def test_every_phrase_can_be_found_and_means_one_thing() -> None:
    concepts = data("jargon")["concepts"]
    said = [tuple(words(phrase)) for concept in concepts for phrase in concept["said"]]
    assert len(concepts) > 150
    assert {run for run in said if not 1 <= len(run) <= jargon.LONGEST} == set()
    assert [run for run, count in Counter(said).items() if count > 1] == []
    for concept in concepts:
        for phrase in concept["said"]:
            assert concept["means"] in jargon.meaning(f"web-0 {phrase} again")[0]


def test_every_word_of_the_glossary_is_found_in_its_language() -> None:
    glossary, little = data("glossary"), data("languages")
    assert set(glossary) == set(little) - {"en"}
    for language, table in glossary.items():
        frame = " ".join(sorted(set(little[language].split()) - set(little["en"].split()))[:6])
        lost = []
        for word, english in table.items():
            _, found = jargon.meaning(f"{frame}, {word}, {frame}")
            if not set(english.split()) <= set(found.split()):
                lost.append(word)
        # A word may be a part of a longer one, or a little word of the frame.
        assert len(lost) <= len(table) // 50, (language, lost)


@pytest.mark.parametrize(
    ("question", "english"),
    [
        ("die Platte von worker3 ist voll", "disk full"),
        ("le disque de worker3 est plein", "disk full"),
        ("el disco de worker3 no tiene espacio", "disk"),
        ("die plotzlich on worker3, war room opened", ""),
        ("the disk of worker3 is full", ""),
        ("kubectl get pods -n die", ""),
        ("", ""),
    ],
)
def test_other_languages_alone_are_translated(question: str, english: str) -> None:
    assert set(english.split()) <= set(jargon.meaning(question)[1].split())
    assert bool(english) == bool(jargon.meaning(question)[1])


def test_accents_may_be_missing() -> None:
    with_accents = jargon.meaning("le nœud de la baie ne répond plus, il est arrêté")[1]
    without = jargon.meaning("le nœud de la baie ne repond plus, il est arrete")[1]
    assert with_accents == without != ""


@pytest.mark.parametrize(
    "question", ["it dies and comes back in shop", "der Container wird immer neu gestartet"]
)
def test_the_index_finds_what_was_said_in_other_words(question: str) -> None:
    index = Index(
        [
            made("CertificateExpired", "The certificate of a host expires.", "openssl version"),
            made(
                "PodCrashLooping", "The container restarts, CrashLoopBackOff.", "kubectl get pods"
            ),
            made("DiskFull", "The filesystem has no space.", "df -h"),
        ]
    )
    assert index.search(question)[0].entry.title == "PodCrashLooping"
