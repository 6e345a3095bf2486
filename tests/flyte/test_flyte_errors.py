"""What waiting may mend is tried again by Flyte 2, everything else once; a refusal is one error."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import flyte
import flyte.errors
import pytest
from flyte_world import Paraphraser, here, local, paraphraser, rewording, started  # noqa: F401

from opslore import config, flowing, flows, steps
from opslore.endpoint import TRIES

SOON = flyte.RetryStrategy(
    count=flowing.RETRIES, backoff=flyte.Backoff(base=timedelta(milliseconds=1), factor=1)
)
"""The same number of tries, without the pauses between them."""


@pytest.mark.parametrize(
    ("paraphraser", "tries"), [(503, 1 + flowing.RETRIES), (401, 1)], indirect=["paraphraser"]
)
def test_only_what_waiting_may_mend_is_tried_again(
    here: Path, paraphraser: Paraphraser, tries: int
) -> None:
    assert flows.prepare.retries.count == flowing.RETRIES
    agent = rewording(paraphraser)
    corpus = steps.collect(agent)
    with pytest.raises(flyte.errors.RuntimeUserError) as caught:
        local(flows.prepare.override(retries=SOON), agent, corpus)
    once = TRIES if paraphraser.status == 503 else 1
    assert len(paraphraser.asked) == once * tries
    assert "check prepare.paraphraser" in str(caught.value)
    assert caught.value.code == "ServerError"


@pytest.mark.parametrize("step", [name for name in flowing.NEEDS if name not in ("flow",)])
def test_every_step_that_does_something_is_tried_again(step: str) -> None:
    task = getattr(flows, step)
    assert task.retries == flows.RETRIES
    # The cached ones are called through `override`, which must not forget it.
    assert task.override(cache=flows.CACHE).retries == flows.RETRIES


def test_a_mistake_of_the_program_is_not_tried_again(here: Path) -> None:
    agent = config.load(Path("tiny.yaml"))
    with pytest.raises(flyte.errors.RuntimeUserError) as caught:
        local(flows.harvest, agent, len(agent.collect))
    assert caught.value.code == "IndexError"


def test_a_source_that_is_missing_ends_the_reading_at_once(here: Path) -> None:
    Path("RUNBOOK.md").unlink()
    with pytest.raises(flyte.errors.RuntimeUserError) as caught:
        local(flows.collect, config.load(Path("tiny.yaml")))
    assert caught.value.code == "SourceError"
    assert "RUNBOOK.md" in str(caught.value)
