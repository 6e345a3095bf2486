"""`opslore submit` and `status` against a cluster: what a person sees, and what runs there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from base_models import model_cache  # noqa: F401
from between import CUT, Answer, Call, between
from flow_world import Flow, call
from flyte_world import let_pass, started, world  # noqa: F401
from flyteidl2.task import common_pb2
from plane_world import KEYS, Cluster, bare, cluster, made, same_release, until  # noqa: F401

pytest_plugins = ["real.fixtures"]
pytestmark = pytest.mark.slow

AWAY = 9
"""Calls that are cut: Flyte's SDK tries one four times."""

STEPS = ["prepare", "train", "export", "judge", "publish", "deploy"]


class TestBeforeAnythingRuns:
    def test_a_flow_that_is_not_registered_names_the_command(self, bare: Cluster) -> None:
        done = bare.call("submit", "tiny.yaml")
        assert done.code == 2
        assert "opslore.run is not registered" in done.err
        assert "hint: register it: flyte deploy" in done.err

    def test_an_agent_with_a_cron_line_is_registered_with_its_inputs(
        self, cluster: Cluster
    ) -> None:
        cron = {"OPSLORE_FLYTE_CRON": "30 3 * * 1-5"}
        agents = {"OPSLORE_FLYTE_AGENTS": str(cluster.folder / "tiny.yaml")}
        cluster.register("by-a-clock", **cron, **agents)
        (trigger,) = cluster.plane.engine.triggers
        assert trigger.name == "opslore-tiny"
        assert trigger.automation_spec.schedule.cron.expression == cron["OPSLORE_FLYTE_CRON"]
        found = cluster.plane.engine.bucket.get(trigger.spec.offloaded_input_data.uri)
        assert found is not None
        (given,) = common_pb2.Inputs.FromString(found).literals
        assert given.name == "agent"
        assert b"tiny" in given.value.SerializeToString()

    def test_a_store_on_this_machine_is_refused(self, cluster: Cluster) -> None:
        text = (cluster.folder / "tiny.yaml").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("store:")]
        done = cluster.call("submit", cluster.agent("here", **{line: "store: ./runs"}))
        assert done.code == 2
        assert "store: ./runs is a folder of this machine, which no pod sees" in done.err
        assert "s3://BUCKET/PREFIX" in done.err
        assert not cluster.plane.engine.runs

    def test_without_a_configuration_it_says_how_to_write_one(self, cluster: Cluster) -> None:
        agent = cluster.folder / "tiny.yaml"
        (cluster.folder / "elsewhere").mkdir()
        (cluster.folder / "elsewhere" / "tiny.yaml").write_text(agent.read_text())
        nowhere = Cluster(
            cluster.folder / "elsewhere", cluster.plane, cluster.pods, cluster.secrets
        )
        done = nowhere.call("submit", "tiny.yaml")
        assert done.code == 2
        assert "no Flyte cluster is configured" in done.err
        assert "flyte create config --endpoint" in done.err

    def test_a_cluster_that_does_not_answer_may_later(self, cluster: Cluster) -> None:
        cluster.more["FLYTE_ADMIN_ENDPOINT"] = "dns:///127.0.0.1:1"
        try:
            done = cluster.call("submit", "tiny.yaml")
            state = cluster.call("status", "tiny.yaml")
        finally:
            del cluster.more["FLYTE_ADMIN_ENDPOINT"]
        assert done.code == 75
        assert "error: Flyte at dns:///127.0.0.1:1 did not answer" in done.err
        assert state.code == 0, state.err
        (line,) = [line for line in state.out.splitlines() if "Flyte" in line]
        assert line.startswith("Flyte at dns:///127.0.0.1:1 did not answer")

    def test_another_project_is_asked_when_it_is_named(self, cluster: Cluster) -> None:
        done = cluster.call("submit", "tiny.yaml", "--project", "others")
        assert done.code == 2
        assert "opslore.run is not registered" in done.err
        assert not cluster.plane.engine.runs

    def test_status_opens_no_browser_to_log_in(self, cluster: Cluster) -> None:
        cluster.more["FLYTE_ADMIN_ENDPOINT"] = "dns:///flyte.invalid"
        cluster.more["FLYTE_ADMIN_INSECURE"] = ""  # bool("") in Flyte's own reading
        try:
            state = cluster.call("status", "tiny.yaml")
        finally:
            del cluster.more["FLYTE_ADMIN_ENDPOINT"], cluster.more["FLYTE_ADMIN_INSECURE"]
        assert state.code == 0, state.err
        assert "Flyte at dns:///flyte.invalid asks who you are: flyte get run\n" in state.out

    def test_without_the_sdk_it_says_what_to_install(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        (tmp_path / "flyte.py").write_text("raise ImportError('no module named flyte')\n")
        cluster.more["PYTHONPATH"] = f"{tmp_path}:{cluster.environment()['PYTHONPATH']}"
        try:
            done = cluster.call("submit", "tiny.yaml")
            state = cluster.call("status", "tiny.yaml")
        finally:
            del cluster.more["PYTHONPATH"]
        assert done.code == 2
        assert "hint: pip install 'opslore[flyte]'" in done.err
        assert state.code == 0
        assert "flyte" not in state.out.lower()


@pytest.fixture(scope="module")
def missing(cluster: Cluster) -> str:
    """An agent file whose runbook is here and in no image."""
    (cluster.folder / "NOWHERE.md").write_text((cluster.folder / "RUNBOOK.md").read_text())
    return cluster.agent("missing", **{"RUNBOOK.md": "NOWHERE.md"})


@pytest.fixture(scope="module")
def failed(cluster: Cluster, missing: str) -> Flow:
    return cluster.call("submit", missing)


class TestARunThatFails:
    def test_the_error_is_the_one_of_the_step_with_its_exit_code(
        self, cluster: Cluster, failed: Flow
    ) -> None:
        (name,) = cluster.plane.engine.runs
        assert failed.code == 66, failed.err
        assert f"error: harvest failed in {name}: " in failed.err
        assert "NOWHERE.md" in failed.err
        assert f"/runs/{name}" in failed.err
        lines = failed.out.splitlines()
        assert lines[0].startswith(f"{name}  http://")
        assert any(line.startswith("harvest   failed") for line in lines[1:])

    def test_status_lists_it_and_follows_it_again(self, cluster: Cluster, failed: Flow) -> None:
        (name,) = cluster.plane.engine.runs
        state = cluster.call("status", "missing.yaml")
        assert state.code == 0, state.err
        (line,) = [line for line in state.out.splitlines() if line.startswith(name)]
        assert line.split()[1] == "failed"
        (row,) = json.loads(cluster.call("status", "missing.yaml", "--json").out)["runs"]
        assert (row["name"], row["phase"]) == (name, "failed")
        assert row["seconds"] > 0
        assert name not in cluster.call("status", "tiny.yaml").out  # another agent's
        again = cluster.call("status", "missing.yaml", "--run", name)
        assert again.code == 66
        assert "NOWHERE.md" in again.err
        unknown = cluster.call("status", "missing.yaml", "--run", "r0")
        assert unknown.code == 2
        assert "no run r0" in unknown.err


def test_a_cluster_that_is_away_for_a_while_ends_no_following(
    cluster: Cluster, missing: str
) -> None:
    address = cluster.plane.endpoint.removeprefix("dns:///")
    with between(f"http://{address}") as proxy:
        cut: list[int] = []

        def rule(call: Call) -> Answer | None:
            if call.path.endswith("/ListActions") and len(cut) < AWAY:
                cut.append(call.number)
                return CUT
            return None

        proxy.rule = rule
        cluster.more["FLYTE_ADMIN_ENDPOINT"] = proxy.url.replace("http://", "dns:///")
        try:
            done = cluster.call("submit", missing)
        finally:
            del cluster.more["FLYTE_ADMIN_ENDPOINT"]
    assert len(cut) == AWAY
    assert done.code == 66, done.err
    assert "NOWHERE.md" in done.err


def test_ctrl_c_leaves_the_run_and_says_how_to_go_on_and_how_to_end_it(cluster: Cluster) -> None:
    before = set(cluster.plane.engine.runs)
    process = cluster.start("submit", "tiny.yaml")
    until(lambda: set(cluster.plane.engine.runs) - before)
    (name,) = set(cluster.plane.engine.runs) - before
    until(lambda: len(cluster.plane.engine.runs[name].actions) > 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    run = cluster.plane.engine.runs[name]
    assert not run.actions["a0"].over
    assert f"{name} goes on; abort it with: flyte abort run {name}\n" in err
    follow = f"opslore status tiny.yaml --run {name}"
    assert err.endswith(f"stopped; resume with: {follow}\n")
    follower = cluster.start(*follow.split()[1:])
    time.sleep(3)
    abort(cluster, name)
    _, err = follower.communicate(timeout=60)
    assert follower.returncode == 1
    assert f"error: {name} aborted" in err
    until(lambda: not cluster.pods.alive)  # no pod of it is left


def abort(cluster: Cluster, name: str) -> None:
    program = Path(sys.executable).with_name("flyte")
    done = subprocess.run(
        [program, "abort", "run", name],
        cwd=cluster.folder, env=cluster.environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Path:
    """The same agent by `opslore run`, on this machine's disk; Ada lets it pass."""
    folder = world(tmp_path_factory.mktemp("home") / "world")
    assert call(folder, "run", "tiny.yaml").code == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        let_pass()
    done = call(folder, "run", "tiny.yaml")
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def refused(cluster: Cluster) -> Flow:
    return cluster.call("submit", "tiny.yaml")


@pytest.fixture(scope="module")
def passed(cluster: Cluster, refused: Flow) -> Flow:
    with cluster.inside():
        let_pass()
    return cluster.call("submit", "tiny.yaml", "--json")


class TestTheWholeFlow:
    def test_a_refused_gate_is_exit_3_with_every_gate(self, refused: Flow) -> None:
        assert refused.code == 3, refused.err
        lines = refused.out.splitlines()[1:]
        ended = [line.split()[:2] for line in lines]
        assert ended[:4] == [["harvest", "succeeded"]] * 3 + [["together", "succeeded"]]
        assert ended[4:] == [[step, "succeeded"] for step in STEPS[:4]] + [["publish", "failed"]]
        assert "error: publish failed in " in refused.err
        assert "G1 recall" in refused.err
        assert "opslore why" in refused.err

    def test_let_pass_it_ends_with_the_release_that_opslore_run_makes(
        self, cluster: Cluster, at_home: Path, passed: Flow
    ) -> None:
        assert passed.code == 0, passed.err
        said = json.loads(passed.out)
        assert said["phase"] == "succeeded"
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(at_home)
            here = made()
        with cluster.inside():
            same_release(said, here, made())

    def test_the_second_run_trains_nothing(self, cluster: Cluster, passed: Flow) -> None:
        name = json.loads(passed.out)["name"]
        actions = [pod.action for pod in cluster.pods.started if name in pod.name]
        assert "opslore-prepare.prepare" in actions
        assert "opslore-train.train" not in actions  # Flyte kept its card
        assert "opslore-export.export" not in actions

    def test_pods_are_what_was_registered(self, cluster: Cluster, passed: Flow) -> None:
        """Described by the pod above them, they must have the image, the cards and the secrets."""
        steps_of = [pod for pod in cluster.pods.started if "harvest" in pod.action]
        assert steps_of
        for pod in steps_of:
            assert pod.image == "opslore:0.1.0"
            assert pod.secrets == KEYS
            assert pod.environment["OPSLORE_FLYTE_GPUS"] == "0"

    def test_no_follow_says_how_to_follow(self, cluster: Cluster, passed: Flow) -> None:
        done = cluster.call("submit", "tiny.yaml", "--no-follow")
        assert done.code == 0
        first, second = done.out.splitlines()
        name = first.split()[0]
        assert second == f"follow it with: opslore status tiny.yaml --run {name}"
        followed = cluster.call(*second.removeprefix("follow it with: opslore ").split())
        assert followed.code == 0, followed.err
        assert followed.out.splitlines()[-1].startswith("deploy    v")
