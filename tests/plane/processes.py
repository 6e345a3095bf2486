"""A pod as a process of this machine: Flyte's `a0` in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from real.parts import tail

from .runs import Pod

LONGEST = 600
"""Seconds that a pod may take."""


@dataclass
class Processes:
    """Starts pods as processes.

    Attributes:
        room: the folder for their logs.
        image: the folder with what their image has besides opslore: each works in a copy of it.
        environment: what a pod of this cluster is given besides what its task says.
        secrets: the cluster's secrets; a pod gets those that its task asks for.
    """

    room: Path
    image: Path
    environment: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict)
    started: list[Pod] = field(default_factory=list)
    alive: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, pod: Pod, running: Callable[[], None], stop: threading.Event) -> str:
        """Run it to its end."""
        log = self.room / f"{pod.name}.log"
        work = self.room / pod.name
        work.mkdir()
        for item in self.image.iterdir():
            (work / item.name).symlink_to(item)
        granted = {name: self.secrets[name] for name in pod.secrets}
        with log.open("wb") as words:
            program = subprocess.Popen(
                [Path(sys.executable).with_name(pod.words[0]), *pod.words[1:]],
                cwd=work,
                env={**self.environment, **pod.environment, **granted, "HOME": str(work)},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(pod)
        self.alive[pod.name] = program
        running()
        waited = 0.0
        while program.poll() is None and not stop.wait(0.1) and waited < LONGEST:
            waited += 0.1
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        code = program.wait(30)
        del self.alive[pod.name]
        return f"the pod ended with {code}\n{tail(log, 15)}" if code else ""
