"""`opslore watch`: keeps a release up to date with its sources, and proves what it did."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslore import console
from opslore.cli_beside import AgentFile, Json
from opslore.errors import ConfigError, GateFailed, OpsloreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opslore.cards import Card
    from opslore.config import Agent
    from opslore.proving import Proof
    from opslore.watching import Seen

UNPROVEN = 5
"""Exit code of `--once`: released, but the proof does not hold."""

FIRST, LONGEST = 10.0, 15 * 60.0
"""Seconds of the first pause after something that waiting may help, and of the longest; each is
twice the one before."""

_UNITS = {"s": 1, "m": 60, "h": 3600}


def watch(
    agent: AgentFile,
    every: Annotated[str, typer.Option(help="Between two looks: 30s, 5m, 2h.")] = "5m",
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="One look. Exit 3: the gate refuses; 5: released, not well learned."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what changed, and do nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Release a changed runbook, and prove what was learned.

    White space, order and other spellings of the same command change nothing. What the gate
    refused is tried again when a source or the agent file has changed.
    """
    pause = seconds(every)
    watcher = Watcher(agent, dry_run, as_json)
    if once:
        if code := watcher.turn():
            raise typer.Exit(code)
        return
    while True:
        time.sleep(watcher.safely(pause))


def seconds(text: str) -> float:
    """`30s`, `5m` or `2h` in seconds.

    Raises:
        ConfigError: it is none of these, or no time at all.
    """
    found = re.fullmatch(r"(\d{1,6})([smh])", text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"--every {text!r} is no time", hint="such as 30s, 5m or 2h")
    return float(int(found[1]) * _UNITS[found[2]])


class Watcher:
    """Looks and acts, and says each thing once."""

    def __init__(self, path: Path, dry_run: bool = False, as_json: bool = False) -> None:
        self.path, self.dry_run, self.as_json = path, dry_run, as_json
        self.seen = self.failed = ""
        """What was found and what failed last: the same again is not said again."""
        self.failures = 0
        """Looks in a row that failed though waiting may help."""

    def safely(self, pause: float) -> float:
        """One look of many: an error is said, and the next look comes; seconds until then."""
        later = False
        try:
            self.turn()
            self.failed = ""
        except GateFailed as error:
            console.refused(error)  # once: the next look knows that it was refused
        except OpsloreError as error:
            later = error.retryable or error.exit_code == 75
            self._failure(error)
        except OSError as error:
            self._failure(error)
        self.failures = self.failures + 1 if later else 0
        return min(LONGEST, FIRST * 2.0 ** min(self.failures - 1, 20)) if later else pause

    def _failure(self, error: OpsloreError | OSError) -> None:
        """Say what failed, unless it is what failed the last time."""
        text = f"{type(error).__name__} {error}"
        if text == self.failed:
            return
        self.failed = text
        if isinstance(error, OpsloreError):
            console.explain(error)
        else:
            console.unusable(error)

    def turn(self) -> int:
        """One look, and what follows from it; the exit code of `--once`.

        Raises:
            GateFailed: the release is refused now.
            OpsloreError: a source, a step or a target failed.
        """
        settings = console.agent(self.path)
        from opslore import watching

        with console.progress():
            seen = watching.look(settings)
        if (mark := _mark(seen)) != self.seen:
            self._tell(seen)
            self.seen = mark
        if self.dry_run or seen.todo == "nothing":
            return 0
        if seen.todo == "refused":
            return GateFailed.exit_code
        return self._act(settings, seen)

    def _act(self, settings: Agent, seen: Seen) -> int:
        """Take the steps; what they made, and the proof, are said as they come."""
        from opslore import store, summary, watching
        from opslore.proving import Proof

        version, proof = "", None
        acting = watching.act(settings, seen)
        while (found := self._next(acting)) is not None:
            if isinstance(found, Proof):
                proof = found
            elif not self.as_json:
                console.say(f"{store.STEP_OF[found.kind]:<9} {summary.line(found)}")
            version = getattr(found, "version", version)
        if self.as_json:
            given = proof.model_dump(mode="json") if proof else None
            self._json({"event": "released", "version": version, "proof": given})
        elif proof is not None:
            self._show(proof)
        return 0 if proof is None or proof.holds else UNPROVEN

    def _next(self, acting: Iterator[Card | Proof]) -> Card | Proof | None:
        try:
            with console.progress():
                return next(acting, None)
        except GateFailed as error:
            if self.as_json:
                self._json({"event": "refused", "reasons": error.reasons})
            raise

    def _tell(self, seen: Seen) -> None:
        base = seen.base.version if seen.base else ""
        if self.as_json:
            self._json(
                {
                    "event": "look",
                    "todo": seen.todo,
                    "release": base,
                    **seen.changes.model_dump(mode="json"),
                    "refused": seen.reasons,
                }
            )
            return
        from opslore import watch_tables

        console.show_all(watch_tables.seen(seen))
        if seen.todo == "refused":
            console.refused(
                GateFailed(
                    seen.reasons,
                    hint="not tried again until a source or the agent file changes, or a person"
                    " lets it: opslore evaluate AGENT.yaml --override GATE, and of what was rolled"
                    " back opslore deploy AGENT.yaml --again",
                )
            )

    def _show(self, proof: Proof) -> None:
        from opslore import watch_tables

        console.show_all(watch_tables.proof(proof))

    def _json(self, row: dict[str, Any]) -> None:
        console.say(json.dumps(row))


def _mark(seen: Seen) -> str:
    """What makes a look another one than the last; a try that goes on, or was refused, is none."""
    base = seen.base.id if seen.base else ""
    return f"{seen.todo == 'nothing'} {base} {seen.changes.model_dump_json()}"
