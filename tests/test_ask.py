"""Asking the shipped model: what may be shown, what goes to a person, and that it is the real road.

The model here is real and runs in llama.cpp, but every weight is chosen: after a token it always
says the next one of a sentence, with certainty, whatever it was asked.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flow_world
import gguf
import numpy as np
import pytest
import tiny_models

from opslore import answer, cli, ggufheader, models, steps, store
from opslore.bundle import catalogue
from opslore.cards import ESCALATE, Adapter, Bundle, Command, Document, Evaluation, Release, Span
from opslore.config import Agent
from opslore.errors import ConfigError, DataError, IntegrityError, MissingInput
from opslore.index import Hit, Index
from opslore.servers import Reply

DISK = "the filesystem of the node is almost full"
WIDTH = 64


def parrot(path: Path, pieces: list[str]) -> Path:
    """A Llama that says these tokens after `assistant` and a line break, and then ends its turn.

    The blocks add nothing, so the last layer sees the embedding of the last token alone, and the
    output matrix maps it to the next token.
    """
    donor = ggufheader.read(models._bundled("smollm2-135m-instruct"))
    words = donor.get("tokenizer.ggml.tokens")[: tiny_models.WORDS["llama"]]
    chain = [words.index(piece) for piece in ["Ċ", *pieces, "<|im_end|>"]]
    assert len(set(chain)) == len(chain), "a token cannot have two next ones"
    rows = np.random.default_rng(3).standard_normal((len(words), WIDTH)).astype(np.float32)
    rows *= np.sqrt(WIDTH) / np.linalg.norm(rows, axis=1, keepdims=True)
    output = np.zeros_like(rows)
    for token, following in itertools.pairwise(chain):
        output[following] = rows[token]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    tiny_models._vocabulary(writer, donor, len(words))
    writer.add_add_bos_token(False)
    writer.add_chat_template(tiny_models.CHATML)
    writer.add_tensor("token_embd.weight", rows)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for norm in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{norm}.weight", np.ones(WIDTH, np.float32))
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    for part in parts:
        writer.add_tensor(f"blk.0.{part}.weight", np.zeros((WIDTH, WIDTH), np.float32))
    return tiny_models._written(writer, path)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent with a bundle whose model says `df -h`, and no release."""
    folder = tmp_path_factory.mktemp("ask")
    (folder / "RUNBOOK.md").write_text(flow_world.runbook())
    settings = Agent.model_validate(
        {
            "name": "parrot",
            "store": str(folder / "runs"),
            "collect": [{"path": str(folder / "RUNBOOK.md")}],
            "prepare": {"phrasings": 2, "s1": 10, "s2": 3, "s3": 6, "entries": 3},
            "export": {"num_ctx": 1024},
        }
    )
    dataset = steps.prepare(settings, steps.collect(settings))
    home = steps.store_of(settings)
    trained = {"base_model": "parrot", "base_digest": "0" * 64, "steps": 7, "loss": 0.5,
               "valid_loss": None, "seconds": 3.0}  # fmt: skip
    adapter = home.made(Adapter, {}, [dataset], lambda work: trained)

    def make(work: Path) -> dict[str, Any]:
        index = Index.read(home.path(dataset))
        index.write(work)
        known = catalogue.build(e.answer for e in index.entries)
        (work / "catalogue.json").write_text(known.model_dump_json())
        (work / "settings.json").write_text(
            json.dumps({"system_prompt": settings.system_prompt, "entries": 3})
        )
        parrot(work / "model.gguf", ["d", "f", "Ġ-", "h"])
        return {
            "base_model": "parrot",
            "quantization": "f16",
            "gguf_sha256": store.sha256(work / "model.gguf"),
            "template_sha256": "0" * 64,
            "commands": len(known.templates),
        }

    home.made(Bundle, {}, [adapter], make)
    return settings


@pytest.fixture
def file(agent: Agent, tmp_path: Path) -> str:
    path = tmp_path / "parrot.yaml"
    path.write_text(json.dumps(agent.model_dump(mode="json")))
    return str(path)


