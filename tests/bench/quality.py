"""`make bench-quality`: the whole flow on two runbooks; a table for people, one JSON line last.

The example is the one `make demo` trains; the benchmark is the shared OpenShift runbook. What was
made before is found again in ./runs, so a second run only prints.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rich.console import Console

from opslore import config, machine, progress, steps
from opslore.cards import Adapter, Evaluation
from opslore.evaluation.numbers import bench
from opslore.evaluation.run import engines
from opslore.evaluation.table import table

ROOT = Path(__file__).parents[2]


def shared() -> Path:
    """The shared runbook that nobody here wrote."""
    named = os.environ.get("OPSLORE_SHARED_DATA", "")
    return (Path(named) if named else ROOT.parent / "shared" / "data") / "runbooks"


def agents() -> dict[str, config.Agent]:
    """The example as it is, and the same settings on the OpenShift runbook."""
    example = config.load(ROOT / "agents" / "sre.yaml")
    runbook = shared() / "openshift-RUNBOOK.md"
    if not runbook.is_file():
        sys.exit(f"{runbook} is not there: set OPSLORE_SHARED_DATA to the folder that has it")
    asked = ROOT / "tests" / "data" / "questions" / "openshift.jsonl"
    questions = str(asked) if asked.is_file() else ""
    other = example.model_copy(
        update={
            "name": "bench-openshift",
            "collect": [config.RunbookSource(path=str(runbook))],
            "prepare": example.prepare.model_copy(update={"questions": questions}),
        }
    )
    return {"example": example, "openshift": other}


def measure(agent: config.Agent) -> tuple[Evaluation, dict[str, float]]:
    """Run the flow up to the evaluation.

    Returns:
        The evaluation, its numbers, minutes of training and of asking the models, and the median
        seconds of an answer as `opslore ask` gives it.
    """
    corpus = steps.collect(agent)
    dataset = steps.prepare(agent, corpus)
    adapter: Adapter = steps.train(agent, dataset)
    bundle = steps.export(agent, adapter)
    evaluation = steps.evaluate(agent, dataset, bundle)
    folder = steps.store_of(agent).path(evaluation)
    rows = [json.loads(line) for line in (folder / "results.jsonl").open(encoding="utf-8")]
    beside = engines(steps.store_of(agent).path(bundle) / "model.gguf")
    # A constrained reply that equals the free one was not asked for again, only copied.
    asked = {
        (row["example"], "tuned" if row["column"] == "constrained" else row["column"],
         row["seconds"])
        for row in rows
    }  # fmt: skip
    # The trained weights answer a batch at a time, and tell each prompt's share of it.
    spent = sum(s / (1 if column == "trained" else beside) for _, column, s in asked)
    answered = sorted(row["seconds"] for row in rows if row["column"] == "constrained")
    minutes, latency = (adapter.seconds + spent) / 60, answered[len(answered) // 2]
    timed = {"minutes": round(minutes, 1), "latency_s": round(latency, 3)}
    return evaluation, {**bench(evaluation), **timed}


def main() -> None:
    """Measure both and print."""
    machine.quiet()
    machine.tune()
    console = Console(width=150)
    out: dict[str, dict[str, float]] = {}
    said = ""

    def show(what: str, done: int, total: int, note: str) -> None:
        nonlocal said
        line = f"{what} {10 * done // max(total, 1)}0 % {note.split()[0] if note else ''}"
        if line != said:
            said = line
            print(line, file=sys.stderr, flush=True)

    with progress.listening(show):
        for name, agent in agents().items():
            evaluation, numbers = measure(agent)
            console.rule(name)
            console.print(evaluation.headline)
            console.print(table(evaluation))
            for gate in evaluation.gates:
                console.print(
                    f"{'pass' if gate.passed else 'FAIL'} {gate.name} {gate.title}: "
                    f"{gate.measured}, needs {gate.threshold}",
                    markup=False,
                )
            out[name] = numbers
    print(json.dumps(out))


if __name__ == "__main__":
    main()
