"""What `status` and `doctor` say of import Jobs: read from a real API server, without a new Job."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from release.job_player import Ollama, Outcome, Player
from release.job_world import (  # noqa: F401
    NEXT,
    VERSION,
    cluster,
    namespace,
    nowhere,
    ollama,
    player,
    section,
    staged,
)

from opslore import config_deploy, reach, whereabouts
from opslore.cli import main
from opslore.config import Agent
from opslore.release import kubernetes, rollout
from opslore.release.cluster import Cluster
from opslore.release.current import POINTER, History
from opslore.release.importing import OllamaJob
from opslore.store import Store

pytest_plugins = ["real.fixtures"]

ASK = "opslore status AGENT.yaml --ask"


@pytest.fixture
def home(tmp_path: Path) -> Store:
    """A store in which the first release is the deployed one."""
    found = Store(tmp_path / "runs", "sre")
    found.note(POINTER, History(version=VERSION).model_dump_json())
    return found


def agent(home: Store, *targets: config_deploy.Target) -> Agent:
    return Agent(
        name="sre",
        base_model="tiny.gguf",
        collect=[{"path": "RUNBOOK.md"}],
        store=str(home.root),
        publish={"registry": f"sqlite:///{home.root}/mlflow.db"},
        deploy=[target.model_dump() for target in targets],
    )


@pytest.fixture
def target(home: Store, namespace: str) -> OllamaJob:
    """The target as `deploy` uses it, with the store to keep notes in."""
    return OllamaJob(section(namespace=namespace), "sre", home)


def place(settings: Agent, ask: bool = False) -> whereabouts.Place:
    """The row of the pointer that only a Job can read."""
    (found,) = [row for row in whereabouts.places(settings, ask) if "(Job in" in row.name]
    return found


def forget(cluster: Cluster, namespace: str) -> None:
    """What `ttlSecondsAfterFinished` does, or a person who tidies up."""
    for job in cluster.labelled("batch/v1", "Job", namespace, {}):
        cluster.delete({"apiVersion": "batch/v1", "kind": "Job", **job})


def test_status_tells_what_the_last_job_told_and_runs_none(
    target: OllamaJob,
    home: Store,
    player: Player,
    ollama: Ollama,
    cluster: Cluster,
    namespace: str,
) -> None:
    settings = agent(home, target.section)
    row = place(settings)
    assert (row.state, row.mend, row.as_of) == ("unknown", ASK, "")
    assert row.names == "no Job has told yet"
    assert player.seen == []

    target.stage(staged())
    target.move(target.aim("sre", VERSION))
    looks = len(player.seen)
    row = place(settings)
    assert (row.state, row.names, row.should) == ("ok", *[f"digest of {VERSION}"] * 2)
    age = datetime.now(UTC) - datetime.fromisoformat(row.as_of)
    assert timedelta(seconds=-2) < age < timedelta(minutes=1)

    # The Jobs go, what they told stays; it says how old it is, and a new Job only when asked for.
    forget(cluster, namespace)
    ollama.pointer = "somebody else's"
    assert place(settings) == row
    assert len(player.seen) == looks
    asked = place(settings, ask=True)
    assert (asked.state, asked.names, asked.as_of) == ("differs", "somebody else's", "")
    assert asked.mend == "opslore deploy AGENT.yaml --again"
    assert len(player.seen) == looks + 1
    assert place(settings).names == "somebody else's"
    assert len(player.seen) == looks + 1


def test_what_a_job_told_whoever_died_is_read_from_its_log(
    target: OllamaJob,
    home: Store,
    player: Player,
    ollama: Ollama,
) -> None:
    target.stage(staged())
    target.move(target.aim("sre", VERSION))
    known = target.known()
    assert known is not None
    past = known.model_copy(update={"at": "2026-01-01T00:00:00Z", "now": "old", "job": "gone"})
    home.note(target._note, past.model_dump_json())
    assert target.known() == known
    # A note of another version of opslore, or none, is as good as nothing.
    home.note(target._note, '{"format": 7}')
    assert target.known() == known
    assert OllamaJob(target.section, "sre").known() == known


def test_a_version_that_is_not_installed_there_differs(
    target: OllamaJob,
    home: Store,
    player: Player,
) -> None:
    target.stage(staged(NEXT))
    target.now()
    row = place(agent(home, target.section))
    assert (row.state, row.names) == ("differs", "")
    assert row.should == f"sre:{VERSION} is not installed there"


def test_every_job_is_listed_with_its_state(
    target: OllamaJob,
    home: Store,
    player: Player,
    ollama: Ollama,
    cluster: Cluster,
    namespace: str,
) -> None:
    settings = agent(home, target.section, target.section)
    assert list(whereabouts.jobs(settings)) == []
    target.stage(staged())
    target.now()
    OllamaJob(section(namespace=namespace), "another").stage(staged())
    log = "fetching\nerror: s3://x: model.sig is missing \x1b[31m\nhint: publish\n"
    for outcome in (Outcome(4, log), Outcome(137, late=True)):
        ollama.fails["install"] = outcome
        other = section(namespace=namespace).model_copy(update={"url": f"http://o{outcome.code}"})
        with pytest.raises(kubernetes.ServerError):
            OllamaJob(other, "sre").stage(staged(NEXT))
    ollama.fails["point"] = Outcome(75, "error: Ollama does not answer\n")
    with pytest.raises(kubernetes.ServerError):
        target.now()
    ollama.fails["install"] = Outcome(waiting="ImagePullBackOff")
    cluster.create(OllamaJob(section(namespace=namespace), "sre").rendered(staged(NEXT)))
    until = time.monotonic() + 30
    while player.finished < 7 and time.monotonic() < until:
        time.sleep(0.05)

    rows = {row.state + row.name.split("/")[1].split("-")[0]: row for row in jobs_of(settings)}
    assert set(rows) == {
        "doneimport",
        "failedimport",
        "deadline exceededimport",
        "failedpoint",
        "runningimport",
    }
    done, failed = rows["doneimport"], rows["failedimport"]
    assert (done.version, done.reason, done.mend) == (VERSION, "", "")
    assert done.name.startswith(f"{namespace}/import-sre-ollama-")
    assert failed.version == NEXT
    assert failed.reason == (
        "PodFailurePolicy: exit code 4 is in the rules; exit 4 (Error); "
        "error: s3://x: model.sig is missing ?[31m"
    )
    assert failed.mend == "opslore deploy AGENT.yaml"
    late = rows["deadline exceededimport"]
    assert late.reason.startswith("DeadlineExceeded: active longer than its deadline; ")
    assert late.mend == "raise job.deadline above 30, then: opslore deploy AGENT.yaml"
    assert "Ollama does not answer" in rows["failedpoint"].reason
    assert rows["failedpoint"].mend == "opslore deploy AGENT.yaml --again"
    running = rows["runningimport"]
    assert running.reason == "ImagePullBackOff: as the kubelet says"
    assert whereabouts.ago(running.created).endswith(" s ago")

    # What mends it is true: the failed Job is replaced by one that is done.
    ollama.fails.clear()
    other = section(namespace=namespace).model_copy(update={"url": "http://o4"})
    OllamaJob(other, "sre").stage(staged(NEXT))
    assert "failed" not in {row.state for row in jobs_of(settings) if "/import" in row.name}


def jobs_of(settings: Agent) -> list[whereabouts.Job]:
    found = list(whereabouts.jobs(settings))
    assert [row.created for row in found] == sorted((row.created for row in found), reverse=True)
    return found


def test_a_cluster_that_is_not_there_is_a_row(
    nowhere: Path,
    home: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUNBOOK.md").write_text("# Runbook\n")
    file = tmp_path / "sre.yaml"
    for context, why in (("here", "does not answer"), ("other", "no cluster to deploy to")):
        settings = agent(home, section(context=context))
        file.write_text(settings.model_dump_json())
        assert main(["status", str(file), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        (row,) = said["jobs"]
        assert row["name"] == f"Jobs in default of {context}"
        assert row["state"] == "unreachable"
        assert why in row["reason"]
        assert "kubectl" in row["mend"]
        (pointer,) = [p for p in said["places"] if "(Job in" in p["name"]]
        assert pointer["state"] == "unreachable"
    # What the store keeps is said all the same, with its age.
    target = OllamaJob(section(context="here"), "sre", home)
    then = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    told = {"now": "a", "versions": {VERSION: "a"}, "at": then, "job": "point-1"}
    home.note(target._note, json.dumps(told))
    file.write_text(agent(home, target.section).model_dump_json())
    assert main(["status", str(file)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a (told 3 h ago)" in said
    assert "Jobs in default of here unreachable cluster here does not answer" in said
    assert "mend it with: kubectl cluster-info --context here" in said


def test_who_may_not_list_is_told_so(
    namespace: str,
    home: Store,
    kubectl: Path,
    kube_cluster: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Role in deploy/kubernetes/ is enough; without it every row says what is missing."""
    words = [kubectl, "-n", namespace, "create"]
    subprocess.run([*words, "serviceaccount", "ci"], check=True, capture_output=True)
    token = subprocess.run(
        [*words, "token", "ci"], check=True, capture_output=True, text=True
    ).stdout.strip()
    config = json.loads(kube_cluster.read_text())
    config["users"][0]["user"]["token"] = token
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    settings = agent(home, section(namespace=namespace))
    (row,) = whereabouts.jobs(settings)
    assert "(403)" in row.reason
    assert "kubectl auth can-i" in row.mend
    (check,) = checks(settings, home, "(Job in")
    assert (check.state, "(403)" in check.found) == ("fail", True)
    monkeypatch.setenv("KUBECONFIG", str(kube_cluster))
    binding = ["rolebinding", "ci", "--role=opslore-deploy", f"--serviceaccount={namespace}:ci"]
    subprocess.run([*words, *binding], check=True, capture_output=True)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert list(whereabouts.jobs(settings)) == []
    (check,) = checks(settings, home, "(Job in")
    assert check.state == "ok", check.found


