"""Deploy to an Ollama: `NAME:VERSION` is installed and proved, then `NAME:latest` moves to it.

Ollama's own copy empties the old tag before it fills it, so a reader may find nothing in between.
Where the server's folder is this machine's, the tag moves by a rename instead
(docs/decisions/0007-ollama-pointer.md).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from opslore import prompt
from opslore.bundle import modelread
from opslore.cards import ESCALATE, Message
from opslore.config_deploy import Ollama
from opslore.errors import ConfigError, IntegrityError, MissingInput
from opslore.index import Index
from opslore.release.targets import Staged
from opslore.release.version import VERSION, checked
from opslore.servers import ollama_install as installing
from opslore.servers.ollama_client import Client
from opslore.servers.ollama_install import Probe, Recipe
from opslore.store import sha256, sync

LATEST = "latest"
KEPT = "kept-"
"""Start of the tag under which a `latest` without a version is kept when it moves on."""

_BLOB = re.compile(r"^FROM (/.+)/blobs/sha256-[0-9a-f]{64}$", re.MULTILINE)


class OllamaTarget:
    """One name in one Ollama."""

    def __init__(self, section: Ollama, agent: str) -> None:
        """Check the address; nothing is asked yet.

        Args:
            section: the target's part of the agent file.
            agent: the agent's name, which the model has unless the section names another.

        Raises:
            ConfigError: the url is no address.
        """
        self.url = section.url
        self.model = section.model or agent
        with Client(section.url):
            pass

    @property
    def name(self) -> str:
        """The tag that readers follow, and where."""
        return f"Ollama {self.url} {self.model}:{LATEST}"

    def stage(self, release: Staged) -> None:
        """Install `NAME:VERSION` and prove it; a model that is there already is never replaced.

        Raises:
            ConfigError: `NAME:latest` is there, and opslore did not make it.
            IntegrityError: `NAME:VERSION` is there, and is another model.
            DataError: it reads another prompt than in training, or does not stop.
            ServerError: unreachable, too old, out of disk.
        """
        model = f"{self.model}:{checked(release.version)}"
        gguf, recipe = recipe_of(release.files)
        digest = sha256(gguf)
        with Client(self.url) as client:
            client.version()
            self._refuse_foreign(client, client.tags())
            installing.install(client, model, gguf, digest, recipe)
            tokens = int(recipe.parameters.get("num_predict", 160))
            seen = probe(release.files, gguf)
            installing.verify(client, model, gguf, digest, recipe, seen, tokens)

    def aim(self, agent: str, version: str) -> str:
        """The digest that `NAME:VERSION` has.

        Raises:
            MissingInput: it was not staged.
        """
        with Client(self.url) as client:
            found = client.tags().get(f"{self.model}:{checked(version)}")
        if found is None:
            raise MissingInput(
                f"Ollama {self.url} has no {self.model}:{version}",
                hint="run `opslore deploy AGENT.yaml`: it installs the version first",
            )
        return found

    def now(self) -> str | None:
        """The digest that `NAME:latest` has."""
        with Client(self.url) as client:
            return client.tags().get(f"{self.model}:{LATEST}")

    def version(self) -> str:
        """The version that `NAME:latest` is; empty when there is none, or opslore knows it not."""
        with Client(self.url) as client:
            tags = client.tags()
        state = tags.get(f"{self.model}:{LATEST}", "none")
        return max((tag for tag in self._tags(tags, state) if VERSION.fullmatch(tag)), default="")

    def server(self) -> str:
        """The version of the server itself.

        Raises:
            ServerError: it does not answer, or is too old.
        """
        with Client(self.url) as client:
            return client.version()

    def versions(self) -> list[str]:
        """Every version that is installed, oldest first."""
        with Client(self.url) as client:
            tags = client.tags()
        return sorted(tag for tag in self._tags(tags) if VERSION.fullmatch(tag))

    def move(self, state: str | None) -> None:
        """Let `NAME:latest` be the model with this digest; None takes the tag away.

        Raises:
            MissingInput: no tag of the name has this digest.
            ServerError: Ollama refused; the tag is as it was.
        """
        latest = f"{self.model}:{LATEST}"
        with Client(self.url) as client:
            tags = client.tags()
            before = tags.get(latest)
            if before == state:
                return
            if before is not None and not set(self._tags(tags, before)) - {LATEST}:
                # Else its files would be nobody's, and gone with the tag.
                client.copy(latest, f"{self.model}:{KEPT}{before[:12]}")
            if state is None:
                client.delete(latest)
            else:
                self._point(client, tags, state)
            if (after := client.tags().get(latest)) != state:
                raise client.error(
                    f"has {latest} at {after} after it was moved to {state}",
                    "somebody else moves it too; run `opslore status AGENT.yaml`",
                )

    def _point(self, client: Client, tags: dict[str, str], state: str) -> None:
        sources = sorted(set(self._tags(tags, state)) - {LATEST})
        if not sources:
            raise MissingInput(
                f"Ollama {self.url} has no version of {self.model} with digest {state[:12]}",
                hint="run `opslore deploy AGENT.yaml`: it installs the version again",
            )
        source = f"{self.model}:{sources[0]}"
        if (folder := self._folder(client, source, state)) is None:
            client.copy(source, f"{self.model}:{LATEST}")
        else:
            _rename(folder, sources[0])

    def _folder(self, client: Client, source: str, state: str) -> Path | None:
        """The folder with this name's tags, if it is on this machine and ours to write."""
        where = _BLOB.search(str(client.show(source).get("modelfile") or ""))
        if where is None:
            return None
        folder = Path(where[1]) / "manifests" / "registry.ollama.ai" / "library" / self.model
        manifest = folder / source.partition(":")[2]
        try:
            # A path of another machine may exist on this one; the digest tells them apart.
            if sha256(manifest) != state or os.geteuid() not in (0, manifest.stat().st_uid):
                return None
        except OSError:
            return None
        return folder if os.access(folder, os.W_OK) else None

    def _tags(self, tags: dict[str, str], digest: str | None = None) -> list[str]:
        """Tags of this name, all of them or those with a digest."""
        mine = (name.partition(":") for name in tags if digest in (None, tags[name]))
        return [tag for name, _, tag in mine if name == self.model]

    def _refuse_foreign(self, client: Client, tags: dict[str, str]) -> None:
        latest = f"{self.model}:{LATEST}"
        if latest in tags and not installing.sent_digest(client.show(latest)):
            raise ConfigError(
                f"Ollama {self.url}: {latest} is there, and opslore did not make it",
                hint="nothing was changed; name another model in deploy[].model, or keep that one"
                f" under a name of its own: ollama cp {latest} mine && ollama rm {latest}",
            )


