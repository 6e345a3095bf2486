"""What people and machines put into a runbook folder: no crash, and a reason for every file."""

# ruff: noqa: E501, RUF001 (a file's text is easier to read on one line)

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opslore.config_sources import RunbookSource
from opslore.errors import DataError, SourceError
from opslore.sources import Collected
from opslore.sources.read import MAX_BYTES
from opslore.sources.runbook import collect

GOOD = "### Alert: {}\n\n**Symptoms:**\n- slow\n\n**Fix:**\n```bash\ndf -h\n```\n"

Content = str | bytes
ALERT = "an alert"
EMPTY = "empty"
BARE = "no heading and no field"
NO_ALERT = "no alert: no heading has a field such as Symptoms, Diagnosis or Resolution below it"
NUL = "binary: NUL bytes (or UTF-16 without a byte order mark)"

FILES: dict[str, tuple[Content, str]] = {
    "bom.md": (GOOD.format("Bom").encode("utf-8-sig"), ALERT),
    "crlf.md": (GOOD.format("Crlf").replace("\n", "\r\n"), ALERT),
    "cr.md": (GOOD.format("Cr").replace("\n", "\r"), ALERT),
    "mixed-ends.md": (GOOD.format("Mixed").replace("\n", "\r\n", 4), ALERT),
    "utf16le.md": (b"\xff\xfe" + GOOD.format("Le").encode("utf-16-le"), ALERT),
    "utf16be.md": (b"\xfe\xff" + GOOD.format("Be").encode("utf-16-be"), ALERT),
    "utf32.md": (GOOD.format("Wide").encode("utf-32"), ALERT),
    "utf16-odd.md": (b"\xff\xfe" + b"#\x00 ", "utf-16-le text that breaks off at byte 2"),
    "utf16-no-mark.md": (GOOD.format("Blind").encode("utf-16-le"), NUL),
    "latin1.md": (GOOD.format("Überlauf").encode("latin-1"), ALERT),
    "cp1252.md": (GOOD.format("Quote \u2019").encode("cp1252"), ALERT),
    "latin1-undefined.md": (GOOD.format("Odd").encode() + b"\x81\x8d \xe9\n", ALERT),
    "tabs.md": ("###\tAlert: Tabs\n\n**Fix:**\n\n\tdf -h\n", ALERT),
    "tab-in-list.md": ("### Alert: TabList\n\n**Fix:**\n-\trun:\n\n\t```bash\n\tdf -h\n\t```\n", ALERT),
    "setext.md": ("Disk\n====\n\nFix\n---\n`df -h`\n", ALERT),
    "prompts.md": ("### Alert: Prompt\n**Fix:**\n```\n$ df -h\nout\n$ ls -l\n```\n", ALERT),
    "fence-in-list.md": ("### Alert: List\n**Fix:**\n1. do\n   ```sh\n   df -h\n   ```\n2. end\n", ALERT),
    "deep-list.md": ("### Alert: Deep\n**Fix:**\n- a\n  - b\n    - c\n\n      ```sh\n      df -h\n      ```\n", ALERT),
    "tildes.md": ("### Alert: Tilde\n**Fix:**\n~~~~bash\ndf -h\n```\n~~~~\n", ALERT),
    "unclosed.md": ("### Alert: Unclosed\n**Fix:**\n```bash\ndf -h\n### Alert: Swallowed\n", ALERT),
    "long-fence.md": ("### Alert: Long\n**Fix:**\n`````\ndf -h\n```\n`````\n", ALERT),
    "quote.md": ("### Alert: Quoted\n**Fix:**\n> ```bash\n> df -h\n> ```\n", ALERT),
    "duplicates.md": (GOOD.format("Twice") + GOOD.format("Twice"), ALERT),
    "comment.md": ("<!-- ### Alert: No -->\n" + GOOD.format("Comment"), ALERT),
    "open-comment.md": ("<!--\n" + GOOD.format("Hidden"), "nothing but front matter or comments"),
    "rtl.md": (GOOD.format("Mark\u202e\u200fs"), ALERT),
    "rtl-command.md": ("### Alert: Bidi\n**Fix:**\n```\ndf \u2066-h\u2069\n```\n", ALERT),
    "nbsp.md": ("### Alert: Nbsp\n**Fix:**\n```\ndf\u00a0-h\n```\n", ALERT),
    "escape-codes.md": ("### Alert: Esc\n**Fix:**\n```\n\x1b[31mdf -h\x1b[0m\n```\n", ALERT),
    "chinese.md": ("### 告警：磁盘\n\n**解决方案：**\n```bash\ndf -h\n```\n", ALERT),
    "heredoc.md": ("### Alert: Here\n**Fix:**\n```\ncat <<EOF | kubectl apply -f -\na: b\nEOF\n```\n", ALERT),
    "open-heredoc.md": ("### Alert: Open\n**Fix:**\n```bash\ncat <<EOF\na\n```\n", ALERT),
    "promql.md": ("### Alert: Prom\n**Fix:**\n```promql\nup == 0\n```\n```bash\nsum(up) by (x)\n```\n", ALERT),
    "sql.md": ("### Alert: Sql\n**Fix:**\n```sql\nDROP TABLE x;\n```\n", ALERT),
    "yaml.md": ("### Alert: Yaml\n**Fix:**\n```yaml\nkind: Pod\n```\n", ALERT),
    "empty.md": ("", EMPTY),
    "blank.md": (" \n\t\n\n", EMPTY),
    "only-bom.md": (b"\xef\xbb\xbf", EMPTY),
    "no-alert.md": ("# Notes\n\nNothing to see.\n", NO_ALERT),
    "no-heading.md": ("Just words.\n", BARE),
    "front-only.md": ("---\ntitle: x\n---\n", "nothing but front matter or comments"),
    "open-front.md": ("---\ntitle: x\n" + GOOD.format("Front"), ALERT),
    "rule-first.md": ("---\n\n" + GOOD.format("Rule") + "\n---\n", ALERT),
    "binary.md": (bytes(range(256)) * 8, NUL),
    "control.md": (b"\x01\x02\x03\x04ab" * 50, "binary: control characters"),
    "png.md": (b"\x89PNG\r\n\x1a\n" + bytes(64), NUL),
    "gzip.md": (b"\x1f\x8b\x08\x00" + os.urandom(64) + b"\0", NUL),
    "long-line.md": ("### Alert: Line\n**Fix:** " + "x" * 300_000 + "\n", ALERT),
    "brackets.md": ("### Alert: Brackets\n**Fix:** " + "[" * 50_000 + "\n", ALERT),
    "stars.md": ("### Alert: Stars\n**Fix:** " + "*a **b " * 5_000 + "\n", ALERT),
    "quotes-nested.md": (">" * 3000 + " x\n\n" + GOOD.format("Nested"), ALERT),
    "many-headings.md": ("# Fix\n" * 3000 + GOOD.format("Last"), ALERT),
    "quote-rows.md": ("### Alert: Rows\n**Fix:**\n```bash\n" + "echo \"$(\n" * 2000 + "```\n", ALERT),
    "table.md": ("### Alert: Table\n\n| a | b |\n|---|---|\n| `df -h` | x |\n\n**Fix:** `df -h`\n", ALERT),
    "html.md": ("### Alert: Html\n<details>\n\n**Fix:**\n```\ndf -h\n```\n</details>\n", ALERT),
    "no-end.md": ("### Alert: NoEnd\n**Fix:** `df -h`", ALERT),
    "shortcodes.md": ("### Alert: Hugo\n**Fix:** {{< ref \"./x.md\" >}} `df -h`\n", ALERT),
}  # fmt: skip


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    folder = tmp_path_factory.mktemp("root") / "book"
    folder.mkdir()
    for name, (content, _) in FILES.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(raw)
    return collect(RunbookSource(path="book"), folder.parent)


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 50


