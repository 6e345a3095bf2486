"""Issues and pull requests: what is read, how often it is asked for, what a change changes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.github import Call, Fake
from fakes.repository import Repository, from_archive, reactions
from sources.issues_world import NAME, collect, github, quick, repository, states, token

from opslore import progress
from opslore.cards import Document
from opslore.errors import ConfigError, IntegrityError, SourceError
from opslore.sources import github_run

__all__ = ["quick", "token"]


def by_id(rows: list[Document]) -> dict[str, Document]:
    return {row.id: row for row in rows}


def test_everything_that_was_said_is_there_in_the_order_of_time(tmp_path: Path, token: str) -> None:
    made = repository()
    with github(made) as fake:
        rows = collect(fake, tmp_path)
    assert [row.id for row in rows] == [f"github:{NAME}#{n}" for n in range(1, 131)]
    turns = [turn for row in rows for turn in row.turns]
    said = {
        kind: sum(turn.kind == kind for turn in turns) for kind in ("comment", "body", "review")
    }
    assert said == {
        "comment": len(made.comments.items),
        "body": 130,
        "review": sum(map(len, made.reviews.values())),
    }
    assert sum(turn.kind == "review_comment" for turn in turns) == len(made.review_comments.items)
    for row in rows:
        assert row.turns[0].kind == "body"
        assert [turn.created for turn in row.turns] == sorted(turn.created for turn in row.turns)
    pull = by_id(rows)[f"github:{NAME}#3"]
    assert [(turn.kind, turn.text, turn.trust) for turn in pull.turns] == [
        ("body", "Body 3 ✓", "T3"),
        ("comment", "Comment 0 on 3", "T2"),
        ("comment", "Comment 1 on 3", "T2"),
        ("comment", "Comment 2 on 3", "T2"),
        ("review_comment", "Line note on 3", "T3"),
        ("review_comment", "Second note on 3", "T3"),
        ("review", "Review of 3", "T2"),
    ]
    assert (pull.kind, pull.state, pull.product) == ("pull", "open", "proxy")
    assert pull.span.file == pull.url == f"https://github.com/{NAME}/pull/3"


def test_nothing_new_is_one_request_a_listing_and_no_write(tmp_path: Path, token: str) -> None:
    other = repository(5, "mesh/other")
    with github(repository(), other) as fake:
        rows = collect(fake, tmp_path)
        before, asked = states(tmp_path), fake.count()
        assert collect(fake, tmp_path) == rows
        again = fake.calls[asked:]
    assert states(tmp_path) == before
    assert [call.status for call in again] == [304] * 6
    listings = sorted((call.endpoint, call.url.split("/")[3]) for call in again)
    assert len(set(listings)) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="strace")
def test_nothing_new_is_no_write_as_the_kernel_sees_it(tmp_path: Path, token: str) -> None:
    script = (
        "import sys; from pathlib import Path; from opslore.config_sources import IssuesSource\n"
        "from opslore.sources import Ground, issues\n"
        f"source = IssuesSource(repositories=['{NAME}'], url=sys.argv[1])\n"
        "list(issues.collect(source, Ground(Path(sys.argv[2]), Path(sys.argv[2]))).rows())\n"
    )
    calls = "trace=write,pwrite64,writev,ftruncate,rename,renameat,unlink,mkdir,fsync,fdatasync"
    trace, keep = tmp_path / "trace", tmp_path / "keep"
    with github() as fake:
        words = [sys.executable, "-c", script, fake.url, str(keep)]
        subprocess.run(words, check=True, env=os.environ)
        traced = ["strace", "-f", "-y", "-e", calls, "-o", str(trace), *words]
        subprocess.run(traced, check=True, env=os.environ, capture_output=True)
    # Sockets and pipes are written to; of the folder only its existence is asked, by a mkdir.
    touched = [line for line in trace.read_text().splitlines() if str(keep) in line]
    assert [line for line in touched if "EEXIST" not in line] == []


def test_few_requests_are_enough(tmp_path: Path, token: str) -> None:
    with github() as fake:
        collect(fake, tmp_path)
        asked = {name: fake.count(name) for name in ("issues", "comments", "review_comments")}
        total = fake.count()
        assert all(call.status == 200 for call in fake.calls)
    assert asked == {"issues": 2, "comments": 2, "review_comments": 1}
    assert total == 6  # and one GraphQL query for the reviews of 43 pull requests


def test_what_changed_comes_with_the_next_run(tmp_path: Path, token: str) -> None:
    made = repository()
    with github(made) as fake:
        rows = by_id(collect(fake, tmp_path))
        made.edit(5, title="Another title", labels=[{"name": "bug"}])
        made.edit_comment(next(iter(made.comments.items)), "said better")
        new = made.thread("New", "body", "ann")
        made.comment(new, "first!", "bob")
        made.review(9, "one more review", "lee")
        asked = fake.count()
        after = by_id(collect(fake, tmp_path))
        spent = fake.count() - asked
    assert spent <= 5
    assert after[f"github:{NAME}#5"].title == "Another title"
    assert after[f"github:{NAME}#5"].tags == ["bug"]
    (edited,) = [t for row in after.values() for t in row.turns if "edited" in t.marks]
    assert edited.text == "said better"
    assert after[f"github:{NAME}#{new}"].turns[1].text == "first!"
    assert after[f"github:{NAME}#9"].turns[-1].text == "one more review"
    untouched = [key for key in rows if rows[key] == after[key]]
    assert len(untouched) == len(rows) - 3


def test_every_edit_during_a_first_reading_is_seen(tmp_path: Path, token: str) -> None:
    """Each page that is read makes an early item late: all pages behind it move up by one."""
    made = repository(450)
    order = list(range(1, 450, 7))

    def edit(call: Call) -> None:
        if call.endpoint == "issues" and order:
            made.edit(order.pop(0), body="edited meanwhile")

    with github(made) as fake:
        fake.between = edit
        collect(fake, tmp_path)
        fake.between = lambda call: None
        order.clear()
        rows = collect(fake, tmp_path)
        with github(made) as other:
            assert rows == collect(other, tmp_path / "fresh")


@pytest.mark.parametrize("cursor", [False, True])
def test_the_items_of_one_second_are_all_read(tmp_path: Path, token: str, cursor: bool) -> None:
    """A label put on 350 issues at once: more than three pages of the same moment."""
    made = repository(400)
    moment = made.now()
    for number in range(20, 370):
        made.edit(number, labels=[{"name": "v2"}], updated_at=moment)
    with github(made, cursor=cursor) as fake:
        rows = collect(fake, tmp_path)
        assert [row.id for row in rows if row.tags] == [
            f"github:{NAME}#{n}" for n in range(20, 370)
        ]
        assert len(rows) == 400
        asked = fake.count()
        collect(fake, tmp_path)
        assert fake.count() - asked == 3


def test_what_was_deleted_is_gone(tmp_path: Path, token: str) -> None:
    made = repository()
    with github(made) as fake:
        rows = by_id(collect(fake, tmp_path))
        # The newest ones: seen at once, on the last page of their listing.
        comment, last = list(made.comments.items)[-3], max(made.issues.items)
        made.delete_comment(comment)
        made.delete(last)
        asked = fake.count()
        after = by_id(collect(fake, tmp_path))
        assert fake.count() - asked <= 4
        assert f"github:{NAME}#{last}" in rows
        assert f"github:{NAME}#{last}" not in after
        assert (
            sum(len(row.turns) for row in after.values())
            == sum(len(row.turns) for key, row in rows.items() if key in after) - 1
        )


def test_an_old_comment_that_was_deleted_is_missed_when_its_thread_is_counted(
    tmp_path: Path, token: str
) -> None:
    made = repository(400)
    with github(made) as fake:
        collect(fake, tmp_path)
        oldest = next(iter(made.comments.items))
        number = int(made.comments.items[oldest]["issue_url"].rpartition("/")[2])
        made.delete_comment(oldest)
        made.edit(number)  # somebody touches the thread: its new count is listed
        asked = fake.count("thread_comments")
        rows = collect(fake, tmp_path)
        assert fake.count("thread_comments") - asked == 1
        assert [turn.text for turn in by_id(rows)[f"github:{NAME}#{number}"].turns] == [
            f"Body {number} ✓"
        ]
        # GitHub may count what it does not list: looked at once, it is not looked at again.
        made.edit(number, comments=7)
        collect(fake, tmp_path)
        asked = fake.count()
        collect(fake, tmp_path)
        assert fake.count() - asked == 3


def test_an_old_issue_that_was_deleted_is_gone_after_the_sweep(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = repository(400)
    with github(made) as fake:
        collect(fake, tmp_path)
        made.delete(2)
        made.review_comments.remove(next(iter(made.review_comments.items)))
        assert f"github:{NAME}#2" in by_id(collect(fake, tmp_path))
        real = github_run.time.time()
        monkeypatch.setattr(github_run.time, "time", lambda: real + 31 * 86400)
        rows = collect(fake, tmp_path)
        assert f"github:{NAME}#2" not in by_id(rows)
        with github(made) as other:
            assert rows == collect(other, tmp_path / "fresh")
        asked = fake.count()
        collect(fake, tmp_path)
        assert fake.count() - asked == 3


def test_without_network_what_is_kept_is_read(tmp_path: Path, token: str) -> None:
    with github() as fake:
        assert collect(fake, tmp_path, offline=True) == []
        assert not (tmp_path / "kept").exists()
        rows = collect(fake, tmp_path)
        asked = fake.count()
        assert collect(fake, tmp_path, offline=True) == rows
        assert fake.count() == asked


def test_a_day_and_no_pull_requests(tmp_path: Path, token: str) -> None:
    made = Repository(NAME)
    made.thread("old", "", created_at="2023-01-01T00:00:00Z")
    made.thread("new", "text", pull=False)
    made.thread("pull", "text", pull=True)
    with github(made) as fake:
        assert [row.title for row in collect(fake, tmp_path, since="2023-06-01")] == ["new", "pull"]
        assert [row.title for row in collect(fake, tmp_path, since="2023-06-01", pulls=False)] == [
            "new"
        ]
        assert [row.title for row in collect(fake, tmp_path)] == ["old", "new", "pull"]
        with pytest.raises(ConfigError, match="since: '2023' is no day"):
            collect(fake, tmp_path, since="2023")


def test_a_thread_keeps_the_comments_from_before_the_day(tmp_path: Path, token: str) -> None:
    made = Repository(NAME)
    number = made.thread("long", "", created_at="2023-01-01T00:00:00Z")
    made.comment(number, "early", created_at="2023-01-02T00:00:00Z")
    made.comment(number, "late")
    with github(made) as fake:
        (row,) = collect(fake, tmp_path, since="2023-12-01")
    assert [turn.text for turn in row.turns] == ["", "early", "late"]


def test_who_wrote_it_and_what_it_did(tmp_path: Path, token: str) -> None:
    made = Repository(NAME)
    number = made.thread("It fails", "help", "ann", reactions=reactions(heart=2))
    made.comment(
        number, "Set the flag.", "mia", author_association="OWNER", reactions=reactions(**{"+1": 3})
    )
    made.comment(number, "stale", "stale", kind="Bot", author_association="MEMBER")
    made.comment(number, "No, that did not work, it still fails.", "ann")
    made.comment(number, "Then upgrade, it is fixed in #3.", "mia", author_association="MEMBER")
    made.comment(number, "> Then upgrade\n\nThanks, that worked!", "ann")
    made.comment(number, "Closing.", "mia", author_association="MEMBER")
    at = made.now(20)
    made.edit(
        number, state="closed", state_reason="completed", closed_at=at, closed_by={"login": "mia"}
    )
    made.comment(number, "me too", "zoe", created_at=made.now(5))
    made.thread("gone", "", "", state="closed", state_reason="not_planned")
    fix = made.thread(
        "Fix it", f"Fixes #{number} and closes #2.", "mia", pull=True, merged_at=at, state="closed"
    )
    assert fix == 3
    with github(made) as fake:
        issue, gone, pull = collect(fake, tmp_path)
    assert [(t.author, t.trust, t.bot, t.marks) for t in issue.turns] == [
        ("ann", "T3", False, []),
        ("mia", "T2", False, []),
        ("stale", "T3", True, []),
        ("ann", "T3", False, []),
        ("mia", "T2", False, ["accepted"]),
        ("ann", "T3", False, []),
        ("mia", "T2", False, ["closing"]),
        ("zoe", "T3", False, []),
    ]
    assert (issue.turns[0].reactions, issue.turns[1].reactions) == ({"heart": 2}, {"+1": 3})
    assert (issue.state, gone.state, pull.state) == ("completed", "not_planned", "merged")
    assert issue.links == gone.links == [f"https://github.com/{NAME}/pull/3"]
    assert pull.links == [f"https://github.com/{NAME}/commit/{3:040x}"]
    assert (gone.author, gone.trust) == ("", "T3")


def test_real_threads_of_an_archive(tmp_path: Path, token: str, shared_data: Path) -> None:
    found = json.loads((shared_data / "issues" / "pcapng-archive.json").read_text())
    made = from_archive(found)
    with github(made) as fake:
        rows = by_id(collect(fake, tmp_path))
    threads = [*found["issues"], *found["pulls"]]
    assert len(rows) == len(threads) == 103
    for thread in threads:
        row = rows[f"github:{made.name}#{thread['number']}"]
        assert row.text == thread["body"].replace("\r\n", "\n")
        said = [turn.text for turn in row.turns if turn.kind == "comment"]
        assert sorted(said) == sorted(c["body"].replace("\r\n", "\n") for c in thread["comments"])
        notes = [c["body"] for review in thread.get("reviews", []) for c in review["comments"]]
        assert len(notes) == sum(turn.kind == "review_comment" for turn in row.turns)


def test_without_a_token_reviews_are_asked_for_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    made = repository(30)
    made.review_comments.items.clear()
    made.review_comments.order.clear()
    made.review_comment(3, "a note")
    with github(made) as fake:
        fake.token = ""
        rows = by_id(collect(fake, tmp_path))
        assert (fake.count("graphql"), fake.count("reviews")) == (0, 1)
        assert {call.authorization for call in fake.calls} == {""}
    assert [turn.kind for turn in rows[f"github:{NAME}#3"].turns][-2:] == [
        "review",
        "review_comment",
    ]


def test_a_server_without_graphql_and_a_pull_request_with_many_reviews(
    tmp_path: Path, token: str
) -> None:
    made = repository(30)
    for n in range(130):
        made.review(3, f"again {n}", "lee")
    with github(made) as fake:
        rows = collect(fake, tmp_path)
        assert fake.count("reviews") == 2
        fake.graphql = False
        assert collect(fake, tmp_path / "other")
        assert [r.turns for r in collect(fake, tmp_path / "other")] == [r.turns for r in rows]


def test_progress_tells_pages_and_how_many_there_are(tmp_path: Path, token: str) -> None:
    told: list[tuple[str, int, int, str]] = []
    with github(repository(450)) as fake, progress.listening(lambda *said: told.append(said)):
        collect(fake, tmp_path)
    assert {what for what, _, _, _ in told} == {"collect"}
    counts = [done for _, done, _, _ in told]
    assert counts == sorted(counts)
    assert told[-1][1:3] == (fake.count(), fake.count())
    assert any(total > done for _, done, total, _ in told)


def test_the_token_is_in_no_log_and_no_error(
    tmp_path: Path, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with github() as fake:
        collect(fake, tmp_path)
        fake.token = "another"
        with pytest.raises(SourceError) as caught:
            collect(fake, tmp_path)
    assert "401: Bad credentials" in caught.value.message
    assert "GITHUB_TOKEN" in caught.value.hint
    assert token not in caplog.text + str(caught.value) + caught.value.hint
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert token.encode() not in kept


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://api.github.com", "is not the https address"),
        ("api.github.com", "is not the https address"),
        ("https://ann:pw@api.github.com", "has more than a host and a path"),
        ("https://api.github.com?x=1", "has more than a host and a path"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collect(Fake(repository(1)), tmp_path) if not url else _at(url, tmp_path)


def _at(url: str, keep: Path) -> None:
    fake = Fake(repository(1))
    fake.url = url
    collect(fake, keep)


def test_a_missing_and_a_moved_repository(tmp_path: Path, token: str) -> None:
    with github() as fake:
        with pytest.raises(SourceError, match=r"/repos/no/where/.*there is no such repo") as caught:
            collect(fake, tmp_path, "no/where")
        assert (caught.value.exit_code, caught.value.retryable) == (66, False)
        fake.moved[NAME] = "mesh/new"
        with pytest.raises(SourceError, match="was renamed or given to somebody else") as caught:
            collect(fake, tmp_path, NAME)
        assert not caught.value.retryable
        with pytest.raises(ConfigError, match="is no repository"):
            collect(fake, tmp_path, "mesh/..")


def test_a_damaged_record_is_named_and_a_damaged_file_too(tmp_path: Path, token: str) -> None:
    with github() as fake:
        collect(fake, tmp_path)
        (path,) = (tmp_path / "kept").glob("*.sqlite")
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"Comment 0 on 61", b"Comment 9 on 61"))
        with pytest.raises(IntegrityError, match="a record of thread 61 is damaged") as caught:
            collect(fake, tmp_path)
        assert f"delete {path}" in caught.value.hint
        path.write_bytes(b"SQLite format 3\0" + bytes(5000))
        with pytest.raises(IntegrityError):
            collect(fake, tmp_path)
        path.unlink()
        assert len(collect(fake, tmp_path)) == 130