def recipe_of(files: Path) -> tuple[Path, Recipe]:
    """The GGUF of a bundle, and how Ollama is to talk to it by the bundle's own Modelfile.

    Raises:
        MissingInput: no Modelfile, or no GGUF.
        IntegrityError: the Modelfile is not what `export` writes.
    """
    said = modelread.read(files / "Modelfile")
    gguf = files / said.gguf
    if not gguf.is_file():
        raise MissingInput(f"{gguf}: no such file", hint="run `opslore export AGENT.yaml` again")
    # Older servers lower the probability of what was said; nothing here was judged that way.
    parameters: dict[str, Any] = {"repeat_penalty": 1.0, **said.parameters}
    if said.stops:
        parameters["stop"] = said.stops
    return gguf, Recipe(said.template, said.renderer, said.parser, said.system, parameters)


def probe(files: Path, gguf: Path) -> Probe:
    """A question as evaluation would ask it: about the runbook's first entry, or one trained."""
    try:
        settings = json.loads((files / "settings.json").read_bytes())
        system, count = str(settings["system_prompt"]), int(settings["entries"])
        trained = str(settings.get("probe", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{files / 'settings.json'}: not what `export` wrote: {error}",
            hint="run `opslore export AGENT.yaml` again",
        ) from error
    # What installs it may have no llama.cpp, and any question will do.
    index = Index.read(files, meaning=False)
    known = [entry for entry in index.entries if entry.answer != ESCALATE] or index.entries
    about = f"{known[0].title} {known[0].symptoms}".strip() if known else ""
    question = about or trained or "Is anything wrong?"
    turns: list[Message] = prompt.messages(system, question, index.search(question, count))
    return installing.prober(gguf)(turns)


def _rename(folder: Path, source: str) -> None:
    """Put a copy of a manifest over `latest` in one step."""
    # Three folders up no name is looked for, and it is the same file system.
    temporary = folder.parents[2] / f".opslore-{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write((folder / source).read_bytes())
            file.flush()
            os.fsync(file.fileno())
        # The server fills the same file when somebody calls its own copy.
        found = (folder / source).stat()
        temporary.chmod(found.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(temporary, found.st_uid, found.st_gid)
        temporary.replace(folder / LATEST)
        sync(folder)
    finally:
        temporary.unlink(missing_ok=True)