@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_an_alert_or_a_reason(collected: Collected, name: str) -> None:
    wanted = FILES[name][1]
    file = f"book/{name}"
    alerts = [document for document in collected.documents if document.span.file == file]
    reasons = [row.reason for row in collected.dropped if row.what == file]
    if wanted == ALERT:
        assert alerts
        assert not reasons
    else:
        assert reasons == [wanted]
        assert not alerts


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("bom.md", ["df -h"]),
        ("utf16le.md", ["df -h"]),
        ("utf32.md", ["df -h"]),
        ("tabs.md", ["df -h"]),
        ("tab-in-list.md", ["df -h"]),
        ("prompts.md", ["df -h", "ls -l"]),
        ("fence-in-list.md", ["df -h"]),
        ("deep-list.md", ["df -h"]),
        ("tildes.md", ["df -h"]),
        ("unclosed.md", ["df -h"]),
        ("quote.md", ["df -h"]),
        ("rtl-command.md", ["df -h"]),
        ("nbsp.md", ["df -h"]),
        ("escape-codes.md", []),
        ("heredoc.md", ["cat <<EOF | kubectl apply -f -\na: b\nEOF"]),
        ("open-heredoc.md", []),
        ("promql.md", []),
        ("sql.md", []),
        ("yaml.md", []),
        ("html.md", ["df -h"]),
        ("table.md", ["df -h"]),
    ],
)
def test_the_commands_survive(collected: Collected, name: str, commands: list[str]) -> None:
    found = [d.resolution for d in collected.documents if d.span.file == f"book/{name}"]
    assert found == [commands]


