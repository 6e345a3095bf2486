"""More questions about the trained alerts, reworded by any OpenAI-compatible endpoint (optional).

Only the question comes from outside: the answer, the labels and the prompt around it are written
here, so a wrong or hostile reply can at worst be an odd question.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from opslore import progress, store
from opslore.cards import Dropped, Example
from opslore.config import Paraphraser, Prepare
from opslore.dataset import clean
from opslore.dataset.phrasing import WEBHOOK, Question
from opslore.dataset.writer import Writer
from opslore.endpoint import Chat
from opslore.index import Index

Reword = Callable[[Index, list[Example]], tuple[list[Example], list[Dropped]]]
"""Takes the index and the train split; gives new examples, and what was not kept."""

CACHE = "paraphrases.jsonl"
"""The replies, in the work folder: a killed run does not ask twice, and the dataset keeps them."""

TEMPERATURE = 0.8
LONGEST_QUESTION = 1000
"""Characters; more is no question."""
FIRST_NUMBER = 5000
"""Numbers of reworded examples begin here, beyond those of the writer itself."""

INSTRUCTION = (
    "Reword the message of a tired on-call engineer: other words, same meaning, same language."
    " Keep every name, label value and number exactly as it is. Do not answer it, suggest no"
    " command. Reply with the reworded message only."
)


def writer(settings: Prepare, system: str, work: Path) -> Reword | None:
    """What rewords the train split's questions, or None when no endpoint is configured.

    Args:
        settings: the `prepare` section; `paraphraser` names the endpoint.
        system: the agent's system prompt, for the prompts around the new questions.
        work: folder where replies are kept.
    """
    endpoint = settings.paraphraser
    if endpoint is None:
        return None

    def reword(index: Index, examples: list[Example]) -> tuple[list[Example], list[Dropped]]:
        author = Writer(settings, system, index)
        kept: list[Example] = []
        dropped: list[Dropped] = []
        chosen = choose(examples, index, endpoint.per_alert)
        with Endpoint(endpoint, work / CACHE) as model:
            for number, example in enumerate(chosen):
                progress.report("paraphrase", number, len(chosen))
                text = tidy(model.reword(example.question))
                made = author.example(
                    index.by_id[example.group],
                    Question(text, "paraphrase/train-0", example.labels),
                    "train",
                    FIRST_NUMBER + number,
                )
                if reason := refusal(made, example):
                    dropped.append(Dropped(what=made.id, reason=reason, span=made.source))
                else:
                    kept.append(made)
        progress.report("paraphrase", len(chosen), len(chosen))
        return kept, dropped

    return reword


def choose(examples: Sequence[Example], index: Index, per_alert: int) -> list[Example]:
    """The questions to reword: the first few of each alert that people would write."""
    count: dict[str, int] = {}
    chosen = []
    for example in examples:
        family = example.family.partition("/")[0]
        if example.split != "train" or example.hidden or family == WEBHOOK:
            continue
        if example.group in index.by_id and count.get(example.group, 0) < per_alert:
            count[example.group] = count.get(example.group, 0) + 1
            chosen.append(example)
    return chosen


def tidy(reply: str) -> str:
    """A reply as one line, without the quotes that models like to put around it."""
    text = " ".join(reply.split())
    return text[1:-1].strip() if len(text) > 2 and text[0] == text[-1] in "\"'`" else text


def refusal(made: Example, before: Example) -> str:
    """Why a reworded example is not kept; empty when it is."""
    if not made.question or len(made.question) > LONGEST_QUESTION:
        return f"reworded to {len(made.question)} characters"
    if lost := [value for value in made.labels.values() if value not in made.question]:
        return f"reworded without the label value {lost[0]}"
    if made.question == before.question:
        return "not reworded at all"
    return "the answer stands in the question" if clean.answer_in_question(made) else ""


class Endpoint:
    """An OpenAI-compatible chat endpoint, with its replies kept on disk."""

    def __init__(
        self, settings: Paraphraser, cache: Path, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self.cache = cache
        self.known = _known(cache)
        self.chat = Chat(settings.url, "paraphraser", "prepare.paraphraser", sleep)

    def __enter__(self) -> Endpoint:
        """Open the file of replies."""
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.cache.open("a", encoding="utf-8")
        return self

    def __exit__(self, *reason: object) -> None:
        """Close the file and the connections."""
        self.file.close()
        self.chat.close()

    def reword(self, question: str) -> str:
        """Ask for one rewording, or take the reply that is already there.

        Raises:
            ServerError: the endpoint refuses, does not answer, or answers no chat completion.
        """
        request = {
            "model": self.settings.model,
            "temperature": TEMPERATURE,
            "messages": [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": question},
            ],
        }
        asked = hashlib.sha256(json.dumps([self.chat.url, request]).encode()).hexdigest()
        if asked not in self.known:
            reply = self.chat.ask(request)
            self.file.write(json.dumps({"asked": asked, "reply": reply}) + "\n")
            self.file.flush()
            self.known[asked] = reply
        return self.known[asked]


def _known(cache: Path) -> dict[str, str]:
    """The replies of an earlier try; a torn last line is asked again."""
    found: dict[str, str] = {}
    text = cache.read_text(encoding="utf-8", errors="replace") if cache.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    for line in whole.splitlines():
        try:
            row = json.loads(line)
            found[str(row["asked"])] = str(row["reply"])
        except (ValueError, KeyError, TypeError):
            continue
    if whole != text:
        store.write(cache, whole)
    return found
