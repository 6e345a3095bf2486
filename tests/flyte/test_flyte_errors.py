"""What waiting may mend is tried again by Flyte 2, everything else once; a refusal is one error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import flyte
import flyte.errors
import pytest
from flyte_world import here, local, started  # noqa: F401

from opslore import config, flowing, flows, steps
from opslore.config import Agent
from opslore.endpoint import TRIES

SOON = flyte.RetryStrategy(
    count=flowing.RETRIES, backoff=flyte.Backoff(base=timedelta(milliseconds=1), factor=1)
)
"""The same number of tries, without the pauses between them."""


@dataclass
class Paraphraser:
    """An endpoint that answers every request with one status, and counts them."""

    status: int
    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def paraphraser(request: pytest.FixtureRequest) -> Iterator[Paraphraser]:
    it = Paraphraser(request.param)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            it.asked.append(self.path)
            self.send_response(it.status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        it.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield it
        server.shutdown()


def rewording(it: Paraphraser) -> Agent:
    given = config.load(Path("tiny.yaml")).model_dump()
    given["prepare"]["paraphraser"] = {"url": it.url, "model": "m"}
    return Agent.model_validate(given)


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