def test_a_known_alert_is_answered_with_the_line_it_comes_from(agent: Agent) -> None:
    found = answer.ask(agent, DISK, {"instance": "node-3"})
    assert (found.command, found.escalate) == ("df -h", False)
    assert found.alert == "NodeDiskFull"
    assert found.risk == "read"
    assert not found.confirm
    assert found.confidence == pytest.approx(1.0, abs=0.05)
    assert found.question == f"{DISK} instance=node-3"
    name, _, line = found.source.partition(":")
    text = (Path(agent.store).parent / name).read_text().splitlines()
    assert text[int(line.partition("@")[0]) - 1] == "df -h"
    assert len(found.shown) == 3
    assert not found.released


def test_free_and_constrained_agree_when_the_model_stays_in_the_catalogue(agent: Agent) -> None:
    free, limited = answer.ask(agent, DISK, free=True), answer.ask(agent, DISK)
    assert free.model_copy(update={"seconds": 0}) == limited.model_copy(update={"seconds": 0})


def test_an_answer_that_no_shown_entry_gives_goes_to_a_person(agent: Agent) -> None:
    limited = answer.ask(agent, "the git repository could not be fetched")
    assert limited.command == ESCALATE, "the limit knows only what the prompt shows"
    found = answer.ask(agent, "the git repository could not be fetched", free=True)
    assert found.reply == "df -h"
    assert "NodeDiskFull" not in " ".join(found.shown)
    assert (found.command, found.escalate, found.alert) == (ESCALATE, True, "")
    assert found.why == "the model's command is not the answer of any runbook entry it was shown"


@pytest.mark.parametrize("question", ["", "  \n "])
def test_an_empty_question_is_refused(agent: Agent, question: str) -> None:
    with pytest.raises(DataError, match="the question is empty"):
        answer.ask(agent, question)


def test_a_question_longer_than_the_context_says_what_to_raise(agent: Agent) -> None:
    with pytest.raises(DataError) as caught:
        answer.ask(agent, "the node is full " * 500)
    assert "the context has 1024" in caught.value.message
    assert "export.num_ctx" in caught.value.hint


def test_nothing_exported_yet_says_what_to_run(agent: Agent, tmp_path: Path) -> None:
    empty = agent.model_copy(update={"store": str(tmp_path)})
    with pytest.raises(MissingInput) as caught:
        answer.ask(empty, DISK)
    assert "run `opslore export AGENT.yaml` first" in caught.value.hint


