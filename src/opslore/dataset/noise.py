"""Posts that teach nothing, each with the reason: bots, stale notices, "+1", pointers, promises."""

from __future__ import annotations

import re

from opslore.cards import Turn
from opslore.dataset import cut

_BOT = re.compile(
    r"(?:\[bot\]|-bot|-robot|^(?:stale|dependabot|renovate|codecov(?:-io)?|github-actions|netlify|"
    r"vercel|claassistant|cla-?bot|mergify|coveralls|sonarcloud|snyk|linkerd-bot|l5d-bot))$",
    re.I,
)
_STALE = re.compile(
    r"automatically (?:been )?(?:marked as stale|closed|locked)|marked as stale|"
    r"has not had recent activity|no (?:recent )?activity (?:for|in)|"
    r"will be (?:automatically )?closed (?:if|in|due)|stale issue|closing (?:due to|for) inactiv|"
    r"due to (?:a lack of|inactivity)",
    re.I,
)
_ADMIN = re.compile(
    r"contributor license agreement|\bCLA\b.{0,40}sign|\bDCO\b|signed-off-by|"
    r"please (?:rebase|sign|squash)|can you (?:please )?[\"“]?rebase|merge conflict|"
    r"(?:re-?)?(?:run|trigger)(?:ning|ing)? (?:the )?(?:ci|tests|build|checks)|"
    r"adding (?:the )?label|(?:re)?assign(?:ed|ing)? (?:to|this)|good first issue|"
    r"moved? (?:this|it) to (?:the )?(?:milestone|discussions?|backlog)|"
    r"file (?:a new|a separate|another) issue|open a (?:new|separate) issue|"
    r"(?:sent|posted|discussed) (?:to|on) the (?:mailing )?list\b|filed as issues?\b|"
    r"milestone|triage|pull request (?:welcome|appreciated)|PRs? (?:are )?welcome",
    re.I,
)
_SLASH = re.compile(r"(?:\s*/[a-z][a-z-]*(?:[ \t]+\S+)*\s*)+")
_APPROVAL = re.compile(
    r"[\s.!,]*(?:\+1|-1|lgtm|looks? good(?: to me)?|ship it|approved?|nice(?: work| catch)?|done|"
    r"fixed|resolved|merged|closed?|closing|thanks?(?: you)?|thx|ok(?:ay)?|yes|no|yep|sure|agreed?|"
    r"same(?: here)?|me too|ditto|bump|ping|any (?:news|updates?)|great|cool|good point|"
    r"makes sense|sounds good|will do|[:\w+\-]*:[a-z_+\-0-9]+:|[\U0001F300-\U0001FAFF❤👍🎉])"
    r"(?:[\s.!,]|:[a-z_+\-0-9]+:|for (?:the|your) \w+|to me|@[\w-]+|[\U0001F300-\U0001FAFF])*",
    re.I,
)
_DUPLICATE = re.compile(
    r"^(?:(?:closing|closed) (?:this )?(?:as|in favou?r)|duplicate of|dup(?:e)? of|"
    r"(?:this )?(?:is|looks like|seems like) (?:a )?dup|see (?:also )?#\d+|same as #\d+|"
    r"superseded by|replaced by|tracked (?:in|by))",
    re.I,
)
_DONE = re.compile(
    r"(?:^|[.!?]\s+|\n)\W{0,3}(?:(?:this |it |that |these |they |all )?(?:(?:should|has|have|is|"
    r"are|was|were|will)(?: now)? (?:be(?:en)? )?)?(?:now )?(?:also )?(?:partial(?:ly)? )?"
    r"(?:fix(?:ed)?|addressed|resolved|done|closed|implemented|merged|added|updated|solved|changed)"
    r"(?: now)?\b|(?:should|ought to) be fixed|i(?:'ve| have)? (?:just )?(?:made|fixed|updated|"
    r"pushed|merged|put|changed|did|added)|ok,? (?:i )?changed)|"
    r"\bso (?:i(?:'m| am) )?closing\b",
    re.I,
)
_ELSEWHERE = re.compile(
    r"\b(?:as (?:i|we|you|he|she|they|already)?\s?(?:said|mentioned|noted|described|explained|"
    r"wrote|pointed out|discussed)|(?:my|your|his|her|the|a) (?:previous|earlier|last|above|other|"
    r"latest|first) (?:comments?|message|post|reply|answer|remark|suggestion|point)|"
    r"(?:comments?|post|message|suggestions?|proposal|patch|answer|explanation) (?:above|below)|"
    r"(?:see|the) above|above[- ]mentioned|what @?\w+ (?:said|wrote|suggest\w+)|"
    r"@\w[\w-]* (?:said|says|wrote|mentioned|suggest\w+|is (?:right|correct))|"
    r"option (?:one|two|three|four|[1-4ABC])|"
    r"(?:the )?(?:commit|pull request|PR) message|original post(?:er)?)\b",
    re.I,
)
_REPLY = re.compile(
    r"^(?:@?[\w-]+,? )?(?:ok(?:ay)?\b|this one\b|what you(?:'ve| have)\b|"
    r"i (?:fully |totally |also )?(?:agree|concur|disagree)|agreed|"
    r"exactly|that'?s (?:right|true|a good|fine|what)|good (?:point|idea|question|catch)|"
    r"you(?:'re| are) (?:right|correct)|(?:so|and|but|also|or|then|still|however|maybe|btw|"
    r"by the way|another|actually|well)\b[ ,]|my (?:first )?(?:reaction|vote|preference)|"
    r"i(?:'d| would) (?:vote|prefer|rather|like)|same (?:for|with|applies)|"
    r"(?:the|that|this|your) (?:second|latter|former|other) (?:one|option|idea)|both\b|"
    r"as (?:i|we|you) |never ?mind|oops|oups|ignore |argh|crap|whoops|either\b)",
    re.I,
)
_PROMISE = re.compile(
    r"\b(?:i(?:'ll| will| am going to|'m going to|'m gonna| can| could| plan to)|let me|"
    r"we(?:'ll| will|'re going to)) "
    r"(?:try|look|check|investigate|see|take|do|fix|send|submit|push|make|work|get|have a|add|"
    r"update|remove|change|create|write|put|open|merge|split|wait|keep|start|use|post|go|"
    r"leave|close|reopen|prepare)\b|"
    r"\b(?:looking|working) (?:in)?to? ?(?:on )?(?:it|this)\b|\bis working on\b|"
    r"work in progress|\bWIP\b|stay tuned",
    re.I,
)
_ASKS = re.compile(
    r"\b(?:could|can|would) you (?:please |kindly |also |perhaps )?(?:provide|share|try|post|"
    r"attach|paste|send|run|check|confirm|clarify|elaborate|tell|explain|give|add|show|split|"
    r"rebase|update|open)\b|please (?:provide|share|attach|paste|confirm|clarify|try again)|"
    r"\b(?:which|what) version\b.{0,40}\?|do you (?:have|see|know|mean|want|think)\b[^.]*\?|"
    r"is this still (?:an issue|relevant|happening)|are you (?:still|able|sure|using)\b",
    re.I,
)
_UNSURE = re.compile(
    r"\b(?:not sure|no idea|i (?:don'?t|do not) (?:know|remember|recall|think)|i (?:guess|suspect|"
    r"wonder)|haven'?t (?:looked|checked|tried)|my (?:vote|preference|two cents|2 ?cents)|imh?o|"
    r"i(?:'d| would) (?:vote|argue|prefer|say|guess|suggest|favou?r)|opinions?|objections?|"
    r"open for discussion|we should (?:discuss|decide|think)|needs? (?:more )?discussion|thoughts|"
    r"or am i (?:missing|wrong)|if i remember|perhaps|i(?:'ll| will) have to|"
    r"personal preference|(?:one|another) (?:possibility|option) (?:might|would|could)|"
    r"may be the best|do i (?:read|understand)|i (?:was|am) thinking|"
    r"something (?:along these lines|such as)|i'?m n(?:to|ot) sure|so far as i know|"
    r"would it (?:suffice|make sense)|what (?:you(?:'ve| have)|do you)|"
    r"(?:whether|if) you (?:want|prefer|like|think)|who knows|tbd|for what it'?s worth|fwiw)\b|"
    r"\?\s*$",
    re.I,
)
_RESOLVED = re.compile(r'^Regarding ".*":$', re.M)
"""A quotation that `posts.unquoted` named."""

