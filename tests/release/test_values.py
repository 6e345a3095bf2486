"""One value of a YAML file is changed; PyYAML, which the code does not use, reads the result."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslore import config_deploy
from opslore.errors import ConfigError, ServerError
from opslore.release import yamltext
from opslore.release.targets import Staged, switch
from opslore.release.values import Values

VERSION = "v20260131-0123abcd"
AIM = f"sre:{VERSION}"


def set_to(text: str, key: str, value: str, document: int = 0) -> str:
    tree = yamltext.documents(text, "f.yaml")[document]
    node = yamltext.scalar(tree, yamltext.path(key), "f.yaml")
    return yamltext.change(text, [(node, yamltext.written(text, node, value))], "f.yaml")


CHART = (
    "# The chart's values.   \n"
    "---\n"
    "ollamaHub:   {url: 'http://x',  agentModel:   old  }   # flow\n"
    "env:\n"
    "    -   name:  A   # one\n"
    '        value: "1"\n'
    "    - {name: B, value: '2'}\n"
    "long: " + "word " * 60 + "\n"
    "anchor: &model   'it''s'   # anchored\n"
    "copy: *model\n"
    "base: &base {x: 1, y: 2}\n"
    "merged:\n"
    "  <<: *base\n"
    "  z: 3\n"
    "text: |\n"
    "  agentModel: old\n"
    "\n"
    "  # no comment\n"
    "empty:      # later\n"
    "tagged: !!str 12\n"
    '"quoted.key": x\n'
    "emoji 😀: 😀 # 😀\n"
    "\n\n"
    "last: no newline"
)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("ollamaHub.agentModel", "agentModel:   old  }", f"agentModel:   {AIM}  }}"),
        ("env[0].value", '"1"\n', f'"{AIM}"\n'),
        ("env[1].value", "value: '2'}", f"value: '{AIM}'}}"),
        ("long", "long: " + "word " * 60, f"long: {AIM} "),
        ("anchor", "&model   'it''s'   #", f"&model   '{AIM}'   #"),
        ("merged.z", "z: 3\n", f"z: {AIM}\n"),
        ("empty", "empty:      # later", f"empty: {AIM}      # later"),
        ("tagged", "!!str 12\n", f"!!str {AIM}\n"),
        ('["quoted.key"]', '"quoted.key": x\n', f'"quoted.key": {AIM}\n'),
        ("emoji 😀", ": 😀 # 😀", f": {AIM} # 😀"),
        ("last", "last: no newline", f"last: {AIM}"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_only_the_value_changes(key: str, old: str, new: str, end: str, mark: str) -> None:
    text = mark + CHART.replace("\n", end)
    old, new = old.replace("\n", end), new.replace("\n", end)
    assert text.count(old) == 1
    assert set_to(text, key, AIM) == text.replace(old, new)


@pytest.mark.parametrize("key", ["empty", "env[0].value", "last", "anchor"])
def test_what_was_there_comes_back_letter_by_letter(tmp_path: Path, key: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_bytes(CHART.replace("\n", "\r\n").encode())
    before = path.read_bytes()
    target = Values(config_deploy.Values(file=str(path), key=key), "sre")
    state = target.now()
    target.move(target.aim("sre", VERSION))
    assert AIM in path.read_text()
    assert target.now() == target.aim("sre", VERSION)
    target.move(state)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("sre:latest", "sre:latest"),
        ("registry/sre:v1.0", "registry/sre:v1.0"),
        ("12:30", '"12:30"'),  # base 60 in YAML 1.1, which Helm's reader speaks
        ("1.0", '"1.0"'),
        ("on", '"on"'),
        ("No", '"No"'),
        ("null", '"null"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("a #b", '"a #b"'),
        ("*a", '"*a"'),
        ("a\nb", '"a\\nb"'),
        ('"', '"\\""'),
        ("é😀", '"é😀"'),
        ("{{ .Values.x }}", '"{{ .Values.x }}"'),
    ],
)
def test_a_value_that_could_be_read_as_something_else_is_quoted(value: str, written: str) -> None:
    text = set_to("a: old # c\nb: 1\n", "a", value)
    assert text == f"a: {written} # c\nb: 1\n"
    assert yaml.safe_load(text) == {"a": value, "b": 1}


plain = st.from_regex(r"[a-z][a-z0-9 _./-]{0,12}[a-z0-9]", fullmatch=True)
words = plain | st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=12
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A YAML text in an untidy hand, and the key paths of its texts."""
    paths: list[str] = []
    comment = st.sampled_from(["", "   # note: 'x' *a", " #", "  "])

    def leaf(path: str) -> str:
        paths.append(path)
        style = draw(st.sampled_from(["plain", "single", "double", "nothing"]))
        value = draw(words)
        if style == "single":
            return " " * draw(st.integers(1, 3)) + "'" + value.replace("'", "''") + "'"
        if style == "double":
            return ' "' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return "" if style == "nothing" else " " + draw(plain)

    def block(path: str, indent: str, depth: int) -> str:
        keys = draw(st.lists(st.from_regex("[a-z]{1,5}", fullmatch=True), unique=True, min_size=1))
        text = ""
        for key in keys[:4]:
            here = f"{path}.{key}" if path else key
            kind = draw(st.sampled_from(["leaf", "leaf", "map", "list"])) if depth < 3 else "leaf"
            text += draw(st.sampled_from(["", "", f"{indent}# k: v\n", "\n"]))
            end = draw(comment) + "\n"
            if kind == "leaf":
                text += f"{indent}{key}:{leaf(here)}{end}"
            elif kind == "map":
                text += f"{indent}{key}:{end}"
                text += block(here, indent + " " * draw(st.integers(1, 4)), depth + 1)
            else:
                text += f"{indent}{key}:{end}"
                for number in range(draw(st.integers(1, 3))):
                    item = leaf(f"{here}[{number}]")
                    if not item:
                        paths.pop()
                    text += f"{indent}-{item}\n"
        return text

    text = block("", "", 0)
    return draw(st.sampled_from([text, text.replace("\n", "\r\n"), text.rstrip("\n")])), paths


