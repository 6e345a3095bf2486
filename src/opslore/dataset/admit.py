"""Nothing is learned that SAFETY.md forbids: hidden orders, secrets, commands nobody approved."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from opslore.cards import Message
from opslore.dataset import approved, prescribed, quarantine, secrets
from opslore.dataset.approved import Waiting
from opslore.dataset.pairs import Pair

_DOUBLE = re.compile(r"<(<[A-Z_]+>)>")
"""`Jo Doe <jo@example.org>` with the address masked."""

_MASK = re.compile(r"<[A-Z][A-Z_]+>")

PERSONAL = 0.05
"""Share of masks among an answer's words from which on it is a list of people or keys."""

WAITS = "commands that nobody approved yet (opslore review)"
REJECTED = "a person rejected it"


@dataclass
class Door:
    """Lets pairs in, masked; says why not, and what waits for a person."""

    approvals: approved.Approved
    scanner: secrets.Scanner = field(default_factory=secrets.Scanner)

    def admit(self, pair: Pair, masked: Counter[str]) -> Pair | tuple[str, Waiting | None]:
        """The pair as it may be learned, or the reason why not and the row that waits.

        Args:
            pair: a candidate.
            masked: counts what was masked, by kind.

        Raises:
            DataError: a detector failed; nothing unscanned is learned.
        """
        reason = quarantine.suspicious(pair.raw) or quarantine.suspicious(
            f"{pair.question}\n\n{pair.answer}"
        )
        clean = self._masked(pair, masked)
        if len(_MASK.findall(clean.answer)) > max(1.0, PERSONAL * len(clean.answer.split())):
            return "mostly secrets or personal data", None
        key = approved.key(clean.lead or clean.question, clean.answer)
        if self.approvals.rejected(key):
            return REJECTED, None
        if reason and not self.approvals.released(key):
            return f"quarantined: {reason}", _waiting(clean, key, "quarantined", reason, [])
        answer = self.approvals.answer(key, clean.answer)
        wanted = [] if clean.tier == "T1" else prescribed.prescribed(answer)
        if not all(self.approvals.allows(key, command) for command in wanted):
            return WAITS, _waiting(clean, key, "command", "", wanted)
        return clean.model_copy(update={"answer": answer})

    def _masked(self, pair: Pair, counts: Counter[str]) -> Pair:
        def clean(text: str) -> str:
            found = self.scanner.masked(text, pair.id)
            counts.update(found.found)
            return _DOUBLE.sub(r"\1", found.text)

        before = [Message(role=turn.role, content=clean(turn.content)) for turn in pair.before]
        question, answer = clean(pair.question), clean(pair.answer)
        lead = question if pair.lead == pair.question else clean(pair.lead)
        changed = {"question": question, "answer": answer, "before": before, "lead": lead}
        return pair.model_copy(update={**changed, "raw": ""})


def _waiting(pair: Pair, key: str, kind: str, reason: str, commands: list[str]) -> Waiting:
    return Waiting(
        key=key,
        kind="command" if kind == "command" else "quarantined",
        reason=reason,
        question=pair.lead or pair.question,
        answer=pair.answer,
        commands=commands,
        author=pair.author,
        trust=pair.tier,
        url=pair.url,
        source=pair.span,
        origin=pair.origin,
    )