TOLD = 14
"""Words that "fixed in ..." needs beside it to say what the answer is."""

_SHA = re.compile(r"\b[0-9a-f]{7,40}\b|#\d+|https?://\S+|@[\w-]+|\bGH-\d+")


def of_author(turn: Turn) -> str:
    """The reason why this author never counts, or ""."""
    if turn.bot or (turn.author and _BOT.search(turn.author)):
        return "a bot wrote it"
    return ""


def empty(text: str, shortest: int) -> str:
    """The reason why a cleaned post says nothing, or ""."""
    bare = text.strip()
    if _STALE.search(bare) and len(bare) < 700:
        return "stale notice"
    if not bare or _SLASH.fullmatch(bare):
        return "no text"
    if _APPROVAL.fullmatch(bare):
        return "approval or thanks only"
    if _ADMIN.search(bare) and len(bare) < 400:
        return "administration of the thread"
    if _DUPLICATE.match(bare) and len(bare) < 200:
        return "points to another thread"
    if len(bare) < shortest:
        return "too short"
    return ""


def leans(text: str) -> str:
    """The reason why an answer does not stand on its own, or ""."""
    prose = "\n".join(block for block in cut.blocks(text) if not cut.is_code(block))
    prose = _RESOLVED.sub("", prose)
    if _ELSEWHERE.search(prose):
        return "refers to another post"
    if _REPLY.match(prose.strip()):
        return "goes on from another post"
    left = _SHA.sub(" ", prose)
    if _DONE.search(prose) and len(re.findall(r"[A-Za-z]{2,}", left)) < TOLD:
        return "says that it is done, not what the answer is"
    if _ASKS.search(prose) and len(prose) < 600:
        return "asks back"
    if _PROMISE.search(prose) and len(prose) < 500:
        return "promises or reports progress"
    if prose.rstrip().endswith("?"):
        return "ends with a question"
    return ""


def unsure(text: str) -> int:
    """How often a text says that its author does not know."""
    return len(_UNSURE.findall(text))


def is_done(text: str) -> bool:
    """Whether a post only says that something was fixed."""
    return bool(_DONE.search(text))
