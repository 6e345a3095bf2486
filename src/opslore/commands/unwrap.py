"""Commands inside commands: `sudo`, `xargs`, `sh -c`, `ssh`, `find -exec`, `kubectl exec`.

Each function says which inner words or texts a call would run, or that nobody can know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from opslore.commands.arguments import Invocation
from opslore.commands.judgement import READ, Judgement, Scene, is_dynamic
from opslore.commands.syntax import Word

_POISON = re.compile(
    r"^(?:LD_\w+|BASH_ENV|ENV|PROMPT_COMMAND|SHELLOPTS|BASHOPTS|PS4|IFS|PYTHONSTARTUP|PERL5OPT)\+?$"
)
_LOOKUP = re.compile(
    r"^(?:PATH|EDITOR|VISUAL|PAGER|KUBE_EDITOR|GIT_\w+|PYTHONPATH|NODE_OPTIONS)\+?$"
)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.S)


@dataclass(frozen=True, slots=True)
class Inner:
    """What a call runs: one command's words, texts of whole scripts, and its own judgement."""

    words: tuple[Word, ...] = ()
    texts: tuple[str, ...] = ()
    own: Judgement = READ
    unseen: bool = False
    """Arguments are added that are not in the command (xargs)."""


def setting(name: str) -> Judgement:
    """What setting an environment variable may do to the commands that follow."""
    if _POISON.match(name):
        return Judgement("denied", "poisoned-environment", f"{name} changes what programs run")
    if _LOOKUP.match(name):
        return Judgement("unknown", "lookup-path", f"{name} decides which program runs")
    return READ


def wrapper(call: Invocation, base: Judgement) -> Inner:
    """sudo, env, timeout, nohup, watch, xargs ...: the words after their own."""
    if call.program == "command" and (call.value("v") is not None or call.value("V") is not None):
        return Inner()
    words, own = list(call.inner), base
    while call.program in ("env", "sudo", "doas") and words:
        assigned = _ASSIGNMENT.match(words[0].text)
        if not assigned:
            break
        judged = setting(assigned.group(1))
        own = judged if judged.level != "read" else own
        words.pop(0)
    if call.program == "env" and call.value("S", "split-string") is not None:
        return Inner(own=Judgement("denied", "split-string", "env -S builds its own command"))
    if call.program in ("watch", "parallel") and words:
        return Inner(texts=(_text(words),), own=own)
    if call.program in ("runuser",) and call.value("command"):
        return Inner(texts=(call.value("command") or "",), own=own)
    if call.program in ("xargs", "parallel") and words:
        return Inner(words=tuple(words), own=_replaced(call, words[0], own), unseen=True)
    if not words and call.program in ("sudo", "doas", "chroot", "nsenter", "unshare"):
        return Inner(own=Judgement("reversible", "session", "opens a shell with more rights"))
    return Inner(words=tuple(words), own=own)


def _replaced(call: Invocation, program: Word, own: Judgement) -> Judgement:
    if (call.value("replace") or "{}") in program.text:
        return Judgement("denied", "dynamic-program", "the pipe decides which program runs")
    return own


def shell(call: Invocation, scene: Scene) -> Inner:
    """`sh -c TEXT`, a script file, or whatever a pipe brings."""
    words = list(call.positionals)
    if call.program == "su":
        words = [word for word in words if word.text not in ("-", "-l", "--login")]
    for at, word in enumerate(words):
        if re.fullmatch(r"-[a-z]*c|--command", word.text) and at + 1 < len(words):
            return _script(words[at + 1])
    operands = [word for word in words if not re.match(r"[-+]\w", word.text) and word.text != "-"]
    if any(part.kind == "process" for word in words for part in word.parts):
        return Inner(own=Judgement("denied", "process-substitution", "runs what a command prints"))
    if scene.text and not operands:
        return Inner(texts=(scene.text,), own=_pipe() if scene.piped else READ)
    if scene.piped and (not operands or call.program == "su" or _reads_input(words)):
        return Inner(own=_pipe())
    if not operands or call.program == "su":
        return Inner(own=Judgement("reversible", "session", "opens a shell"))
    return Inner(
        own=Judgement("unknown", "script-file", "runs a script that is not in the command")
    )


def _reads_input(words: list[Word]) -> bool:
    return any(re.fullmatch(r"-[a-z]*s|/dev/stdin", word.text) for word in words)


def _pipe() -> Judgement:
    return Judgement("denied", "pipe-to-shell", "runs what a pipe brings")


def _script(word: Word) -> Inner:
    if any(part.kind in ("substitution", "process") for part in word.parts):
        return Inner(own=Judgement("denied", "built-script", "the script is built while it runs"))
    own = READ
    if word.literal is None:
        own = Judgement("unknown", "built-script", "variables stand in the script")
    return Inner(texts=(word.text,), own=own)


def remote(call: Invocation, base: Judgement) -> Inner:
    """`ssh HOST WORDS`: the other side joins the words and gives them to a shell."""
    options = " ".join(
        flag.value.text for flag in call.flags if flag.name == "option" and flag.value
    )
    if re.search(r"command", options, re.I):
        return Inner(own=Judgement("denied", "ssh-command", "an ssh option that runs a program"))
    if not call.inner:
        return Inner(own=Judgement("reversible", "session", "opens a session on another host"))
    return Inner(texts=(_text(list(call.inner)),), own=base)


def find(call: Invocation) -> Inner:
    """`find`: what `-exec` runs, `-delete`, and files that it writes."""
    texts = [word.text for word in call.positionals]
    if "-delete" in texts:
        return Inner(own=Judgement("destructive", "find-delete", "deletes what it finds"))
    for at, text in enumerate(texts):
        if text in ("-exec", "-execdir", "-ok", "-okdir"):
            rest = call.positionals[at + 1 :]
            ends = [i for i, word in enumerate(rest) if word.text in (";", "+")]
            words = rest[: ends[0]] if ends else rest
            more = find(Invocation("find", call.tool, call.verb, rest[len(words) + 1 :]))
            if more.words or more.own.level != "read":
                return Inner(
                    own=Judgement("unknown", "find-exec", "runs several commands"), words=words
                )
            return Inner(words=words, unseen=True)
        if text in ("-fprint", "-fprintf", "-fls", "-fprint0"):
            return Inner(own=Judgement("disruptive", "writes-file", "writes a file"))
    return Inner()


def evaluated(call: Invocation) -> Inner:
    """`eval`, `source`, `.`: refused, whatever they are given."""
    return Inner(own=Judgement("denied", "evaluates", f"{call.program} runs text as a command"))


def dynamic_program(words: tuple[Word, ...]) -> bool:
    """Whether the program's name is known only to a running shell."""
    first = words[0]
    bare = any(part.kind == "bare" and not part.text.startswith("~") for part in first.parts)
    return bare or is_dynamic(first)


def _text(words: list[Word]) -> str:
    """Words as the shell on the other side reads them: this side's quotes are gone."""
    return " ".join(word.text for word in words)
