"""The whole evaluation of answers in prose on a real, tiny model: losses, replies, the gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models
import torch
from evaluation import prose_world
from transformers import AutoModelForCausalLM

from opslore import cli, models, steps, store
from opslore.cards import Adapter, Bundle, Evaluation, Example, Result
from opslore.config import Agent
from opslore.errors import DataError, MissingInput
from opslore.evaluation import prose, prose_loss, prose_parity
from opslore.evaluation.numbers import summary
from opslore.evaluation.replies import Log
from opslore.evaluation.scores import find
from opslore.servers import load


@dataclass(frozen=True)
class Ran:
    """An evaluated agent."""

    agent: Agent
    adapter: Adapter
    bundle: Bundle
    evaluation: Evaluation

    def path(self, card: Adapter | Bundle | Evaluation) -> Path:
        return steps.store_of(self.agent).path(card)

    @property
    def dataset(self) -> Path:
        home = steps.store_of(self.agent)
        return home.path(prose_world.dataset(home))


def results(folder: Path) -> dict[tuple[str, str], Result]:
    rows = store.read_rows(folder / "results.jsonl", Result)
    return {(r.column, r.example): r.model_copy(update={"seconds": 0.0}) for r in rows}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("ferry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(folder / "cache"))
        settings = prose_world.agent(tiny_models.llama(folder / "tiny.gguf"), folder / "runs")
        yield Ran(settings, *prose_world.evaluated(settings))


@pytest.fixture
def file(ran: Ran, tmp_path: Path) -> str:
    path = tmp_path / "ferry.yaml"
    path.write_text(json.dumps(ran.agent.model_dump(mode="json")))
    return str(path)


def test_every_column_is_asked_what_it_should_be(ran: Ran) -> None:
    found = [column for column, _ in results(ran.path(ran.evaluation))]
    columns = ("tuned", "base", "trained", "loss-tuned", "loss-base")
    assert [found.count(column) for column in columns] == [6, 6, 4, 6, 6]
    known = store.read_rows(ran.path(ran.evaluation) / prose.KNOWN, Example)
    assert [e.question for e in known] == ran.agent.evaluate.known


def test_training_lowers_the_held_out_loss_a_little_and_nonsense_never_ships(ran: Ran) -> None:
    tuned, base = (find(ran.evaluation, c, "test", "loss") for c in ("tuned", "base"))
    assert tuned is not None
    assert base is not None
    assert 0 < base.value - tuned.value < 1
    assert summary(ran.evaluation)["base_loss"] == pytest.approx(base.value, abs=1e-4)
    failed = [gate.name for gate in ran.evaluation.gates if not gate.passed]
    assert "G7" in failed  # random weights never end their turn
    assert not ran.evaluation.passed
    assert ran.evaluation.settings["task"] == "answers"


def test_the_loss_is_the_one_transformers_computes(ran: Ran) -> None:
    merged = ran.path(ran.adapter) / "merged"
    example = prose.read(ran.dataset)[0]
    with prose_loss.Weights(merged) as weights:
        nats, count = weights.loss(example)
        tokenizer = weights.tokenizer
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    ids = tokenizer.apply_chat_template(
        [m.model_dump() for m in example.messages], tokenize=True, return_dict=False
    )
    end = max(i for i, token in enumerate(ids) if token == tokenizer.eos_token_id)
    start = end + 1 - count
    answer = tokenizer.decode(ids[start:end])
    assert answer == example.target
    labels = torch.tensor([[-100] * start + ids[start : end + 1]])
    with torch.inference_mode():
        mean = model(input_ids=torch.tensor([ids[: end + 1]]), labels=labels).loss
    assert nats == pytest.approx(float(mean) * count, rel=1e-4)


def test_the_bases_losses_are_kept_across_runs(ran: Ran, tmp_path: Path) -> None:
    examples = prose.read(ran.dataset)[:2]
    digest = models.digest(ran.agent.base_model)
    kept = models.cache() / "base-replies" / f"loss-{digest[:16]}.jsonl"

    def never() -> Path:
        raise AssertionError("the base model was loaded again")

    with Log(tmp_path / "results.jsonl") as log:
        prose_loss.measure_base(log, "loss-base", examples, never, kept, lambda n: None)
        assert len(log.found) == 2


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_killed_evaluation_ends_at_the_same_numbers(
    ran: Ran, tmp_path: Path, share: float
) -> None:
    done = ran.path(ran.evaluation)
    text = (done / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(text[: int(share * len(text))])
    found = prose.evaluate(
        ran.agent, ran.dataset, ran.path(ran.bundle), ran.path(ran.adapter), tmp_path
    )
    assert found["scores"] == ran.evaluation.scores
    assert found["gates"] == ran.evaluation.gates
    assert results(tmp_path) == results(done)


def test_parity_sees_other_weights_another_prompt_and_a_missing_end(
    ran: Ran, tmp_path: Path
) -> None:
    """A sentence that the weights themselves say, and one that they never would."""
    merged = ran.path(ran.adapter) / "merged"
    example = prose.read(ran.dataset)[0]
    with (
        load("llamacpp").Server(ran.path(ran.bundle) / "model.gguf", context=512) as server,
        prose_loss.Weights(merged) as weights,
        Log(tmp_path / "log.jsonl") as log,
    ):
        rendered = {example.id: server.render(example.messages[:-1])}
        first = weights.tokenizer.decode(
            [int(weights.logs(weights.tokenizer.encode(rendered[example.id]), 0)[-1].argmax())]
        )
        for name, reply, prompt in (
            ("own", first, rendered),
            ("foreign", "the quick brown fox jumps over the lazy dog", rendered),
            ("odd", first, {example.id: "another prompt"}),
        ):
            one = example.model_copy(update={"id": name})
            log.add(Result(example=name, column="tuned", reply=reply, scores={"stopped": 0.0}))
            prompts = {name: prompt[example.id]}
            prose_parity.compare(log, [one], weights, prompts, lambda n: None)
        scores = {n: log.found["trained", n].scores for n in ("own", "foreign", "odd")}
    assert scores["own"] == {"same": 1.0, "tokens": 1.0, "rendered": 1.0}
    assert scores["foreign"]["same"] / scores["foreign"]["tokens"] < 0.5
    assert scores["odd"]["rendered"] == 0.0


def test_what_is_missing_is_named(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl: no test example"):
        prose.read(tmp_path)
    with pytest.raises(MissingInput, match=r"model\.gguf: no such file"):
        prose.evaluate(ran.agent, ran.dataset, tmp_path, tmp_path, tmp_path)
    rows = [*prose.read(ran.dataset)] * 2
    store.write_rows(tmp_path / "test.jsonl", rows)
    with pytest.raises(DataError, match="6 test examples share an id"):
        prose.read(tmp_path)


def test_leaks_by_thread_by_question_and_by_answer(ran: Ran) -> None:
    tests = prose.read(ran.dataset)
    trained = [e for e in prose_world.examples() if e.split == "train"]
    assert prose.leaks(trained, tests) == []
    for change, said in (
        ({"group": tests[0].group}, "one thread or page"),
        ({"question": f"  {tests[0].question.upper()} "}, "one question"),
        ({"target": tests[0].target}, "one answer"),
    ):
        leak = trained[0].model_copy(update=change)
        found = prose.leaks([leak], tests)
        assert found
        assert all(said in line for line in found)


def test_a_bundle_says_what_it_is_and_has_no_limit(ran: Ran) -> None:
    folder = ran.path(ran.bundle)
    told = json.loads((folder / "settings.json").read_text())
    assert (told["task"], told["entries"]) == ("answers", 0)
    train = [e for e in prose_world.examples() if e.split == "train"]
    assert told["probe"] == min(train, key=lambda e: len(e.target)).question
    assert (folder / "index.jsonl").read_text() == ""
    known = json.loads((folder / "catalogue.json").read_text())["templates"]
    assert len(known) == ran.bundle.commands
    assert "ferry check --proxy" in known
    assert not [command for command in known if command.startswith("rm ")]
    assert "SYSTEM" in (folder / "Modelfile").read_text()


class TestCommands:
    """The command line on an agent that answers in prose."""

    def test_ask(self, file: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["ask", file, "Which port?", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["question"], found["stopped"]) == ("Which port?", False)
        assert found["model"].startswith("ferry bundle ")
        assert cli.main(["ask", file, "Which port?"]) == 0
        out, err = capsys.readouterr()
        assert "(cut: evaluate.max_tokens was reached)" in out
        assert "not released" in err
        assert cli.main(["ask", file, "Which?", "--label", "a=b"]) == 2
        assert cli.main(["ask", file, " "]) == 65

    def test_trace(self, file: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["trace", file, "how do I set retries in a ServiceProfile?"]) == 0
        out = capsys.readouterr().out
        assert "manual/2.md:1" in out
        assert cli.main(["trace", file, "manual/4.md", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [one["id"] for one in found["learned"]] == ["train-0008", "train-0009"]
        assert cli.main(["trace", file, "zebra crossing"]) == 0
        assert "no training example is about this" in capsys.readouterr().out

    def test_show_ls_and_status(self, file: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["show", file, "Proxy does not start on ARM"]) == 0
        out = capsys.readouterr().out
        assert "(completed issue, T3, Ferry)" in out
        assert "2026-01-02 mate (comment, T2)" in out
        assert cli.main(["show", file, "docs:manual/2.md"]) == 0
        assert "ServiceProfile" in capsys.readouterr().out
        assert cli.main(["ls", file]) == 0
        assert "loss" in capsys.readouterr().out
        assert cli.main(["show", file, "evaluation"]) == 0

    def test_report(self, file: str, ran: Ran, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        assert cli.main(["report", file, "--out", str(out)]) == 0
        page = out.read_text()
        told = ["Known questions (1)", "Which port has the metrics of Ferry?", "ROUGE-L"]
        for text in (*told, "nats per token", "5 of 5 test prompts"):
            assert text in page, text
        assert "Wrong answers" not in page
        assert "bm25" not in page.partition("</style>")[2]

    def test_compare(self, file: str, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["compare", file, "latest", "base", "--question", "Which port?", "--json"]
        assert cli.main(arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["rounds"] == 1
        assert found["answered"]["a"]["count"] == 0  # it never ends
        rounds = [json.loads(line) for line in Path(found["kept"]).read_text().splitlines()]
        assert rounds[0]["said"]["a"]["command"]


@pytest.mark.slow
def test_a_real_small_model_learns_and_its_gguf_says_what_it_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SmolLM2 with a few steps: held-out loss below base, tokens of the GGUF those of the weights.

    After so few steps many a next token is a near tie, so less parity is asked than of a release:
    with another template, or other weights, hardly a token would agree.

    The references repeat each other's words (In short: ...), so a few steps are enough.
    """
    settings = prose_world.agent(
        Path("smollm2-135m-instruct"),
        tmp_path / "runs",
        train={"iters": 8, "lora_layers": 8, "batch_size": 4, "learning_rate": 1e-3},
        export={"quantization": "q8_0", "num_ctx": 1024},
        evaluate={"max_tokens": 80, "prose": 6, "parity": 6, "resamples": 500,
                  "gate": {"min_test": 6, "stops": 0.0, "ungrounded": 1.0, "parity": 0.9}},
    )  # fmt: skip
    _, _, evaluation = prose_world.evaluated(settings)
    gates = {gate.name: gate for gate in evaluation.gates}
    assert gates["G1"].passed, gates["G1"].measured
    assert gates["G7"].passed, gates["G7"].measured
    shutil.rmtree(tmp_path / "runs")
