"""A folder of documentation: the real one of Linkerd, and what a folder may have in it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from opslore.cards import Document, Dropped
from opslore.config_sources import DocsSource, RunbookSource
from opslore.errors import DataError, SourceError
from opslore.sources import Ground, docs, gather
from opslore.sources.markdown import parse


def read(tmp_path: Path, path: str, **more: object) -> list[Document | Dropped]:
    source = DocsSource.model_validate({"path": path, **more})
    return list(docs.collect(source, Ground(tmp_path, tmp_path / "keep")))


def documents(rows: list[Document | Dropped]) -> list[Document]:
    return [row for row in rows if isinstance(row, Document)]


def test_the_real_docs(shared_data: Path, tmp_path: Path) -> None:
    rows = read(tmp_path, str(shared_data / "docs"), product="Linkerd")
    pages = {page.span.file: page for page in documents(rows)}
    reasons = Counter(row.reason for row in rows if isinstance(row, Dropped))
    reasons.pop("invisible characters, taken out")
    assert len(pages) == 19
    assert reasons == {
        "hidden folder": 3,
        "not a documentation file (.md, .markdown, .mdx, .rst)": 2,
        "a list of names or links": 2,
        "a code of conduct": 1,
    }
    changes = pages["docs/linkerd2/CHANGES.md"]
    assert changes.labels == {"road": "folder", "nature": "changelog"}
    assert {page.product for page in pages.values()} == {"Linkerd"}
    assert not (tmp_path / "keep").exists()


def test_no_heading_and_no_fence_of_the_real_docs_is_lost_or_made(
    shared_data: Path, tmp_path: Path
) -> None:
    """Compared with the file itself, as a CommonMark parser reads it."""
    counted = 0
    for page in documents(read(tmp_path, str(shared_data / "docs"))):
        text = (shared_data / page.span.file).read_text().replace("\xa0", " ")
        before, after = parse(text), parse(page.text)
        assert [(block.level, block.raw) for block in after.blocks if block.kind == "heading"] == [
            (block.level, block.raw) for block in before.blocks if block.kind == "heading"
        ], page.span.file
        codes = [block.raw for block in before.blocks if block.kind == "code"]
        assert [block.raw for block in after.blocks if block.kind == "code"] == codes
        counted += len(codes)
        lines = text.split("\n")
        assert lines[page.span.first - 1].strip()
        assert lines[page.span.last - 1].strip()
        assert not any(line.strip() for line in lines[page.span.last :])
    assert counted == 68


def test_two_sources_make_one_corpus_twice_the_same(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "RUNBOOK.md").write_text("# B\n\n### Alert: A\n**Fix:** `df -h`\n")
    sources = [
        RunbookSource(path="RUNBOOK.md"),
        DocsSource(path=str(shared_data / "docs"), exclude=["CHANGES.md"]),
    ]
    one = gather.collect(sources, tmp_path, tmp_path / "sources")
    two = gather.collect(sources, tmp_path, tmp_path / "sources")
    assert one.content == two.content
    assert one.documents == 19
    assert one.tables[1].kinds == {"page": 18}
    assert one.tables[1].dropped["in collect.exclude: CHANGES.md"] == 1


def test_a_folder(tmp_path: Path) -> None:
    book = tmp_path / "handbook"
    (book / "tasks").mkdir(parents=True)
    (book / "tasks" / "scale.mdx").write_text(
        "---\ntitle: Scale\n---\n\nimport X from 'x'\n\nUp.\n"
    )
    (book / "api.rst").write_text("API\n===\n\nCalls.\n")
    (book / "notes.txt").write_text("no")
    (tmp_path / "secret.md").write_text("# Secret\n")
    (book / "leak.md").write_text("--8<-- 'link.md'\n\nText of the page.\n")
    os.symlink(tmp_path / "secret.md", book / "link.md")
    rows = read(tmp_path, "./handbook", trust="T1", version="3")
    pages = documents(rows)
    assert [(page.id, page.title, page.section, page.text) for page in pages] == [
        ("docs:handbook/api.rst", "API", "", "# API\n\nCalls.\n"),
        ("docs:handbook/leak.md", "Leak", "", "Text of the page.\n"),
        ("docs:handbook/tasks/scale.mdx", "Scale", "tasks", "Up.\n"),
    ]
    assert {(page.trust, page.product, page.version, page.author) for page in pages} == {
        ("T1", "Handbook", "3", "")
    }
    assert (pages[2].span.file, pages[2].span.first, pages[2].span.last) == (
        "handbook/tasks/scale.mdx", 5, 7,
    )  # fmt: skip
    assert {row.what: row.reason for row in rows if isinstance(row, Dropped)} == {
        "handbook/notes.txt": "not a documentation file (.md, .markdown, .mdx, .rst)",
        "handbook/link.md": "a link that leaves the folder",
        "leak.md: include 'link.md'": "include: no such file",
    }
    assert [page.title for page in documents(read(tmp_path, "handbook/api.rst"))] == ["API"]
    only = read(tmp_path, "handbook", include=["tasks/**"])
    assert [page.title for page in documents(only)] == ["Scale"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder") as caught:
        read(tmp_path, "nowhere")
    assert "was looked up in" in caught.value.hint
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "LICENSE.md").write_text("Apache\n")
    with pytest.raises(DataError, match="no page in it"):
        read(tmp_path, "empty", exclude=["*.md"])
