"""A post as text worth learning: without template headings, quotes, mail debris and images."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence

from opslore.dataset import cut

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_IMAGE = re.compile(
    r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])|<img\b[^>]*>|\[\s*\](?:\([^)]*\)|\[[^\]]*\])", re.I
)
_TAG = re.compile(
    r"</?(?:details|summary|br|p|div|sub|sup|b|i|em|strong|kbd|h[1-6]|span)\b[^>]*/?>", re.I
)
_EMOJI = re.compile(r"(?<![\w:/]):[a-z][a-z0-9_+-]{2,}:(?![\w:])[ \t]?|:[+-]1:[ \t]?")
_MAIL = re.compile(r"^.{0,200}(?:<[^<>\s]+@[^<>\s]+>|\bOn .{6,80}|\d{4}.{0,40}) wrote:\s*$")
_REST = re.compile(
    r"^(?:-{2,3}\s*$|_{5,}\s*$|-----\s*Original Message|From: .*@|Sent from my |"
    r"Reply to this email|You are receiving this|Signed-off-by:|Co-authored-by:|Change-Id:)",
    re.I,
)
_BOX = re.compile(r"^\s*[-*+]\s+\[[ xX]\]\s")
_TITLE = re.compile(
    r"^\s{0,3}(?:#{1,6}\s+(.+?)\s*#*|\*\*([^*]{3,80})\*\*:?|__([^_]{3,80})__:?)\s*$"
)
_TEMPLATE = re.compile(
    r"^(?:what (?:is the (?:issue|problem|feature)|happened|did you (?:do|expect|see|try)|"
    r"problem are you|you expected|version)|how (?:can it be|to) reproduc|how can we reproduce|"
    r"(?:steps? to )?reproduc|to reproduce|describe (?:the|your|what)|(?:bug |issue )?"
    r"description\b|summary$|bug report|feature request|is your feature|expected|actual|"
    r"(?:additional|more|other) (?:context|info)|anything else|logs?\b|log output|"
    r"screenshots?|environment|versions?$|output of|possible solution|proposed solution|"
    r"alternatives|checklist|context$|motivation|problem$|solution$|validation|problem statement|"
    r"type of change|how should|how would|would you like|is there an existing|"
    r"desktop|smartphone|code of conduct|prerequisites$|proposal$|background$|details$)",
    re.I,
)
_ADMIN = re.compile(
    r"^(?:would you like|is there an existing|checklist|code of conduct|type of change|"
    r"screenshots?)",
    re.I,
)
_UNFILLED = re.compile(
    r"[\s*_`\-.>]*(?:no response|n/?a|none|no|yes|maybe|tbd|todo|same as above|nothing|-+|\.+)?"
    r"[\s*_`\-.]*",
    re.I,
)
_CHATTER = re.compile(
    r"^(?:(?:hi|hello|hey|dear)\b[^.!?]{0,40}[,!.]?$|(?:ok(?:ay)?|sure|great|cool|nice|yep|hmm+)"
    r"[,.! ]*$|"
    r"(?:many |big )?thank(?:s| you)\b.{0,120}$|thx\b.{0,60}$|cheers\b.{0,40}$|"
    r"(?:best |kind )?regards\b.{0,40}$|sorry\b.{0,100}$|apologies\b.{0,100}$|"
    r"(?:please )?let (?:me|us) know\b.{0,140}$|(?:i )?hope (?:this|that|it)\b.{0,80}$|"
    r"\(?hopefully\b.{0,60}$|this is my first\b.{0,120}$|ping\b.{0,20}$|"
    r"(?:any|no) (?:thoughts|objections|comments|news)\b.{0,80}$|"
    r"(?:any )?feedback (?:is )?(?:welcome|appreciated)\b.{0,40}$|"
    r"(?:so )?i(?:'m| am) (?:going to |gonna )?clos(?:e|ing) (?:this|it)\b.{0,60}$|"
    r"(?:so )?closing (?:this|it|for now|as)\b.{0,60}$|feel free to\b.{0,100}$|"
    r"(?:see|as discussed in|per) (?:the )?(?:commit message|discussion)s?\.?$|"
    r"cc:? @.{0,80}$|/cc .{0,80}$|@\w[\w-]*[,:]?$)",
    re.I,
)
_GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|dear)(?: there| all| folks| everyone| @?[\w-]+)?(?: @[\w-]+)*\s*[,!.:]+"
    r"\s*|@[\w-]+(?:[,:]|\s*-)?\s+|:[a-z_+\-0-9]+:\s*)+",
    re.I,
)


def plain(text: str) -> str:
    """A post without HTML comments, images, mail headers and signatures; code stays as it is."""
    lines = outside(text.replace("\r\n", "\n").replace("\r", "\n"), plain_tags).split("\n")
    kept: list[str] = []
    for line, code in zip(lines, cut.fences(lines), strict=True):
        if not code and _REST.match(line.strip()) and not _is_rule(line, kept):
            break
        if not code and _MAIL.match(line.strip()):
            continue
        kept.append(line if code else line.rstrip())
    return tidy("\n".join(kept))


def _is_rule(line: str, kept: Sequence[str]) -> bool:
    """`---` under nothing or after text is a ruler or a heading's line, not a signature."""
    return line.strip() == "---"


