"""Import Jobs: the manifest, and the whole way through a real API server.

The API server is real (validation, admission, storage, status subresources, the log it fetches from
a kubelet); the Job controller, the kubelet and the program in the pod are played (job_player.py).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from release.job_player import Ollama, Outcome, Player
from release.job_world import (  # noqa: F401
    IMAGE,
    KEY,
    MANIFESTS,
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

from opslore import progress
from opslore.errors import ConfigError, MissingInput, ServerError
from opslore.release import importing
from opslore.release.cluster import Cluster, Conflict
from opslore.release.targets import switch

pytest_plugins = ["real.fixtures"]


def test_the_manifest_of_an_import(nowhere: Path) -> None:
    job = importing.OllamaJob(section(), "sre").rendered(staged())
    hexes = job["metadata"]["name"].rsplit("-", 1)[1]
    assert job["metadata"]["name"] == f"import-sre-ollama-{hexes}"
    assert len(hexes) == 8
    assert int(hexes, 16) >= 0
    assert job["metadata"]["labels"]["component"] == "ollama-import"
    assert job["spec"]["template"]["metadata"]["labels"] == job["metadata"]["labels"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == [
        "install",
        "s3://models/sre/v/model.tar.gz",
        "--sha256",
        "0123abcd" * 8,
        "--url",
        "http://ollama.ai:11434",
        "--name",
        "sre",
        "--version",
        VERSION,
        "--agent",
        "sre",
    ]
    assert "command" not in container
    # What stands in `env` wins over a Secret that has the same name in it.
    assert {"name": "OPSLORE_TRUSTED_KEY", "value": KEY} in container["env"]
    assert container["image"] == IMAGE
    assert container["envFrom"] == [{"secretRef": {"name": "s3-login"}}]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "opslore-import"
    assert pod["restartPolicy"] == "Never"
    (volume,) = pod["volumes"]
    assert set(volume) == {"name", "emptyDir"}
    assert job["spec"]["activeDeadlineSeconds"] == 30
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert job["spec"]["backoffLimit"] == 2


def test_names_are_short_enough_and_tell_releases_and_places_apart(nowhere: Path) -> None:
    long = "a" * 40
    titles = [
        importing.OllamaJob(place, long).rendered(release)["metadata"]["name"]
        for place in (section(), section().model_copy(update={"url": "http://other:1"}))
        for release in (staged(), staged(NEXT))
    ]
    assert len(set(titles)) == 4
    assert max(map(len, titles)) == 63
    again = importing.OllamaJob(section(), long).rendered(staged())
    assert again["metadata"]["name"] == titles[0]


@pytest.mark.parametrize("image", ["opslore", "opslore:latest", "opslore@sha256:12"])
def test_an_image_without_a_digest_is_refused(nowhere: Path, image: str) -> None:
    with pytest.raises(ConfigError, match="by its digest"):
        importing.OllamaJob(section(image=image), "sre").rendered(staged())


def test_an_image_that_no_registry_has_may_be_named(nowhere: Path) -> None:
    found = section(image="localhost/opslore:dev", pull_policy="Never")
    job = importing.OllamaJob(found, "sre").rendered(staged())
    assert job["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Never"


def test_a_file_of_this_machine_is_refused(nowhere: Path) -> None:
    with pytest.raises(ConfigError, match="a Job cannot read /runs/x") as caught:
        importing.OllamaJob(section(), "sre").stage(staged(uri="/runs/x"))
    assert "s3://" in caught.value.hint


def test_a_cluster_that_is_not_there_is_explained(nowhere: Path) -> None:
    with pytest.raises(ServerError, match="does not answer") as caught:
        importing.OllamaJob(section(), "sre").stage(staged())
    assert caught.value.retryable
    assert "kubectl cluster-info" in caught.value.hint
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match="no cluster to deploy to") as missing:
        Cluster("other").get("v1", "Pod", "default", "any")
    assert "kubectl config get-contexts" in missing.value.hint


def test_the_server_checks_every_field(cluster: Cluster, namespace: str) -> None:
    job = importing.OllamaJob(section(namespace=namespace), "sre").rendered(staged())
    made = cluster.create(job, dry_run=True)
    assert made["metadata"]["uid"]
    assert cluster.get("batch/v1", "Job", namespace, job["metadata"]["name"]) is None
    wrong = json.loads(json.dumps(job))
    wrong["spec"]["template"]["spec"]["containers"][0]["readonlyRoot"] = True
    with pytest.raises(ConfigError, match=r"unknown field .*readonlyRoot"):
        cluster.create(wrong, dry_run=True)
    wrong = json.loads(json.dumps(job))
    wrong["spec"]["backoffLimit"] = -1
    with pytest.raises(ConfigError, match="backoffLimit"):
        cluster.create(wrong, dry_run=True)


def test_the_manifests_pass_the_strict_dry_run(namespace: str, kubectl: Path) -> None:
    words = ["-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", MANIFESTS]
    done = subprocess.run([kubectl, *words], check=True, capture_output=True, text=True)
    assert done.stdout.count("unchanged (server dry run)") == 3
    can = ["auth", "can-i", "--list", f"--as=system:serviceaccount:{namespace}:opslore-import"]
    rights = subprocess.run([kubectl, "-n", namespace, *can], capture_output=True, text=True)
    assert "secrets" not in rights.stdout
    assert "pods" not in rights.stdout


def test_a_release_is_installed_once_then_pointed_to(
    namespace: str, player: Player, ollama: Ollama
) -> None:
    notes: list[str] = []
    target = importing.OllamaJob(section(namespace=namespace), "sre")
    with progress.listening(lambda what, done, total, note: notes.append(note)):
        target.stage(staged())
    assert set(ollama.versions) == {VERSION}
    assert ollama.pointer is None
    assert any("import-sre-ollama-" in note for note in notes)
    target.stage(staged())
    assert [job["metadata"]["name"][:6] for job in player.seen] == ["import"]
    assert target.now() is None
    assert switch([target], "sre", VERSION) == [target.name]
    assert ollama.pointer == f"digest of {VERSION}" == target.now()
    assert switch([target], "sre", VERSION) == []
    with pytest.raises(MissingInput, match=f"sre:{NEXT} is not installed there"):
        target.aim("sre", NEXT)


def test_a_failing_switch_puts_the_pointer_back(
    namespace: str, player: Player, ollama: Ollama
) -> None:
    ollama.versions, ollama.others = {VERSION: "new"}, {"by hand"}
    ollama.pointer = "by hand"

    class Refuses(importing.OllamaJob):
        def now(self) -> str | None:
            return "old"

        def move(self, state: str | None) -> None:
            assert ollama.pointer == "new"
            raise ServerError("the last one refuses")

    targets = [importing.OllamaJob(section(namespace=namespace), "sre")]
    targets.append(Refuses(section(namespace=namespace), "sre"))
    with pytest.raises(ServerError, match="the last one refuses"):
        switch(targets, "sre", VERSION)
    assert ollama.pointer == "by hand"
    targets[0].move(None)
    assert ollama.pointer is None


def test_a_red_job_is_red_here_with_its_log_and_the_next_try_replaces_it(
    namespace: str, player: Player, ollama: Ollama
) -> None:
    log = "one\nIntegrityError: model.gguf has another digest \x1b[31m\n"
    ollama.fails["install"] = Outcome(4, log)
    target = importing.OllamaJob(section(namespace=namespace), "sre")
    with pytest.raises(ServerError) as caught:
        target.stage(staged())
    said = caught.value.message
    assert f"Job {namespace}/import-sre-ollama-" in said
    assert "failed: PodFailurePolicy: exit code 4 is in the rules" in said
    assert "exit 4 (Error)" in said
    assert "  | IntegrityError: model.gguf has another digest ?[31m" in said
    assert f"kubectl -n {namespace} describe job/import-sre" in caught.value.hint
    ollama.fails.clear()
    target.stage(staged())
    assert set(ollama.versions) == {VERSION}
    assert len({job["metadata"]["name"] for job in player.seen}) == 1
    assert len({job["metadata"]["uid"] for job in player.seen}) == 2


def test_a_job_of_this_name_with_another_spec_is_explained(
    namespace: str, player: Player, ollama: Ollama
) -> None:
    importing.OllamaJob(section(namespace=namespace), "sre").stage(staged())
    other = importing.OllamaJob(section(namespace=namespace, secret="another"), "sre")
    with pytest.raises(ConfigError, match="made from another spec") as caught:
        other.stage(staged())
    assert f"kubectl -n {namespace} delete job import-sre-ollama-" in caught.value.hint
    assert len(player.seen) == 1


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Outcome(waiting="ErrImageNeverPull"), "cannot start\npod .*ErrImageNeverPull: as the"),
        (Outcome(gone=True), "was removed before it could be read"),
        (Outcome(waiting="ImagePullBackOff"), r"is not done after 12 s \(ImagePullBackOff: as"),
    ],
    ids=["hopeless", "gone", "too late"],
)
def test_a_job_that_never_ends_is_given_up(
    namespace: str, player: Player, ollama: Ollama, outcome: Outcome, says: str
) -> None:
    ollama.fails["install"] = outcome
    target = importing.OllamaJob(section(namespace=namespace, deadline=10), "sre")
    with pytest.raises(ServerError, match=says):
        target.stage(staged())


@pytest.mark.parametrize("log", ["", "no json\n", "[]\n{}\n", '{"now": 3}\n'])
def test_a_pointer_that_is_not_told_is_an_error(
    namespace: str, player: Player, ollama: Ollama, log: str
) -> None:
    ollama.fails["point"] = Outcome(log=log)
    with pytest.raises(ServerError, match="did not tell where the pointer is"):
        importing.OllamaJob(section(namespace=namespace), "sre").now()


def test_a_pointer_that_is_elsewhere_afterwards_is_an_error(
    namespace: str, player: Player, ollama: Ollama
) -> None:
    ollama.fails["point"] = Outcome(log='{"now": "other"}\n')
    target = importing.OllamaJob(section(namespace=namespace), "sre")
    with pytest.raises(ServerError, match="is at other after it was moved to new"):
        target.move("new")


def test_who_may_not_is_told_so(
    namespace: str,
    cluster: Cluster,
    kubectl: Path,
    kube_cluster: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["-n", namespace, "create", "token", "opslore-import"]
    made = subprocess.run([kubectl, *words], check=True, capture_output=True, text=True)
    config = json.loads(kube_cluster.read_text())
    config["users"][0]["user"]["token"] = made.stdout.strip()
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ServerError, match=r"cannot read Job .*forbidden.*\(403\)") as caught:
        importing.OllamaJob(section(namespace=namespace), "sre").stage(staged())
    assert "kubectl auth can-i" in caught.value.hint
    assert not caught.value.retryable
    config["users"][0]["user"]["token"] = "wrong"
    path.write_text(json.dumps(config))
    with pytest.raises(ServerError, match=r"\(401\)"):
        importing.OllamaJob(section(namespace=namespace), "sre").stage(staged())


def test_an_object_is_deleted_by_its_identity(cluster: Cluster, namespace: str) -> None:
    job = importing.OllamaJob(section(namespace=namespace), "sre").rendered(staged())
    first = cluster.create(job)
    cluster.delete(first)
    second = cluster.create(job)
    with pytest.raises(Conflict):
        cluster.delete(first)
    title = job["metadata"]["name"]
    found = cluster.get("batch/v1", "Job", namespace, title)
    assert found is not None
    assert found["metadata"]["uid"] == second["metadata"]["uid"]
    cluster.delete(second)
    cluster.delete(second)
