"""Pages that scripts make, opened in the real Chromium that is on this machine."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages_world import METADATA, WORDS, Site, quick, site, snapshot

from opslore.cards import Document
from opslore.config_sources import WikiSource
from opslore.errors import MissingExtra, SourceError
from opslore.sources import Ground, pages_browser, wiki
from opslore.sources.pages_http import Getter

__all__ = ["quick", "site"]


@pytest.fixture
def _chromium() -> None:
    try:
        pages_browser.executable()
    except MissingExtra as error:
        message = f"{error.message}: {error.hint}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


SHELL = b"""<!doctype html><html><head><title>Linkerd wiki</title></head><body><div id="app"></div>
<script src="/app.js"></script></body></html>"""
SCRIPT = """
const name = location.pathname.split("/").pop();
fetch("/data/" + name + ".json").then(answer => answer.json()).then(page => {
  document.title = page.title;
  document.getElementById("app").innerHTML =
    "<nav>" + page.links.map(to => "<a href='/linkerd/linkerd2/" + to + "'>" + to + "</a>").join("")
    + "</nav><main><article><h1>" + page.title + "</h1>" + page.body + "</article></main>";
});
"""


def scripted(site: Site) -> None:
    """A wiki of two pages that are nothing without their script."""
    import json

    site.pages["/app.js"] = ("text/javascript", SCRIPT.encode())
    pages = {
        "linkerd2": ("Linkerd2", f"<p>{WORDS}</p>"),
        "1-check": (
            "Check",
            f"<p>{WORDS}</p><pre><code class='language-bash'># look\nlinkerd check</code></pre>",
        ),
    }
    for name, (title, body) in pages.items():
        path = "/linkerd/linkerd2" + ("" if name == "linkerd2" else f"/{name}")
        site.pages[path] = ("text/html", SHELL)
        data = {"title": title, "body": body, "links": ["1-check"]}
        site.pages[f"/data/{name}.json"] = ("application/json", json.dumps(data).encode())


@pytest.mark.usefixtures("quick", "_chromium")
def test_a_wiki_that_scripts_make(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opslore.sources.web.SECONDS", 10.0)
    scripted(site)
    where = Ground(tmp_path, tmp_path / "keep" / "wiki-1", allow=site.allow)
    given = WikiSource(repository="linkerd/linkerd2", url=site.url("/mcp"), pages=site.url(""))
    pages = [row for row in wiki.collect(given, where) if isinstance(row, Document)]
    assert [(page.title, page.labels["road"]) for page in pages] == [
        ("Linkerd2", "browser"),
        ("Check", "browser"),
    ]
    assert WORDS in pages[1].text
    assert "```bash\n# look\nlinkerd check\n```" in pages[1].text
    before = snapshot(where.keep)
    wiki.collect(given, where)
    assert snapshot(where.keep) == before


class Neighbour:
    """A server on this machine that is not allowed: whoever asks it anything is noted."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                self.send_response(200)
                self.end_headers()

            do_POST = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    found = Neighbour()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.usefixtures("_chromium")
def test_a_page_reaches_nothing_that_is_private(site: Site, neighbour: Neighbour) -> None:
    attack = f"""<script>
      const to = "{neighbour.url}";
      fetch(to + "/fetch", {{mode: "no-cors"}}).catch(() => 0);
      fetch("/away").catch(() => 0);
      navigator.sendBeacon(to + "/beacon", "x");
      new Image().src = to + "/image";
      new WebSocket(to.replace("http", "ws") + "/socket");
      const frame = document.createElement("iframe");
      frame.src = to + "/frame";
      document.body.append(frame);
      setTimeout(() => document.title = "done", 300);
    </script><link rel="preconnect" href="{neighbour.url}"><p>{WORDS}</p>"""
    site.pages["/attack"] = ("text/html", f"<html><body>{attack}</body></html>".encode())
    site.faults["/away"] = ["metadata"]
    with Getter(site.allow) as getter, pages_browser.Browser(getter) as browser:
        assert WORDS in browser.html(site.url("/attack"))
    assert neighbour.seen == []
    assert ("/away", 302) in site.seen


@pytest.mark.usefixtures("quick", "_chromium")
def test_a_page_that_cannot_be_fetched_says_why(site: Site) -> None:
    site.faults = {"/to": ["metadata!"], "/broken": ["500!"]}
    with Getter(site.allow) as getter, pages_browser.Browser(getter) as browser:
        with pytest.raises(SourceError, match="not a public address") as caught:
            browser.html(site.url("/to"))
        assert METADATA in caught.value.message
        with pytest.raises(SourceError, match="the server answered 500"):
            browser.html(site.url("/broken"))


@pytest.mark.usefixtures("quick")
def test_no_browser(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(site)
    where = Ground(tmp_path, tmp_path / "keep" / "wiki-1", allow=site.allow)
    given = WikiSource(repository="linkerd/linkerd2", url=site.url("/mcp"), pages=site.url(""))
    monkeypatch.setenv("OPSLORE_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(MissingExtra, match="OPSLORE_CHROMIUM=/nowhere/chromium") as caught:
        wiki.collect(given, where)
    assert "apt-get install chromium" in caught.value.hint
    monkeypatch.delenv("OPSLORE_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="no Chromium is installed"):
        wiki.collect(given, where)
    assert not where.keep.exists()
