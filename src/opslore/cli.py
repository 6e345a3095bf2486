"""The command line: one command per step of the flow, and what helps beside it.

Results go to stdout (`--json` for machines), progress and errors to stderr. Everything heavy is
imported inside the commands, so that `opslore --help` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from opslore import cli_beside as beside
from opslore import cli_gate as gate
from opslore import cli_lint, cli_refresh, cli_submit, cli_tune, cli_watch, console, machine
from opslore import cli_trust as trust
from opslore import cli_world as world
from opslore.cli_beside import AgentFile, Json
from opslore.errors import ConfigError, GateFailed, OpsloreError

if TYPE_CHECKING:
    from opslore.cards import Card, Evaluation
    from opslore.config import Agent

C = TypeVar("C", bound="Card")

app = typer.Typer(
    name="opslore",
    help="Ops lore in, a small local model out: runbooks become a model that answers alerts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from opslore import __version__

        console.say(f"opslore {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks (or OPSLORE_DEBUG=1)."),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Ops lore in, a small local model out: runbooks become a model that answers alerts."""


@app.command()
def run(agent: AgentFile, as_json: Json = False) -> None:
    """All seven steps; what is already made is not made again."""
    settings = console.agent(agent)
    from opslore import standing

    cards: list[Card] = []
    try:
        steps = standing.walk(settings)
        while (card := _next(steps.__next__)) is not None:
            cards.append(card)
            if not as_json:
                _report(settings, card, short=True)
    finally:
        if as_json and cards:
            _print_all(cards)
    if not as_json:
        path = shlex.quote(str(agent))
        console.say(f'\nnext: opslore ask {path} "ALERT OR SYMPTOM"   (or: opslore report {path})')


def _next(step: Callable[[], Card]) -> Card | None:
    with console.progress():
        try:
            return step()
        except StopIteration:
            return None


@app.command()
def collect(agent: AgentFile, as_json: Json = False) -> None:
    """Read the sources; print what the runbook covers."""
    from opslore import steps

    _single(agent, as_json, steps.collect)


@app.command()
def prepare(agent: AgentFile, as_json: Json = False) -> None:
    """Write the examples of every split, and the index."""
    from opslore import steps
    from opslore.cards import Corpus

    _single(agent, as_json, lambda a: steps.prepare(a, steps.store_of(a).latest(Corpus)))


@app.command()
def train(agent: AgentFile, as_json: Json = False) -> None:
    """Fit a LoRA adapter to the train split."""
    from opslore import steps
    from opslore.cards import Dataset

    _single(agent, as_json, lambda a: steps.train(a, steps.store_of(a).latest(Dataset)))


@app.command()
def export(agent: AgentFile, as_json: Json = False) -> None:
    """Write the bundle: GGUF, Modelfile, catalogue, index."""
    from opslore import steps
    from opslore.cards import Adapter

    _single(agent, as_json, lambda a: steps.export(a, steps.store_of(a).latest(Adapter)))


@app.command()
def evaluate(
    agent: AgentFile,
    override: str = typer.Option("", metavar="GATE", help="Let this failed gate pass."),
    person: str = typer.Option("", help="With --override: who decides."),
    reason: str = typer.Option("", help="With --override: why; it is signed with the release."),
    as_json: Json = False,
) -> None:
    """Score the bundle; exit 3 with every failed gate."""
    from opslore import overriding, steps
    from opslore.cards import Bundle

    if not override and (person or reason):
        raise ConfigError("--person and --reason go with --override GATE")

    def step(settings: Agent) -> Evaluation:
        home = steps.store_of(settings)
        bundle = home.latest(Bundle)
        # The dataset it was made for: another one's test alerts may be among its training.
        found = steps.evaluate(settings, steps.dataset_of(home, bundle), bundle)
        return overriding.override(home, found, override, person, reason) if override else found

    steps.check(_single(agent, as_json, step))


