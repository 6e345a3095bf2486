"""Which name in a question belongs in which hole, where nobody says so: `redis-0 in shop is full`.

`labels` reads what is introduced (`namespace=shop`, "the web-0 pod"). People leave that out: the
form of a name tells a pod from a node, the words around it tell a namespace. Only names that can be
nothing else are taken; of two that could fill a hole, none is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from opslore import labels
from opslore.commands import Hole
from opslore.commands.tables import hole_tables, resource_kinds
from opslore.introducing import Word, may_be_bare

_TOKEN = re.compile(r"(?<![\w./:@=<-])/?[A-Za-z0-9](?:[\w./:@-]*[A-Za-z0-9])?(?![=>])")
_QUANTITY = re.compile(
    r"v?\d+(?:[.,:/]\d+)*(?:%|[a-z]{1,3})?|\d+(?:st|nd|rd|th)|\d+x|x\d+|[1-5]xx", re.IGNORECASE
)
_POD = re.compile(
    r"(?!(?:worker|node|master|cp)-?\d)[a-z0-9][a-z0-9.-]*-(?:[a-z0-9]{3,10}-(?=[a-z]*\d|[^aeiou]+$)[a-z0-9]{3,5}|\d{1,3}"
    r"|(?=[a-z]*\d)[a-z0-9]{5})"
)
"""A Deployment's pod (two hashes), a StatefulSet's (a number), a DaemonSet's (one hash)."""
_NODE = re.compile(
    r"(?!p?v?c-)(?:[a-z]+-)*[a-z]{2,}\d{1,3}[a-z]?|(?:[a-z]+-)*(?:node|worker|master|cp|host)-?\d+"
    r"|ip(?:-\d{1,3}){4}(?:[a-z0-9.-]*)?|[a-z]+[a-z0-9-]*\d+(?:\.[a-z0-9-]+){1,4}"
)
_DEVICE = re.compile(
    r"/dev/[\w/-]+|[shv]d[a-z]\d*|nvme\d+(?:n\d+(?:p\d+)?)?|(?:ata|scsi|wwn|nvme)-[\w.:-]+|md\d+"
)
_PATH = re.compile(r"/(?!dev/)[\w.-]+(?:/[\w.-]+)*")
_OBJECT = re.compile(r"(?=.*[a-z])[a-z0-9]+(?:[-_.@][a-z0-9]+)+|[a-z]+\d+[a-z0-9]*|csr-\w+")
_MODEL = re.compile(r"[a-z][\w.-]*:[\w.-]+")
_PLACES = frozenset(["node", "instance", "host", "nodename"])
_SHAPES = {
    "pod": _POD,
    "device": _DEVICE,
    "mountpoint": _PATH,
    "path": _PATH,
    "model": _MODEL,
}
_END = re.compile(
    r"\s*(?:$|[,.;:!?)(\n]|(?:and|but|or|is|are|was|has|have|had|since|after|for|with|keeps?|says?|said|on|at|in|ns|"
    r"again|now|where|which|because|made|shows?|never|does|did|(?:do|does|ca|wo|is|are|has)n'?t|gets?|puts?|goes|takes|throws|"
    r"returns?|fails?|crash(?:es)?|restarts?|hangs?|dies|runs?|stop(?:s|ped)?|started|-)(?![\w-]))"
)
"""A name ends a phrase, or a verb follows it."""
_CALLED = re.compile(r"(?:called|named|name is|llamado|nommé|heißt)\s+[`'\"(]*$", re.IGNORECASE)
_DIRECTLY_IN = re.compile(r"(?:^|[^\w-])(?:in|en|dans|im)\s+[`'\"]?$")
_LONE_NS = re.compile(r"(?:^|\W)(?:ns|namespace|project)\W{1,3}$", re.IGNORECASE)
_AFTER_NAME = re.compile(r"[a-z0-9]-[a-z0-9-]*\w\s*\(?$")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_DETERMINED = re.compile(r"(?:\b(?:the|our|my|of|a|for|by|on)\s+|^\s*)[`'\"]?$", re.IGNORECASE)
_SYSTEM = re.compile(r"(?:kube|openshift)-[a-z-]+|[a-z]+-system")
"""Names that only namespaces have."""
_THINGS = ("issuer", "app", "application", "component", "resource", "object", "item")
"""What people call anything that has a name."""
_SHORTER = {"zpool": "pool", "machineconfigpool": "pool", "persistentvolumeclaim": "claim"}
"""What people call a thing where the whole word is for machines."""
_PRONOUNS = frozenset(["myself", "yourself", "itself", "themselves", "ourselves"])
_PROSE = frozenset(
    """production general total use maintenance progress sync pending deleting terminating loop
    state memory ram vram cache logs log time times minutes hours days seconds night morning
    place pieces line detail tomorrow today yesterday there short turn fact case front
    trouble particular theory practice future past ready stock danger vain parallel git
    error errors failed down dead gone full stuck hangs hang restarts restart fails failing
    crashes slow broken unreachable missing died dies back nothing everything something
    anything keeps gets does made needs wants looks seems says shows wont cant dont doesnt
    isnt lost empty degraded fine ok okay please help also only unhealthy database server
    machine box cluster node pod pods host service deployment volume disk container backup
    backups job jobs snapshot update upgrade reboot migration name group team people users
    app anywhere everywhere somewhere through whatsoever whatever transaction recovery
    rotation standby flight limbo doubt backoff crashloopbackoff evicted terminated running
    secs cron yourself themselves
    unknown question itself himself myself whole single old new last first second big small
    high low""".split()  # noqa: SIM905
)
"""Words that stand where a name could stand, and are none."""


