"""What is registered, asked of the real programs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from flow_world import environment
from flyte_world import AGENT, SOURCE

from opslore import flowing
from opslore.errors import ConfigError

ROOT = SOURCE.parent
TASKS = {"harvest", "together", "prepare", "train", "export", "ask", "judge", "publish", "deploy"}


NAMES = {f"opslore-{one}.{one}" for one in TASKS} | {"opslore.collect", "opslore.evaluate"}
NAMES |= {"opslore.run"}
SPECS = """
import json, sys, flyte
from pathlib import Path
where = {"endpoint": "dns:///127.0.0.1:1", "project": "p", "domain": "d"}
flyte.init(insecure=True, root_dir=Path(sys.argv[1]), **where)
from opslore import flows
(found,) = flyte.deploy(flows.env, dry_run=True, version="v1", copy_style="none")
told = {}
for entity in (entity for room in found.envs.values() for entity in room.deployed_entities):
    task = entity.deployed_task.task_template
    told[task.id.name] = {
        "args": list(task.container.args),
        "image": task.container.image,
        "env": {one.key: one.value for one in task.container.env},
        "secrets": [[s.group, s.key, s.env_var] for s in task.security_context.secrets],
        "requests": {one.name: one.value for one in task.container.resources.requests},
        "retries": task.metadata.retries.retries,
    }
print("TOLD" + json.dumps(told))
"""


def call(folder: Path, *words: str, **more: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(words[0])), *words[1:]],
        cwd=folder,
        env={**environment(), "HOME": str(folder), "COLUMNS": "400", "NO_COLOR": "1", **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_flyte_2_registers_every_task_and_no_empty_room(tmp_path: Path) -> None:
    """The line of docs/flyte.md, as a dry run: it asks no cluster, but wants an address of one."""
    line = re.search(r"^flyte .*", (ROOT / "docs" / "flyte.md").read_text(), re.MULTILINE)
    assert line is not None
    *words, file, name = shlex.split(line[0])
    words[1:3] = ["-of", "table-simple", "--endpoint", "dns:///127.0.0.1:1", "--insecure"]
    said = call(ROOT, *words, "--dry-run", file, name, HOME=str(tmp_path))
    assert set(re.findall(r"/tasks/([\w.-]+)", said)) == NAMES
    rooms = set(re.findall(r"Deploying environment (\S+)", said))
    assert rooms == {name.partition(".")[0] for name in NAMES}


def test_a_pod_gets_the_flow_by_its_module_and_no_secret_by_value(tmp_path: Path) -> None:
    given = {
        "AWS_ENDPOINT_URL": "http://minio.example:9000",
        "AWS_SECRET_ACCESS_KEY": "not-for-everybody",
        "OPSLORE_FLYTE_SECRETS": "opslore-s3/AWS_SECRET_ACCESS_KEY,AWS_ACCESS_KEY_ID",
        "OPSLORE_FLYTE_IMAGE": "registry.example/opslore@sha256:" + "0" * 64,
        "OPSLORE_FLYTE_GPUS": "2",
    }
    said = call(tmp_path, "python", "-c", SPECS, str(SOURCE), **given)
    specs = json.loads(said.split("TOLD")[1].splitlines()[0])
    assert set(specs) == NAMES
    for name, spec in specs.items():
        assert spec["args"][-4:] == ["mod", "opslore.flows", "instance", name.partition(".")[2]]
        assert spec["image"] == given["OPSLORE_FLYTE_IMAGE"]
        assert spec["env"]["AWS_ENDPOINT_URL"] == given["AWS_ENDPOINT_URL"]
        assert spec["secrets"] == [
            ["opslore-s3", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"],
            ["", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"],
        ]
    assert given["AWS_SECRET_ACCESS_KEY"] not in said
    assert "2" in specs["opslore-train.train"]["requests"].values()
    assert specs["opslore-train.train"]["retries"] == 3
    assert specs["opslore.run"]["retries"] == 0


TRIGGERED = """
import asyncio, json
import flyte
from flyte._internal.runtime.trigger_serde import to_task_trigger
from flyte.types import TypeEngine
from opslore import flows
from opslore.config import Agent

async def wire(one):
    inputs = flows.run.native_interface.inputs
    from flyte._internal.runtime.types_serde import transform_native_to_typed_interface
    interface = transform_native_to_typed_interface(flows.run.native_interface)
    found = await to_task_trigger(one, "opslore.run", interface.inputs, [])
    (literal,) = found.spec.inputs.literals
    agent = await TypeEngine.to_python_value(literal.value, Agent)
    cron = found.automation_spec.schedule.cron
    return {"name": found.name, "cron": cron.expression, "zone": cron.timezone, "agent": agent.name,
            "active": found.spec.active}

print("TOLD" + json.dumps([asyncio.run(wire(one)) for one in flows.run.triggers]))
"""


def test_agents_run_by_themselves_when_the_cluster_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(AGENT)
    given = {"OPSLORE_FLYTE_CRON": "30 3 * * 1-5", "OPSLORE_FLYTE_AGENTS": "tiny.yaml"}
    found = json.loads(call(tmp_path, "python", "-c", TRIGGERED, **given).split("TOLD")[1])
    assert found == [
        {
            "name": "opslore-tiny",
            "cron": "30 3 * * 1-5",
            "zone": "UTC",
            "agent": "tiny",
            "active": True,
        }
    ]
    assert json.loads(call(tmp_path, "python", "-c", TRIGGERED).split("TOLD")[1]) == []


def test_a_time_without_an_agent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flowing, "CRON", "0 3 * * *")
    with pytest.raises(ConfigError) as caught:
        flowing.scheduled()
    assert "OPSLORE_FLYTE_AGENTS" in caught.value.hint
