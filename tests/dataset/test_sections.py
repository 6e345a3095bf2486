from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dataset import prose_world as world

from opslore.cards import Document, Dropped, Span
from opslore.config import Prepare
from opslore.dataset import candidates, caps, questions, sections, unfit
from opslore.dataset.pairs import Pair

PAGE = """\
<!-- a comment -->
# Handbook

[![build][badge]][ci] How the platform is run, what it is made of and who is called when it breaks
in the middle of the night, with the commands that helped the last time that somebody was called.

[badge]: https://example.org/badge.svg
[ci]: https://example.org/ci
[guide]: https://example.org/guide

## Table of contents

- [Installing the agent](#installing-the-agent)

## Installing the agent

Read the [guide][guide] and the [local notes](notes.md) first. Then run
the installer as root:

```bash
# Not a heading
helm install agent ./chart
```

## Flags

- `--port`: where it listens
- `--level`: how much it says

## Edge router

The edge router is a proxy at the border of the cluster. It ends TLS and
keeps the access log.

## Changes

See [there](https://example.org/a) and [there](https://example.org/b).

## v2.1.0

* Fixed the start on machines without a network card, which took a minute.
"""


def page(text: str = PAGE, **more: Any) -> Document:
    lines = len(text.splitlines())
    given = {
        "id": "docs:handbook/README.md",
        "kind": "page",
        "title": "README.md",
        "text": text,
        "trust": "T2",
        "origin": "docs ./handbook",
        "product": "Agent",
        "version": "2.1",
        "span": Span(file="README.md", first=1, last=lines),
    }
    return Document.model_validate({**given, **more})


def read(document: Document) -> tuple[list[Pair], list[Dropped]]:
    found = list(candidates.of(document, Prepare(task="answers"), {}))
    pairs = [row for row in found if isinstance(row, Pair)]
    return pairs, [row for row in found if isinstance(row, Dropped)]


def asked(document: Document, part: str) -> list[str]:
    return [pair.question for pair in read(document)[0] if f"#{part}/" in pair.part]


def test_a_comment_in_code_is_no_heading() -> None:
    titles = [section.title for section in sections.sections(page())]
    assert titles == [
        *("Handbook", "Table of contents", "Installing the agent", "Flags", "Edge router"),
        *("Changes", "v2.1.0"),
    ]


def test_questions_follow_what_a_section_has() -> None:
    found = {pair.question for pair in read(page())[0]}
    assert any(q.startswith("How do I install the agent") for q in found) or any(
        "to install the agent" in q for q in found
    )
    assert any("options" in q and "flags" in q.lower() for q in found)
    assert "What is the edge router in Agent 2.1?" in found
    assert any(q.endswith("Agent 2.1 v2.1.0?") for q in found)


def test_every_question_stands_alone_and_is_no_heading() -> None:
    pairs, _ = read(page())
    titles = {section.title for section in sections.sections(page())}
    for pair in pairs:
        assert "Agent 2.1" in pair.question
        assert pair.question not in titles
        assert pair.question.endswith(("?", "."))
        assert len(pair.question.split()) > 4


def test_links_that_lead_nowhere_keep_their_words_only() -> None:
    answer = next(pair.answer for pair in read(page())[0] if "helm" in pair.answer)
    assert "Read the [guide](https://example.org/guide) and the local notes first." in answer
    assert "Then run the installer as root:" in answer
    assert "badge" not in "".join(pair.answer for pair in read(page())[0])


def test_contents_and_link_lists_are_dropped_with_a_reason() -> None:
    reasons = {row.what.rpartition("#")[2]: row.reason for row in read(page())[1]}
    assert reasons == {
        "Table of contents": "contents, licence or index",
        "Changes": "only links",
    }


def test_pairs_point_at_their_lines() -> None:
    pair = next(pair for pair in read(page())[0] if "helm" in pair.answer)
    assert PAGE.splitlines()[pair.span.first - 1] == "## Installing the agent"
    assert PAGE.splitlines()[pair.span.last - 1 : pair.span.last + 1] == ["", "## Flags"]