def assigned(
    question: str,
    holes: list[Hole],
    known: Mapping[str, str],
    prose: str = "",
    cued: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """Label name -> value, for the holes that one name of the question fits best.

    Args:
        question: what somebody wrote.
        holes: the holes to fill.
        known: the labels that were read already: their values are no other hole's.
        prose: what the entry says in words.
        cued: identities of holes that take only what a word introduces.
    """
    taken = set(known.values())
    used = frozenset(_USED.findall(prose.lower()))
    words = [word for word in _words(labels.trusted(question)) if word.text not in taken]
    out = {key: value for key, value in known.items() if key == "namespace"}
    for hole in sorted(holes, key=_order):
        scores: dict[str, int] = {}
        for word in words:
            points = _points(word, hole, holes, out.get("namespace", ""), used)
            if hole.identity in cued and not word.text.isdigit() and not _cue(word, points):
                points = 0
            if points:
                scores[word.text] = max(points, scores.get(word.text, 0))
        best = max(scores.values(), default=0)
        fitting = [text for text, points in scores.items() if points == best]
        if len(fitting) == 1:
            out[hole.kinds[0]] = fitting[0]
            words = [word for word in words if word.text != fitting[0]]
    return out


def _cue(word: Word, points: int) -> bool:
    """Whether a noun beside it makes a name of a word: no `queue is idle`, no `rebuild queue`."""
    if points < 3 or not may_be_bare(word.text):
        return False
    if re.search(r"\bis\s+$", word.before):
        return not word.after
    return bool(word.before.strip() or _SUBJECT.match(word.after))


_SUBJECT = re.compile(
    r"[`'\"]?\s+\w+\s+(?:is|are|was|has|had|hits?|keeps|says|reports|at|full|out|over|no|won|can|"
    r"cannot|does|did|takes|rejects|refuses|needs|reached|exceeded)\b"
)


def _order(hole: Hole) -> int:
    """The namespace first, then holes whose values have a form of their own."""
    kind = hole.kinds[0]
    return 0 if kind == "namespace" else 1 if kind in _SHAPES else 2 if kind in _PLACES else 3


def _points(word: Word, hole: Hole, holes: list[Hole], namespace: str, used: frozenset[str]) -> int:
    """How much speaks for this word in this hole; 0 when too little does."""
    kind = hole.kinds[0]
    if kind == "namespace":
        return _namespace(word)
    if word.text == namespace:
        return 0
    if word.text.isdigit():
        return int(bool(re.search(rf"\b{re.escape(kind)}\s+#?$", word.before, re.IGNORECASE)))
    if kind in _SHAPES:
        if _SHAPES[kind].fullmatch(word.text):
            return 9
        if kind != "model":
            return 0
    if kind in _PLACES:
        return int(bool(_NODE.fullmatch(word.text) or labels.ADDRESS.fullmatch(word.text)))
    return _object(word, hole, holes, namespace, used)


def _object(word: Word, hole: Hole, holes: list[Hole], namespace: str, used: frozenset[str]) -> int:
    """The points of a word as the name of a thing: its form, and the words around it."""
    if not _is_word(word) or word.text in _kind_words() or _SYSTEM.fullmatch(word.text):
        return 0
    text = word.text
    shaped = bool(_OBJECT.fullmatch(text)) and "@" not in text and _free(word, holes)
    if not shaped and not _BARE.fullmatch(text):
        return 0
    introduced = 4 if _CALLED.search(word.before) else _introduced(word, hole)
    points = introduced
    if namespace and re.match(_IN_NAMESPACE % re.escape(namespace), word.after):
        points += 3
    if not points and text in used:
        return 0
    if shaped:
        digits = any(character.isdigit() for character in text)
        of = bool(re.search(r"\b(?:of|on|for)\s+$", word.before) and _END.match(word.after))
        machine = bool(_NODE.fullmatch(text))
        points += 1 + ((digits and not machine) or of)
        return points if points > 1 else 0
    verb = text.endswith(("ing", "ed")) and points <= introduced
    return points if points >= 3 and not verb and (introduced != 3 or text not in used) else 0


_IN_NAMESPACE = r"[`'\"]?\s*[,(]?\s*(?:in\s+)?(?:(?:the\s+)?(?:ns|namespace)\s+)?%s(?![\w-])"
_BARE = re.compile(r"[a-z][a-z0-9]+")
_USED = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def _introduced(word: Word, hole: Hole) -> int:
    """4 for `pool tank`, 3 for `the tank pool`: the word for such a thing stands beside it."""
    nouns = _nouns_of(hole.kinds)
    if _END.match(word.after) and re.search(
        rf"(?:^|[^\w-])(?:{nouns})\s+(?:is\s+)?[`'\"(]*$", word.before, re.IGNORECASE
    ):
        return 4
    behind = re.match(rf"[`'\"]?\s+(?:{nouns})\b(?!-)", word.after, re.IGNORECASE)
    return 3 if behind and _DETERMINED.search(word.before) else 0


@cache
def _kind_words() -> frozenset[str]:
    """Every word for a kind of thing: it introduces a name, and is none."""
    tables = hole_tables()
    return frozenset(tables.kind_of) - tables.generic | {"e.g", "i.e"}


@cache
def _nouns_of(kinds: tuple[str, ...]) -> str:
    """The words for such a thing, as a pattern; in the singular: `different nodes` names none."""
    generic = hole_tables().generic
    nouns = {form for kind in kinds for form in labels.spoken(kind) if kind not in generic}
    nouns |= {_SHORTER[kind] for kind in kinds if kind in _SHORTER}
    if set(kinds) & set(generic):
        nouns |= {*_THINGS, *resource_kinds()}
    said = [
        noun for noun in nouns if len(noun) > 2 and noun.removesuffix("s") not in nouns - {noun}
    ]
    return "|".join(map(re.escape, sorted(said, key=lambda noun: (-len(noun), noun))))


def _free(word: Word, holes: list[Hole]) -> bool:
    """Whether no other open hole claims a name of this form."""
    kinds = {hole.kinds[0] for hole in holes}
    if kinds & _PLACES and _NODE.fullmatch(word.text):
        return False
    # A container has no number of its own; its pod has.
    return not (kinds & {"pod", "container"} and _POD.fullmatch(word.text))


def _namespace(word: Word) -> int:
    """How much speaks for a word as a namespace: nothing, its place in the sentence, its cue."""
    if not _NAMESPACE.fullmatch(word.text):
        return 0
    if _LONE_NS.search(word.before) and word.text not in labels.STOP | _PRONOUNS:
        return 4
    if _SYSTEM.fullmatch(word.text):
        return 3
    if word.text in _kind_words() or not _is_word(word) or _NODE.fullmatch(word.text):
        return 0
    if word.after.startswith(")") and re.search(r"\(\s*$", word.before):
        return 2 * bool(_AFTER_NAME.search(word.before))
    within = _DIRECTLY_IN.search(word.before)
    if not within or not _END.match(word.after):
        return 0
    return 2 if _AFTER_NAME.search(word.before[: within.start() + 1]) else 1


def _is_word(word: Word) -> bool:
    text = word.text.lower()
    return (
        len(text) > 1 and text not in labels.STOP and text not in _PROSE and not text.endswith("ed")
    )


def _words(question: str) -> Iterator[Word]:
    for found in _TOKEN.finditer(question):
        text = found.group()
        address = labels.ADDRESS.fullmatch(text)
        if "://" in text or (_QUANTITY.fullmatch(text) and not (address or text.isdigit())):
            continue
        yield Word(text, question[: found.start()], question[found.end() :])