def checks(settings: Agent, home: Store, part: str) -> list[reach.Check]:
    return [check for check in reach.checks(settings, home) if part in check.name]


def test_doctor_reaches_the_cluster_without_a_job(
    cluster: Cluster,
    namespace: str,
    home: Store,
) -> None:
    settings = agent(home, section(namespace=namespace))
    (check,) = checks(settings, home, "(Job in")
    assert (check.state, check.found) == ("ok", "reached; a Job would be taken (server dry-run)")
    assert cluster.labelled("batch/v1", "Job", namespace, {}) == []
    (check,) = [c for c in reach.checks(settings, home) if "cannot read a folder" in c.found]
    assert (check.state, "store: s3://" in check.mend) == ("fail", True)

    def found(**job: Any) -> reach.Check:
        (check,) = checks(agent(home, section(**{"namespace": namespace, **job})), home, "(Job in")
        assert check.state == "fail"
        assert check.mend
        return check

    assert "not found" in found(namespace="nobody-made-it").found
    assert "by its digest" in found(image="opslore:latest").found
    assert "no cluster to deploy to" in found(context="other").found


def test_doctor_names_the_programs_it_reached(
    home: Store,
    ollama_server: str,
    helm: Path,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "values.yaml").write_text("model: a\n")
    values = config_deploy.Values(
        file=str(tmp_path / "values.yaml"),
        key="model",
        helm=config_deploy.Helm(release="nobody", chart=str(tmp_path)),
    )
    plain = values.model_copy(update={"helm": None})
    settings = agent(home, config_deploy.Ollama(url=ollama_server), plain, values)
    monkeypatch.setenv("PATH", str(helm.parent), prepend=":")
    ours, file, upgraded, registry, store = reach.checks(settings, home)
    assert ours.found.startswith("reached; Ollama 0.")
    assert ours.found.endswith(", it names no release yet")
    assert file.found == "reached; it names a release"
    assert "no Helm release nobody" in upgraded.found
    assert registry.found == "reached; it names no release yet"
    assert store.found == "reached; it names a release"
    assert [c.state for c in (ours, file, upgraded, registry, store)] == [
        "ok",
        "ok",
        "fail",
        "ok",
        "ok",
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "needs the program helm" in list(reach.checks(settings, home))[2].found
    gone = agent(home, config_deploy.Ollama(url="http://127.0.0.1:9"))
    first = next(iter(reach.checks(gone, home)))
    assert (first.state, bool(first.mend)) == ("fail", True)


def test_a_target_knows_its_agents_store(home: Store, namespace: str) -> None:
    settings = agent(home, section(namespace=namespace))
    first = rollout.targets(settings, home)[0]
    assert isinstance(first, OllamaJob)
    assert first.notes is home