def test_a_page_of_anybody_is_context_only() -> None:
    pairs, left = read(page(trust="T3"))
    assert pairs == []
    assert [row.reason for row in left] == ["T3: context, never an answer"]


def test_forms_and_orders_to_a_model_are_no_documentation() -> None:
    for name in (".github/PULL_REQUEST_TEMPLATE.md", "AGENTS.md", "copilot-instructions.md"):
        assert read(page(id=f"docs:handbook/{name}"))[0] == []


def test_a_long_change_log_keeps_its_newest_releases() -> None:
    log = "# Changes\n\n" + "".join(
        f"## v1.{n}\n\n* Fixed number {n} of the many things that were wrong.\n\n"
        for n in range(99, 0, -1)
    )
    pairs, left = read(page(log))
    assert len(pairs) == caps.PAGE
    assert "v1.99" in pairs[0].question
    assert {row.reason for row in left} == {"more than 40 pairs of one page"}


def test_the_seed_alone_chooses_among_the_forms() -> None:
    section = next(iter(sections.sections(page("# T\n\n## Some words\n\n" + "They say it. " * 9))))
    several = {tuple(questions.questions(section, "Agent", seed, "n")) for seed in range(9)}
    again = {tuple(questions.questions(section, "Agent", seed, "n")) for seed in range(9)}
    assert several == again


@pytest.mark.parametrize(
    ("title", "question"),
    [
        ("Running the tests", "run the tests"),
        ("Updating templates", "update templates"),
        ("Debugging the API", "debug the API"),
        ("Submitting a Pull Request", "submit a pull request"),
        ("Tag the release", "tag the release"),
    ],
)
def test_a_gerund_or_an_order_asks_how(title: str, question: str) -> None:
    text = f"# Guide\n\n## {title}\n\nCall the script in the folder and read what it says.\n"
    assert any(f"{question} " in q for q in asked(page(text), title))


@pytest.mark.parametrize("title", ["Commit messages", "Logging levels", "Release notes"])
def test_a_noun_is_no_order(title: str) -> None:
    text = f"# Guide\n\n## {title}\n\nThey are short, and they say what was done and why.\n"
    assert not any(q.startswith(("How do I", "I want to")) for q in asked(page(text), title))


def test_real_pages(shared_data: Path) -> None:
    pages = list(world.pages(shared_data / "docs" / "linkerd2", "Linkerd"))
    found = [row for one in pages for row in candidates.of(one, Prepare(task="answers"), {})]
    pairs = [row for row in found if isinstance(row, Pair)]
    assert len({pair.part for pair in pairs}) > 90
    for pair in pairs:
        assert "linkerd" in pair.question.lower()
        assert pair.answer.count("```") % 2 == 0
        assert len(pair.answer) <= 2400
        assert "<!--" not in pair.answer
    assert max(sum(p.group == one.id for p in pairs) for one in pages) == caps.PAGE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The example above builds the images and loads them.", "refers to another section"),
        ("Run `bin/tests`. As stated above, a cluster is needed.", "refers to another section"),
        ("```bash\nbin/scale\n```\n\nFor example, to test it:", "code that nothing explains"),
        ("```bash\nbin/scale\n```\n\nThe command above measures how many services one "
         "control plane serves before it slows down, and prints a table of all the times.", ""),
        ("They must meet the expectations above.", "refers to another section"),
        ("It works on Kubernetes 1.22 and above.", ""),
        ("These commands assume that Go is installed.", "refers to another section"),
        ("It is decided by a vote, as outlined below.", "refers to another section"),
        ("The parts, and who calls whom:\n\n```\ndigraph G { rankdir=LR;\na -> b }\n```",
         "a diagram or data, no prose"),
        ("Set the port:\n\n```bash\nexport PORT=1\n```\n\nThe script above reads it.", ""),
    ],
)  # fmt: skip
def test_a_section_that_leans_on_another_is_dropped(text: str, reason: str) -> None:
    section = sections.Section("Images", ["Linkerd"], text, 1, 9)
    assert unfit.unfit(section, shortest=10) == reason
