"""What holds for every command: nothing raises, forms are stable, risk is never talked down.

300 examples for each property; 20,000 with OPSLORE_NIGHTLY=1.
"""

from __future__ import annotations

import shlex

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslore.commands import canonical, equivalent, fill, holes, parse, risk, template, unsafe
from opslore.commands.recognise import is_setup, looks_like_command
from opslore.commands.syntax import Script, Simple
from opslore.commands.tables import LEVELS, Tool, Verb, tools
from tests.commands.corpus import EXAMPLES, every_command

tried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

COMMANDS = every_command()
READABLE = [command for command in COMMANDS if parse(command).ok]
PLAIN = [command for command in READABLE if "<<" not in command and "#" not in command]
"""Commands to which more can be added at the end of the line."""

_SIGNS = "' \" ` | || && ; & ( ) { } < > >> << <<EOF <<< EOF $ $( ${ $(( )) <( # \\ * ? ~ [ ] [[ ]]"
_WORDS = "= ! - -- {{ }} <pod> $NS {{x}} POD_NAME do done for in if then fi while case esac () : ."
SIGNS = (
    *_SIGNS.split(),
    *_WORDS.split(),
    "\t",
    "\r",
    "\x00",
    "\ue000",
    "\ud800",
    "é",
    "全",
    "\u202e",
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A real command with a few pieces put in, taken out, doubled, or cut."""
    text = draw(st.sampled_from(COMMANDS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        to = min(len(text), at + draw(st.integers(0, 6)))
        sign = draw(st.one_of(st.sampled_from([*SIGNS, "\n"]), st.characters()))
        kind = draw(st.sampled_from(["put", "take", "double", "cut", "swap"]))
        if kind == "put":
            text = text[:at] + sign + text[at:]
        elif kind == "take":
            text = text[:at] + text[to:]
        elif kind == "double":
            text = text[:to] + text[at:]
        elif kind == "cut":
            text = text[:at]
        else:
            text = text[:at] + sign + text[to:]
    return text


def level(command: str) -> int:
    return LEVELS.index(risk(command).level)


@tried
@given(st.one_of(damaged(), st.text(max_size=60)))
def test_nothing_raises(text: str) -> None:
    script = parse(text)
    assert script.ok or script.reason
    assert isinstance(template(text), str)
    assert all(text[hole.start : hole.end] == hole.text for hole in holes(text))
    assert isinstance(fill(text, {"namespace": "a", "pod": "b"}), str)
    assert risk(text).level in LEVELS
    looks_like_command(text)
    is_setup(text)
    unsafe(text, [text])


@tried
@given(damaged())
def test_the_canonical_form_is_its_own_canonical_form(text: str) -> None:
    once = canonical(text)
    if once:
        assert parse(once).ok
        assert canonical(once) == once


def _verbs() -> list[tuple[Tool, Verb]]:
    """Every verb whose words are read by a table, and that runs no other command."""
    found = {id(tool): tool for tool in tools().values() if tool.style == "verbs"}
    pairs = [(tool, verb) for tool in found.values() for verb in tool.verbs.values()]
    return [(tool, verb) for tool, verb in pairs if not verb.inner and verb.path]


VERBS = _verbs()
VALUES = st.sampled_from(["x", "a/b", "1", "'a b'", "<pod>", "k=v", "30s"])


@tried
@given(st.data())
def test_the_order_of_flags_means_nothing(data: st.DataObject) -> None:
    tool, verb = data.draw(st.sampled_from(VERBS))
    dash = "-" if tool.family == "single-dash" else "--"
    flags = tool.flags.merged(verb.flags)
    many = getattr(flags, "many", frozenset())
    values = sorted(name for name in flags.value - many if len(name) > 1)
    booleans = sorted(name for name in flags.boolean if len(name) > 1)
    words = [
        f"{dash}{name}={data.draw(VALUES)}"
        for name in data.draw(st.lists(st.sampled_from(values or ["x"]), max_size=3, unique=True))
    ] + [
        f"{dash}{name}"
        for name in data.draw(st.lists(st.sampled_from(booleans or ["y"]), max_size=3, unique=True))
    ]
    start = " ".join([tool.programs[0], *verb.path, "thing"])
    shuffled = data.draw(st.permutations(words))
    assert canonical(" ".join([start, *words])) == canonical(" ".join([start, *shuffled])) != ""
    assert level(" ".join([start, *words])) == level(" ".join([start, *shuffled]))


@tried
@given(
    st.sampled_from(PLAIN),
    st.sampled_from([" && ", "; ", " | ", " || ", " & ", "\n"]),
    st.one_of(st.sampled_from(COMMANDS), damaged(), st.text(max_size=30)),
)
def test_adding_a_command_never_lowers_the_risk(command: str, joint: str, more: str) -> None:
    assert level(f"{command}{joint}{more}") >= level(command)


@tried
@given(
    st.sampled_from(READABLE),
    st.sampled_from([" && ", "; ", " | ", " || ", " & ", "\n"]),
    st.sampled_from(PLAIN),
)
def test_a_command_before_it_never_lowers_the_risk(command: str, joint: str, before: str) -> None:
    assert level(f"{before}{joint}{command}") >= level(command)


WRAPPERS = (
    "sudo {}",
    "sudo -u root {}",
    "env {}",
    "env A=b {}",
    "timeout 10 {}",
    "timeout -k 5 10s {}",
    "nohup {}",
    "nice -n 5 {}",
    "xargs {}",
    "xargs -0 -n1 {}",
    "kubectl exec web-0 -- {}",
    "kubectl exec -n prod -it web-0 -c app -- {}",
    "oc debug node/n1 -- chroot /host {}",
    "docker exec web {}",
    "find . -exec {} \\;",
    "find . -type f -exec {} +",
    "time {}",
)
SCRIPTS = (
    "sh -c {}",
    "bash -ec {}",
    "sudo sh -c {}",
    "ssh n1 {}",
    "ssh -p 22 root@n1 {}",
    "kubectl exec web-0 -- sh -c {}",
    "xargs -I@ sh -c {}",
    "find . -exec sh -c {} \\;",
    "su - root -c {}",
    "watch {}",
)


def _alone(script: Script) -> bool:
    """Whether a wrapper can stand before it: one program, called by name."""
    first = script.items[0]
    return (
        len(script.items) == 1
        and isinstance(first, Simple)
        and bool(first.words)
        and not (first.assignments or first.negated)
        and all(redirect.body is None for redirect in first.redirects)
        and first.words[0].literal is not None
    )


ALONE = [command for command in PLAIN if _alone(parse(command))]


@tried
@given(st.sampled_from(ALONE), st.lists(st.sampled_from(WRAPPERS), min_size=1, max_size=3))
def test_what_a_wrapper_runs_is_judged_as_if_it_ran_alone(command: str, wraps: list[str]) -> None:
    wrapped = command
    for wrapper in wraps:
        wrapped = wrapper.replace("{}", wrapped)
    assert level(wrapped) >= level(command)


@tried
@given(st.sampled_from(READABLE), st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=2))
def test_what_a_nested_shell_runs_is_judged_as_if_it_ran_alone(
    command: str, wraps: list[str]
) -> None:
    wrapped = command
    for wrapper in wraps:
        wrapped = wrapper.replace("{}", shlex.quote(wrapped))
    assert level(wrapped) >= level(command)


@tried
@given(st.one_of(st.sampled_from(READABLE), damaged()))
def test_every_readable_command_equals_itself(text: str) -> None:
    verdict = equivalent(text, text)
    assert verdict.equal == parse(text).ok
    if verdict.equal:
        assert equivalent(canonical(text), text).equal


@tried
@given(st.sampled_from(READABLE), st.sampled_from(READABLE), damaged())
def test_without_labels_equality_has_no_direction(one: str, other: str, third: str) -> None:
    for left, right in ((one, other), (one, third), (other, third)):
        assert equivalent(left, right).equal == equivalent(right, left).equal
        if equivalent(left, right).equal and not (holes(left) or holes(right)):
            assert canonical(left) == canonical(right)
            assert level(left) == level(right)
