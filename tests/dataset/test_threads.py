from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from opslore.cards import Document, Span, Turn
from opslore.config import Answers
from opslore.dataset import chats, posts, pulls, threads
from opslore.dataset.pairs import Pair

ASKED = "The proxy does not start after the upgrade to 2.14. The log says `connection refused`."
GOOD = "The proxy needs the new identity port 8080 to be open, so allow it in the network policy."
LONG = "The identity service has been rewritten a while ago and there is a lot to tell. " * 8


def turn(text: str, author: str = "mara", trust: Any = "T2", **more: Any) -> Turn:
    return Turn(text=text, author=author, trust=trust, created="2024-01-02T00:00:00Z", **more)


def issue(*turns: Turn, title: str = "Proxy does not start", **more: Any) -> Document:
    first = turn(more.pop("body", ASKED), "rob", "T3", kind="body")
    given = {
        "id": "github:linkerd/linkerd2#7",
        "kind": "issue",
        "title": title,
        "text": first.text,
        "author": "rob",
        "trust": "T3",
        "state": "completed",
        "product": "Linkerd",
        "version": "2.14",
        "origin": "issues linkerd/linkerd2",
        "span": Span(file="https://github.com/linkerd/linkerd2/issues/7", first=1, last=1),
        "turns": [first, *turns],
    }
    return Document.model_validate({**given, **more})


def pair(document: Document, merged: dict[str, str] | None = None) -> Pair:
    found = threads.pair(document, Answers(), merged or {})
    assert isinstance(found, Pair), found
    return found


def refused(document: Document) -> str:
    found = threads.pair(document, Answers(), {})
    assert isinstance(found, str)
    return found


def test_the_reporter_asks_and_a_maintainer_answers() -> None:
    found = pair(issue(turn(GOOD)))
    assert found.question == f"Linkerd 2.14: Proxy does not start\n\n{ASKED}"
    assert (found.answer, found.tier, found.author) == (GOOD, "T2", "mara")


def test_nobody_else_is_ever_an_answer() -> None:
    loud = turn(GOOD, "eve", "T3", reactions={"+1": 99}, marks=["accepted", "closing"])
    assert refused(issue(loud)) == "no answer: not by a maintainer (T3)"
    assert refused(issue(turn(GOOD, "rob"))) == "no answer: the reporter's own post"
    assert refused(issue(turn(GOOD, "helper[bot]"))) == "no answer: a bot wrote it"
    assert refused(issue(turn(GOOD, bot=True))) == "no answer: a bot wrote it"


@pytest.mark.parametrize(
    "better",
    [
        turn(GOOD, marks=["accepted"]),
        turn(GOOD, marks=["closing"]),
        turn(GOOD, reactions={"+1": 3}),
        turn(GOOD, association="OWNER"),
        turn("Fixed in the 2.14.1 release: " + GOOD),
    ],
    ids=["accepted", "closing", "reactions", "owner", "fix"],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_an_answer_did_beats_length(better: Turn, first: bool) -> None:
    both = [better, turn(LONG, "nina")] if first else [turn(LONG, "nina"), better]
    assert pair(issue(*both)).answer.endswith(GOOD)


def test_disliked_answers_lose() -> None:
    disliked = turn(LONG, "nina", reactions={"-1": 4})
    assert pair(issue(disliked, turn(GOOD))).answer == GOOD


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+1", "approval or thanks only"),
        ("LGTM! :tada:", "approval or thanks only"),
        ("Done", "approval or thanks only"),
        ("/lgtm", "no text"),
        ("Try again later.", "too short"),
        (
            "This issue has been automatically marked as stale because it has not had activity.",
            "stale notice",
        ),
        ("Could you please share the output of linkerd check and your version?", "asks back"),
        ("As I said in my previous comment, the port must be open there.", "refers to another"),
        ("I agree with that, the port must be open in every network policy.", "goes on from"),
        ("I'll look into this tomorrow and open a pull request for it.", "promises"),
        ("Duplicate of #12, please follow the discussion over there.", "points to another"),
        ("This was fixed in 1a2b3c4d5e6f7a8b on the main branch.", "says that it is done"),
    ],
)
def test_posts_that_teach_nothing_have_a_reason(text: str, reason: str) -> None:
    passed: Counter[str] = Counter()
    found = threads.pair(issue(turn(text)), Answers(), {}, passed)
    assert isinstance(found, str)
    assert reason in found
    assert [reason in one for one in passed] == [True]


def test_a_bare_fix_is_completed_with_the_title_of_the_merged_pull_request() -> None:
    merged = {"github:linkerd/linkerd2#25": "Open the identity port by default"}
    answered = issue(turn("Addressed by pull #25."))
    assert pair(answered, merged).answer == (
        'This was fixed by pull request #25, "Open the identity port by default".'
    )
    assert "no answer" in refused(answered)


def test_an_open_thread_needs_somebody_who_is_sure() -> None:
    guess = "Perhaps the port is closed, I guess, but who knows what the network policy says there"
    assert refused(issue(turn(guess), state="open")) == "nobody settled it"


def test_a_thread_that_its_maintainer_settled_alone_has_no_answer() -> None:
    done = turn("The port is open now in every chart, so closing this issue.", "rob")
    beside = turn("Some people of the list are not here, which is worth to know about it.")
    assert "settled it alone" in refused(issue(beside, done))


