"""Reading back the Modelfile that `modelfile.render` writes, and nothing else.

Ollama's own language allows comments, other quotes and lower case; a bundle's Modelfile has none of
them, so whatever is not understood here was not written here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from opslore.errors import IntegrityError, MissingInput

_LINE = re.compile(
    r"(?P<word>FROM|RENDERER|PARSER|TEMPLATE|SYSTEM|PARAMETER (?P<name>[a-z_]+)) "
    r'(?:"""(?P<text>.*?)"""|(?P<plain>[^\s"]+))\n',
    re.DOTALL,
)
_QUOTED = ("TEMPLATE", "SYSTEM")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile says."""

    gguf: str
    """The GGUF's file name, beside the Modelfile."""
    template: str = ""
    renderer: str = ""
    parser: str = ""
    system: str = ""
    stops: list[str] = field(default_factory=list)
    parameters: dict[str, int | float] = field(default_factory=dict)


def read(path: Path) -> Modelfile:
    """The Modelfile of a bundle.

    Raises:
        MissingInput: there is none.
        IntegrityError: it is not what `export` writes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingInput(
            f"{path}: no such file", hint="run `opslore export AGENT.yaml` first"
        ) from error
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path}: not UTF-8 text") from error
    found: dict[str, str] = {}
    stops: list[str] = []
    numbers: dict[str, int | float] = {}
    at = 0
    while at < len(text):
        match = _LINE.match(text, at)
        if match is None:
            raise _broken(path, text, at)
        name, plain = match["name"], match["plain"]
        value = match["text"] if plain is None else plain
        if name == "stop" and plain is None:
            stops.append(value)
        elif name not in (None, "stop", *numbers) and plain and _NUMBER.fullmatch(plain):
            numbers[name] = int(plain) if re.fullmatch(r"-?\d+", plain) else float(plain)
        elif not name and match["word"] not in found and _fits(match["word"], plain is None):
            found[match["word"]] = value
        else:
            raise _broken(path, text, at)
        at = match.end()
    gguf = found.pop("FROM", "")
    if not re.fullmatch(r"\./[A-Za-z0-9][A-Za-z0-9._-]*", gguf):
        raise IntegrityError(f"{path}: FROM {gguf or 'is missing'}, not a file beside it")
    words = {word.lower(): value for word, value in found.items()}
    return Modelfile(gguf=gguf[2:], stops=stops, parameters=numbers, **words)


def _fits(word: str, quoted: bool) -> bool:
    return quoted == (word in _QUOTED)


def _broken(path: Path, text: str, at: int) -> IntegrityError:
    line = text.count("\n", 0, at) + 1
    return IntegrityError(
        f"{path}:{line}: not what `export` writes: {text[at : at + 60].splitlines()[0]!r}",
        hint=f"delete {path.parent} and run `opslore export AGENT.yaml` again",
    )