def test_what_was_changed_is_reported_with_its_line(collected: Collected) -> None:
    notes = {
        (row.span.file.removeprefix("book/"), row.span.first): (row.what, row.reason)
        for row in collected.dropped
        if row.span
    }
    invisible = "invisible characters, taken out"
    assert notes["rtl.md", 1] == ("1 x U+200F, 1 x U+202E", invisible)
    assert notes["rtl-command.md", 4] == ("1 x U+2066, 1 x U+2069", invisible)
    assert notes["nbsp.md", 4] == ("1 x U+00A0", invisible)
    latin = "not UTF-8; read as Latin-1, so letters with accents may be wrong"
    assert notes["latin1.md", 1] == ("the file's encoding", latin)
    assert notes["open-heredoc.md", 4] == (
        "cat <<EOF",
        "cut off: a here-document is never closed",
    )
    titles = {document.title for document in collected.documents}
    assert {"Überlauf", "Quote \u2019", "Marks"} <= titles


def test_a_large_file_is_refused_with_the_limit(tmp_path: Path) -> None:
    book = tmp_path / "book"
    book.mkdir()
    (book / "good.md").write_text(GOOD.format("Good"))
    with (book / "large.md").open("wb") as file:
        file.truncate(50 << 20)
    found = collect(RunbookSource(path="book"), tmp_path)
    assert [(row.what, row.reason) for row in found.dropped] == [
        ("book/large.md", f"52428800 bytes; the limit is {MAX_BYTES} bytes (20 MiB)")
    ]


def test_links_pipes_and_names(tmp_path: Path) -> None:
    book = tmp_path / "book"
    (book / "a").mkdir(parents=True)
    (tmp_path / "secret.md").write_text(GOOD.format("Secret"))
    (book / "a" / "good.md").write_text(GOOD.format("Good"))
    (book / "a" / "same.md").symlink_to("good.md")
    (book / "a" / "loop").symlink_to("..")
    (book / "a" / "round.md").symlink_to("round.md")
    (book / "gone.md").symlink_to("nowhere.md")
    (book / "out.md").symlink_to("../secret.md")
    os.mkfifo(book / "pipe.md")
    (book / ".git").mkdir()
    (book / "folder.md").mkdir()
    bytes_name = os.fsencode(book) + b"/caf\xe9.md"
    Path(os.fsdecode(bytes_name)).write_text(GOOD.format("Cafe"))
    found = collect(RunbookSource(path="book"), tmp_path)
    assert [(d.title, d.span.file) for d in found.documents] == [
        ("Cafe", "book/caf\ufffd.md"),
        ("Good", "book/a/good.md"),
    ]
    reasons = {row.what.removeprefix("book/"): row.reason for row in found.dropped}
    assert reasons.pop("a/round.md").startswith("unreadable: ")
    assert reasons == {
        ".git": "hidden folder",
        "a/loop": "the same file or folder was read under another name",
        "a/same.md": "the same file or folder was read under another name",
        "gone.md": "unreadable: No such file or directory",
        "out.md": "a link that leaves the folder",
        "pipe.md": "not a regular file",
    }


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text(GOOD.format("Good"))
    (tmp_path / "locked.md").write_text(GOOD.format("Locked"))
    (tmp_path / "locked.md").chmod(0)
    found = collect(RunbookSource(path="."), tmp_path)
    assert [row.reason for row in found.dropped] == ["unreadable: Permission denied"]


