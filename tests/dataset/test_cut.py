from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opslore.dataset import cut

CODE = "```bash\nkubectl get pods\n\nkubectl logs web-0\n```"
PIECES = st.sampled_from(
    [
        "One sentence stands here. Another one, e.g. this, follows it!",
        "## A heading",
        "- an item\n- another item with `a. B` in code",
        CODE,
        "~~~\nplain code. With a full stop.\n~~~",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "It is announced here:",
        "1. first\n\n   ```sh\n   helm ls\n   ```\n\n2. second",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=9), st.integers(20, 400))
def test_a_cut_text_is_a_whole_beginning(pieces: list[str], longest: int) -> None:
    text = "\n\n".join(pieces)
    short = cut.cut(text, longest)
    assert len(short) <= longest
    assert text.startswith(short) or short in text
    assert "truncated" not in short
    lines = short.split("\n")
    fences = [line for line in lines if line.lstrip().startswith(("```", "~~~"))]
    assert len(fences) % 2 == 0
    if len(text) > longest and short:
        assert not lines[-1].endswith(":")
        assert not lines[-1].startswith("#")


def test_a_long_paragraph_ends_after_a_sentence() -> None:
    text = "First e.g. this one. Second one here. " + "Third is long " * 40
    assert cut.cut(text, 60) == "First e.g. this one. Second one here."


def test_a_text_that_begins_with_long_code_gives_nothing() -> None:
    assert cut.cut("```\n" + "x = 1\n" * 100 + "```", 80) == ""


def test_what_announces_the_cut_part_goes_too() -> None:
    text = f"Look at the pods. Run this:\n\n{CODE}"
    assert cut.cut(text, 40) == "Look at the pods."


def test_a_label_that_heads_nothing_goes_too() -> None:
    text = "It runs with one command.\n\n**Debugging**\n\n" + "```bash\n" + "x" * 300 + "\n```"
    assert cut.cut(text, 100) == "It runs with one command."


def test_a_sentence_never_ends_inside_back_ticks() -> None:
    assert cut.sentences("Use `a. B` now. Then stop.") == ["Use `a. B` now.", "Then stop."]
