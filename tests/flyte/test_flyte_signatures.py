"""A task is its step: the same words in, the same card out, in both generations of Flyte."""

from __future__ import annotations

import inspect
import json
import typing
from pathlib import Path

import pytest
from flyte_world import pod, started  # noqa: F401

from opslore import flows, originals, steps

pytest_plugins = ["real.fixtures"]

STEPS = ["collect", "prepare", "train", "export", "evaluate", "publish", "deploy"]
PARAMETERS = ["agent_name", "model_name", "runbook_path", "learning_rate", "batch_size", "iters"]
PARAMETERS += ["lora_layers", "lora_rank", "lora_alpha"]
OUTPUTS = ["model_version", "mlflow_uri", "minio_path", "adapter_path", "accuracy"]
OUTPUTS += ["ollama_model_name", "ollama_output_path", "ollama_modelfile_path"]
OUTPUTS += ["ollama_minio_path", "ollama_import_job"]
TELL = """
import json, typing, inspect
from opslore import flows_v1, steps

def same(step):
    task = getattr(flows_v1, step).task_function
    there = getattr(steps, step)
    return (
        inspect.signature(task) == inspect.signature(there)
        and typing.get_type_hints(task) == typing.get_type_hints(there)
    )

flow = flows_v1.agent_training_pipeline
print("TOLD" + json.dumps({
    "same": {step: same(step) for step in %r},
    "inputs": {name: kind.__name__ for name, kind in flow.python_interface.inputs.items()},
    "outputs": {name: kind.__name__ for name, kind in flow.python_interface.outputs.items()},
    "defaults": {n: v[1] for n, v in flow.python_interface.inputs_with_defaults.items() if v[1]},
}))
"""


def test_every_step_is_a_task() -> None:
    found = [n for n, f in inspect.getmembers(steps, inspect.isfunction) if n in STEPS]
    assert sorted(found) == sorted(STEPS)
    assert {n for n, f in vars(steps).items() if inspect.isfunction(f)} >= {*STEPS, "run"}


@pytest.mark.parametrize("step", [*STEPS, "run"])
def test_a_flyte_2_task_has_the_signature_of_its_step(step: str) -> None:
    task, there = getattr(flows, step), getattr(steps, step)
    assert inspect.signature(task.func) == inspect.signature(there)
    hints = typing.get_type_hints(there)
    assert typing.get_type_hints(task.func) == hints
    # What Flyte itself reads from it, which decides what a pod is given.
    kinds = {name: kind for name, (kind, _) in task.native_interface.inputs.items()}
    assert kinds == {name: kind for name, kind in hints.items() if name != "return"}
    assert list(task.native_interface.outputs.values()) == [hints["return"]]


@pytest.mark.slow
def test_flyte_1_has_the_same_tasks_and_the_original_workflow(
    flyte1_programs: Path, tmp_path: Path
) -> None:
    (tmp_path / "tell.py").write_text(TELL % STEPS)
    said = pod(tmp_path, "python", "tell.py")
    told = json.loads(said.split("TOLD")[1].splitlines()[0])
    assert told["same"] == dict.fromkeys(STEPS, True)
    assert list(told["inputs"]) == PARAMETERS
    assert [told["inputs"][name] for name in PARAMETERS] == [
        *["str"] * 3, "float", *["int"] * 4, "float"
    ]  # fmt: skip
    assert list(told["outputs"]) == OUTPUTS == list(originals.Facts.model_fields)
    assert told["outputs"] == {n: "float" if n == "accuracy" else "str" for n in OUTPUTS}
    assert sorted(told["defaults"]) == sorted(PARAMETERS[3:])