def test_a_damaged_bundle_is_named(agent: Agent, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(agent.store, tmp_path / "runs")
    copied = agent.model_copy(update={"store": str(tmp_path / "runs")})
    folder = answer.shipped(steps.store_of(copied)).folder
    for name in ("settings.json", "catalogue.json"):
        before = (folder / name).read_text()
        (folder / name).write_text(before[:-4])
        with pytest.raises(IntegrityError) as caught:
            answer.ask(copied, DISK)
        assert caught.value.message.startswith(f"{folder / name}: not what `export` wrote:")
        (folder / name).write_text(before)


class TestCommand:
    def test_the_terminal_shows_command_source_risk_and_confidence(
        self, file: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["ask", file, DISK]) == 0
        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert lines[0] == "df -h"
        assert [line.split()[0] for line in lines[1:]] == [
            "alert", "runbook", "risk", "confidence", "model",
        ]  # fmt: skip
        assert "RUNBOOK.md:" in lines[2]
        assert err == "note: this model is not released: no version of it has passed the gate\n"

    def test_json_is_the_whole_answer_and_nothing_else(
        self, file: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["ask", file, DISK, "--json", "--label", "namespace=payments"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["command"] == "df -h"
        assert found["question"].endswith(" namespace=payments")

    def test_the_question_comes_from_stdin(
        self, file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{DISK}\n"))
        assert cli.main(["ask", file, "-", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["question"] == DISK

    def test_an_escalation_names_the_nearest_entries(
        self, file: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["ask", file, "the git repository could not be fetched", "--free"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("escalate to a human: the model's command is not")
        assert lines[1].split()[:2] == ["nearest", "FluxSourceStale"]
        assert "df -h" not in "\n".join(lines)

    def test_a_label_that_is_none_is_refused(
        self, file: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["ask", file, DISK, "--label", "payments"]) == 2
        assert capsys.readouterr().err == (
            "error: --label 'payments': not a label\nhint: write it as --label namespace=payments\n"
        )

    def test_a_released_model_needs_no_note(
        self, agent: Agent, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import shutil

        shutil.copytree(agent.store, tmp_path / "runs")
        released = agent.model_copy(update={"store": str(tmp_path / "runs")})
        Path(file).write_text(json.dumps(released.model_dump(mode="json")))
        release(released)
        assert cli.main(["ask", file, DISK, "--json"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert json.loads(out)["released"] is True
        assert json.loads(out)["model"] == "parrot v20260131-0123abcd"


def release(agent: Agent) -> Release:
    """Cards of an evaluation that passed and of its release."""
    home = steps.store_of(agent)
    bundle = home.latest(Bundle)
    passed = {"passed": True, "headline": "", "scores": [], "gates": []}
    evaluation = home.made(Evaluation, {}, [bundle], lambda work: passed)
    fields = {"version": "v20260131-0123abcd", "agent": agent.name, "adapters_sha256": "a",
              "model_sha256": "b", "registry": "r", "run_id": "1", "blessed": True}  # fmt: skip
    return home.made(Release, {}, [bundle, evaluation], lambda work: fields)


def hit(title: str, command: str) -> Hit:
    span = Span(file="RUNBOOK.md", first=10, last=20, commit="0123456789abcdef")
    made = [Command(text=command, role="resolution", first=17, last=17)] if command else []
    document = Document(id=title, title=title, text="", span=span, commands=made)
    return Hit(Index.of([document]).entries[0], 1.0)


HITS = [
    hit("PodCrash", "kubectl logs <pod> -n <namespace> --previous"),
    hit("VolumeOrphaned", "kubectl delete pvc <persistentvolumeclaim> -n <namespace>"),
    hit("Unowned", ""),
]


def judge(
    reply: str,
    question: str = "it broke",
    confidence: float | None = 0.99,
    hits: Sequence[Hit] = HITS,
    **labels: str,
) -> Any:
    return answer.judge(reply, confidence, hits, question, labels)


class TestJudge:
    def test_a_reply_that_was_cut_off_is_no_answer(self) -> None:
        """Half a command can be a whole one that does something else."""
        whole = "kubectl logs <pod> -n <namespace> --previous"
        ended, cut = (Reply(whole, stopped, 48, 1.0, 0.99) for stopped in (True, False))
        assert not answer.judged(ended, HITS, "PodCrash", {}).escalate
        found = answer.judged(cut, HITS, "PodCrash", {})
        assert found.escalate
        assert found.why == "the model's reply did not end: it was cut after 48 tokens"

    def test_the_word_for_a_person_is_taken_at_its_word(self) -> None:
        found = judge(f" {ESCALATE}. ")
        assert (found.command, found.escalate) == (ESCALATE, True)
        assert found.why == "the model knows no command of the runbook for this"

    @pytest.mark.parametrize(
        "question",
        [
            "pod web-0 in payments crashes",
            'alert {"namespace": "payments", "pod": "web-0"}',
            "namespace=payments pod=web-0: crash.",
            "see payments/web-0, payments and web-0!",
        ],
    )
    def test_a_command_filled_with_what_was_said_is_an_answer(self, question: str) -> None:
        found = judge("kubectl logs web-0 -n payments --previous", question)
        assert not found.escalate
        assert (found.alert, found.source) == ("PodCrash", "RUNBOOK.md:17@0123456789ab")
        assert found.holes == []

    def test_holes_that_nobody_filled_are_listed(self) -> None:
        found = judge("kubectl logs <pod> -n payments --previous", namespace="payments")
        assert found.holes == ["<pod>"]
        assert not found.escalate

    def test_holes_that_the_model_left_open_are_filled_from_the_labels(self) -> None:
        found = judge("kubectl logs <pod> -n <namespace> --previous", namespace="payments")
        assert found.command == "kubectl logs <pod> -n payments --previous"
        assert found.holes == ["<pod>"]

    def test_the_order_of_flags_is_no_difference(self) -> None:
        found = judge("kubectl -n payments logs --previous web-0", "web-0 payments")
        assert found.alert == "PodCrash"

    def test_a_fence_around_it_is_taken_off(self) -> None:
        found = judge("```bash\n$ kubectl logs <pod> -n <namespace> --previous\n```")
        assert found.command == "kubectl logs <pod> -n <namespace> --previous"

    @pytest.mark.parametrize(
        ("reply", "question", "labels", "why"),
        [
            (
                "kubectl logs web-0 -n shop --previous",
                "pod web-0 crashes",
                {},
                "the command for PodCrash was filled in wrongly: ",
            ),
            (
                "kubectl logs web-0 -n shop --previous",
                "pod web-0 crashes, not in shop",
                {"namespace": "payments"},
                "the command for PodCrash was filled in wrongly: ",
            ),
            (
                "kubectl logs <pod> -n <namespace>",
                "it crashes",
                {},
                "the model's command is not the answer of any runbook entry it was shown",
            ),
            (
                "kubectl delete namespace payments",
                "payments crashes",
                {},
                "the model's command is not the answer of any runbook entry it was shown",
            ),
            (
                "kubectl logs <pod> -n <namespace> --previous; rm -rf /",
                "it crashes",
                {},
                "the model's command is not the answer of any runbook entry it was shown",
            ),
            (
                "You should look at the logs.",
                "it crashes",
                {},
                "the model's command is not the answer of any runbook entry it was shown",
            ),
            (
                "",
                "it crashes",
                {},
                "the model's command is not the answer of any runbook entry it was shown",
            ),
        ],
    )
    def test_anything_else_goes_to_a_person(
        self, reply: str, question: str, labels: dict[str, str], why: str
    ) -> None:
        found = judge(reply, question, **labels)
        assert (found.command, found.escalate, found.alert, found.risk) == (ESCALATE, True, "", "")
        assert found.why.startswith(why)

    @pytest.mark.parametrize(
        ("confidence", "said"), [(answer.SURE - 0.01, "0.74"), (0.0, "0.00"), (None, "unknown")]
    )
    def test_a_model_that_is_not_sure_goes_to_a_person(
        self, confidence: float | None, said: str
    ) -> None:
        found = judge("kubectl logs <pod> -n <namespace> --previous", confidence=confidence)
        assert found.escalate
        assert found.why == f"the model is not sure: confidence {said}, at least 0.75 is asked"
        sure = judge("kubectl logs <pod> -n <namespace> --previous", confidence=answer.SURE)
        assert not sure.escalate

    def test_a_destructive_command_of_the_runbook_asks_for_confirmation(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from opslore import cli_beside

        found = judge("kubectl delete pvc data-0 -n db", "data-0 in db", hits=HITS[1:])
        assert (found.risk, found.confirm, found.escalate) == ("destructive", True, False)
        assert found.findings
        shown = answer.Answer(
            **found.model_dump(), question="q", reply="r", confidence=0.9, shown=[], model="m",
            released=True, seconds=1.0,
        )  # fmt: skip
        cli_beside._show_answer(shown)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("WARNING: this destroys something.")
        assert "# CONFIRM: kubectl delete pvc data-0 -n db" in lines
        assert not any(line.startswith("kubectl") for line in lines)

    @pytest.mark.parametrize(
        ("question", "hits", "why"),
        [
            ("data-0 in db", HITS, "PodCrash fits the question better"),
            ("PodCrash? VolumeOrphaned data-0 in db", HITS[1::-1], "the question names PodCrash"),
        ],
    )
    def test_what_destroys_is_answered_for_the_alert_that_was_asked_about_alone(
        self, question: str, hits: Sequence[Hit], why: str
    ) -> None:
        found = judge("kubectl delete pvc data-0 -n db", question, hits=hits)
        assert found.escalate
        assert why in found.why
        harmless = judge("kubectl logs <pod> -n <namespace> --previous", question, hits=hits)
        assert not harmless.escalate


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["namespace=payments", "pod=a=b"], {"namespace": "payments", "pod": "a=b"}),
        ([], {}),
        ([" job_name=x "], {"job_name": "x"}),
    ],
)
def test_labels_are_names_and_values(given: list[str], labels: dict[str, str]) -> None:
    assert answer.parse_labels(given) == labels


@pytest.mark.parametrize("text", ["", "namespace", "=x", "a b=c", "namespace="])
def test_other_text_is_no_label(text: str) -> None:
    with pytest.raises(ConfigError, match="not a label"):
        answer.parse_labels([text])
