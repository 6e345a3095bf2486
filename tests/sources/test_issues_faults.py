"""Every fault of the network on every endpoint: nothing lost, nothing doubled, errors that help."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.github import (
    ENDPOINTS,
    Act,
    Call,
    Fake,
    cut,
    in_a_date,
    instead,
    refuse,
    silent,
    trickle,
)
from fakes.repository import Repository
from sources.issues_world import NAME, TOKEN, collect, github, quick, repository, token

from opslore.cards import Document
from opslore.errors import SourceError
from opslore.sources import github_client, github_limits

__all__ = ["quick", "token"]

LOGIN = b"<!DOCTYPE html><html><head><title>Sign in to the network</title></head></html>"
METADATA = "http://169.254.169.254/latest/meta-data"

Made = Callable[[Fake], Act]
PASSING: dict[str, tuple[Made, int]] = {
    # What: the fault, and how often it comes before all is well.
    "refused for a while": (lambda fake: refuse(fake, 0.15), 1),
    "read timeout": (lambda fake: silent(0.8), 1),
    "slow body": (lambda fake: trickle(0.6, 4), 1),
    "429 with seconds": (lambda fake: instead(429, Retry_After="0"), 2),
    "429 with a date": (lambda fake: instead(429, Retry_After=in_a_date(-1)), 2),
    "429 with nothing": (lambda fake: instead(429), 1),
    "403 secondary with seconds": (
        lambda fake: instead(403, {"message": "secondary rate limit"}, Retry_After="0"),
        2,
    ),
    "403 secondary by its words": (
        lambda fake: instead(403, {"message": "You have exceeded a secondary rate limit."}),
        1,
    ),
    "403 primary": (
        lambda fake: instead(
            403,
            {"message": "API rate limit exceeded"},
            x_ratelimit_remaining="0",
            x_ratelimit_reset=str(int(time.time())),
        ),
        1,
    ),
    "500, then ok": (lambda fake: instead(500), 2),
    "502 in HTML, then ok": (lambda fake: instead(502, LOGIN, Content_Type="text/html"), 1),
    "503 with seconds": (lambda fake: instead(503, Retry_After="0"), 1),
    "truncated body": (lambda fake: cut(0.5, said=False), 1),
    "reset at 0 %": (lambda fake: cut(0.0), 2),
    "reset at 50 %": (lambda fake: cut(0.5), 2),
    "reset at 99 %": (lambda fake: cut(0.99), 2),
}
LASTING: dict[str, tuple[Made, str, bool]] = {
    # What: the fault, what the error says, and whether trying again may help.
    "500 for ever": (lambda fake: instead(500), "the server answered 500 (4 times)", True),
    "never in time": (lambda fake: silent(0.8), "no answer in time (ReadTimeout) (4 times)", True),
    "always cut": (lambda fake: cut(0.5, said=False), "the answer ends in the middle", True),
    "always reset": (lambda fake: cut(0.99), "(4 times)", True),
    "HTML login page": (
        lambda fake: instead(200, LOGIN, Content_Type="text/html"),
        "an HTML page (200) and no JSON: 'Sign in to the network'",
        False,
    ),
    "a message with 200": (
        lambda fake: instead(200, {"message": "maintenance"}),
        "not what GitHub answers, though its status is 200: maintenance",
        True,
    ),
    "redirect to the metadata": (
        lambda fake: instead(302, b"", Location=METADATA),
        "redirects to http://169.254.169.254:80, another host; not asked there",
        False,
    ),
    "redirect to itself": (lambda fake: instead(302, b"", Location="?x"), "redirects", False),
    "Retry-After of a day": (
        lambda fake: instead(429, Retry_After="86400"),
        "the next request is welcome at",
        True,
    ),
}


def world() -> Repository:
    """A repository in which every endpoint is asked: also single threads and reviews by REST."""
    made = repository(130)
    for n in range(60):
        made.review(3, f"again {n}", "lee")
    made.edit(4, comments=2)  # a comment that is counted and not listed
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The result without any fault."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_TOKEN", TOKEN)
        with github(world()) as fake:
            rows = collect(fake, tmp_path_factory.mktemp("whole"))
            assert {call.endpoint for call in fake.calls} == set(ENDPOINTS)
    return rows


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_is_not_seen(
    tmp_path: Path, token: str, quick: None, whole: list[Document], endpoint: str, name: str
) -> None:
    make, times = PASSING[name]
    with github(world()) as fake:
        fault = fake.fault(endpoint, make(fake), skip=0, times=times)
        assert collect(fake, tmp_path) == whole
        assert fault.times == 0
        asked = fake.count()
        assert collect(fake, tmp_path) == whole
        assert fake.count() - asked == 3


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_fault_is_named_and_the_next_run_goes_on(
    tmp_path: Path, token: str, quick: None, whole: list[Document], endpoint: str, name: str
) -> None:
    make, message, retryable = LASTING[name]
    page = {
        "issues": f"/repos/{NAME}/issues?",
        "comments": f"/repos/{NAME}/issues/comments?",
        "review_comments": f"/repos/{NAME}/pulls/comments?",
        "graphql": "/graphql",
        "reviews": f"/repos/{NAME}/pulls/3/reviews?",
        "thread_comments": f"/repos/{NAME}/issues/4/comments?",
    }[endpoint]
    with github(world()) as fake:
        # The listings of two pages break on their second one: the first one is kept.
        skip = 1 if endpoint in ("issues", "comments") else 0
        fault = fake.fault(endpoint, make(fake), skip=skip, times=-1)
        with pytest.raises(SourceError) as caught:
            collect(fake, tmp_path)
        assert page in caught.value.message
        assert message in caught.value.message
        assert caught.value.retryable == retryable
        assert caught.value.exit_code == (75 if retryable else 66)
        assert caught.value.hint
        assert TOKEN not in caught.value.message + caught.value.hint
        fault.times = 0
        before = fake.count()
        assert collect(fake, tmp_path) == whole
        first, second = _listed(fake.calls[:before]), _listed(fake.calls[before:])
        assert not set(first) & set(second)


def _listed(calls: list[Call]) -> list[str]:
    """The pages of listings that came whole; the question for news, answered by 304, is none."""
    return [c.url for c in calls if c.whole and c.status == 200 and c.endpoint in ENDPOINTS[:3]]


def test_no_page_that_was_kept_is_fetched_again(
    tmp_path: Path, token: str, quick: None, whole: list[Document]
) -> None:
    """Broken after each number of answers in turn: each run goes on where the last one stopped."""
    with github(world()) as fake:
        for _ in range(8):
            for name in ENDPOINTS:
                fake.fault(name, instead(500), skip=1, times=-1)
            try:
                assert collect(fake, tmp_path) == whole
                break
            except SourceError:
                fake.faults = []
        else:
            pytest.fail("eight runs of a page each were not enough")
        listed = _listed(fake.calls)
    assert len(listed) == len(set(listed))


def test_the_server_is_away_and_comes_back(
    tmp_path: Path, token: str, quick: None, whole: list[Document]
) -> None:
    with github(world()) as fake:
        fake.close()
        with pytest.raises(SourceError, match=r"Connection refused.*\(4 times\)") as caught:
            collect(fake, tmp_path)
        assert caught.value.retryable
        fake.listen()
        assert collect(fake, tmp_path) == whole


def test_a_server_that_lets_nobody_in_is_given_up(tmp_path: Path, token: str, quick: None) -> None:
    """A full queue of connections: the SYN is dropped, and connecting takes too long."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
            waiting.append(one)
        fake = Fake(repository(1))
        fake.url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(SourceError, match="ConnectTimeout") as caught:
            collect(fake, tmp_path)
        for one in waiting:
            one.close()
    assert caught.value.retryable
    assert time.monotonic() - began < 20


