"""Archives: the real one is whole, every form is found by its content, bad rows lose no other."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from opslore.cards import Document, Dropped
from opslore.config_sources import ArchiveSource
from opslore.errors import DataError, SourceError
from opslore.sources import Ground, archive, archive_rows, gather

SHAREGPT = {"conversations": [{"from": "human", "value": "q1"}, {"from": "gpt", "value": "a1"}]}
MESSAGES = {
    "messages": [
        {"role": "system", "content": "be good"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": [{"type": "text", "text": "a2"}]},
    ]
}
ALPACA = {"instruction": "q3", "input": "with this", "output": "a3"}


def read(path: Path, **settings: Any) -> tuple[list[Document], list[Dropped]]:
    source = ArchiveSource(path=path.name, **settings)
    rows = list(archive.collect(source, Ground(path.parent, path.parent / "keep")))
    documents = [row for row in rows if isinstance(row, Document)]
    return documents, [row for row in rows if isinstance(row, Dropped)]


@pytest.fixture
def real(shared_data: Path) -> list[Document]:
    documents, dropped = read(shared_data / "issues" / "pcapng-archive.json")
    assert dropped == []
    return documents


class TestRealArchive:
    def test_every_issue_and_pull_is_there(self, real: list[Document], shared_data: Path) -> None:
        assert Counter(d.kind for d in real) == {"issue": 42, "pull": 61}
        raw = json.loads((shared_data / "issues" / "pcapng-archive.json").read_bytes())
        names = [f"github:pcapng/pcapng#{t['number']}" for t in raw["issues"] + raw["pulls"]]
        assert sorted(d.id for d in real) == sorted(names)
        assert Counter(d.state for d in real) == {"merged": 50, "open": 31, "closed": 22}

    def test_every_comment_and_review_is_there(
        self, real: list[Document], shared_data: Path
    ) -> None:
        raw = json.loads((shared_data / "issues" / "pcapng-archive.json").read_bytes())
        by_name = {d.id: d for d in real}
        reviews = 0
        for thread in raw["issues"] + raw["pulls"]:
            turns = by_name[f"github:pcapng/pcapng#{thread['number']}"].turns
            said = {(t.author, t.created, t.text) for t in turns}
            wanted = [(thread["author"], thread)]
            wanted += [(c["author"], c) for c in thread["comments"]]
            for review in thread.get("reviews", []):
                reviews += 1
                wanted += [(review["author"], c) for c in review["comments"]]
                if review["body"] or not review["comments"]:
                    wanted.append((review["author"], review))
            for author, post in wanted:
                text = post["body"].replace("\r\n", "\n")
                assert (author or "", post["createdAt"], text) in said, post
            assert turns[0].kind == "body"
            assert [t.created for t in turns[1:]] == sorted(t.created for t in turns[1:])
        assert reviews == 78
        assert sum(len(d.turns) for d in real) == 103 + 290 + 73 + 5

    def test_trust_is_by_who_may_write(self, real: list[Document]) -> None:
        """Its associations say CONTRIBUTOR only; six people merged pull requests."""
        trusted = {t.author for d in real for t in d.turns if t.trust == "T2"}
        assert trusted == {
            *("guyharris", "hadrielk", "packetfoo", "mcr", "alagoutte", "geraldcombs"),
        }
        assert all(t.trust != "T1" for d in real for t in d.turns)

    def test_what_fixed_it_is_known(self, real: list[Document]) -> None:
        commits = [d.links for d in real if any("/commit/" in link for link in d.links)]
        assert len(commits) > 30  # of 50 that were merged, some by a rebase that has no commit
        assert any("/pull/" in link for d in real if d.kind == "issue" for link in d.links)

    def test_it_is_a_corpus(self, shared_data: Path, tmp_path: Path) -> None:
        source = ArchiveSource(path=str(shared_data / "issues" / "pcapng-archive.json"))
        first = gather.collect([source], tmp_path, tmp_path / "keep")
        again = gather.collect([source], tmp_path, tmp_path / "keep")
        assert first.documents == 103
        assert first.content == again.content


def thread(**more: Any) -> dict[str, Any]:
    return {
        "number": 1,
        "title": "t",
        "author": "ann",
        "authorAssociation": "NONE",
        "body": "b",
        "createdAt": "2024-01-01T00:00:00Z",
        "comments": [],
        **more,
    }


class TestThreads:
    def archived(self, tmp_path: Path, *issues: Any) -> tuple[list[Document], list[Dropped]]:
        file = tmp_path / "archive.json"
        file.write_text(json.dumps({"repo": "o/r", "issues": issues, "pulls": []}))
        return read(file)

    def test_tiers_follow_the_association_and_no_bot_has_one(self, tmp_path: Path) -> None:
        said = [("OWNER", "a"), ("MEMBER", "b"), ("COLLABORATOR", "c"), ("CONTRIBUTOR", "d")]
        said += [("NONE", "e"), ("MEMBER", "renovate[bot]"), ("MEMBER", "stale")]
        comments = [
            {"author": who, "authorAssociation": what, "body": "x", "createdAt": f"2024-01-0{n}"}
            for n, (what, who) in enumerate(said, 2)
        ]
        documents, _ = self.archived(tmp_path, thread(comments=comments))
        found = {t.author: t.trust for t in documents[0].turns}
        assert [name for name, trust in found.items() if trust == "T2"] == ["a", "b", "c"]
        assert [t.author for t in documents[0].turns if t.bot] == ["renovate[bot]", "stale"]

    def test_a_bad_thread_has_its_reason(self, tmp_path: Path) -> None:
        documents, dropped = self.archived(
            tmp_path, thread(), {"number": "x"}, None, thread(number=3, comments=[{"body": 5}])
        )
        assert [d.id for d in documents] == ["github:o/r#1"]
        assert len(dropped) == 3
        assert dropped[0].reason.startswith("number:")
        assert "comments.0.body" in dropped[2].reason

    def test_people_who_are_gone_and_empty_bodies(self, tmp_path: Path) -> None:
        documents, dropped = self.archived(tmp_path, thread(author=None, body=None))
        assert (documents[0].author, documents[0].text, dropped) == ("", "", [])


class TestConversations:
    @pytest.mark.parametrize("layout", ["lines", "list", "pretty", "one"])
    def test_every_form_is_found_by_its_content(self, tmp_path: Path, layout: str) -> None:
        rows = [SHAREGPT, MESSAGES, ALPACA]
        file = tmp_path / "x.json"
        if layout == "lines":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif layout == "list":
            file.write_text(json.dumps(rows))
        elif layout == "pretty":
            file.write_text("\ufeff" + json.dumps(rows, indent=2))
        else:
            file.write_text(json.dumps(SHAREGPT, indent=2))
            rows = rows[:1]
        documents, dropped = read(file)
        said = [[(t.author, t.text) for t in d.turns] for d in documents]
        assert (
            said
            == [
                [("user", "q1"), ("assistant", "a1")],
                [("user", "q2"), ("assistant", "a2")],
                [("user", "q3\n\nwith this"), ("assistant", "a3")],
            ][: len(rows)]
        )
        assert dropped == []
        if layout == "lines":
            assert [d.span.first for d in documents] == [1, 2, 3]

    def test_lines_of_a_pretty_list_are_real(self, tmp_path: Path) -> None:
        file = tmp_path / "x.json"
        text = json.dumps([SHAREGPT, ALPACA], indent=2)
        file.write_text(text)
        documents, _ = read(file)
        line = text[: text.index('"instruction"')].count("\n")  # the brace is the line before
        assert documents[1].span.first == line

    def test_the_sections_trust_holds_for_who_answered(self, tmp_path: Path) -> None:
        file = tmp_path / "x.jsonl"
        file.write_text(json.dumps(SHAREGPT))
        assert [t.trust for t in read(file)[0][0].turns] == ["T3", "T3"]
        assert [t.trust for t in read(file, trust="T2")[0][0].turns] == ["T3", "T2"]

    def test_a_form_that_was_asked_for_is_the_only_one(self, tmp_path: Path) -> None:
        file = tmp_path / "x.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in (SHAREGPT, ALPACA)))
        documents, dropped = read(file, format="alpaca")
        assert [d.title for d in documents] == ["q3"]
        assert [d.what for d in dropped] == ["x.jsonl:1"]

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (b'{"conversations": [{"from"', "no JSON"),
            (b"\xff\xfe\x00", "not UTF-8"),
            (b"17", "a JSON int"),
            (b'{"x": 1}', "keys x"),
            (b"[" * 200_000, "no JSON"),
            (b'{"instruction": "q", "output": ""}', "output is empty"),
            (b'{"n": ' + b"9" * 5000 + b"}", "no JSON"),
        ],
    )
    def test_a_bad_row_loses_no_other(self, tmp_path: Path, bad: bytes, reason: str) -> None:
        file = tmp_path / "x.jsonl"
        good = json.dumps(SHAREGPT).encode()
        file.write_bytes(b"\n".join([good, bad, json.dumps(ALPACA).encode()]))
        documents, dropped = read(file)
        assert [d.title for d in documents] == ["q1", "q3"]
        assert [(d.what, d.span and d.span.first) for d in dropped] == [("x.jsonl:2", 2)]
        assert reason in dropped[0].reason

    def test_a_list_that_was_cut_off_keeps_what_is_whole(self, tmp_path: Path) -> None:
        file = tmp_path / "x.json"
        file.write_text(json.dumps([SHAREGPT, ALPACA, MESSAGES])[:-30])
        documents, dropped = read(file)
        assert [d.title for d in documents] == ["q1", "q3"]
        assert "not read" in dropped[0].reason

    def test_half_a_surrogate_pair_can_be_written(self, tmp_path: Path) -> None:
        file = tmp_path / "x.jsonl"
        file.write_text('{"instruction": "a\\ud800b", "output": "c\\u0000d"}\n')
        documents, _ = read(file)
        assert documents[0].model_dump_json()
        assert documents[0].turns[1].text == "cd"

    def test_a_folder_is_read_by_name(self, tmp_path: Path) -> None:
        folder = tmp_path / "all"
        (folder / "deep").mkdir(parents=True)
        (folder / "b.jsonl").write_text(json.dumps(ALPACA))
        (folder / "deep" / "c.ndjson").write_text(json.dumps(MESSAGES))
        (folder / "a.json").write_text(json.dumps([SHAREGPT]))
        (folder / "notes.txt").write_text("not this")
        documents, _ = read(folder)
        assert [d.span.file for d in documents] == [
            "all/a.json",
            "all/b.jsonl",
            "all/deep/c.ndjson",
        ]

    def test_nothing_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no such file"):
            read(tmp_path / "x.json")
        (tmp_path / "d").mkdir()
        with pytest.raises(SourceError, match=r"no \.json"):
            read(tmp_path / "d")
        (tmp_path / "e.json").write_text('{"a": 1}')
        with pytest.raises(DataError, match=r"e\.json:1: keys a"):
            read(tmp_path / "e.json")


@pytest.mark.parametrize("listed", [False, True])
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setattr(archive_rows, "PIECE", 1 << 14)
    file = tmp_path / "x.json"
    peaks = []
    for count in (1_000, 8_000):
        row = json.dumps({"instruction": "q " * 50, "output": "a " * 150})
        file.write_text(f"[{','.join([row] * count)}]" if listed else f"{row}\n" * count)
        tracemalloc.start()
        kept = sum(1 for r in archive_rows.rows(file) if r.value)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert kept == count
    assert file.stat().st_size > 3_000_000
    assert peaks[1] < 2 * peaks[0] < 1_000_000
