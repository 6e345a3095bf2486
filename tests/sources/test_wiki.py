"""DeepWiki by its MCP endpoint (a real server), by its website, and wikis kept in git."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages_world import (
    CONTENTS,
    METADATA,
    STRUCTURE,
    WORDS,
    DeepWiki,
    Site,
    committed,
    deepwiki,
    quick,
    site,
    snapshot,
)

from opslore.cards import Document, Dropped
from opslore.config_sources import WikiSource
from opslore.errors import ConfigError, DataError, MissingExtra, SourceError
from opslore.sources import Ground, Stream, pages_deepwiki, pages_mcp, wiki

__all__ = ["deepwiki", "quick", "site"]


def ground(tmp_path: Path, *allow: str, offline: bool = False) -> Ground:
    return Ground(tmp_path, tmp_path / "keep" / "wiki-1", offline=offline, allow=set(allow))


def source(deepwiki: DeepWiki, pages: str = "http://127.0.0.1:9", **more: str) -> WikiSource:
    given = {"repository": "linkerd/linkerd2", "url": deepwiki.url, "pages": pages, **more}
    return WikiSource.model_validate(given)


def documents(found: Stream) -> list[Document]:
    return [row for row in found if isinstance(row, Document)]


def test_every_page_by_the_endpoint(deepwiki: DeepWiki, tmp_path: Path) -> None:
    where = ground(tmp_path, *deepwiki.allow)
    found = wiki.collect(source(deepwiki), where)
    pages = documents(found)
    assert [page.id for page in pages] == [
        "wiki:linkerd/linkerd2/overview",
        "wiki:linkerd/linkerd2/proxy-injection",
        "wiki:linkerd/linkerd2/cli",
    ]
    assert {(page.kind, page.trust, page.product, page.labels["road"]) for page in pages} == {
        ("page", "T3", "Linkerd2", "mcp")
    }
    overview, proxy, _ = pages
    assert overview.text == f"# Overview\n\n{WORDS}\n"
    assert "# Page: CLI of an example, which is code\nkubectl annotate" in proxy.text
    assert proxy.url == "http://127.0.0.1:9/linkerd/linkerd2/1.1-proxy-injection"
    assert (proxy.span.file, proxy.span.first) == (proxy.url, 1)
    assert deepwiki.calls == ["structure", "contents"]
    assert list(found) == list(found)

    before = snapshot(tmp_path)
    assert documents(wiki.collect(source(deepwiki), where)) == pages
    assert documents(wiki.collect(source(deepwiki), ground(tmp_path, offline=True))) == pages
    assert snapshot(tmp_path) == before
    assert deepwiki.calls == ["structure", "contents"] * 2

    deepwiki.structure = "- 1 Overview\n- 2 CLI"
    deepwiki.contents = "# Page: Overview\n\nNew.\n\n# Page: CLI\n\nShort.\n"
    changed = documents(wiki.collect(source(deepwiki), where))
    assert [(page.title, page.text) for page in changed] == [
        ("Overview", "New.\n"),
        ("CLI", "Short.\n"),
    ]
    assert len(list((where.keep / "pages").iterdir())) == 2


@pytest.mark.parametrize("name", ["429", "500", "cut"])
@pytest.mark.usefixtures("quick")
def test_a_fault_that_passes(deepwiki: DeepWiki, tmp_path: Path, name: str) -> None:
    deepwiki.faults = [name]
    found = wiki.collect(source(deepwiki), ground(tmp_path, *deepwiki.allow))
    assert [page.labels["road"] for page in documents(found)] == ["mcp"] * 3
    assert deepwiki.calls[0] == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("500", "the server answered 500"),
        ("429", "the server answered 429"),
        ("cut", ""),
        ("hang", ""),
        ("login", "an HTML page, no MCP server"),
        ("metadata", f"redirects to {METADATA}"),
        ("403", "the server answered 403"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_fault_that_stays_keeps_nothing_and_a_rerun_goes_on(
    deepwiki: DeepWiki, tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_mcp, "SECONDS", 1.0)
    monkeypatch.setattr("opslore.sources.pages_retry.PATIENCE", 0.5)
    where = ground(tmp_path, *deepwiki.allow, "127.0.0.1:9")
    deepwiki.faults = [f"{name}!"]
    with pytest.raises(SourceError) as caught:
        wiki.collect(source(deepwiki), where)
    assert f"{deepwiki.url}: {said}" in caught.value.message
    assert "and its website: http://127.0.0.1:9/" in caught.value.message
    assert not (where.keep).exists()
    deepwiki.faults = []
    assert len(documents(wiki.collect(source(deepwiki), where))) == 3


def test_half_an_answer_is_none(deepwiki: DeepWiki, tmp_path: Path) -> None:
    deepwiki.contents = CONTENTS[: CONTENTS.index("# Page: CLI\n\n")]
    with pytest.raises(SourceError, match=r"1 of 3 pages are missing, 'CLI' first") as caught:
        wiki.collect(source(deepwiki), ground(tmp_path, *deepwiki.allow))
    assert caught.value.retryable
    assert not (tmp_path / "keep" / "wiki-1").exists()


@pytest.mark.parametrize(
    ("repository", "contents", "said"),
    [
        ("nobody/nothing", CONTENTS, "no wiki of nobody/nothing: Error processing question"),
        ("linkerd/linkerd2", "raise", "read_wiki_contents: "),
        ("linkerd/linkerd2", "Error fetching wiki", "no wiki of linkerd/linkerd2: Error fetching"),
    ],
)
def test_a_tool_that_says_no(
    deepwiki: DeepWiki, tmp_path: Path, repository: str, contents: str, said: str
) -> None:
    deepwiki.contents = contents
    with pytest.raises(SourceError) as caught:
        wiki.collect(source(deepwiki, repository=repository), ground(tmp_path, *deepwiki.allow))
    assert said in caught.value.message


def test_the_endpoint_must_be_public(deepwiki: DeepWiki, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="only https is read"):
        wiki.collect(source(deepwiki), ground(tmp_path))
    private = source(deepwiki).model_copy(update={"url": "https://10.0.0.1/mcp"})
    with pytest.raises(SourceError, match="not a public address"):
        wiki.collect(private, ground(tmp_path))
    assert deepwiki.calls == []


def wiki_site(site: Site) -> None:
    links = "".join(
        f"<a href='/linkerd/linkerd2/{name}'>{name}</a>" for name in ("1-overview", "2-cli")
    )
    site.page("/linkerd/linkerd2", "Linkerd2", f"<p>{links}</p>")
    site.page("/linkerd/linkerd2/1-overview", "Overview", f"<h2>Parts</h2>{links}")
    site.page("/linkerd/linkerd2/2-cli", "CLI", "<pre><code># a\nlinkerd check</code></pre>")


@pytest.mark.usefixtures("quick")
def test_the_website_when_the_endpoint_does_not_answer(
    deepwiki: DeepWiki, site: Site, tmp_path: Path
) -> None:
    wiki_site(site)
    deepwiki.faults = ["500!"]
    where = ground(tmp_path, *deepwiki.allow, *site.allow)
    rows = list(wiki.collect(source(deepwiki, site.url("")), where))
    pages = [row for row in rows if isinstance(row, Document)]
    assert [page.id.rpartition("/")[2] for page in pages] == ["linkerd2", "overview", "cli"]
    assert {page.labels["road"] for page in pages} == {"html"}
    assert "```\n# a\nlinkerd check\n```" in pages[2].text
    (dropped,) = [row for row in rows if isinstance(row, Dropped)]
    assert dropped.reason == "the MCP endpoint did not answer, the website was read"
    assert dropped.what == f"{deepwiki.url}: the server answered 500"
    before = snapshot(where.keep)
    wiki.collect(source(deepwiki, site.url("")), where)
    assert snapshot(where.keep) == before


@pytest.mark.usefixtures("quick")
def test_a_broken_page_of_the_website_keeps_what_was_there(
    deepwiki: DeepWiki, site: Site, tmp_path: Path
) -> None:
    wiki_site(site)
    where = ground(tmp_path, *deepwiki.allow, *site.allow)
    good = documents(wiki.collect(source(deepwiki, site.url("")), where))
    before = snapshot(where.keep)
    deepwiki.faults = ["500!"]
    for fault in ("500!", "login!", "reset!", "truncated!", "metadata!"):
        site.faults = {"/linkerd/linkerd2/2-cli": [fault]}
        with pytest.raises(SourceError):
            wiki.collect(source(deepwiki, site.url("")), where)
        assert snapshot(where.keep) == before, fault
    assert documents(wiki.collect(source(deepwiki), ground(tmp_path, offline=True))) == good


def test_without_the_package_the_website_is_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: object) -> list[str]:
        raise MissingExtra("the mcp package is not installed", hint="pip install 'opslore[wiki]'")

    monkeypatch.setattr(pages_deepwiki, "ask", missing)
    wiki_site(site)
    given = WikiSource(repository="linkerd/linkerd2", pages=site.url(""))
    rows = list(wiki.collect(given, ground(tmp_path, *site.allow)))
    assert [row.what for row in rows if isinstance(row, Dropped)] == [
        "the mcp package is not installed"
    ]
    assert len(rows) == 4


def test_a_wiki_of_its_own_repository(tmp_path: Path) -> None:
    code = '{{Note|Mind the gap}}\n== Install ==\n<syntaxhighlight lang="bash">\n# get it\n'
    files = {
        "Home.md": f"# Home\n\n{WORDS}\n",
        "Install.mediawiki": code + "curl x | sh\n</syntaxhighlight>\nSee [[Home|the start]].\n",
        "_Sidebar.md": "* [Home](Home)\n",
    }
    commit = committed(tmp_path / "team.wiki", files)
    given = WikiSource(path=f"file://{tmp_path}/team.wiki", product="Team", trust="T1")
    found = wiki.collect(given, ground(tmp_path, "file"))
    home, install = documents(found)
    assert (home.title, home.trust, home.product, home.labels) == (
        "Home", "T1", "Team", {"road": "git"},
    )  # fmt: skip
    assert install.text == (
        "**Note:** Mind the gap\n\n## Install\n\n```bash\n# get it\ncurl x | sh\n```\n\n"
        "See [the start](Home).\n"
    )
    assert (install.span.file, install.span.commit) == ("Install.mediawiki", commit)
    assert [row.reason for row in found if isinstance(row, Dropped)] == ["navigation"]
    by_folder = wiki.collect(WikiSource(path="team.wiki"), ground(tmp_path))
    assert [page.text for page in documents(by_folder)] == [home.text, install.text]


def test_neither_or_both(tmp_path: Path) -> None:
    for given in (WikiSource(), WikiSource(repository="a/b", path="c")):
        with pytest.raises(ConfigError, match="either `repository"):
            wiki.collect(given, ground(tmp_path))
    with pytest.raises(ConfigError, match="not a git address"):
        wiki.collect(WikiSource(path="https://example.com/wiki"), ground(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no page in it"):
        wiki.collect(WikiSource(path="empty"), ground(tmp_path))


def test_titles_and_parts() -> None:
    listed = pages_deepwiki.titles(STRUCTURE)
    assert listed == [("1", "Overview"), ("1.1", "Proxy: injection"), ("2", "CLI")]
    # Code that is never closed does not swallow the pages behind it.
    text = "# Page: A\n```\nopen\n# Page: B\nsecond\n# Page: C\nthird"
    assert pages_deepwiki.parts(text, {"A", "B", "C"}) == [
        ("A", "```\nopen"),
        ("B", "second"),
        ("C", "third"),
    ]


@pytest.mark.usefixtures("quick")
def test_an_endpoint_where_nobody_listens(site: Site, tmp_path: Path) -> None:
    wiki_site(site)
    given = WikiSource(
        repository="linkerd/linkerd2", url="http://127.0.0.1:9/mcp", pages=site.url("")
    )
    rows = list(wiki.collect(given, ground(tmp_path, "127.0.0.1:9", *site.allow)))
    assert rows[0].what.startswith("http://127.0.0.1:9/mcp: ")
    assert {row.labels["road"] for row in rows if isinstance(row, Document)} == {"html"}
