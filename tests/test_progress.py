"""Progress: who listens hears it, and how a terminal and a log show it."""

from __future__ import annotations

import io

import pytest

from opslore import progress
from opslore.console import Lines, Pace, duration

Told = list[tuple[str, int, int, str]]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nobody_has_to_listen() -> None:
    progress.report("train", 1, 2)


def test_a_listener_hears_what_is_reported_inside_its_block_only() -> None:
    outer: Told = []
    inner: Told = []
    with progress.listening(lambda *said: outer.append(said)):
        progress.report("collect", 1, 3, "alerts")
        with progress.listening(lambda *said: inner.append(said)):
            progress.report("train", 1, 2)
        with pytest.raises(ValueError, match="stop"), progress.listening(lambda *said: None):
            raise ValueError("stop")
        progress.report("collect", 2, 3)
    progress.report("collect", 3, 3)
    assert outer == [("collect", 1, 3, "alerts"), ("collect", 2, 3, "")]
    assert inner == [("train", 1, 2, "")]


def test_a_log_gets_the_first_line_at_once_then_one_every_ten_seconds() -> None:
    clock, lines = Clock(), list[str]()
    listener = Lines(lines.append, clock)
    for step in range(1, 301):
        clock.now = 100.0 + step / 10
        listener("train", step, 300, f"loss {step}")
    assert lines == [
        "train 1/300 loss 1",
        "train 101/300 loss 101 (10.0/s, 20 s left)",
        "train 201/300 loss 201 (10.0/s, 10 s left)",
    ]


def test_an_unknown_total_is_a_plain_count() -> None:
    clock, lines = Clock(), list[str]()
    Lines(lines.append, clock)("collect", 7, 0, "")
    assert lines == ["collect 7"]


def test_a_resumed_series_counts_from_where_it_resumed() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.text("train", 200, 400) == ""
    clock.now += 50
    assert pace.text("train", 210, 400) == "5.0 s each, 16 min left"
    clock.now += 10
    assert pace.text("train", 400, 400) == "3.3/s"


def test_the_next_column_of_an_evaluation_is_a_series_of_its_own() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.text("evaluate", 0, 100)
    clock.now += 100
    assert pace.text("evaluate", 100, 100) == "1.0/s"
    clock.now += 100
    assert pace.text("evaluate", 0, 100) == ""
    clock.now += 10
    assert pace.text("evaluate", 20, 100) == "2.0/s, 40 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "3 s"), (89, "89 s"), (120, "2 min"), (7200, "2.0 h")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_gets_a_bar_and_stdout_none_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from opslore import console

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with console.progress():
        progress.report("train", 1, 4, "loss 2.000")
        progress.report("train", 3, 4, "loss 1.000")
        console.say("a result")
    assert "train loss 1.000" in screen.getvalue()
    assert "3/4" in screen.getvalue()
    assert capsys.readouterr().out == "a result\n"
