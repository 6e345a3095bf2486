"""A website by its sitemap, through every fault a server can have."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from pages_world import METADATA, WORDS, Site, quick, site, snapshot

from opslore import progress
from opslore.cards import Document, Dropped
from opslore.config_sources import DocsSource
from opslore.errors import DataError, SourceError
from opslore.sources import Ground, Stream, docs, pages_robots, pages_site

__all__ = ["quick", "site"]

CODE = """<div class="highlight"><button>Copy</button><pre tabindex="0"><code class="language-bash">
<span class="ln"># a comment, not a heading</span>
<span>linkerd install --set a=1 \\
</span><span>  | kubectl apply -f -</span>

<span>linkerd check</span></code></pre></div>"""


@pytest.fixture
def where(site: Site, tmp_path: Path) -> Ground:
    return Ground(tmp_path, tmp_path / "keep" / "docs-1", allow=site.allow)


def read(site: Site, where: Ground, path: str = "/docs/", **more: list[str]) -> Stream:
    return docs.collect(DocsSource.model_validate({"path": site.url(path), **more}), where)


def documents(found: Stream) -> list[Document]:
    return [row for row in found if isinstance(row, Document)]


def reasons(found: Stream) -> dict[str, str]:
    return {row.what: row.reason for row in found if isinstance(row, Dropped)}


def three(site: Site) -> None:
    site.page("/docs/", "Start", "<ul><li>one <a href='b'>page</a></li></ul>")
    site.page("/docs/2.14/install", "Install", f"<h2>Steps</h2>{CODE}<p># no heading</p>")
    site.page("/docs/check", "Check")
    site.sitemap("/docs/", "/docs/2.14/install", "/docs/check")


def test_every_page_and_nothing_again(site: Site, where: Ground) -> None:
    three(site)
    found = read(site, where)
    pages = documents(found)
    assert [page.id for page in pages] == [
        "docs:127.0.0.1/docs",
        "docs:127.0.0.1/docs/2.14/install",
        "docs:127.0.0.1/docs/check",
    ]
    install = pages[1]
    assert (install.title, install.version, install.trust) == ("Install", "2.14", "T2")
    assert install.labels == {"road": "sitemap"}
    assert install.url == site.url("/docs/2.14/install")
    assert install.text == (
        f"# Install\n\n{WORDS}\n\n## Steps\n\n```bash\n# a comment, not a heading\n"
        "linkerd install --set a=1 \\\n  | kubectl apply -f -\n\nlinkerd check\n```\n\n"
        "\\# no heading\n"
    )
    assert "Copyright" not in install.text

    before = snapshot(where.keep.parent)
    site.seen.clear()
    assert documents(read(site, where)) == pages
    assert snapshot(where.keep.parent) == before
    assert [status for path, status in site.seen if path.startswith("/docs")] == [304] * 3
    assert len(site.seen) == 5  # robots.txt and the sitemap, too

    site.seen.clear()
    offline = Ground(where.root, where.keep, offline=True)
    assert documents(read(site, offline)) == pages
    assert site.seen == []


def test_it_says_how_far_it_is(site: Site, where: Ground) -> None:
    three(site)
    heard: list[tuple[str, int, int, str]] = []
    with progress.listening(lambda *row: heard.append(row)):
        read(site, where)
    assert heard == [("collect", done, 3, "pages") for done in (1, 2, 3)]


def test_changed_and_gone(site: Site, where: Ground) -> None:
    three(site)
    read(site, where)
    site.page("/docs/check", "Check again")
    site.page("/docs/new", "New")
    del site.pages["/docs/2.14/install"]
    site.sitemap("/docs/", "/docs/2.14/install", "/docs/check", "/docs/new")
    found = read(site, where)
    assert [page.title for page in documents(found)] == ["Start", "Check again", "New"]
    assert reasons(found) == {
        site.url("/docs/2.14/install"): "gone: the server answered 404",
    }
    site.sitemap("/docs/")
    assert [page.title for page in documents(read(site, where))] == ["Start"]
    assert len(list((where.keep / "pages").iterdir())) == 1


def test_what_is_not_read(site: Site, where: Ground) -> None:
    three(site)
    site.page("/docs/LICENSE", "License")
    site.page("/blog/post", "Post")
    site.page("/docs/private/x", "Private")
    site.pages["/docs/file.pdf"] = ("application/pdf", b"%PDF")
    site.pages["/robots.txt"] = ("text/plain", b"User-agent: *\nDisallow: /docs/*/x$\n")
    site.sitemap(
        "/docs/", "/docs/check", "/docs/LICENSE", "/blog/post", "/docs/private/x", "/docs/file.pdf"
    )
    body = site.pages["/sitemap.xml"][1].replace(
        b"</urlset>", b"<url><loc>https://elsewhere.example/x</loc></url></urlset>"
    )
    site.pages["/sitemap.xml"] = ("application/xml", body)
    found = read(site, where, exclude=["check"])
    assert [page.title for page in documents(found)] == ["Start"]
    assert reasons(found) == {
        "https://elsewhere.example/x": "on another site",
        site.url("/docs/check"): "in collect.exclude: check",
        site.url("/docs/LICENSE"): "the text of a licence",
        site.url("/blog/post"): "not below /docs/",
        site.url("/docs/private/x"): "robots.txt asks not to read it",
        site.url("/docs/file.pdf"): "not a page: application/pdf",
    }
    assert "/docs/private/x" not in [path for path, _ in site.seen]


def test_an_index_of_packed_sitemaps(site: Site, where: Ground) -> None:
    three(site)
    kind, body = site.pages.pop("/sitemap.xml")
    site.pages["/maps/docs.xml.gz"] = ("application/gzip", gzip.compress(body))
    rows = "".join(
        f"<sitemap><loc>{url}</loc></sitemap>"
        for url in (site.url("/maps/docs.xml.gz"), "https://elsewhere.example/sitemap.xml")
    )
    site.pages["/index.xml"] = (kind, f"<sitemapindex>{rows}</sitemapindex>".encode())
    site.pages["/robots.txt"] = ("text/plain", f"Sitemap: {site.url('/index.xml')}".encode())
    assert len(documents(read(site, where))) == 3


FAULTS = ["500", "429", "429 date", "slow", "hang", "truncated", "reset", "reset at once", "503"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["/robots.txt", "/sitemap.xml", "/docs/check"])
@pytest.mark.usefixtures("quick")
def test_a_fault_that_passes(site: Site, where: Ground, fault: str, path: str) -> None:
    three(site)
    site.faults = {path: [fault]}
    found = read(site, where)
    assert [page.title for page in documents(found)] == ["Start", "Install", "Check"]
    assert (path, 0) in site.seen


STAY = {
    "500": "the server answered 500",
    "429 long": "the server answered 429",
    "hang": "no whole answer within",
    "slow": "no whole answer within",
    "truncated": "",
    "reset": "",
    "reset at once": "",
    "metadata": f"redirects to {METADATA}: 169.254.169.254 is 169.254.169.254, which is not",
    "login": "a login page",
    "error": "not a page: application/json",
    "403": "the server answered 403",
}


@pytest.mark.parametrize("fault", STAY)
@pytest.mark.usefixtures("quick")
def test_a_fault_that_stays_leaves_what_was_kept(site: Site, where: Ground, fault: str) -> None:
    three(site)
    good = documents(read(site, where))
    before = snapshot(where.keep)
    site.faults = {"/docs/check": [f"{fault}!"]}
    with pytest.raises(SourceError) as caught:
        read(site, where)
    assert "1 of 3 pages could not be read" in caught.value.message
    assert STAY[fault] in caught.value.message
    assert caught.value.retryable == (fault != "metadata")
    assert snapshot(where.keep) == before
    site.faults = {}
    assert documents(read(site, where)) == good


@pytest.mark.parametrize("fault", ["500", "truncated", "reset", "slow"])
@pytest.mark.usefixtures("quick")
def test_a_first_run_that_fails_goes_on_where_it_was(site: Site, where: Ground, fault: str) -> None:
    three(site)
    site.faults = {"/docs/check": [f"{fault}!"]}
    with pytest.raises(SourceError):
        read(site, where)
    kept = sorted(path.name for path in (where.keep / "pages").iterdir())
    assert len(kept) == 2
    assert not (where.keep / "site.json").exists()
    with pytest.raises(SourceError, match="nothing was read of it yet"):
        read(site, Ground(where.root, where.keep, offline=True))
    site.faults = {}
    site.seen.clear()
    assert len(documents(read(site, where))) == 3
    assert sorted(status for path, status in site.seen if path.startswith("/docs")) == [
        200, 304, 304,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><body>Sign in</body></html>", "<html> is no sitemap"),
        (b"<!doctype html><html>", "an HTML page where a sitemap was expected"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><urlset/>', "a document type where a sitemap"),
        (b"<urlset><url><loc>http", "not a whole sitemap"),
        (gzip.compress(b"<urlset></urlset>", mtime=0)[:-9], "it breaks off"),
        (gzip.compress(b" " * (51 << 20)), "more than 50 MiB unpacked"),
    ],
)
def test_a_sitemap_that_is_none(site: Site, where: Ground, body: bytes, said: str) -> None:
    site.pages["/sitemap.xml"] = ("application/xml", body)
    with pytest.raises(SourceError) as caught:
        read(site, where)
    assert said in caught.value.message
    assert not where.keep.exists()


def test_a_site_behind_a_login(site: Site, where: Ground) -> None:
    three(site)
    site.faults = {path: ["login!"] for path in ("/docs/", "/docs/2.14/install", "/docs/check")}
    with pytest.raises(DataError, match="no page in it; 3 x a login page"):
        read(site, where)


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_gone_is_not_asked_for_every_page(site: Site, where: Ground) -> None:
    paths = [f"/docs/{number}" for number in range(60)]
    site.sitemap(*paths)
    site.faults = {path: ["500!"] for path in paths}
    with pytest.raises(SourceError):
        read(site, where)
    asked = {path for path, _ in site.seen if path.startswith("/docs")}
    assert len(asked) <= pages_site.ENOUGH + pages_site.AT_ONCE


def test_four_at_a_time(site: Site, where: Ground) -> None:
    paths = [f"/docs/{number}" for number in range(12)]
    for path in paths:
        site.page(path, f"Page {path}")
    site.sitemap(*paths)
    assert len(documents(read(site, where))) == 12
    assert site.most <= pages_site.AT_ONCE


def test_nobody_listens_and_private_addresses(site: Site, tmp_path: Path) -> None:
    where = Ground(tmp_path, tmp_path / "keep" / "docs-1")
    with pytest.raises(SourceError, match="only https is read"):
        read(site, where)
    with pytest.raises(SourceError, match="not a public address"):
        docs.collect(DocsSource(path="https://10.0.0.1/docs/"), where)
    assert site.seen == []


def test_robots() -> None:
    text = (
        "User-agent: GoogleBot\nDisallow: /\n\nUser-agent: other\nUser-agent: *\nCrawl-delay: 99\n"
        "Disallow: /private # not this\nAllow: /private/open\nDisallow: /*.pdf$\nDisallow:\nx\n"
        "Sitemap: https://example.com/map.xml\n"
    )
    robots = pages_robots.parse(text)
    allowed = {
        path: robots.allows(path)
        for path in ("/", "/private/x", "/private/open/y", "/a/b.pdf", "/a/b.pdf?x", "/p%72ivate")
    }
    assert allowed == {
        "/": True,
        "/private/x": False,
        "/private/open/y": True,
        "/a/b.pdf": False,
        "/a/b.pdf?x": True,
        "/p%72ivate": False,
    }
    assert (robots.delay, robots.sitemaps) == (10.0, ["https://example.com/map.xml"])
    assert not pages_robots.parse("User-agent: opslore\nDisallow: /").allows("/x")
