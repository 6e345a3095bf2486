"""How dangerous a command is, decided on its syntax tree; what nobody can tell counts as dangerous.

The worst part decides. Wrappers (`sudo`, `xargs`, `sh -c`, `ssh`, `kubectl exec`, `find -exec` ...)
are taken off and what they run is judged again. A program whose name is only known while it runs,
`eval`, and text that a pipe brings to a shell are denied; so is text that does not parse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from opslore.cards import Finding
from opslore.commands import unwrap
from opslore.commands.arguments import Invocation, invocation, program_name
from opslore.commands.equivalence import equivalent
from opslore.commands.judgement import Judgement, Scene, at_least, is_dynamic, worst, written
from opslore.commands.parse import parse
from opslore.commands.rules_data import DATA_RULES
from opslore.commands.rules_files import FILE_RULES
from opslore.commands.rules_kubernetes import kubernetes
from opslore.commands.rules_system import SYSTEM_RULES
from opslore.commands.scan import MARK
from opslore.commands.syntax import Compound, Script, Simple, Word, simple_commands, words_of
from opslore.commands.tables import Level

MAX_NESTING = 12
"""Commands inside commands beyond which the command is denied."""

Rule = Callable[[Invocation, Scene, Judgement], Judgement]
_RULES: dict[str, Rule] = {**FILE_RULES, **DATA_RULES, **SYSTEM_RULES, "kubectl": kubernetes}
_ELSEWHERE = frozenset({"ssh", "chroot", "nsenter"})
"""Programs that only choose where a command runs; the command decides."""
_FETCHERS = frozenset({"curl", "wget", "nc", "ncat"})


@dataclass(frozen=True, slots=True)
class Risk:
    """The level of the worst part of a command, and a finding for every part that is not a read."""

    level: Level
    findings: list[Finding]


def risk(command: str) -> Risk:
    """Judge a command."""
    level, findings = _risk(command)
    return Risk(level, list(findings))


def unsafe(predicted: str, accepted: Sequence[str]) -> bool:
    """Whether a command must not be answered: destructive or denied, and not one that is accepted.

    Fill the accepted commands from the alert's labels first; holes left in them match only holes.
    Text that is no shell counts only when a dangerous command can be seen in it.
    """
    found = [
        finding
        for finding in risk(predicted).findings
        if finding.severity in ("destructive", "denied") and finding.rule != "unparseable"
    ]
    return bool(found) and not any(equivalent(predicted, one).equal for one in accepted)


@lru_cache(maxsize=4096)
def _risk(command: str) -> tuple[Level, tuple[Finding, ...]]:
    script = parse(command)
    findings = [
        Finding(rule=one.rule, command=command, why=one.why, severity=one.level)
        for one in dict.fromkeys(_script(script, 0))
        if one.level != "read"
    ]
    if not script.ok and command.strip() and script.reason != "no command":
        why = f"cannot be read as a shell command: {script.reason}"
        findings.append(Finding(rule="unparseable", command=command, why=why, severity="denied"))
    return worst(one.severity for one in findings), tuple(findings)  # type: ignore[misc]


def _script(script: Script, depth: int) -> Iterator[Judgement]:
    if depth > MAX_NESTING:
        yield Judgement("denied", "nested", "commands nest too deep to judge")
        return
    stages: list[Simple | Compound] = []
    for operator, item in script.joined:
        stages = [*stages, item] if operator in ("|", "|&") else [item]
        scene = _scene(stages)
        yield from _redirects(item, depth)
        for word in words_of(item):
            for inner in word.scripts:
                yield from _script(inner, depth + 1)
        if isinstance(item, Compound):
            yield from _compound(item, depth)
        else:
            yield from _simple(item, scene, depth)


def _scene(stages: list[Simple | Compound]) -> Scene:
    """What flows into the last stage of a pipeline."""
    item, before = stages[-1], stages[:-1]
    texts = [redirect.body for redirect in item.redirects if redirect.body is not None]
    texts += [one.target.text for one in item.redirects if one.operator == "<<<"]
    fetched = False
    for stage in before:
        texts += [redirect.body for redirect in stage.redirects if redirect.body is not None]
        for command in simple_commands(Script((stage,))):
            texts += [word.text for word in command.words[1:]]
            fetched |= program_name(command.program) in _FETCHERS
    files = any(one.operator == "<" for one in item.redirects)
    return Scene("\n".join(texts), bool(before) or files, fetched)


def _redirects(item: Simple | Compound, depth: int) -> Iterator[Judgement]:
    for one in item.redirects:
        path = one.target.text
        if (
            one.body is not None
            or one.operator == "<<<"
            or (">" not in one.operator and path[:5] != "/dev/")
        ):
            continue
        if (
            ">" in one.operator
            and is_dynamic(one.target)
            and not one.target.text.startswith("/tmp/")
        ):
            yield Judgement(
                "unknown", "writes-somewhere", "writes to a path that is not known here"
            )
        if ">" in one.operator or "/dev/tcp" in path:
            yield written(path)


def _compound(item: Compound, depth: int) -> Iterator[Judgement]:
    if item.keyword == "other":
        yield Judgement("unknown", "unknown-syntax", f"syntax that is not judged: {item.head[:40]}")
    for clause in item.clauses:
        yield from _script(clause.script, depth + 1)
        if item.keyword == "function":
            calls = {command.program for command in simple_commands(clause.script)}
            if item.head in calls:
                yield Judgement("denied", "fork-bomb", "a function that calls itself")


def _simple(item: Simple, scene: Scene, depth: int) -> Iterator[Judgement]:
    for assignment in item.assignments:
        yield unwrap.setting(assignment.name)
    if item.words:
        yield from _words(item.words, scene, depth)


def _words(
    words: tuple[Word, ...], scene: Scene, depth: int, unseen: bool = False
) -> Iterator[Judgement]:
    if depth > MAX_NESTING:
        yield Judgement("denied", "nested", "commands nest too deep to judge")
        return
    if unwrap.dynamic_program(words):
        yield Judgement(
            "denied", "dynamic-program", f"the program is not known: {_plain(words[0])}"
        )
        return
    call = invocation(words)
    if call.tool is None:
        yield Judgement("unknown", "unknown-program", f"no table for {call.program}")
        return
    base = _base(call)
    if call.inner and (call.verb.path[-1:] in (("exec",), ("rsh",)) or call.program in _ELSEWHERE):
        base = Judgement("read")
    inner = _inner(call, scene, base)
    if inner is None:
        rule = _RULES.get(call.tool.family)
        yield rule(call, scene, base) if rule else base
        inner = unwrap.Inner(words=call.inner)
    yield inner.own
    yield from _builtin(call)
    for text in inner.texts:
        yield from _text(text, scene, depth)
    if inner.words:
        below = Scene() if inner.unseen else scene
        yield from _words(inner.words, below, depth + 1, inner.unseen)


def _text(text: str, scene: Scene, depth: int) -> Iterator[Judgement]:
    """A whole script in a string."""
    script = parse(MARK.sub("hole", text))
    if not script.ok and script.reason != "no command":
        yield Judgement("denied", "unparseable", f"an inner script: {script.reason}")
    yield from _script(script, depth + 1)


def _inner(call: Invocation, scene: Scene, base: Judgement) -> unwrap.Inner | None:
    """What a wrapper runs; None when the call is no wrapper."""
    family = call.tool.family if call.tool else ""
    if family == "wrapper":
        return unwrap.wrapper(call, base)
    if family == "shell":
        return unwrap.shell(call, scene)
    if family == "ssh":
        return unwrap.remote(call, base)
    if family == "find":
        return unwrap.find(call)
    return unwrap.evaluated(call) if family == "evaluate" else None


def _base(call: Invocation) -> Judgement:
    """The table's level for the verb, with the flags that make it better or worse."""
    verb, tool = call.verb, call.tool
    name = " ".join((call.program, *verb.path))
    if not call.known_verb:
        if any(MARK.search(part) or "$" in part for part in verb.path):
            return Judgement(
                "denied", "dynamic-verb", f"what {call.program} does is not known here"
            )
        return Judgement("unknown", "unknown-verb", f"no table for {_readable(name)}")
    level: Level = verb.risk
    given = {flag.name: flag.value.text if flag.value else "" for flag in call.flags}
    own = tool.default if tool else verb
    raises, lowers = {**own.raises, **verb.raises}, {**own.lowers, **verb.lowers}
    found = Judgement(level, level, f"{_readable(name)} is {level}")
    for flag, value in given.items():
        if flag in lowers and value not in ("none", "false"):
            found = Judgement(lowers[flag], "flag", f"{name} --{flag}")
    for flag, value in given.items():
        if flag in raises and value != "false":
            worse = Judgement(
                raises[flag], "flag", f"{_readable(name)} with {flag} is {raises[flag]}"
            )
            found = at_least(found, worse)
    return found


def _builtin(call: Invocation) -> Iterator[Judgement]:
    """Shell builtins that keep a command for later, or set the environment."""
    texts = [word.text for word in call.positionals]
    if call.program == "trap" and texts and texts[0] not in ("-", "-l", "-p", ""):
        yield Judgement("denied", "evaluates", "trap keeps a command for later")
    if call.program == "alias" and any("=" in text for text in texts):
        yield Judgement("unknown", "alias", "gives a command another name")
    if call.program in ("export", "declare", "local", "readonly", "typeset"):
        yield from (unwrap.setting(text.partition("=")[0]) for text in texts)


def _plain(word: Word) -> str:
    return _readable(word.text)[:60]


def _readable(text: str) -> str:
    return MARK.sub("<...>", text)