def at(data: Any, path: str) -> Any:
    for step in yamltext.path(path):
        data = data[step]
    return data


def put(data: Any, path: str, value: str) -> None:
    *above, last = yamltext.path(path)
    for step in above:
        data = data[step]
    data[last] = value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), words, st.data())
def test_any_value_of_any_file(
    document: tuple[str, list[str]], value: str, data: st.DataObject
) -> None:
    text, paths = document
    expected = yaml.safe_load(text)
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    node = yamltext.scalar(yamltext.documents(text, "f")[0], yamltext.path(path), "f")
    raw = yamltext.raw(text, node)
    fresh = set_to(text, path, value)
    put(expected, path, value)
    assert yaml.safe_load(fresh) == expected
    assert fresh.startswith(text[: node.start])
    assert fresh.endswith(text[node.end :])
    again = yamltext.scalar(yamltext.documents(fresh, "f")[0], yamltext.path(path), "f")
    assert set_to(fresh, path, value) == fresh
    assert yamltext.change(fresh, [(again, raw)], "f") == text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        yamltext.documents(text, "f.yaml")


def test_a_deep_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml:1: nested over 100 levels"):
        yamltext.documents("[" * 3000 + "]" * 3000, "f.yaml")


@pytest.mark.parametrize(
    ("text", "key", "says", "hint"),
    [
        ("hub: {agentModel: x}\n", "hub.agentModle", "has agentModel", "mean hub.agentModel?"),
        ("hub: {agentModel: x}\n", "hubb.agentModel", "the file (line 1) has hub", "hub.agentM"),
        ("hub: {a: 1}\n", "hub.zzz", "hub (line 1) has a", "write the key"),
        ("a: {b: 1}\n", "a", "is a map, not a text; it has b", "the key inside"),
        ("a: [1, 2]\n", "a[2]", "is a list of 2 from [0]", ""),
        ("a: 1\n", "a.b", "a (line 1) is a scalar", ""),
        ("b: &x 1\na: *x\n", "a", "f.yaml:2: a is the alias *x", "write the value out"),
        ("b: &x {c: 1}\na: *x\n", "a.c", "is the alias *x", "write the map out"),
        ("b: &x {c: 1}\na:\n  <<: *x\n", "a.c", "come through << cannot", ""),
        ("a: |\n  x\n", "a", "is a block of text", ""),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "a", "f.yaml:4: the key c stands twice", "remove one"),
        ("a: !!int 1\n", "a", "has the tag", ""),
        ("a:\n -\n", "a[0]", "not written at all", ""),
        ("a: [1\nb: 2\n", "a", "f.yaml:", "mend f.yaml"),
        ("{{ if .x }}\na: 1\n{{ end }}\n", "a", "no YAML", "a chart's template"),
        ("a: 1\n", "a..b", "no key path", ""),
        ("a: 1\n", "", "no key path", ""),
    ],
)
def test_what_cannot_be_changed_is_explained(text: str, key: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        set_to(text, key, "x")
    assert says in caught.value.message
    assert hint in caught.value.hint


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return Staged("sre", VERSION, tmp_path, "s3://bucket/key.tar.gz", "0" * 64)


def test_a_file_is_switched_and_a_second_time_left_alone(tmp_path: Path, staged: Staged) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(CHART)
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    target = Values(config_deploy.Values(file=str(link), key="ollamaHub.agentModel"), "sre")
    target.stage(staged)
    assert path.read_text() == CHART
    assert switch([target], "sre", VERSION) == [target.name]
    assert yaml.safe_load(path.read_text().split("---")[1])["ollamaHub"]["agentModel"] == AIM
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.yaml", "values.yaml"]
    written = path.stat()
    assert switch([target], "sre", VERSION) == []
    assert path.stat().st_ino == written.st_ino
    assert path.stat().st_mtime_ns == written.st_mtime_ns


def test_a_reader_sees_the_old_value_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(CHART)
    target = Values(config_deploy.Values(file=str(path), key="last"), "sre")
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text().rsplit("last: ", 1)[1])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        target.move(target.aim("sre", f"v2026013{number % 2}-0123abcd"))
    done.set()
    reader.join()
    allowed = {"no newline", "sre:v20260130-0123abcd", "sre:v20260131-0123abcd"}
    assert seen <= allowed
    assert len(seen) > 1


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("a: 1\n")
    target = Values(config_deploy.Values(file=str(path), key="a"), "sre")
    before, after = target.places.planned(target.aim("sre", VERSION))
    path.write_text("a: 1\nb: 2\n")
    with pytest.raises(ServerError, match="changed by somebody else"):
        target.places.file.write(before, after, "")
    assert path.read_text() == "a: 1\nb: 2\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "no file"),
        (b"a: \xff\n", "no UTF-8"),
        ("a: 1\n".encode("utf-16"), "no UTF-8"),
        (b"", "is empty"),
        (b"a: 1\n---\na: 2\n", "in 2 documents, lines 1, 3"),
        (b"a: x" + b" " * yamltext.MAX_BYTES, "the limit is"),
    ],
)
def test_a_file_that_cannot_be_edited_is_explained(
    tmp_path: Path, staged: Staged, data: bytes | None, says: str
) -> None:
    path = tmp_path / "values.yaml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        Values(config_deploy.Values(file=str(path), key="a"), "sre").stage(staged)
    assert says in caught.value.message
    assert str(path) in caught.value.message


def test_a_key_of_the_second_document_is_found(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("# c\nx: 1\n---\na: old # c\n---\ny: 1\n")
    target = Values(config_deploy.Values(file=str(path), key="a"), "sre")
    target.move(target.aim("sre", VERSION))
    assert path.read_text() == f"# c\nx: 1\n---\na: {AIM} # c\n---\ny: 1\n"