@app.command()
def publish(agent: AgentFile, as_json: Json = False) -> None:
    """Archive and register a version that passed the gate."""
    from opslore import lineage, steps
    from opslore.cards import Bundle, Release

    def step(settings: Agent) -> Release:
        home = steps.store_of(settings)
        bundle = home.latest(Bundle)
        return steps.publish(settings, bundle, lineage.evaluation_of(home, bundle))

    _single(agent, as_json, step)


@app.command()
def deploy(
    agent: AgentFile,
    again: bool = typer.Option(
        False, "--again", help="Stage and check anew, also a release that was rolled back."
    ),
    as_json: Json = False,
) -> None:
    """Put the latest release where the agent file says."""
    from opslore import steps
    from opslore.cards import Release

    _single(agent, as_json, lambda a: steps.deploy(a, steps.store_of(a).latest(Release), again))


app.command()(cli_submit.submit)
app.command()(beside.ask)
app.command()(beside.trace)
app.command()(beside.report)
app.command()(gate.why)
app.command()(cli_refresh.refresh)
app.command()(cli_watch.watch)
app.command()(cli_tune.tune)
app.command()(trust.correct)
app.command()(trust.review)
app.command()(cli_lint.lint)
app.command()(beside.init)
app.command()(beside.doctor)
app.command()(world.status)
app.command()(world.rollback)
app.command()(world.compare)
app.command()(world.install)
app.command()(world.point)
app.command()(beside.ls)
app.command()(beside.show)


def _single(agent: Path, as_json: bool, step: Callable[[Agent], C]) -> C:
    settings = console.agent(agent)
    with console.progress():
        card = step(settings)
    if as_json:
        console.say(card.model_dump_json(indent=2))
    else:
        _report(settings, card)
    return card


def _report(settings: Agent, card: Card, short: bool = False) -> None:
    """Say what a step made; its tables too when it was asked for alone."""
    from opslore import steps, store, summary
    from opslore.cards import Corpus, Dataset, Evaluation
    from opslore.evaluation import table

    folder = steps.store_of(settings).path(card)
    console.say(f"{store.STEP_OF[card.kind]:<9} {summary.line(card)}")
    if isinstance(card, Evaluation):
        console.show(table.table(card))
        for one in card.gates:
            console.say(summary.gate_line(one))
        for let in card.overrides:
            console.say(f"      {let.told()}")
    elif short:
        return
    elif isinstance(card, Corpus):
        console.show_all(summary.coverage(folder))
    elif isinstance(card, Dataset):
        console.show_all(summary.dataset(card, folder))


def _print_all(cards: Sequence[Card]) -> None:
    rows = ",\n".join(f'"{card.kind}": {card.model_dump_json(indent=2)}' for card in cards)
    console.say(f"{{\n{rows}\n}}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 done, 1 a bug or the disk, 2 the agent file or a missing input, 3 the gate refuses, 4 a
    damaged file, 5 released but not well learned (watch), 65 the data, 66 a source, 75 try again
    later, 130 Ctrl-C, 143 SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("OPSLORE_DEBUG", "") not in ("", "0")
    given = [argument for argument in given if argument != "--debug"]
    command = shlex.join(["opslore", *given])
    machine.quiet(debug)
    for stream in (sys.stdout, sys.stderr):
        # A locale without UTF-8 must not break an answer.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with console.stoppable(command):
            app(args=given, prog_name="opslore")
        return 0
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except console.Stopped as signal:
        return console.stopped(command, signal.code)
    except OpsloreError as error:
        return _explained(error, debug)
    except OSError as error:
        return console.bug(error, True) if debug else console.unusable(error)
    except Exception as error:
        return console.bug(error, debug)


def _explained(error: OpsloreError, debug: bool) -> int:
    if debug:
        console.trace(error)
    if isinstance(error, GateFailed):
        return console.refused(error)
    return console.explain(error)
