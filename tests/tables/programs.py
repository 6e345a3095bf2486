"""Where each tool is, and how it is asked for its flags and verbs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from real.helm import HELM

from . import cloud, gnu, said
from .said import Said
from .tree import Tree, each, run, walk

Ask = Callable[[Path], Tree]


@dataclass(frozen=True)
class Program:
    """A program that can say which flags it takes."""

    name: str
    ask: Ask
    version: tuple[str, ...] = ("--version",)
    """What it is asked for its version."""
    optional: tuple[str, ...] = ()
    """Flags whose value is optional and so must follow `=`, though the help does not show it."""
    group: str = ""
    """The verb of another tool that this program is (`docker compose`)."""
    of: str = ""
    """That tool, or the tool whose table this program shares."""

    def tree(self, path: Path) -> Tree:
        """What the program says, under the names that the table uses."""
        found = self.ask(path)
        for one in found.values():
            one.kinds |= {name: "bool" for name in self.optional if name in one.kinds}
        if not self.group:
            return found
        return {f"{self.group} {path}".strip(): one for path, one in found.items()}

    def named(self, path: Path) -> str:
        """The program with its version, as the line that it prints says it."""
        lines = [line.strip() for line in run(path, *self.version).splitlines()]
        line = next((line for line in lines if re.search(r"\d\.\d", line)), "no version")
        number = re.search(r"v?\d+\.[\w.+~-]*", line)
        return f"{self.name} {number[0] if number else line}"

    def found(self) -> list[Path]:
        """Every copy of the program: built ones, OPSLORE_TOOLS, then the path of this machine."""
        built = HELM.folder / self.name
        folders = [Path(one) for one in os.environ.get("OPSLORE_TOOLS", "").split(":") if one]
        places = [built, *(folder / self.name for folder in folders)]
        places += [Path(one) for one in [shutil.which(self.name)] if one]
        return list(dict.fromkeys(one for one in places if one.is_file()))


def _kubectl(program: Path) -> Tree:
    found = walk(program, said.kubectl)
    found[""] = said.kubectl(run(program, "options"))
    return found


def _git(program: Path) -> Tree:
    names = run(program, "--list-cmds=main,others").split()
    wanted = [name for name in names if name in _GIT.split()]
    read = partial(gnu.options, style="angle")
    found = each(program, _without_usage(read), wanted, ("-h",))
    usage = run(program, "-h").partition("<command>")[0]
    lines = re.findall(r"\[(-[^\[\]]*(?:\[[^\]]*\])?[^\[\]]*)\]", usage)
    return {"": read("\n".join(lines).replace(" | ", ", ")), **found}


def _without_usage(read: Callable[[str], Said]) -> Callable[[str], Said]:
    """Read only what follows the usage: its lines begin with flags too."""
    return lambda text: read(text.partition("\n\n")[2] if "usage:" in text[:200] else text)


_GIT = (
    "add am apply archive bisect blame branch bundle cat-file checkout cherry-pick clean clone "
    "commit config describe fetch fsck gc grep init ls-files ls-remote merge mv pull push "
    "rebase remote reset restore revert rm shortlog show-ref stash status "
    "switch tag update-ref worktree"
)


def _terraform(program: Path) -> Tree:
    read = partial(gnu.options, style="dash")

    def one(text: str) -> Said:
        found = read(text)
        found.commands = gnu.listed(text, r"(?:Main|All other) commands:")
        found.commands += gnu.listed(text, r"Subcommands:", 4)
        found.runs = not found.commands
        return found

    return walk(program, one, ("-help",))


def _systemctl(program: Path) -> Tree:
    text = run(program, "--help")
    top = gnu.options(text)
    found = {"": top}
    for heading in ("Unit Commands:", "Unit File Commands:", "Machine Commands:", "Job Commands:"):
        found |= {name: Said() for name in gnu.listed(text, heading)}
    for heading in ("Environment Commands:", "Manager State Commands:", "System Commands:"):
        found |= {name: Said() for name in gnu.listed(text, heading)}
    return found


def _etcdctl(program: Path) -> Tree:
    text = run(program, "--help")
    if "OPTIONS:" not in text:
        found = walk(program, said.cobra)
        return found | {"": said.cobra(run(program, "options"))}
    top = said.etcdctl(text)
    paths = [path for path in top.commands if not path.startswith(("completion", "help"))]
    return {"": top, **each(program, said.etcdctl, paths, ("--help",))}


def plain(
    *arguments: str, style: gnu.Style = "gnu", read: Callable[[str], Said] | None = None
) -> Ask:
    """A program without verbs: one help text."""
    parse = read or partial(gnu.options, style=style)
    return lambda program: {"": parse(run(program, *arguments))}


_VERBS = [
    Program("kubectl", _kubectl, ("version", "--client"), ("dry-run", "cascade", "validate")),
    Program("helm", partial(walk, read=said.cobra), ("version", "--short")),
    Program("flux", partial(walk, read=said.cobra)),
    Program("linkerd", partial(walk, read=said.cobra), ("version", "--client", "--short")),
    Program("istioctl", partial(walk, read=said.cobra), ("version", "--remote=false")),
    Program("docker", partial(walk, read=said.cobra)),
    Program("docker-compose", partial(walk, read=said.cobra), of="docker", group="compose"),
    Program("podman", partial(walk, read=said.cobra)),
    Program("etcdctl", _etcdctl, ("version",)),
    Program("restic", partial(walk, read=said.cobra), ("version",), ("verbose",)),
    Program("terraform", _terraform),
    Program("git", _git),
    Program("systemctl", _systemctl),
    Program("aws", cloud.aws),
    Program("gcloud", cloud.gcloud),
]
_PLAIN = [
    Program("journalctl", plain("--help")),
    Program("psql", plain("--help")),
    Program("pg_dump", plain("--help")),
    Program("pg_dumpall", plain("--help")),
    Program("pg_isready", plain("--help")),
    Program("mysql", plain("--no-defaults", "--help")),
    Program("redis-cli", plain("--help", style="angle")),
    Program("curl", plain("--help", "all", style="angle")),
    Program("wget", plain("--help")),
]
_GNU = (
    "cat tac nl head tail grep sort uniq wc cut tr comm paste fold tsort ls dir stat "
    "readlink realpath basename dirname du df tee od base64 base32 md5sum sha1sum sha256sum "
    "sha512sum cksum mkdir touch ln cp mv install rm rmdir shred truncate expr factor "
    "column rev findmnt lsblk blkid wipefs file hexdump strings diff cmp sdiff "
    "rsync sudo env timeout nohup nice ionice stdbuf chrt taskset unshare watch "
    "xargs chroot nsenter flock setsid runuser strace sysctl"
)


def programs() -> dict[str, Program]:
    """Every program that can be asked, by its name."""
    listed = [*_VERBS, *_PLAIN, *(Program(name, plain("--help")) for name in _GNU.split())]
    return {one.name: one for one in listed}


def present() -> Iterator[tuple[Program, list[Path]]]:
    """The programs that are on this machine, with every copy of each."""
    for one in programs().values():
        if found := one.found():
            yield one, found