def test_an_unreadable_file_as_another_user(tmp_path: Path) -> None:
    """The same as root can see it, in a child that gives its rights away."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    (tmp_path / "good.md").write_text(GOOD.format("Good"))
    (tmp_path / "locked.md").write_text(GOOD.format("Locked"))
    (tmp_path / "locked.md").chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(0o755)
    script = (
        "import os, pathlib; from opslore.config_sources import RunbookSource;"
        "from opslore.sources.runbook import collect; import opslore.commands as c;"
        "c.looks_like_command('df -h'); os.setuid(65534);"
        f"found = collect(RunbookSource(path='.'), pathlib.Path({str(tmp_path)!r}));"
        "print([row.reason for row in found.dropped])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "['unreadable: Permission denied']", done.stderr


def failure(path: str, root: Path) -> DataError | SourceError:
    with pytest.raises((DataError, SourceError)) as caught:
        collect(RunbookSource(path=path), root)
    return caught.value


LOOKED_FOR = (
    "Looked for a heading (`### Alert: X`, `### X`, `# X`) with fields below it, such as "
    "`**Symptoms:**`, `**Resolution:**`, `## Meaning` or `## Mitigation`"
)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda folder: (folder / "b.md").write_text("# Notes\n\nwords\n"),
            f"book: no alert in 1 file read; 1 x {NO_ALERT}. {LOOKED_FOR}",
        ),
        (lambda folder: None, f"book: no alert in 0 files read. {LOOKED_FOR}"),
        (
            lambda folder: [
                (folder / "a.md").write_bytes(b""),
                (folder / "b.md").write_bytes(b"\0"),
            ],
            f"book: no alert in 0 files read; 1 x empty; 1 x {NUL}. {LOOKED_FOR}",
        ),
    ],
)
def test_no_alert_at_all(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    (tmp_path / "book").mkdir()
    write(tmp_path / "book")
    error = failure("book", tmp_path)
    assert isinstance(error, DataError)
    assert error.message == message
    assert error.hint == (
        "name your own headings in collect.fields, or begin each alert with `### Alert: NAME`"
    )
    assert error.exit_code == 65


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.md", "missing.md: unreadable: No such file or directory"),
        ("pipe", "pipe: not a regular file"),
        ("large.md", f"large.md: 20971521 bytes; the limit is {MAX_BYTES} bytes (20 MiB)"),
    ],
)
def test_a_path_that_cannot_be_read(tmp_path: Path, path: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large.md").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    error = failure(path, tmp_path)
    assert isinstance(error, SourceError)
    assert error.message == message
    assert error.hint == (
        f"collect.path '{path}' was looked up in {tmp_path}; "
        "give a Markdown file, a folder of them, a git URL, or an https URL"
    )
    assert (error.exit_code, error.retryable) == (66, False)


@pytest.mark.parametrize("path", ["", "\0", "x" * 5000, "~nobody-by-that-name/x"])
def test_a_path_that_is_none(tmp_path: Path, path: str) -> None:
    assert isinstance(failure(path, tmp_path), DataError | SourceError)