def test_what_trickles_for_too_long_is_given_up(
    tmp_path: Path, token: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_client, "SECONDS", 0.3)
    with github() as fake:
        fake.fault("issues", trickle(1.5, 30), times=-1)
        with pytest.raises(SourceError, match="no whole answer within"):
            collect(fake, tmp_path)


def test_the_token_goes_to_no_other_host(tmp_path: Path, token: str, quick: None) -> None:
    """Neither by a redirect nor by a Link; the other server hears nothing at all."""
    with github(world()) as other, github(world()) as fake:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        fake.fault("issues", instead(302, b"", Location=f"{elsewhere}/repos/{NAME}/issues"))
        with pytest.raises(SourceError, match="redirects to http://localhost"):
            collect(fake, tmp_path)
        link = f'<{other.url}/repos/{NAME}/issues?page=2>; rel="next"'
        fake.fault("issues", instead(200, b"[]", Link=link))
        with pytest.raises(SourceError, match="its next page is said to be on"):
            collect(fake, tmp_path)
        assert other.calls == []


def test_an_item_that_is_none_spoils_its_page(
    tmp_path: Path, token: str, quick: None, whole: list[Document]
) -> None:
    broken = [b'[{"number": 1}]', b'[{"number": "x", "updated_at": 7}]', b"[null]", b"[[]]", b"7"]
    with github(world()) as fake:
        for body in broken:
            fake.fault("issues", instead(200, body))
            with pytest.raises(SourceError) as caught:
                collect(fake, tmp_path)
            assert f"/repos/{NAME}/issues?" in caught.value.message
        assert collect(fake, tmp_path) == whole


