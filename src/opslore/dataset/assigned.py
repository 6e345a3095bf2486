"""Values that are given to a name that says "secret": `X_SECRET_KEY=`, `password:`, `--token`.

The name alone is no proof: docs are full of `password: <password>` and `secret: my-secret`. What
is set on a command line or in an environment counts unless it is a placeholder; what stands in a
file counts when it looks made by a machine or chosen by a person, not like a name or a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from opslore.dataset.secrets import Detector, Span

Finder = Callable[[str], Iterator[Span]]

_WORDS = (
    "password", "passwd", "passwort", "passphrase", "pwd", "secret", "token", "apikey", "api_key",
    "api-key", "access_key", "access-key", "accesskey", "secret_key", "secret-key", "secretkey",
    "private_key", "private-key", "privatekey", "auth_key", "authkey", "account_key", "credential",
    "client_secret", "_pass", "-pass", "encryption_key", "signing_key", "contraseña",
)  # fmt: skip
_NAME = (
    r"(?:[A-Za-z0-9_.-]*?(?:pass(?:word|wd|phrase|wort)?|pwd|secret|token|credentials?|contraseña"
    r"|(?:api|access|secret|private|priv|auth|account|service|client|db|database|encryption"
    r"|signing|master|storage)[_.-]?key)(?:[_.-]?(?:key|id|value|[0-9]{1,2}))?)"
)
_VALUE = (
    r"(?:\"(?P<d>[^\"\n]{4,200})\"|'(?P<s>[^'\n]{4,200})'|(?P<b>[^\s\"'`,;<>|&(){}\[\]]{4,200}))"
)

_LITERAL = re.compile(rf"--from-literal[= ]['\"]?{_NAME}=(?:{_VALUE})", re.I)
_FLAG = re.compile(
    r"(?<!\w)--?(?:[a-z0-9-]*-)?(?:password|passwd|passphrase|secret|token|api-?key|access-?key"
    r"|secret-?key)(?:=|[ ]+)" + _VALUE,
    re.I,
)
_SET = re.compile(rf"--set(?:-string)?[= ]['\"]?{_NAME}=(?:{_VALUE})", re.I)
_ENV = re.compile(
    r"(?<![\w$.-])(?P<name>[A-Z][A-Z0-9_]*(?:PASS(?:WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|CREDENTIALS?"
    r"|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|AUTH_?KEY|ENCRYPTION_?KEY|SIGNING_?KEY)"
    r"(?:_?(?:KEY|ID|VALUE))?|PASSWORD|SECRET|TOKEN)\s?[=:]\s?" + _VALUE
)
_SEPARATOR = re.compile(r"[:=]")
_GIVEN = re.compile(r"[=>]?[ \t]{0,2}" + _VALUE)
_ENDS = (
    *("password", "passwd", "passphrase", "passwort", "_pass", "-pass", "pwd", "secret", "token"),
    *("credential", "credentials", "contraseña"),
)
_KEYS = tuple(
    f"{what}{sign}key"
    for what in (
        *("api", "access", "secret", "private", "priv", "auth", "account", "service", "client"),
        *("db", "database", "encryption", "signing", "master", "storage"),
    )
    for sign in ("", "_", ".", "-")
)
_HEAD = re.compile(r"[\w.-]*$")
_SAID = re.compile(
    r"(?:password|passphrase|passwort|token|api key|secret key) (?:is|was) +[`*_]*" + _VALUE, re.I
)
_HEADER = re.compile(
    r"\b(?:Bearer|Authorization:\s*(?:Token|Basic|ApiKey)|(?:x-api-key|private-token|x-auth-token"
    r"|x-vault-token)\s*:)\s+(?P<b>[A-Za-z0-9._~+/=-]{12,})",
    re.I,
)
_USER = re.compile(
    r"(?:curl|wget|http)\b[^\n]*?\s(?:-u|--user)[= ]?['\"]?[\w.@-]+:(?P<b>[^\s'\"@:]{4,})"
)
_URL = re.compile(r"://[^\s/:@\"'<>]*:(?P<b>[^\s/@\"'<>`]{3,})@[\w.\[-]", re.I)

_PLACE = re.compile(
    r"""^[<\[{(*%$`]|^\\?\$|[{<]{1,2}.*[>}]|\$\(|\$\{|^@|^&|^(?:x+|\*+|\.+|-+|_+|\?+|0+|\#+)$
    |\.\.\.|…|x{4,}|\*{3,}
    |(?:^|[^a-z])(?:your|my|some|the|our|insert|replace|enter|redacted|example|sample|dummy|fake
      |placeholder|changeme|change[_-]me|todo|masked|removed|hidden|omitted|test|foo|bar|foobar
      |secret|password|passwd|token|apikey|api[_-]key|username|user|none|null|nil|true|false
      |undefined|default|string|optional|required|value|env|file|xxx)(?:$|[^a-z])""",
    re.I | re.X,
)
_HARD = re.compile(
    r"^(?:true|false|null|none|nil|yes|no|string|bytes|int|boolean|object|required|optional)$"
    r"|^[<{\[($%*@&`]|^\\?\$|[{<].*[>}]|\.\.\.|…|^(?:x|\*|\.|-|_|\?|#)+$|x{4,}|0{8,}|\*{3,}|redacted"
    r"|change[_-]?me|placeholder|^(?:your|my|some|insert|replace|the)[-_ ]|example|dummy"
    r"|^(?:password|passwd|secret|token|apikey|api-key|username|value|foo|bar|foobar|test)$",
    re.I,
)
_CODE = re.compile(
    r"^[A-Za-z_][\w.]*\(|^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|::|^/|^\.{1,2}/|^~/|^\w+://"
)
_WORDY = re.compile(r"^(?:[A-Za-z]+|[a-z]+[0-9]{1,2}|[A-Z][a-z]+)(?:[-_. /:][A-Za-z0-9]{1,20})*$")


def detectors() -> tuple[Detector, ...]:
    """The detectors of values given to names."""
    told = ("bearer", "authorization", "api-key", "-token")
    return (
        Detector("--from-literal", "PASSWORD", ("--from-literal",), _hard(_LITERAL)),
        Detector("flag", "PASSWORD", _FLAGS, _hard(_FLAG), folded=True),
        Detector("--set", "PASSWORD", ("--set",), _hard(_SET)),
        Detector("environment", "PASSWORD", _UPPER, _env),
        Detector("file", "PASSWORD", _WORDS, _file, folded=True),
        Detector("prose", "PASSWORD", _TOLD, _said, folded=True),
        Detector("header", "API_TOKEN", told, _headers, folded=True),
        Detector("curl -u", "PASSWORD", (" -u", " --user"), _hard(_USER)),
        Detector("URL", "PASSWORD", ("://",), _hard(_URL)),
    )


_FLAGS = (
    *("-password", "-passwd", "-passphrase", "-secret", "-token"),
    *("-apikey", "-api-key", "-access-key"),
)
_UPPER = ("PASS", "PWD", "SECRET", "TOKEN", "CREDENTIAL", "KEY")
_TOLD = tuple(
    f"{word} {verb} "
    for word in ("password", "passphrase", "passwort", "token", "api key", "secret key")
    for verb in ("is", "was")
)


def is_placeholder(value: str) -> bool:
    """Whether a value only says that a secret belongs here."""
    return bool(_HARD.search(value))


def looks_chosen(value: str) -> bool:
    """Whether a value looks like a secret: digits among letters, or signs; no name or path."""
    if is_placeholder(value) or _PLACE.search(value) or _CODE.search(value):
        return False
    kinds = (
        any(c.islower() for c in value)
        + any(c.isupper() for c in value)
        + any(c.isdigit() for c in value)
        + any(not c.isalnum() for c in value)
    )
    if " " in value or value.isdigit() or len(value) < 6:
        return False
    if _WORDY.match(value):
        digits = sum(c.isdigit() for c in value)
        return digits >= 2 and len(value) >= 8 and "-" not in value and "." not in value
    return kinds >= 3 or (kinds == 2 and len(value) >= 8)


def _spans(found: re.Match[str]) -> Span:
    group = next(name for name in ("d", "s", "b") if found.re.groupindex.get(name) and found[name])
    start, end = found.span(group)
    if group == "b":
        end = start + len(found[group].rstrip(".:!?*_\\"))
    return start, end


def _hard(pattern: re.Pattern[str]) -> Finder:
    def find(line: str) -> Iterator[Span]:
        for found in pattern.finditer(line):
            start, end = _spans(found)
            value = line[start:end]
            if not is_placeholder(value) and not value.startswith(("-", "/", "./")):
                yield start, end

    return find


def _env(line: str) -> Iterator[Span]:
    for found in _ENV.finditer(line):
        start, end = _spans(found)
        value = line[start:end]
        if looks_chosen(value) or (not is_placeholder(value) and _random(value)):
            yield start, end


def _file(line: str) -> Iterator[Span]:
    for sign in _SEPARATOR.finditer(line):
        # Only what stands before the sign is read: most lines with "token" give it no value.
        before = line[max(0, sign.start() - 60) : sign.start()].rstrip(" \t\"'")
        if not _says_secret(before.lower()):
            continue
        found = _GIVEN.match(line, sign.end())
        head = _HEAD.search(before)
        sigil = before[head.start() - 1 : head.start()] if head and head.start() else ""
        if found is None or sigil in ("$", "/", "{"):
            continue
        start, end = _spans(found)
        if looks_chosen(line[start:end]):
            yield start, end


def _says_secret(name: str) -> bool:
    """Whether a name (in lower case) ends as names of secrets do."""
    if name.endswith(_ENDS) or name.endswith(_KEYS):
        return True
    bare = name.rstrip("0123456789")
    for tail in ("key", "id", "value"):
        bare = bare.removesuffix(tail)
    return bare != name and bare.rstrip("_.-").endswith(_ENDS)


def _said(line: str) -> Iterator[Span]:
    for found in _SAID.finditer(line):
        start, end = _spans(found)
        if looks_chosen(line[start:end]):
            yield start, end


def _headers(line: str) -> Iterator[Span]:
    for found in _HEADER.finditer(line):
        start, end = _spans(found)
        if not is_placeholder(line[start:end]) and _random(line[start:end]):
            yield start, end


def _random(value: str) -> bool:
    """Digits among letters: no word of a sentence."""
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
