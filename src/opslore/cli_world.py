"""Commands about the world outside the store: where a release is, and back to the one before."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from opslore import cli_submit, console
from opslore.cli_beside import SHORT, AgentFile, Json
from opslore.cli_submit import Domain, Project
from opslore.errors import ConfigError

if TYPE_CHECKING:
    from opslore.config_deploy import Ollama
    from opslore.rounds import Share


def status(
    agent: AgentFile,
    ask: Annotated[
        bool, typer.Option("--ask", help="Run a Job where only a Job can tell what is deployed.")
    ] = False,
    run: Annotated[str, typer.Option(help="Follow this run in Flyte to its end.")] = "",
    project: Project = "",
    domain: Domain = "",
    as_json: Json = False,
) -> None:
    """How far the steps are, what is deployed where, Jobs, runs."""
    settings = console.agent(agent)
    if run:
        again = cli_submit.again(agent, run, project, domain)
        cli_submit.followed(run, again, project, domain, as_json)
        return
    from opslore import standing, submitting, whereabouts

    rows = standing.status(settings)
    with console.progress():
        found = list(whereabouts.places(settings, ask))
    jobs = list(whereabouts.jobs(settings))
    runs, note = submitting.recent(settings, project, domain)
    if as_json:
        console.say(
            json.dumps(
                {
                    "steps": [row.model_dump() for row in rows],
                    "places": [place.model_dump() for place in found],
                    "jobs": [job.model_dump() for job in jobs],
                    "runs": [one.model_dump(exclude={"tasks"}) for one in runs],
                    "flyte": note,
                },
                indent=2,
            )
        )
        return
    for row in rows:
        identity = row.card[:SHORT]
        console.say(f"{row.step:<9} {row.state:<8} {identity:<{SHORT}}  {row.what}".rstrip())
    table = Table("place", "names", "", "mend it with", box=box.SIMPLE)
    for place in found:
        names = whereabouts.short(place.names)
        told = f"{names} (told {whereabouts.ago(place.as_of)})" if place.as_of else names
        row_ = (place.name, told.strip(), place.state, console.real(place.mend))
        table.add_row(*row_, style="" if place.state in ("ok", "empty") else "bold")
    console.show(table)
    for job in jobs:
        since = whereabouts.ago(job.created) if job.created else ""
        console.say("  ".join(filter(None, [job.name, job.version, job.state, since])))
        if job.reason:
            console.say(f"    {job.reason}")
        if job.mend:
            console.say(f"    mend it with: {console.real(job.mend)}")
    cli_submit.shown(runs, note)


def rollback(
    agent: AgentFile,
    to: Annotated[str, typer.Option(help="An older release than the one before.")] = "",
    as_json: Json = False,
) -> None:
    """Return every pointer to the release before; all of them or none."""
    settings = console.agent(agent)
    from opslore import steps
    from opslore.release.current import history

    home = steps.store_of(settings)
    before = history(home).version
    with console.progress():
        moved = steps.rollback(settings, to)
    now = history(home)
    if as_json:
        console.say(json.dumps({"from": before, "to": now.version, "moved": moved}, indent=2))
        return
    console.say(f"{before} -> {now.version}")
    for name in moved:
        console.say(f"  {name}")


def compare(
    agent: AgentFile,
    first: Annotated[str, typer.Argument(metavar="A", help="latest, base, VERSION, X@ollama.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    question: Annotated[
        list[str] | None, typer.Option(help="An alert; may be given often. Else stdin, by lines.")
    ] = None,
    split: Annotated[
        float | None, typer.Option(help="Ask only one: this share of the questions goes to B.")
    ] = None,
    url: Annotated[str, typer.Option(help="The Ollama; else the one that deploy names.")] = "",
    as_json: Json = False,
) -> None:
    """Ask two models the same; keep what they say."""
    settings = console.agent(agent)
    from opslore import compare as comparing
    from opslore import machine

    machine.tune()
    lines = question or [line for line in sys.stdin.read().splitlines() if line.strip()]
    a, b = (comparing.contender(settings, name, url) for name in (first, second))
    with console.progress():
        found = comparing.compare(a, b, lines, split=split)
    if as_json:
        console.say(found.model_dump_json(indent=2))
        return
    table = Table("", "answered", "seconds", box=box.SIMPLE)
    for side, answered in found.answered.items():
        mark = found.a if side == "a" else found.b
        table.add_row(mark, _share(answered), f"{found.seconds[side]:.2f}")
    console.show(table)
    p = "" if found.p is None else f"; McNemar p {found.p:.2g}"
    console.say(f"{found.rounds} rounds, the same answer in {_share(found.equal)}{p}")
    console.say(f"kept in {found.kept}")


def _share(share: Share) -> str:
    return f"{share.count} of {share.n} [{share.low:.2f}, {share.high:.2f}]"


def install(
    uri: Annotated[str, typer.Argument(help="The archive: s3://..., https://... or a path.")],
    sha256: Annotated[str, typer.Option(help="What the archive must be, 64 hex digits.")],
    name: Annotated[str, typer.Option(help="The model's name in Ollama.")],
    version: Annotated[str, typer.Option(help="The release, which becomes the tag.")],
    url: Annotated[str, typer.Option(help="The Ollama.")] = "http://127.0.0.1:11434",
    agent: Annotated[str, typer.Option(help="Whose release it must be; else the name.")] = "",
    digest_only: Annotated[
        bool, typer.Option("--digest-only", help="Do not verify the signature.")
    ] = False,
    as_json: Json = True,  # what a Job prints is read by a program, always
) -> None:
    """Verify a release and install it into an Ollama, as a Job does.

    Who may have signed it is in OPSLORE_TRUSTED_KEY: a public key, or the path of one.
    """
    from opslore.release import inside, keys

    trusted = None if digest_only else keys.trusted()
    with console.progress():
        found = inside.install(uri, sha256, _ollama(url, name), version, trusted, agent)
    console.say(json.dumps({"installed": found, "verified": trusted is not None}))


def point(
    name: Annotated[str, typer.Option(help="The model's name in Ollama.")],
    version: Annotated[str, typer.Option(help="Point NAME:latest to this release.")] = "",
    state: Annotated[str, typer.Option(help="Point it to the model with this digest.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
    url: Annotated[str, typer.Option(help="The Ollama.")] = "http://127.0.0.1:11434",
    as_json: Json = True,
) -> None:
    """Say what NAME:latest is in an Ollama, or move it, as a Job does."""
    from opslore.release import inside

    console.say(inside.point(_ollama(url, name), version, state, remove).model_dump_json())


def _ollama(url: str, name: str) -> Ollama:
    from pydantic import ValidationError

    from opslore.config_deploy import Ollama

    try:
        return Ollama(url=url, model=name)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"--name {name!r}: {problem['msg']}", hint="such as agent-sre") from error