def test_templates_comments_and_unfilled_parts_go() -> None:
    body = (
        "<!-- Thanks for reporting! -->\n### What is the issue?\n\nThe proxy crashes on start.\n\n"
        "### Logs, error output, etc\n\n_No response_\n\n### Environment\n\nKubernetes 1.29\n\n"
        "### Would you like to work on fixing this bug?\n\nmaybe\n- [x] I have searched"
    )
    asked = threads.question(issue(turn(GOOD), body=body), 2400)
    expected = (
        "Linkerd 2.14: Proxy does not start\n\nThe proxy crashes on start.\n\nKubernetes 1.29"
    )
    assert asked == expected


def test_a_title_that_says_nothing_is_no_question() -> None:
    bare = issue(turn(GOOD), title="Bug", body="![screen](a.png)")
    assert refused(bare) == "the question does not stand on its own"


def test_the_repository_names_the_product_where_no_source_does() -> None:
    found = pair(issue(turn(GOOD), product="", version=""))
    assert found.question.startswith("linkerd2: Proxy does not start")


class TestQuotes:
    def test_one_quotation_of_the_question_is_dropped(self) -> None:
        reply = f"> The log says `connection refused`.\n\n{GOOD}"
        assert pair(issue(turn(reply))).answer == GOOD

    def test_several_are_named(self) -> None:
        body = "Is the port needed by all? Which version was the first one to have it?"
        reply = (
            "> Is the port needed by all?\n\nYes, by all of them.\n\n> Which version was the\n> "
        )
        reply += "first one to have it?\n\nThat was 2.14, with the new identity service."
        answer = pair(issue(turn(reply), body=body)).answer
        assert answer.startswith('Regarding "Is the port needed by all?":\n\nYes, by all of them.')

    def test_an_answer_to_another_post_is_none(self) -> None:
        other = turn("My cluster has a very special firewall in front of it.", "zoe", "T3")
        reply = turn(f"> a very special firewall\n\n{GOOD}")
        assert refused(issue(other, reply)).endswith("answers another post of the thread")

    def test_the_authors_own_quotation_stays(self) -> None:
        reply = "The specification says it:\n\n> The port MUST be open.\n\nSo open it, please do."
        assert "> The port MUST be open." in pair(issue(turn(reply))).answer


def test_mail_debris_goes() -> None:
    mail = f"Jo Doe <notifications@github.com> wrote:\n    > {ASKED}\n\n{GOOD}\n\n--\nJo Doe\nACME"
    assert pair(issue(turn(mail))).answer == GOOD
    assert posts.plain(f"{GOOD}\n\nSent from my phone") == GOOD


def test_code_is_never_touched() -> None:
    code = "```\n<!-- kept -->\n> kept\n-- \nkept\n```"
    assert posts.without_chatter(posts.plain(f"Thanks for the report!\n\n{code}")) == code


class TestPulls:
    TEXT = "The identity port was closed by the default policy, so proxies did not start. Open it."

    def pull(self, text: str = TEXT, **more: Any) -> Document:
        first = turn(text, "mara", more.pop("trust", "T2"), kind="body")
        given = {"kind": "pull", "state": "merged", "author": "mara", "turns": [first]}
        return issue(title="Open the identity port (#9)").model_copy(update={**given, **more})

    def pair(self, document: Document) -> Pair | str:
        return pulls.pair(document, Answers(), 0)

    def test_the_description_answers_what_and_why(self) -> None:
        found = self.pair(self.pull())
        assert isinstance(found, Pair)
        assert "Open the identity port" in found.question
        assert "#9" not in found.question
        assert "Linkerd 2.14" in found.question
        assert found.answer == self.TEXT

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"state": "closed"}, "not merged"),
            ({"trust": "T3"}, "not by a maintainer (T3)"),
            ({"text": ""}, "no description"),
            ({"text": "Fixes #12"}, "the description does not say what or why"),
            ({"text": "See the commit message."}, "the description does not say what or why"),
        ],
    )
    def test_others_have_a_reason(self, change: dict[str, Any], reason: str) -> None:
        assert self.pair(self.pull(**change)) == reason


class TestConversations:
    def chat(self, *said: tuple[str, str], trust: Any = "T2") -> Document:
        turns = [turn(text, who, trust if who == "assistant" else "T3") for who, text in said]
        return issue().model_copy(update={"kind": "chat", "id": "chat:1", "turns": turns})

    def test_it_ends_with_the_last_answer_worth_learning(self) -> None:
        found = chats.conversation(
            self.chat(
                ("assistant", "Hello, what can I do for you?"),
                ("user", "It does not start."),
                ("assistant", "Which version is it, and what does the log say?"),
                ("user", "2.14."),
                ("user", "Nothing in the log."),
                ("assistant", GOOD),
                ("user", "Thanks!"),
                ("assistant", "Done"),
            ),
            Answers(),
        )
        assert isinstance(found, Pair)
        assert [m.role for m in found.before] == ["user", "assistant"]
        assert found.question == "2.14.\n\nNothing in the log."
        assert found.answer == GOOD

    def test_the_tier_is_of_who_answered(self) -> None:
        said = (("user", "It does not start."), ("assistant", GOOD))
        assert chats.conversation(self.chat(*said, trust="T3"), Answers()) == (
            "not by a maintainer (T3)"
        )
        assert chats.conversation(self.chat(("user", "Hello?")), Answers()) == "no answer"
