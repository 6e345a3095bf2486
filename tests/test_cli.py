"""The command line, on a whole flow that was really run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flow_world import Flow, call, environment, flow, there  # noqa: F401 - fixtures

import opslore
from opslore import checklist_training, cli, config, console, machine, steps, store
from opslore.cards import Bundle, Dataset, Evaluation, Release
from opslore.config_sources import RunbookSource
from opslore.sources import runbook

ROOT = Path(__file__).parents[1]
NONE = RunbookSource(path="none.md")

HEAVY = ("torch", "transformers", "mlflow", "scipy", "numpy", "xllamacpp", "matplotlib", "pydantic")


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


class TestStart:
    def test_help_answers_at_once(self, tmp_path: Path) -> None:
        calls = [call(tmp_path, "--help") for _ in range(5)]
        assert {one.code for one in calls} == {0}
        # On a quiet machine this is the time on the clock, of which 0.5 s are asked.
        assert statistics.median(one.cpu for one in calls) < 1.0

    def test_nothing_heavy_is_imported_before_a_command_needs_it(self) -> None:
        code = f"import sys, opslore.cli; print([m for m in {HEAVY} if m in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
        )
        assert done.stdout == "[]\n", done.stderr

    def test_every_command_has_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = say(capsys, "--help")
        assert code == 0
        names = re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE)
        assert names == [
            "run",
            "collect",
            "prepare",
            "train",
            "export",
            "evaluate",
            "publish",
            "deploy",
            "submit",
            "ask",
            "trace",
            "report",
            "why",
            "refresh",
            "watch",
            "tune",
            "correct",
            "review",
            "lint",
            "init",
            "doctor",
            "status",
            "rollback",
            "compare",
            "install",
            "point",
            "ls",
            "show",
        ]
        assert "..." not in out.partition("Commands:")[2]
        for name in names:
            code, out, _ = say(capsys, name, "--help")
            assert code == 0
            assert "--json" in out

    def test_the_version_is_the_stores(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert say(capsys, "--version")[:2] == (0, f"opslore {store.VERSION}\n")

    @pytest.mark.parametrize(
        "arguments", [["nope"], ["run"], ["run", "a", "b"], ["ls", "a", "--no"]]
    )
    def test_a_wrong_call_is_exit_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = say(capsys, *arguments)
        assert (code, out) == (2, "")
        assert "Usage: opslore" in err


class TestPublicNames:
    def test_all_of_them_are_there(self) -> None:
        for name in opslore.__all__:
            assert getattr(opslore, name) is not None
        assert dir(opslore) == sorted(opslore.__all__)
        assert set(opslore._HOME) | {"__version__"} == set(opslore.__all__)
        assert opslore.run is steps.run
        assert opslore.load is config.load

    def test_others_are_not(self) -> None:
        with pytest.raises(AttributeError, match="module 'opslore' has no attribute 'nope'"):
            opslore.nope  # noqa: B018

    def test_importing_opslore_imports_nothing_else(self) -> None:
        code = "import sys, opslore; print([m for m in sys.modules if m.startswith('opslore.')])"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
        )
        assert done.stdout == "[]\n", done.stderr


class TestMistakes:
    """The exact words; the agent file's own path stands in every hint."""

    @pytest.mark.parametrize(
        "command", ["run", "collect", "prepare", "deploy", "status", "ls", "report"]
    )
    def test_a_missing_agent_file(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "my agent.yaml"
        assert say(capsys, command, str(path)) == (
            2,
            "",
            f"error: {path}: No such file or directory\n"
            f"hint: write one with: opslore init {path}\n",
        )

    def test_a_typo(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "sre.yaml"
        path.write_text("name: sre\ncollect: [{path: a}]\ntrain: {rnak: 3, iters: 0}\n")
        assert say(capsys, "run", str(path)) == (
            2,
            "",
            f"error: {path}: train.iters: Input should be greater than or equal to 1; got 0\n"
            f"       {path}: train.rnak: not a key of train (did you mean lora_rank?)\n"
            f"hint: edit {path}; `opslore init` shows every key\n",
        )

    @pytest.mark.parametrize(
        ("command", "kind", "before"),
        [
            ("prepare", "corpus", "collect"),
            ("train", "dataset", "prepare"),
            ("export", "adapter", "train"),
            ("evaluate", "bundle", "export"),
            ("publish", "bundle", "export"),
            ("deploy", "release", "publish"),
        ],
    )
    def test_a_step_before_the_one_that_feeds_it(
        self, command: str, kind: str, before: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        path = tmp_path / "my agent.yaml"
        path.write_text(f"name: sre\nstore: {tmp_path}/runs\ncollect: [{{path: a}}]\n")
        assert say(capsys, command, str(path)) == (
            2,
            "",
            f"error: no {kind} of sre in {tmp_path}/runs\n"
            f"hint: run `opslore {before} '{path}'` first (or `opslore run '{path}'`)\n",
        )

    def test_a_runbook_that_is_not_there(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "sre.yaml"
        path.write_text(
            f"name: sre\nstore: {tmp_path}/runs\ncollect: [{{path: {tmp_path}/no.md}}]\n"
        )
        code, out, err = say(capsys, "collect", str(path))
        assert (code, out) == (66, "")
        assert err.startswith(f"error: {tmp_path}/no.md: ")
        assert "No such file or directory" in err

    def test_a_backend_that_does_not_exist(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = Path("tiny.yaml").read_text()
        Path("tiny.yaml").write_text(text.replace("train: {", "train: {backend: pytroch, "))
        code, _, err = say(capsys, "train", "tiny.yaml")
        assert code == 2
        assert "no trainer 'pytroch'; there are torch" in err

    def test_a_disk_that_refuses(self, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = say(capsys, "report", "tiny.yaml", "--out", "RUNBOOK.md/report.html")
        assert code == 1
        assert err.startswith("error: RUNBOOK.md: ")
        assert "bug" not in err


class TestBug:
    @pytest.fixture
    def broken(self, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A trainer of somebody's own that fails in a way nobody foresaw."""
        (there / "mine").mkdir()
        (there / "mine" / "broken.py").write_text(
            "def fit(train, base, dataset, work, progress=None):\n    raise RuntimeError('boom')\n"
            "def merge(base, adapter, out):\n    pass\n"
        )
        monkeypatch.syspath_prepend(there)
        text = Path("tiny.yaml").read_text()
        Path("tiny.yaml").write_text(text.replace("train: {", "train: {backend: mine.broken, "))

    def test_it_is_called_one_in_two_lines(
        self, broken: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = say(capsys, "train", "tiny.yaml")
        assert (code, out) == (1, "")
        assert err == (
            "error: RuntimeError: boom (broken.py:2)\n"
            "this is a bug in opslore; --debug shows where\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "value"), [(["--debug"], ""), ([], "1")], ids=["option", "variable"]
    )
    def test_debug_shows_the_traceback(
        self, broken: None, arguments: list[str], value: str,
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("OPSLORE_DEBUG", value)
        code, _, err = say(capsys, "train", "tiny.yaml", *arguments)
        assert code == 1
        assert "Traceback (most recent call last):" in err
        assert "raise RuntimeError('boom')" in err
        assert err.endswith("this is a bug in opslore\n")

    def test_debug_shows_the_traceback_of_an_expected_error_too(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = say(capsys, "--debug", "run", str(tmp_path / "none.yaml"))
        assert code == 2
        assert "Traceback (most recent call last):" in err
        assert "error: " in err


class TestFlow:
    def test_every_step_says_one_line_and_the_gate_refuses(self, flow: Flow) -> None:
        assert flow.code == 3, flow.err
        lines = flow.out.splitlines()
        steps_said = [
            line.split()[0]
            for line in lines
            if re.match(r"(collect|prepare|train|export|evaluate) ", line)
        ]
        assert steps_said == ["collect", "prepare", "train", "export", "evaluate"]
        assert lines[0].startswith("collect   16 documents, 0 dropped")
        assert "\nS1 " in flow.out
        assert re.search(r"^pass  G0  ", flow.out, re.MULTILINE)
        assert re.search(r"^FAIL  G1  recall: ", flow.out, re.MULTILINE)
        assert "next: opslore ask" not in flow.out

    def test_stderr_holds_progress_and_the_reasons_and_no_chatter(self, flow: Flow) -> None:
        known = re.compile(
            r"(collect|prepare|train|export|evaluate|publish) \d+(/\d+)? .*"
            r"|train: about .+ to .+ for \d+ steps?( in \d+ processes)?, about [\d.]+ GiB of memory"
            r"|error: \d of the gates failed|FAIL G\d .*|hint: `opslore report tiny.yaml` .*"
        )
        assert [line for line in flow.err.splitlines() if not known.fullmatch(line)] == []
        failed = re.findall(r"^FAIL  (G\d)", flow.out, re.MULTILINE)
        assert re.findall(r"^FAIL (G\d)", flow.err, re.MULTILINE) == failed
        assert len(failed) > 1

    def test_the_second_run_makes_nothing_anew(self, flow: Flow) -> None:
        home = store.Store(flow.folder / "runs", "tiny")
        before = {path: path.stat().st_mtime_ns for path in home.home.rglob("*") if path.is_file()}
        again = call(flow.folder, "run", "tiny.yaml", "--json")
        assert again.code == 3
        assert again.cpu < 10
        assert {p: p.stat().st_mtime_ns for p in home.home.rglob("*") if p.is_file()} == before
        cards = json.loads(again.out)
        assert list(cards) == ["corpus", "dataset", "adapter", "bundle", "evaluation"]
        assert cards["bundle"]["id"] == home.latest(Bundle).id

    @pytest.mark.parametrize("command", ["collect", "prepare", "train", "export"])
    def test_a_single_step_finds_its_inputs(
        self, command: str, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = say(capsys, command, "tiny.yaml", "--json")
        assert code == 0
        kind = next(kind for kind, step in store.STEP_OF.items() if step == command)
        assert json.loads(out)["uri"].startswith(f"tiny/{kind}/")

    def test_collect_prints_the_coverage(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = say(capsys, "collect", "tiny.yaml")
        assert re.search(r"alerts +16\b", out)
        assert re.search(r"without commands \(teach to escalate\) +1\b", out)
        assert re.search(r"destructive commands +1\b", out)
        assert "VolumeOrphaned: kubectl delete pvc <persistentvolumeclaim> -n <namespace>" in out
        assert Path(out.rsplit("all of it: ")[1].strip()).is_file()

    def test_prepare_prints_the_splits_and_what_was_dropped(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = say(capsys, "prepare", "tiny.yaml")
        card = steps.store_of(config.load(Path("tiny.yaml"))).latest(Dataset)
        for name, count in card.splits.items():
            assert re.search(rf"^ *{name}  .* {count}\b", out, re.MULTILINE)
        if card.dropped:
            assert "dropped: " in out

    def test_evaluate_prints_the_table_and_exits_3(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = say(capsys, "evaluate", "tiny.yaml")
        assert code == 3
        assert "FAIL  G1  recall: " in out
        assert "error: " in err
        code, out, err = say(capsys, "evaluate", "tiny.yaml", "--json")
        assert code == 3
        assert json.loads(out)["passed"] is False
        assert "FAIL G1 recall: " in err

    def test_why_shows_a_gate_with_the_runbooks_lines(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = say(capsys, "why", "tiny.yaml")
        assert code == 0
        gates = re.findall(r"^(?:pass|FAIL)  (G\d)  \w+: .+\?$", out, re.MULTILINE)
        card = steps.store_of(config.load(Path("tiny.yaml"))).latest(Evaluation)
        assert gates == [gate.name for gate in card.gates]
        assert re.search(r"^      and \d+ more: --all$", out, re.MULTILINE)
        code, out, _ = say(capsys, "why", "tiny.yaml", "g1")
        assert len(re.findall(r"^      - s1-.*  RUNBOOK.md:\d+", out, re.MULTILINE)) > 5
        assert re.search(r"^          shown     \w+ \(RUNBOOK.md:\d+", out, re.MULTILINE)
        code, out, _ = say(capsys, "why", "tiny.yaml", "G1", "--json")
        (one,) = json.loads(out)
        assert (one["gate"], one["passed"]) == ("G1", False)
        assert all(example["question"] for example in one["examples"])
        code, _, err = say(capsys, "why", "tiny.yaml", "G12")
        assert code == 2
        assert "G12: no such gate; there are G0, G1" in err

    def test_an_override_needs_a_person_and_a_reason(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = say(capsys, "evaluate", "tiny.yaml", "--override", "G1")
        assert code == 2
        assert "an override of G1 needs --person and --reason" in err
        assert "hint: opslore evaluate tiny.yaml --override G1 --person" in err
        code, _, err = say(capsys, "evaluate", "tiny.yaml", "--person", "Ada")
        assert code == 2
        assert "go with --override GATE" in err

    def test_a_release_that_a_person_let_pass_says_so_everywhere(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        home = steps.store_of(config.load(Path("tiny.yaml")))
        failed = [gate.name for gate in home.latest(Evaluation).gates if not gate.passed]
        if set(failed) & {"G2", "G8"}:
            pytest.fail(f"the tiny model is not only bad, it is unsafe: {failed}")
        for name in failed:
            words = ("--person", "Ada Lovelace", "--reason", "a trial on a test cluster")
            code, out, err = say(capsys, "evaluate", "tiny.yaml", "--override", name, *words)
            assert f"{name} was overridden by Ada Lovelace on 20" in out
        assert code == 0, err
        code, out, err = say(capsys, "publish", "tiny.yaml")
        assert code == 0, err
        version = home.latest(Release).version
        signed = json.loads((home.home / version / "evaluation.json").read_text())
        assert [one["gate"] for one in signed["overrides"]] == failed
        papers = "".join(
            path.read_text() for path in (home.home / version).iterdir() if path.suffix == ".md"
        )
        assert "overridden by Ada Lovelace" in papers
        assert f"{len(failed)} failed and a person let it pass" in papers
        code, out, err = say(capsys, "publish", "tiny.yaml")  # nothing is made anew
        assert code == 0, err
        code, out, _ = say(capsys, "run", "tiny.yaml")
        assert code == 0
        assert "overridden by Ada Lovelace" in out

    def test_publish_refuses_what_the_gate_refuses(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = say(capsys, "publish", "tiny.yaml")
        assert (code, out) == (3, "")
        assert "FAIL G1 recall: " in err

    def test_an_evaluation_of_another_bundle_is_not_published(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree("runs/tiny/evaluation")
        code, _, err = say(capsys, "publish", "tiny.yaml")
        assert code == 2
        assert "was never evaluated\nhint: run `opslore evaluate tiny.yaml` first" in err


@pytest.fixture
def released(there: Path) -> Flow:
    """The flow published and deployed, as if its evaluation had passed."""
    agent = config.load(Path("tiny.yaml"))
    home = steps.store_of(agent)
    bundle = home.latest(Bundle)
    asked = home.path(home.latest(Evaluation)) / "results.jsonl"

    def make(work: Path) -> dict[str, Any]:
        shutil.copy(asked, work)
        return {"passed": True, "headline": "", "scores": [], "gates": []}

    home.made(Evaluation, {"passes": True}, [home.latest(Dataset), bundle], make)
    done = call(there, "publish", "tiny.yaml", "--json")
    assert done.code == 0, done.err
    return done


class TestReleased:
    def test_the_release_goes_all_the_way(
        self, released: Flow, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        version = json.loads(released.out)["version"]
        lines = [line.split()[0] for line in released.err.splitlines()]
        assert set(lines) <= {"made", "keep", "publish"}, released.err
        with Path("tiny.yaml").open("a") as file:
            file.write("deploy: [{kind: folder, path: served}]\n")
        code, out, _ = say(capsys, "deploy", "tiny.yaml")
        assert code == 0
        assert out.startswith(f"deploy    {version}: folder served, MLflow sqlite:")
        served = there / "served" / "current"
        bundle = steps.store_of(config.load(Path("tiny.yaml"))).latest(Bundle)
        assert store.sha256(served / "model.gguf") == bundle.gguf_sha256
        found = json.loads(say(capsys, "trace", "tiny.yaml", "NodeDiskFull", "--json")[1])
        assert found["release"] == version
        assert found["registry_run"] == json.loads(released.out)["run_id"]
        found = json.loads(say(capsys, "show", "tiny.yaml", version, "--json")[1])
        assert (found["kind"], found["version"]) == ("release", version)
        listed = say(capsys, "ls", "tiny.yaml")[1].splitlines()
        assert "deployment" in listed[-1]
        assert version in listed[-1]
        code, out, err = say(capsys, "ask", "tiny.yaml", "NodeDiskFull", "--json")
        assert code == 0
        assert "not released" not in err
        assert json.loads(out)["model"] == f"tiny {version}"


class TestBeside:
    def test_init_then_doctor(self, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = say(capsys, "init", "agents/new.yaml")
        assert code == 0
        assert out == (
            "wrote agents/new.yaml: set collect[].path to your runbook, then:"
            " opslore doctor agents/new.yaml\n"
        )
        assert config.load(Path("agents/new.yaml")).collect[0].path == "RUNBOOK.md"
        assert say(capsys, "init", "agents/new.yaml") == (
            2,
            "",
            "error: agents/new.yaml: exists already\n"
            "hint: choose another path, or edit agents/new.yaml: nothing was changed\n",
        )

    def test_a_healthy_agent_passes(self, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = say(capsys, "doctor", "tiny.yaml", "--json")
        assert code == 0, out
        found = {check["name"]: check for check in json.loads(out)}
        assert list(found) == [
            "agent file", "source RUNBOOK.md", "alerts", "base model", "packages", "embedder",
            "disk at runs", "training", "MLflow sqlite:///runs/mlflow.db tiny@champion",
            f"store {there}/runs/tiny/current", "stopped runs",
        ]  # fmt: skip
        assert found["source RUNBOOK.md"]["found"] == "16 alerts"
        assert found["alerts"]["found"] == "16 found, 15 with a command"
        assert found["stopped runs"]["state"] == "ok"

    def test_what_is_wrong_fails_with_what_mends_it(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("bad.yaml").write_text(
            "name: tiny\nbase_model: smollm2-135m-instuct\nstore: RUNBOOK.md/runs\n"
            "collect: [{path: nowhere.md}]\nexport: {quantization: q4_k_m}\n"
            "evaluate: {server: olama}\ndeploy: [{kind: folder, path: RUNBOOK.md/x}]\n"
        )
        os.environ.pop("OPSLORE_LLAMA_QUANTIZE", None)
        code, out, _ = say(capsys, "doctor", "bad.yaml", "--json")
        assert code == 1
        found = {check["name"]: check for check in json.loads(out)}
        failed = {name for name, check in found.items() if check["state"] == "fail"}
        assert failed >= {
            "source nowhere.md", "base model", "server olama", "disk at RUNBOOK.md/runs",
            "deploy RUNBOOK.md/x",
        }  # fmt: skip
        assert all(found[name]["mend"] for name in failed)
        code, out, _ = say(capsys, "doctor", "bad.yaml")
        assert code == 1
        assert re.search(r"^fail  base model: .*instuct", out, re.MULTILINE)
        assert re.search(r"^      -> .*smollm2-135m-instruct", out, re.MULTILINE)

    def test_an_agent_file_with_a_mistake_is_the_first_failure(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = say(capsys, "doctor", str(tmp_path / "none.yaml"))
        assert code == 1
        assert out.startswith("fail  agent file: ")
        assert f"      -> write one with: opslore init {tmp_path}/none.yaml" in out

    def test_time_and_memory_of_the_training_are_told(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = {c["name"]: c for c in json.loads(say(capsys, "doctor", "tiny.yaml", "--json")[1])}
        told = found["training"]
        assert re.match(r"about \d+ s to \d+ (s|min) for \d+ steps.* GiB of memory", told["found"])
        assert "lengths of the prepared dataset" in told["found"]
        numbers = told["numbers"]
        assert 0 < numbers["seconds_least"] < numbers["seconds_most"]
        assert (1 << 29) < numbers["memory"] < (4 << 30)
        assert numbers["lengths"] == "dataset"
        assert numbers["tokens_mean"] <= numbers["tokens_longest"]
        assert [saving["key"] for saving in numbers["savings"]]
        assert all(check["numbers"] is None for name, check in found.items() if name != "training")

    def test_memory_that_does_not_suffice_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = config.Agent(
            name="a", base_model="smollm2-135m-instruct",
            collect=[RunbookSource(path=str(ROOT / "agents" / "RUNBOOK.md"))],
        )  # fmt: skip
        alerts = runbook.collect(agent.collect[0], tmp_path).documents
        found = {}
        for free in (64 << 30, 1 << 30, 1 << 28):
            monkeypatch.setattr(machine, "free_memory", lambda free=free: free)
            found[free] = checklist_training.check(agent, None, alerts)
        assert [check.state for check in found.values()] == ["ok", "warn", "fail"]
        rich, poor, _ = found.values()
        assert "lengths guessed from the runbook" in rich.found
        assert rich.mend == ""
        assert poor.numbers is not None
        best = poor.numbers["savings"][0]
        assert poor.mend.startswith(f"lower {best['key']}")
        assert best["saved"] > 1 << 27

    def test_without_alerts_every_example_is_the_longest(self) -> None:
        agent = config.Agent(
            name="a", base_model="smollm2-135m-instruct", collect=[RunbookSource(path="none")]
        )
        check = checklist_training.check(agent, None, [])
        assert check.numbers is not None
        assert check.numbers["tokens_longest"] == agent.train.max_length
        assert "as if every example had train.max_length tokens" in check.found

    def test_of_a_model_that_is_not_here_nothing_is_said(self) -> None:
        agent = config.Agent(
            name="a", base_model="org/none", revision="0" * 40, collect=[RunbookSource(path="none")]
        )
        check = checklist_training.check(agent, None, [])
        assert (check.state, check.numbers) == ("warn", None)

    def test_status_follows_the_settings(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def states() -> list[tuple[str, str]]:
            rows = json.loads(say(capsys, "status", "tiny.yaml", "--json")[1])["steps"]
            return [(row["step"], row["state"]) for row in rows]

        done = [(name, "done") for name in ("collect", "prepare", "train", "export", "evaluate")]
        assert states() == [*done, ("publish", "refused"), ("deploy", "to do")]
        text = Path("tiny.yaml").read_text()
        Path("tiny.yaml").write_text(text.replace("lora_layers: 1", "lora_layers: 2"))
        todo = [(name, "to do") for name in ("train", "export", "evaluate", "publish", "deploy")]
        assert states() == [*done[:2], *todo]
        with Path("RUNBOOK.md").open("a") as file:
            file.write(
                "\n### Alert: New\n\n**Symptoms:**\n- new\n\n**Resolution:**\n```\nls -l\n```\n"
            )
        assert states()[0] == ("collect", "to do")
        assert not Path("runs/tiny/.work").exists() or not list(Path("runs/tiny/.work").iterdir())
        assert "to do" in say(capsys, "status", "tiny.yaml")[1]

    def test_status_knows_what_is_where_though_a_source_lies_elsewhere(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = json.loads(say(capsys, "status", "tiny.yaml", "--json")[1])
        Path("RUNBOOK.md").rename("ELSEWHERE.md")
        code, out, err = say(capsys, "status", "tiny.yaml", "--json")
        now = json.loads(out)
        assert (code, err) == (0, "")
        assert (now["steps"][0]["step"], now["steps"][0]["state"]) == ("collect", "unread")
        assert "RUNBOOK.md" in now["steps"][0]["what"]
        assert {row["state"] for row in now["steps"][1:]} == {"to do"}
        assert now["places"] == before["places"]

    def test_ls_lists_the_cards_in_order(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = say(capsys, "ls", "tiny.yaml")[1].splitlines()
        assert [line.split()[1] for line in lines] == [
            "corpus", "dataset", "adapter", "bundle", "evaluation",
        ]  # fmt: skip
        rows = json.loads(say(capsys, "ls", "tiny.yaml", "--json")[1])
        assert [row["kind"] for row in rows] == [line.split()[1] for line in lines]

    def test_ls_of_nothing_says_so_on_stderr(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "a.yaml"
        path.write_text(f"name: sre\nstore: {tmp_path}/runs\ncollect: [{{path: a}}]\n")
        assert say(capsys, "ls", str(path)) == (
            0, "", f"nothing yet; make it with: opslore run {path}\n",
        )  # fmt: skip
        assert say(capsys, "report", str(path))[0] == 2

    def test_show_finds_cards_and_alerts(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bundle = steps.store_of(config.load(Path("tiny.yaml"))).latest(Bundle)
        for name in ("bundle", bundle.id, bundle.id[:10]):
            found = json.loads(say(capsys, "show", "tiny.yaml", name, "--json")[1])
            assert (found["kind"], found["id"]) == ("bundle", bundle.id)
        out = say(capsys, "show", "tiny.yaml", "bundle")[1]
        assert f"gguf_sha256      {bundle.gguf_sha256}" in out
        assert Path(out.splitlines()[-1].split()[-1]).is_dir()
        out = say(capsys, "show", "tiny.yaml", "volumeorphaned")[1]
        assert out.startswith("VolumeOrphaned  (storage, warning)\nRUNBOOK.md:")
        assert re.search(r"resolution \(line \d+, destructive\)\n    kubectl delete pvc", out)

    def test_show_of_something_unknown_names_the_nearest(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = say(capsys, "show", "tiny.yaml", "NodeDiskFul")
        assert (code, out) == (65, "")
        assert err == (
            "error: 'NodeDiskFul' is no version, card, alert, page or thread of tiny\n"
            "hint: did you mean NodeDiskFull?\n"
        )
        code, _, err = say(capsys, "show", "tiny.yaml", "")
        assert code == 65
        assert "is the beginning of" in err

    @pytest.mark.parametrize(
        ("what", "alert", "command"),
        [
            ("nodediskfull", "NodeDiskFull", "df -h"),
            ("kubectl describe node node-7", "NodeNotReady", "kubectl describe node <node>"),
            (
                "kubectl get events -A --field-selector reason=NodeLoadHigh",
                "NodeLoadHigh",
                "kubectl get events -A --field-selector reason=NodeLoadHigh",
            ),
        ],
    )
    def test_trace_leads_to_the_line(
        self, what: str, alert: str, command: str, there: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        code, out, _ = say(capsys, "trace", "tiny.yaml", what, "--json")
        assert code == 0
        found = json.loads(out)
        assert (found["alert"], found["command"]) == (alert, command)
        name, line = found["source"].partition("@")[0].rsplit(":", 1)
        assert Path(name).read_text().splitlines()[int(line) - 1] == command
        home = steps.store_of(config.load(Path("tiny.yaml")))
        bundle = home.latest(Bundle)
        assert found["gguf_sha256"] == store.sha256(home.path(bundle) / "model.gguf")
        rows = (home.path(home.latest(Dataset)) / "train.jsonl").read_text()
        assert found["examples"].get("train", 0) == rows.count(f'"group":"{_id(alert)}"')
        assert all(f'"id":"{name}"' in rows for name in found["example_ids"])
        text = say(capsys, "trace", "tiny.yaml", what)[1]
        assert found["gguf_sha256"] in text
        assert "not released" in text

    def test_trace_of_a_command_nobody_wrote(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = say(capsys, "trace", "tiny.yaml", "kubectl delete namespace payments")
        assert code == 65
        assert "no alert of the runbook has the command" in err

    def test_trace_of_a_question_that_is_escalated(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = say(capsys, "trace", "tiny.yaml", "the filesystem of the node is full")
        assert code == 65
        assert "the model escalates, so there is no command to follow" in err
        assert "NodeDiskFull (RUNBOOK.md:" in err

    def test_trace_notices_another_gguf(
        self, there: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        home = steps.store_of(config.load(Path("tiny.yaml")))
        path = home.path(home.latest(Bundle)) / "model.gguf"
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        code, _, err = say(capsys, "trace", "tiny.yaml", "NodeDiskFull")
        assert code == 4
        assert f"{path} has sha256 {store.sha256(path)}, its card says" in err

    def test_report_writes_one_page(self, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = say(capsys, "report", "tiny.yaml", "--out", "pages/tiny.html")
        assert code == 0
        assert out == "wrote pages/tiny.html: corpus, dataset, adapter, bundle, evaluation\n"
        page = Path("pages/tiny.html").read_text()
        bundle = steps.store_of(config.load(Path("tiny.yaml"))).latest(Bundle)
        assert bundle.gguf_sha256 in page
        shutil.rmtree("runs/tiny/bundle")
        assert say(capsys, "report", "tiny.yaml")[1] == (
            "wrote report.html: corpus, dataset, adapter\n"
        )


def _id(alert: str) -> str:
    rows = [json.loads(row) for row in next(Path("runs").glob("*/dataset/*/index.jsonl")).open()]
    return str(next(row["id"] for row in rows if row["title"] == alert))


class TestStop:
    def test_ctrl_c_and_sigterm_end_a_training_that_goes_on_later(
        self, flow: Flow, tmp_path: Path
    ) -> None:
        running: dict[signal.Signals, tuple[subprocess.Popen[str], Path]] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                folder = tmp_path / number.name
                shutil.copytree(flow.folder, folder)
                text = (folder / "tiny.yaml").read_text().replace("iters: 2", "iters: 500")
                (folder / "tiny.yaml").write_text(text.replace("batch_size: 2", "save_every: 1"))
                running[number] = _start(folder), folder
            for number, (process, folder) in running.items():
                _stops(process, number, folder)
        finally:
            for process, _ in running.values():
                process.kill()

    def test_work_that_does_not_listen_is_ended(self) -> None:
        code = (
            "import os, signal, sys, threading, time\n"
            "from opslore import console\n"
            "console.PATIENCE = 0.5\n"
            "threading.Thread(target=time.sleep, args=[60]).start()\n"
            "try:\n"
            "    with console.stoppable('opslore run x'):\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "        time.sleep(60)\n"
            "except console.Stopped as stop:\n"
            "    sys.exit(console.stopped('opslore run x', stop.code))\n"
        )
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=30,
        )
        assert done.returncode == 143
        assert done.stderr == "stopped; resume with: opslore run x\n"
        assert time.monotonic() - began < 20


def _start(folder: Path) -> subprocess.Popen[str]:
    with (folder / "err").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "opslore", "run", "tiny.yaml"],
            cwd=folder, stdout=subprocess.PIPE, stderr=err, text=True, env=environment(),
        )  # fmt: skip


def _stops(process: subprocess.Popen[str], number: signal.Signals, folder: Path) -> None:
    """A training that is under way ends within five seconds, and says how to go on."""
    until = time.monotonic() + 240
    while not list(folder.rglob("checkpoint-??????")):
        assert process.poll() is None, (folder / "err").read_text()
        assert time.monotonic() < until, "no step was made"
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    # 5 s are asked of a quiet machine.
    assert time.monotonic() - began < 15
    assert process.returncode == 128 + number
    err = (folder / "err").read_text()
    assert err.endswith("stopped; resume with: opslore run tiny.yaml\n")
    assert "Traceback" not in err
    assert [line.split()[0] for line in out.splitlines()] == ["collect", "prepare"]
    state = call(folder, "status", "tiny.yaml", "--json")
    assert json.loads(state.out)["steps"][2]["state"] == "stopped"
    doctor = call(folder, "doctor", "tiny.yaml")
    assert "stopped runs: 1 left half-way: adapter-" in doctor.out


class TestConsole:
    def test_control_characters_do_not_reach_the_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        console.say("a\x1b[2Jb\x07\tc\x9b")
        assert capsys.readouterr().out == "a[2Jb\tc\n"

    def test_a_reader_that_leaves_is_no_error(self, flow: Flow) -> None:
        done = subprocess.run(
            f"'{sys.executable}' -m opslore show tiny.yaml NodeDiskFull | head -n 1",
            shell=True, cwd=flow.folder, capture_output=True, text=True, env=environment(),
        )  # fmt: skip
        assert done.stdout.startswith("NodeDiskFull")
        assert "Traceback" not in done.stderr

    def test_a_locale_without_utf8_prints_all_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "R.md").write_text(
            "### Alert: Size\n\n**Symptoms:**\n- viel zu groß\n", "utf-8"
        )
        (tmp_path / "a.yaml").write_text("name: a\ncollect: [{path: R.md}]\n")
        env = {**environment(), "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
        run = [sys.executable, "-m", "opslore"]
        done = subprocess.run(
            [*run, "collect", "a.yaml"], cwd=tmp_path, capture_output=True, env=env
        )
        assert done.returncode == 0, done.stderr
        done = subprocess.run(
            [*run, "show", "a.yaml", "Size"], cwd=tmp_path, capture_output=True, env=env
        )
        assert rb"viel zu gro\xdf" in done.stdout, done.stderr


class TestMachine:
    def test_what_the_user_has_set_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
        machine.quiet()
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"

    def test_glibc_takes_the_thresholds(self) -> None:
        import platform

        assert machine.tune() == (platform.libc_ver()[0] == "glibc")

    def test_free_memory_is_below_the_whole(self) -> None:
        free = machine.free_memory()
        assert free is not None
        assert 0 < free <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_release_card_is_listed_by_its_version() -> None:
    from opslore import summary

    card = Release(
        id="0" * 64, uri="u", created="2026", made_with="m", version="v20260131-0123abcd",
        agent="sre", adapters_sha256="a", model_sha256="b", registry="sqlite:///x", run_id="1",
        blessed=True,
    )  # fmt: skip
    assert summary.line(card) == "v20260131-0123abcd in sqlite:///x"
