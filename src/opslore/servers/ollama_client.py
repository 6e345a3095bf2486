"""Ollama's protocol: blobs, create, show, copy, and the prompt that it writes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opslore import progress
from opslore.servers.ollama_wire import SLOW, Wire

OLDEST = (0, 17, 1)
"""First Ollama that knows RENDERER and PARSER of every base here."""

CHUNK = 1 << 20
"""Bytes sent at a time."""

CREATING = 1800.0
"""Seconds that `create` may take altogether."""


class Client(Wire):
    """What opslore asks of an Ollama."""

    def version(self) -> str:
        """The server's version; one that was built without a version says 0.0.0.

        Raises:
            ServerError: nobody answers, or it is older than `OLDEST`.
        """
        found = str(self.ask("GET", "/api/version").get("version", ""))
        numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", found)
        if not numbers:
            raise self.error(f"says that it is version {found!r}", "is it an Ollama?")
        this = tuple(int(number) for number in numbers.groups())
        # `go install` leaves the number out; what such a server lacks, verifying finds out.
        if this != (0, 0, 0) and this < OLDEST:
            oldest = ".".join(str(number) for number in OLDEST)
            raise self.error(f"is version {found}, too old", f"update it to {oldest} or newer")
        return found

    def tags(self) -> dict[str, str]:
        """Every model, `name:tag`, with the digest of its manifest (64 hex digits)."""
        listed = self.ask("GET", "/api/tags").get("models") or []
        try:
            return {str(model["name"]): str(model["digest"]) for model in listed}
        except (KeyError, TypeError) as error:
            raise self.error(f"lists its models as {listed!r}"[:200], "is it an Ollama?") from error

    def show(self, model: str) -> dict[str, Any]:
        """What a model was made with.

        Raises:
            MissingInput: there is no such model.
        """
        return self.ask("POST", "/api/show", {"model": model})

    def has_blob(self, digest: str) -> bool:
        """Whether the file with this SHA-256 (64 hex digits) is there."""

        def look() -> bool:
            answer = self.http.head(f"/api/blobs/sha256:{digest}")
            if answer.status_code in (200, 404):
                return answer.status_code == 200
            raise self.refused(answer, "")

        return self.again(look)

    def upload(self, path: Path, digest: str) -> None:
        """Send a file under its SHA-256; one that is there already is not sent again.

        Raises:
            IntegrityError: what arrived is not the file of this digest.
            ServerError: the disk is full, or the connection broke three times.
        """

        def send() -> None:
            # Ollama resets the connection of somebody who sends what it has; and after an answer
            # that was lost this is how the file is found again.
            if self.has_blob(digest):
                return
            size = path.stat().st_size
            answer = self.http.post(
                f"/api/blobs/sha256:{digest}",
                content=_pieces(path, size),
                headers={"Content-Length": str(size)},
                timeout=SLOW,
            )
            if answer.status_code not in (200, 201):
                raise self.refused(answer, "")

        self.again(send)

    def create(self, request: Mapping[str, Any]) -> None:
        """Make a model from files that were uploaded.

        Raises:
            ServerError: Ollama refuses, or its answer ends before it says `success`.
        """
        status, model = "", request["model"]
        end = time.monotonic() + CREATING
        for line in self.stream("/api/create", request):
            status = str(line.get("status", ""))
            progress.report("install", line.get("completed", 0), line.get("total", 0), status)
            if time.monotonic() > end:
                raise self.error(
                    f"has not made {model} in {CREATING / 60:.0f} minutes: {status}",
                    "look at its log, then run again",
                )
        if status != "success":
            raise self.error(
                f"broke off while it made {model}, after {status!r}",
                "run again; nothing was deleted",
            )

    def copy(self, source: str, target: str) -> None:
        """Give a model a second name.

        Raises:
            MissingInput: there is no such model.
        """
        self.once("POST", "/api/copy", {"source": source, "destination": target})

    def delete(self, model: str) -> None:
        """Take a name away; the files that other names use stay."""
        self.once("DELETE", "/api/delete", {"model": model})

    def render(self, request: Mapping[str, Any]) -> str:
        """The prompt that a chat request becomes; nothing is answered.

        Raises:
            ServerError: this Ollama does not tell.
        """
        whole = {**request, "stream": False, "_debug_render_only": True}
        told = self.ask("POST", "/api/chat", whole, SLOW).get("_debug_info") or {}
        if "rendered_template" not in told:
            raise self.error("does not show the prompt that it writes", "update it")
        return str(told["rendered_template"])


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """A file in pieces; the listener hears how much was sent."""
    done = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
            done += len(piece)
            progress.report("upload", done, size, path.name)