def plain_tags(text: str) -> str:
    """Without HTML comments, images and the tags that only lay text out."""
    # Twice: an image in the brackets of a link leaves an empty link.
    text = _EMOJI.sub("", text)
    return html.unescape(_TAG.sub("", _IMAGE.sub("", _IMAGE.sub("", COMMENT.sub("", text)))))


def outside(text: str, change: Callable[[str], str]) -> str:
    """Change a text outside its code blocks."""
    lines = text.split("\n")
    out: list[str] = []
    now: list[str] = []
    coded = False
    for line, code in zip(lines, cut.fences(lines), strict=True):
        if code != coded and now:
            out.append("\n".join(now) if coded else change("\n".join(now)))
            now = []
        now.append(line)
        coded = code
    out.append("\n".join(now) if coded else change("\n".join(now)))
    return "\n".join(out)


def tidy(text: str) -> str:
    """At most one empty line in a row, none at the ends."""
    return re.sub(r"\n[ \t]*\n(?:[ \t]*\n)+", "\n\n", text).strip()


def filled(text: str) -> str:
    """An issue's first post without the headings of its template and without unfilled parts."""
    out: list[str] = []
    for title, body in _titled(text):
        said = "\n".join(line for line in body if not _BOX.match(line)).strip()
        if title and (_ADMIN.match(title) or _UNFILLED.fullmatch(said)):
            continue
        if title and not _TEMPLATE.match(title):
            out.append(f"**{title}**")
        out.append(said)
    return tidy("\n\n".join(part for part in out if part))


def _titled(text: str) -> Iterator[tuple[str, list[str]]]:
    """The parts of a post, each with its heading ("" before the first)."""
    lines = text.split("\n")
    title = ""
    body: list[str] = []
    for line, code in zip(lines, cut.fences(lines), strict=True):
        found = None if code else _TITLE.match(line)
        if found:
            yield title, body
            title, body = next(group for group in found.groups() if group).strip(" :*"), []
        else:
            body.append(line)
    yield title, body


def without_chatter(text: str) -> str:
    """Prose without greetings, thanks, promises to close, and calls for opinions."""
    return tidy(outside(text, lambda part: "\n".join(_said(part))))


def _said(part: str) -> Iterator[str]:
    for block in re.split(r"(\n[ \t]*\n)", part):
        if not block.strip() or re.match(r"^\s*(?:[-*+|]|\d+[.)]|\s{4})", block):
            yield block
            continue
        said = cut.sentences(_GREETING.sub("", block.strip()))
        kept = [one for one in said if not _CHATTER.match(one.strip().rstrip(")"))]
        yield (
            block.strip()
            if len(kept) == len(said) and not _GREETING.match(block.strip())
            else _joined(kept)
        )


def _joined(sentences: Sequence[str]) -> str:
    text = " ".join(sentences)
    return text[:1].upper() + text[1:]


def quotes(text: str) -> list[tuple[bool, str]]:
    """A post as (is it quoted, text) pieces in order; code blocks are never quotes."""
    lines = text.split("\n")
    out: list[tuple[bool, list[str]]] = []
    for line, code in zip(lines, cut.fences(lines), strict=True):
        quoted = not code and bool(re.match(r"^\s{0,8}>", line))
        if not line.strip() and out:
            quoted = out[-1][0]
        if not out or out[-1][0] != quoted:
            out.append((quoted, []))
        out[-1][1].append(re.sub(r"^\s{0,8}>\s?", "", line) if quoted else line)
    pieces = [(quoted, "\n".join(part).strip()) for quoted, part in out]
    return [piece for piece in pieces if piece[1]]


def flat(text: str) -> str:
    """Only letters and digits, to find a quotation again however it was wrapped."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def unquoted(text: str, question: str, others: Sequence[str]) -> tuple[str, str]:
    """A reply with its quotations resolved, or a reason why it does not stand on its own.

    One quotation of the question is dropped, several become `Regarding "...":`; words of another
    post mean that the reply answers that post; what nobody in the thread said is the author's own
    (a specification, a log) and stays.
    """
    pieces = quotes(text)
    mine = [flat(piece)[:120] for quoted, piece in pieces if quoted]
    if not mine:
        return text, ""
    asked = flat(question)
    foreign = [one for one in mine if one and one not in asked]
    if foreign and any(one in said for said in map(flat, others) for one in foreign):
        return "", "answers another post of the thread"
    of_question = sum(one in asked for one in mine)
    out: list[str] = []
    for quoted, piece in pieces:
        if not quoted:
            out.append(piece)
        elif flat(piece)[:120] not in asked:
            out.append("\n".join(f"> {line}".rstrip() for line in piece.split("\n")))
        elif of_question > 1:
            first = " ".join(cut.sentences(" ".join(piece.split()))[:1])
            out.append(f'Regarding "{first[:160].rstrip()}":')
    return tidy("\n\n".join(out)), ""
