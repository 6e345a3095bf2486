"""An existing Helm release: tried by a server-side dry-run, upgraded, or rolled back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore import config_deploy
from opslore.errors import ConfigError, MissingExtra, OpsloreError, ServerError
from opslore.release import yamltext
from opslore.release.yamltree import Node, trees

OLDEST = (3, 13)
"""The first Helm with `--dry-run=server`."""

SECONDS = 120
"""How long a Helm command may take that does not wait for pods."""


@dataclass(frozen=True)
class Deployed:
    """What the cluster runs."""

    revision: int
    """The last revision that was deployed, not the last that was tried."""
    healthy: bool
    """The last one that was tried is the one that was deployed."""
    values: dict[str, Any]
    """The values people gave it, without the chart's own."""


class Helm:
    """One Helm release, through the `helm` program."""

    def __init__(self, section: config_deploy.Helm) -> None:
        self.section = section

    def check(self, values: str, file: str, key: str) -> None:
        """Try an upgrade to these values without doing it.

        Args:
            values: text of the values file.
            file: its name, for messages.
            key: the key that is set, for messages.

        Raises:
            MissingExtra: no helm, or one without server-side dry-run.
            ConfigError: the chart renders a variable twice, or values would be lost.
            ServerError: the chart cannot be rendered, the cluster refuses it, or another
                operation is going on.
        """
        self.version()
        deployed = self.deployed()
        with _file(values) as path:
            rendered = self._run(
                "template", self.section.release, self.section.chart, "-f", path, cluster=False
            )
            refuse_twice(rendered, self.section.chart, file, key)
            self._refuse_lost(deployed, values, file)
            self._upgrade(path, "--dry-run=server")

    def deployed(self) -> Deployed:
        """What the cluster runs now.

        Raises:
            ConfigError: there is no such release.
            ServerError: the cluster does not answer, or an operation is going on.
        """
        history = json.loads(self._run("history", self.section.release, "-o", "json"))
        last = max(history, key=lambda entry: int(entry["revision"]))
        if last["status"].startswith("pending"):
            raise ServerError(
                f"deploy: Helm release {self.section.release}: revision {last['revision']} is "
                f"{last['status']} since {last.get('updated', '?')}",
                hint="wait for it; if whoever did it is gone: "
                + self._command("rollback", self.section.release),
                retryable=True,
            )
        done = [int(entry["revision"]) for entry in history if entry["status"] == "deployed"]
        if not done:
            raise ServerError(
                f"deploy: Helm release {self.section.release} has no deployed revision, "
                f"the last is {last['status']}",
                hint=self._command("history", self.section.release),
            )
        revision = max(done)
        number = ["--revision", str(revision), "-o", "json"]
        values = json.loads(self._run("get", "values", self.section.release, *number)) or {}
        return Deployed(revision, revision == int(last["revision"]), values)

    def upgrade(self, values: str) -> None:
        """Upgrade to these values and wait until it is ready; on failure roll back.

        Raises:
            ServerError: what Helm said; the release runs what it ran before, or the message
                says that it does not.
        """
        before = self.deployed().revision
        try:
            with _file(values) as path:
                self._upgrade(path, *self._until_ready())
        except BaseException as error:
            try:
                if not self._still(before):
                    self.rollback(before)
                    error.add_note(f"Helm release {self.section.release} was rolled back")
            except OpsloreError as other:
                error.add_note(f"and it could not be rolled back: {other.message}")
            raise

    def rollback(self, revision: int) -> None:
        """Return to a revision, unless it is the one that runs.

        Raises:
            ServerError: what Helm said.
        """
        if not self._still(revision):
            wait = self._until_ready()
            self._run("rollback", self.section.release, str(revision), *wait, slow=True)

    def _still(self, revision: int) -> bool:
        history = json.loads(self._run("history", self.section.release, "-o", "json"))
        return max(int(entry["revision"]) for entry in history) == revision

    def _upgrade(self, path: str, *how: str) -> None:
        what = [self.section.release, self.section.chart, "-f", path]
        self._run("upgrade", *what, *how, slow="--timeout" in how)

    def _until_ready(self) -> list[str]:
        # Helm 4 waits with watches that may begin with a copy of the cluster from before the
        # upgrade, whose pods were ready. What Helm 3 does, and 4 calls legacy, asks for each
        # object as it is now.
        wait = "--wait=legacy" if (_number(self.version()) or OLDEST) >= (4, 0) else "--wait"
        return [wait, "--timeout", f"{self.section.timeout}s"]

    def _refuse_lost(self, deployed: Deployed, values: str, file: str) -> None:
        """An upgrade takes the file alone: what was once given by --set would be gone."""
        tree = next(iter(trees(values, file)), None)
        lost = [shown for shown in _leaves(deployed.values, ()) if tree and not _has(tree, shown)]
        if lost:
            names = ", ".join(yamltext.shown(steps) for steps in lost[:5])
            raise ConfigError(
                f"deploy: Helm release {self.section.release} has values that {file} does not: "
                f"{names}; an upgrade with the file would take them away",
                hint=f"write them into {file}; see them: "
                + self._command("get", "values", self.section.release),
            )

    def version(self) -> str:
        """The version of the `helm` program.

        Raises:
            MissingExtra: no helm, or one without server-side dry-run.
        """
        text = self._run("version", "--short", cluster=False)
        if (_number(text) or OLDEST) < OLDEST:
            raise MissingExtra(
                f"helm is {text.split('+')[0].strip()}; deploy needs 3.13 or newer",
                hint="install a newer helm: https://helm.sh/docs/intro/install",
            )
        return text.split("+")[0].strip()

    def _command(self, *arguments: str) -> str:
        return " ".join(["helm", *arguments, *self._where()])

    def _where(self) -> list[str]:
        context = ["--kube-context", self.section.context] if self.section.context else []
        return ["--namespace", self.section.namespace, *context]

    def _run(self, *arguments: str, slow: bool = False, cluster: bool = True) -> str:
        if (program := shutil.which("helm")) is None:
            raise MissingExtra(
                "deploy[].helm needs the program helm",
                hint="install it: https://helm.sh/docs/intro/install",
            )
        limit = SECONDS + (self.section.timeout if slow else 0)
        where = self._where() if cluster else self._where()[:2]
        try:
            done = subprocess.run(
                [program, *arguments, *where],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(
                f"deploy: `helm {arguments[0]} {self.section.release}` took over {limit} s",
                hint=self._command("status", self.section.release),
                retryable=True,
            ) from error
        if done.returncode:
            raise self._refused(arguments, done.stderr)
        return done.stdout

    def _refused(self, arguments: tuple[str, ...], said: str) -> OpsloreError:
        # Only Helm's own words: its output may hold the chart's secrets.
        lines = [line for line in said.splitlines() if not line.startswith("WARNING")]
        why = " ".join(lines[-3:]).strip()[:600]
        if "release: not found" in why:
            return ConfigError(
                f"deploy: no Helm release {self.section.release} in {self.section.namespace}",
                hint=f"install it once: helm install {self.section.release} {self.section.chart} "
                f"--namespace {self.section.namespace} -f FILE; or mend deploy[].helm",
            )
        return ServerError(
            f"deploy: `helm {arguments[0]} {self.section.release}`: {why}",
            hint=self._command("status", self.section.release),
            retryable="cluster unreachable" in why,
        )


def _number(version: str) -> tuple[int, int] | None:
    match = re.match(r"v(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else None


def refuse_twice(rendered: str, chart: str, file: str, key: str) -> None:
    """Refuse a chart that renders one variable twice in a container.

    Args:
        rendered: what `helm template` printed.
        chart: for the message.
        file: name of the values file.
        key: the key that is set.

    Raises:
        ConfigError: a variable stands twice; the message says where.
    """
    for tree in yamltext.documents(rendered, f"chart {chart}, rendered"):
        for container, variable in _twice(tree):
            kind, name = (yamltext.lookup(tree, "kind"), _below(tree, "metadata", "name"))
            where = f"{kind.text if kind else '?'} {name.text if name else '?'}"
            raise ConfigError(
                f"deploy: the chart already renders the variable {variable}: with {file} it stands "
                f"twice in container {container} of {where}, which Helm 4 and kubectl refuse",
                hint=f"remove {variable} from the lists of variables in {file}; {key} sets it",
            )


def _twice(node: Node) -> Iterator[tuple[str, str]]:
    """(container, variable) of every variable that stands twice in one `env`."""
    env = yamltext.lookup(node, "env")
    if env is not None and env.kind == "list":
        names = [name.text for _, item in env.children if (name := yamltext.lookup(item, "name"))]
        title = yamltext.lookup(node, "name")
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield title.text if title else "?", twice
    for _, value in node.children:
        yield from _twice(value)


def _below(node: Node | None, *steps: str) -> Node | None:
    for step in steps:
        node = yamltext.lookup(node, step) if node else None
    return node


def _leaves(values: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, (*above, str(key)))
    elif above:
        yield above


def _has(node: Node, steps: tuple[str, ...]) -> bool:
    """Whether the file says anything there; an alias or `<<` may bring it from elsewhere."""
    for step in steps:
        below = yamltext.lookup(node, step)
        if below is None:
            return yamltext.lookup(node, "<<") is not None
        if below.kind == "alias":
            return True
        node = below
    return True


@contextmanager
def _file(values: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="opslore-") as folder:
        path = Path(folder) / "values.yaml"
        path.write_bytes(values.encode())
        yield str(path)
