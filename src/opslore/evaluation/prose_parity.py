"""Does the GGUF say what the trained weights would say? Asked token by token.

Two greedy replies in prose part at the first near tie and are then two different texts, although
both models are the same; so equal texts cannot be asked for, as they are of a command. Here the
trained weights read the GGUF's own reply, and at each of its tokens we ask whether it is the one
that they would have said next, or one as likely but for rounding. Everything that could go wrong
on the way to a GGUF (a matrix, a tokenizer, a template, an end of turn) shows in the next token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opslore.cards import Example, Result
from opslore.evaluation.columns import open_book
from opslore.evaluation.prose_loss import Tick, Weights
from opslore.evaluation.replies import Log

NEAR = 0.1
"""Nats below the likeliest token that still are a tie: rounding to 8 bits moves a logit by a few
hundredths, another model's choices lie whole nats apart."""


def compare(
    log: Log,
    among: Sequence[Example],
    weights: Weights,
    rendered: Mapping[str, str],
    tick: Tick,
) -> None:
    """Read every kept `tuned` reply with the trained weights; the column `trained` has the result.

    Scores are `same` and `tokens` (counts), and `rendered` (1.0 when both render one prompt).

    Args:
        log: the evaluation's replies.
        among: examples whose `tuned` reply is there.
        weights: the trained weights.
        rendered: the prompts as the GGUF's server writes them, by example id.
        tick: hears how many are done.
    """
    from opslore.trainers.packing import turn_ends

    ends = turn_ends(weights.tokenizer)
    for done, example in enumerate(among, 1):
        if log.get("trained", example.id) is None:
            log.add(_read(example, log.found["tuned", example.id], weights, ends, rendered))
        tick(done)


def _read(
    example: Example,
    tuned: Result,
    weights: Weights,
    ends: Sequence[int],
    rendered: Mapping[str, str],
) -> Result:
    turns = [message.model_dump() for message in open_book(example)]
    prompt = str(
        weights.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    )
    before = list(weights.tokenizer.encode(prompt, add_special_tokens=False))
    said = list(weights.tokenizer.encode(tuned.reply, add_special_tokens=False))
    logs = weights.logs([*before, *said], len(before) - 1)
    same = sum(
        float(row.max()) - float(row[token]) <= NEAR for row, token in zip(logs, said, strict=False)
    )
    tokens = len(said)
    if tuned.scores.get("stopped") == 1.0:
        last = logs[len(said)]
        same += float(last.max()) - max(float(last[end]) for end in ends) <= NEAR
        tokens += 1
    scores = {
        "same": float(same),
        "tokens": float(tokens),
        "rendered": float(prompt == rendered.get(example.id)),
    }
    return Result(example=example.id, column="trained", reply="", scores=scores)
