"""What is kept of a repository: its threads, their posts, and how far each listing was read.

Each page is one transaction: its items, what it shows to be gone, and the address of the next page.
So after a kill at any point the file has whole pages only, and the next run asks for the first page
that is not in it. A page that says what is known already writes nothing at all.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from opslore.sources.github_database import Database
from opslore.sources.github_records import Post, Thread

Item = Thread | Post
Renewed = tuple[int, Sequence[Post], Mapping[str, str]]
"""A thread's number, all its posts of a kind, and its `counted`, `reviewed` or `facts`."""


@dataclass(frozen=True)
class Place:
    """How far a listing was read."""

    url: str
    """The page to ask for next; when `done`, the last one, asked for again to see what is new."""
    since: str
    """Nothing on the page was updated before this moment; empty for any."""
    by: str = "since"
    """`since`: the page starts at `since`. `link`: it goes on among the items of one second.
    `plain`: the server does not know `since`; all its pages are read in their order."""
    etag: str = ""
    done: bool = False


@dataclass(frozen=True)
class Gone:
    """Between these moments a page shows everything that there is; what it does not is gone."""

    after: str
    before: str
    """Both exclusive; empty for no end."""


class Kept(Database):
    """One repository."""

    def place(self, listing: str) -> Place | None:
        """How far a listing was read; None before its first page."""
        found = self.all("SELECT place FROM listings WHERE name = ?", (listing,))
        return Place(**json.loads(found[0][0])) if found else None

    def begin(self, places: Mapping[str, Place], notes: Mapping[str, str]) -> None:
        """Read listings from these places on, and note why."""
        with self.changing() as db:
            for name, place in places.items():
                _put_place(db, name, place)
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes.items())

    def keep(self, listing: str, items: Sequence[Item], place: Place, gone: Gone | None) -> bool:
        """Keep a page and the place behind it, together; whether anything was new or other.

        Args:
            listing: its name.
            items: of the page, all of one kind.
            place: what to ask for next.
            gone: between which moments what is not on the page is not there any more.
        """
        by_id = {_id(item): item for item in items}  # twice on a page is once
        with self._lock:
            known = self._known(listing, list(by_id))
            changed = [item for key, item in by_id.items() if known.get(key) != _fields(item)]
            absent = self._absent(listing, by_id.keys(), gone) if gone else []
            before = self.place(listing)
            # Another ETag alone is no news: what the page says was kept already.
            same = before is not None and replace(before, etag="") == replace(place, etag="")
            if same and not changed and not absent:
                return False
            with self.changing() as db:
                for item in changed:
                    _put(db, item)
                for key in absent:
                    _drop(db, listing, key)
                _put_place(db, listing, place)
            return bool(changed or absent)

    def renew(self, kind: str, threads: Iterable[Renewed]) -> None:
        """Keep all posts of one kind of some threads instead of those that were kept before."""
        with self.changing() as db:
            for number, posts, columns in threads:
                db.execute("DELETE FROM posts WHERE number = ? AND kind = ?", (number, kind))
                for post in posts:
                    _put(db, post)
                for name, value in columns.items():
                    assert name in ("counted", "reviewed", "facts"), name
                    db.execute(f"UPDATE threads SET {name} = ? WHERE number = ?", (value, number))

    def miscounted(self, most: int) -> tuple[int, list[tuple[int, str]]]:
        """How many threads have another number of comments than they say, and the first of them.

        A thread that was looked at since it changed is not named again: GitHub counts comments that
        it does not list.
        """
        counted = "t.updated || ' ' || t.comments"
        where = (
            f" FROM threads t WHERE t.counted != {counted} AND t.comments != (SELECT count(*)"
            " FROM posts p WHERE p.number = t.number AND p.kind = 'comment')"
        )
        rows = self.all(f"SELECT t.number, {counted}{where} ORDER BY t.number LIMIT ?", (most,))
        total = self.all(f"SELECT count(*){where}")[0][0] if len(rows) == most else len(rows)
        return int(total), [(int(number), str(text)) for number, text in rows]

    def unreviewed(self, most: int) -> list[tuple[Any, ...]]:
        """Pull requests that changed since their reviews were read.

        Number, node id, update, and whether a comment of a review is kept.
        """
        return self.all(
            "SELECT number, node, updated, EXISTS (SELECT 1 FROM posts p WHERE p.number = t.number"
            " AND p.kind = 'review_comment') FROM threads t WHERE pull = 1 AND reviewed != updated"
            " ORDER BY number LIMIT ?",
            (most,),
        )

    def number_of(self, what: str) -> int:
        """How many `threads`, `comments` (said by the threads), `pulls` there are."""
        query = {
            "threads": "SELECT count(*) FROM threads",
            "comments": "SELECT coalesce(sum(comments), 0) FROM threads",
            "unreviewed": "SELECT count(*) FROM threads WHERE pull = 1 AND reviewed != updated",
        }[what]
        return int(self.all(query)[0][0])

    def threads(self, after: int, most: int) -> list[tuple[Any, ...]]:
        """Number, update, whether it is a pull request, facts, data of the next threads by number.

        Raises:
            IntegrityError: a record is not what was written.
        """
        rows = self.all(
            "SELECT number, updated, pull, facts, data, crc FROM threads WHERE number > ?"
            " ORDER BY number LIMIT ?",
            (after, most),
        )
        return [self.sound(row) for row in rows]

    def posts(self, first: int, last: int) -> list[tuple[Any, ...]]:
        """Number, kind, creation, update, data of the posts of some threads, each in time order.

        Raises:
            IntegrityError: a record is not what was written.
        """
        rows = self.all(
            "SELECT number, kind, created, updated, data, crc FROM posts"
            " WHERE number BETWEEN ? AND ? ORDER BY number, created, kind, id",
            (first, last),
        )
        return [self.sound(row) for row in rows]

    def fixes(self) -> dict[int, list[int]]:
        """Issue -> the merged pull requests that say they close it, by number."""
        found: dict[int, list[int]] = {}
        rows = self.all(
            "SELECT number, json_extract(data, '$.closes'), json_extract(facts, '$.closes')"
            " FROM threads WHERE pull = 1 AND json_extract(data, '$.merged') ORDER BY number"
        )
        for number, *named in rows:
            for issue in {each for text in named for each in json.loads(text or "[]")}:
                found.setdefault(issue, []).append(number)
        return found

    def pulls(self) -> set[int]:
        """The numbers of all pull requests."""
        return {number for (number,) in self.all("SELECT number FROM threads WHERE pull = 1")}

    def _known(self, listing: str, ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        among = f"IN ({','.join('?' * len(ids))})"
        if listing == "issues":
            fields = "number, updated, comments, pull, node, data"
            rows = self.all(f"SELECT {fields} FROM threads WHERE number {among}", ids)
        else:
            fields = "id, number, created, updated, data"
            query = f"SELECT {fields} FROM posts WHERE kind = ? AND id {among}"
            rows = self.all(query, (_kind(listing), *ids))
        return {row[0]: row[1:] for row in rows}

    def _absent(self, listing: str, there: Iterable[int], gone: Gone) -> list[int]:
        bounds = "updated > ?" + (" AND updated < ?" if gone.before else "")
        values = (gone.after, gone.before) if gone.before else (gone.after,)
        if listing == "issues":
            rows = self.all(f"SELECT number FROM threads WHERE {bounds}", values)
        else:
            rows = self.all(
                f"SELECT id FROM posts WHERE kind = ? AND {bounds}", (_kind(listing), *values)
            )
        return sorted({key for (key,) in rows} - set(there))


def _kind(listing: str) -> str:
    return {"comments": "comment", "review_comments": "review_comment"}[listing]


def _id(item: Item) -> int:
    return item.number if isinstance(item, Thread) else item.id


def _fields(item: Item) -> tuple[Any, ...]:
    if isinstance(item, Thread):
        return item.updated, item.comments, int(item.pull), item.node, item.data
    return item.number, item.created, item.updated, item.data


def _put(db: sqlite3.Connection, item: Item) -> None:
    fields = (*_fields(item), zlib.crc32(item.data.encode()))
    if isinstance(item, Thread):
        db.execute(
            "INSERT INTO threads (number, updated, comments, pull, node, data, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET"
            " updated = excluded.updated, comments = excluded.comments, pull = excluded.pull,"
            " node = excluded.node, data = excluded.data, crc = excluded.crc",
            (item.number, *fields),
        )
        return
    db.execute(
        "INSERT OR REPLACE INTO posts (kind, id, number, created, updated, data, crc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (item.kind, item.id, *fields),
    )


def _drop(db: sqlite3.Connection, listing: str, key: int) -> None:
    if listing == "issues":
        # Its posts stay, unread: a thread that was changed while it was listed comes again later.
        db.execute("DELETE FROM threads WHERE number = ?", (key,))
        return
    db.execute("DELETE FROM posts WHERE kind = ? AND id = ?", (_kind(listing), key))


def _put_place(db: sqlite3.Connection, listing: str, place: Place) -> None:
    db.execute(
        "INSERT OR REPLACE INTO listings VALUES (?, ?)", (listing, json.dumps(asdict(place)))
    )
