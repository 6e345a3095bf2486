"""Numbers are set in an agent file; every other character stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from opslore import agentedit, config
from opslore.errors import ConfigError

HEAD = "name: a   # ours\ncollect: [{path: RUNBOOK.md}]\n"
NEW: dict[str, float | int] = {"learning_rate": 0.004, "lora_rank": 16, "lora_alpha": 32.0}


def edited(tmp_path: Path, text: str, values: dict[str, float | int] = NEW) -> str:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())
    agentedit.write(path, config.load(path), "train", values)
    found = config.load(path).train
    assert {key: getattr(found, key) for key in values} == values
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "train: {backend: torch, learning_rate: 2e-3, lora_rank: 8, lora_alpha: 16}  # why\n",
            "train: {backend: torch, learning_rate: 4e-3, lora_rank: 16, lora_alpha: 32}  # why\n",
        ),
        (
            "train: {learning_rate: 2.0E-3}\nexport: {num_ctx: 512}\n",
            "train: {learning_rate: 4.0e-3, lora_rank: 16, lora_alpha: 32}\n"
            "export: {num_ctx: 512}\n",
        ),
        ("train: {}\n", "train: {learning_rate: 0.004, lora_rank: 16, lora_alpha: 32}\n"),
        (
            "train:\n   # slow\n   learning_rate:   0.002 # was 1\n\n   iters: 9   # few\n# end\n",
            "train:\n   # slow\n   learning_rate:   0.004 # was 1\n\n   iters: 9   # few\n"
            "   lora_rank: 16\n   lora_alpha: 32\n# end\n",
        ),
        (
            "train: {learning_rate: 0.002,  # peak\n        iters: 9,\n        }\n",
            "train: {learning_rate: 0.004,  # peak\n"
            "        iters: 9, lora_rank: 16, lora_alpha: 32,\n        }\n",
        ),
        ("", "train: {learning_rate: 0.004, lora_rank: 16, lora_alpha: 32}\n"),
        (
            "store: ./r",
            "store: ./r\ntrain: {learning_rate: 0.004, lora_rank: 16, lora_alpha: 32}",
        ),
    ],
)
def test_only_the_values_change(tmp_path: Path, before: str, after: str) -> None:
    assert edited(tmp_path, HEAD + before) == HEAD + after


def test_windows_lines_and_a_byte_order_mark_stay(tmp_path: Path) -> None:
    text = "\ufeff" + HEAD.replace("\n", "\r\n") + "train:\r\n  iters: 5\r\n"
    assert edited(tmp_path, text, {"lora_rank": 4}) == text + "  lora_rank: 4\r\n"


def test_an_agent_in_json_stays_json(tmp_path: Path) -> None:
    text = '{"name": "a", "collect": [{"path": "R.md"}], "train": {"iters": 5}}'
    assert edited(tmp_path, text, {"lora_rank": 4}) == text.replace("5}", '5, "lora_rank": 4}')


def test_a_link_stays_one_and_the_mode_stays(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(HEAD)
    real.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to(real)
    link = tmp_path / "link.yaml"
    agentedit.write(link, config.load(link), "train", NEW)
    assert link.is_symlink()
    assert os.stat(real).st_mode & 0o777 == 0o640
    assert config.load(real).train.lora_rank == 16


def test_a_file_that_somebody_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(HEAD)
    before = config.load(path)
    path.write_text(theirs := HEAD + "train: {iters: 7}\n")
    with pytest.raises(ConfigError, match="changed meanwhile") as error:
        agentedit.write(path, before, "train", NEW)
    assert "lora_rank: 16" in error.value.hint
    assert path.read_text() == theirs


def test_a_comment_that_somebody_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(HEAD)
    before = config.load(path)
    path.write_text(HEAD + "# look\n")
    agentedit.write(path, before, "train", {"iters": 5})
    assert path.read_text() == HEAD + "train: {iters: 5}\n# look\n"


@pytest.mark.parametrize(
    "ending", ["...\n", "---\nname: b\n", "prepare: &x {valid: 0.1}\ntrain: &y {iters: 3}\n"]
)
def test_whatever_is_written_loads_and_else_nothing_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text := HEAD + ending)
    try:
        before = config.load(path)
        agentedit.write(path, before, "train", {"lora_rank": 4})
    except ConfigError:
        assert path.read_text() == text
        return
    assert config.load(path).train.lora_rank == 4
    assert config.load(path).prepare == before.prepare


@given(
    st.floats(1e-12, 1.0) | st.integers(1, 10**6),
    st.sampled_from(["2e-3", "2.0e-3", "0.002", "8", "1E-5", ""]),
)
def test_a_written_number_is_read_as_itself(value: float, like: str) -> None:
    text = agentedit.written(value, like)
    assert YAML(typ="safe", pure=True).load(text) == value
