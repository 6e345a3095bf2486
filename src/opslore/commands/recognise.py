"""Is this text a command at all? Most back-ticked words in prose are names or queries."""

from __future__ import annotations

import re

from opslore.commands.arguments import invocation
from opslore.commands.parse import parse
from opslore.commands.scan import MARK
from opslore.commands.syntax import Compound, Script, Simple
from opslore.commands.tables import vocabulary

_EVIDENCE = re.compile(r"(?:^|\s)-{1,2}[A-Za-z]|[/$|<>'\"*~]|\w=|\d+\.\d+|\.\w")
_SUBCOMMANDS = {
    "ip": re.compile(r"(?:a|addr|address|r|route|l|link|n|neigh|rule|netns)\b"),
    "service": re.compile(r"[\w.@-]+ (?:start|stop|restart|status|reload)$"),
    "mc": re.compile(r"(?:admin|ls|stat|cp|mirror|rm|rb|mb|ilm|alias|tree|du|version)\b"),
}


def looks_like_command(text: str) -> bool:
    """Whether back-ticked text is a shell command: a known program, and at least one argument."""
    script = parse(text.strip())
    if not script.ok or text.strip().startswith("-"):
        return False
    first = script.items[0]
    if isinstance(first, Compound):
        if first.keyword in ("test", "other", "(", "{"):
            return False
        return any(_is_call(command) for command in script.commands)
    return _is_call(first) and not _is_prose(script)


def is_setup(command: str) -> bool:
    """Whether a command only prepares a shell (assignments, `export`, `cd`, a comment)."""
    script = parse(command)
    if script.reason == "no command":
        return bool(command.strip())
    return script.ok and all(
        isinstance(item, Simple)
        and not item.redirects
        and (
            item.program in vocabulary("recognise", "setup")
            or (not item.words and bool(item.assignments))
        )
        for item in script.items
    )


def _is_call(command: Simple) -> bool:
    if len(command.words) < 2 or command.words[0].literal is None:
        return False
    call = invocation(command.words)
    if call.tool is None or MARK.search(call.program):
        return False
    rest = " ".join(word.text for word in command.words[1:])
    if call.program in vocabulary("recognise", "english"):
        wanted = _SUBCOMMANDS.get(call.program)
        found = wanted.match(rest) if wanted else None
        return bool(found or MARK.search(rest) or (not wanted and _EVIDENCE.search(rest)))
    if call.tool.verbs and not call.known_verb:
        return len(command.words) > 2 and bool(re.match(r"[a-z-]", rest))
    return bool(call.inner or call.positionals or call.flags or call.verb.path)


def _is_prose(script: Script) -> bool:
    """`kubectl, helm and flux` parses; commas and full stops after words give it away."""
    words = [word.text for command in script.commands for word in command.words]
    return any(re.fullmatch(r"[A-Za-z]+[,;:.!?]", word) for word in words)