AHEAD = 3600
ASKED: dict[str, Callable[[], dict[str, str]]] = {
    "seconds": lambda: {"Retry_After": "1"},
    "a date": lambda: {"Retry_After": in_a_date(2.5)},
    "a reset, of a server whose clock is an hour ahead": lambda: {
        "x_ratelimit_remaining": "0",
        "x_ratelimit_reset": str(int(time.time()) + AHEAD + 2),
        "Date": in_a_date(AHEAD),
    },
}


@pytest.mark.parametrize("asked", ASKED)
def test_how_long_is_waited(
    tmp_path: Path,
    token: str,
    whole: list[Document],
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
) -> None:
    """As long as the server asks, by its own clock, and by all listings at once."""
    monkeypatch.setattr(github_limits, "LEAST", 0.01)
    with github(world()) as fake:
        fake.fault("issues", lambda to, answer: instead(403, **ASKED[asked]())(to, answer))
        began = time.monotonic()
        assert collect(fake, tmp_path) == whole
        assert 0.9 <= time.monotonic() - began < 30


def test_waits_are_bounded_all_together(
    tmp_path: Path, token: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_limits, "LONGEST", 0.5)
    with github() as fake:
        fake.fault("comments", instead(429, Retry_After="0"), times=-1)
        began = time.monotonic()
        with pytest.raises(SourceError, match="the next request is welcome at 20") as caught:
            collect(fake, tmp_path)
        assert time.monotonic() - began < 5
        assert caught.value.hint == "run the same command again then: it goes on where it stopped"
        assert (caught.value.retryable, caught.value.exit_code) == (True, 75)


def test_a_query_that_is_too_much_is_halved(
    tmp_path: Path, token: str, quick: None, whole: list[Document]
) -> None:
    with github(world()) as fake:
        fake.fault("graphql", instead(502), times=8)
        assert collect(fake, tmp_path) == whole
        limited = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
        fake.fault("graphql", instead(200, limited))
        assert collect(fake, tmp_path / "limited") == whole


def test_two_runs_at_once_give_the_same(tmp_path: Path, token: str, whole: list[Document]) -> None:
    found: list[list[Document]] = []
    with github(world()) as fake:
        runs = [
            threading.Thread(target=lambda: found.append(collect(fake, tmp_path))) for _ in range(2)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join(60)
        asked = fake.count("issues")
    assert found == [whole, whole]
    assert asked == 3  # two pages, and once the question whether anything is new
