"""Each server answers for real, as the tests of publish and deploy will use it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from base_models import template

from opslore import ggufheader, models
from opslore.bundle import gguf
from real import ollama

pytest_plugins = ["base_models", "real.fixtures"]


def ask(url: str, body: Any = None, method: str | None = None) -> bytes:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data, method=method), timeout=120) as answer:
        return bytes(answer.read())


# MLflow


def test_mlflow_keeps_files_a_version_and_an_alias(mlflow_server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    assert ask(f"{mlflow_server}/health") == b"OK"
    client = MlflowClient(tracking_uri=mlflow_server, registry_uri=mlflow_server)
    run = client.create_run(client.create_experiment("experiment")).info.run_id
    (tmp_path / "card.json").write_text("{}")
    client.log_artifact(run, str(tmp_path / "card.json"), "bundle")
    (tmp_path / "back").mkdir()
    back = client.download_artifacts(run, "bundle/card.json", str(tmp_path / "back"))
    assert Path(back).read_text() == "{}"
    client.create_registered_model("agent")
    made = client.create_model_version("agent", f"runs:/{run}/bundle", run_id=run)
    client.set_registered_model_alias("agent", "champion", made.version)
    found = client.get_model_version_by_alias("agent", "champion")
    assert (found.run_id, str(found.version)) == (run, "1")


# Kubernetes

JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "import", "namespace": "default"},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x:1"}]}
        }
    },
}


def kube(program: Path, config: Path, *words: str, text: Any = None) -> tuple[int, str]:
    done = subprocess.run(
        [program, f"--kubeconfig={config}", *words],
        input=json.dumps(text) if text else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def apply(kubectl: Path, config: Path, text: Any) -> tuple[int, str]:
    words = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    return kube(kubectl, config, *words, text=text)


def test_kubernetes_is_ready_and_tells_its_version(kubectl: Path, kube_cluster: Path) -> None:
    assert kube(kubectl, kube_cluster, "get", "--raw", "/readyz") == (0, "ok")
    told = json.loads(kube(kubectl, kube_cluster, "version", "-o", "json")[1])
    assert told["serverVersion"]["gitVersion"] == "v1.36.2"


def test_kubernetes_checks_a_job_without_keeping_it(kubectl: Path, kube_cluster: Path) -> None:
    assert apply(kubectl, kube_cluster, JOB) == (0, "job.batch/import created (server dry run)\n")
    assert "No resources found" in kube(kubectl, kube_cluster, "get", "jobs")[1]


def test_kubernetes_refuses_a_misspelt_field(kubectl: Path, kube_cluster: Path) -> None:
    spec = {**JOB["spec"], "activeDeadlineSecond": 60}
    status, said = apply(kubectl, kube_cluster, {**JOB, "spec": spec})
    assert status == 1
    assert 'unknown field "spec.activeDeadlineSecond"' in said


def test_kubernetes_takes_a_pod_in_default(kubectl: Path, kube_cluster: Path) -> None:
    spec = {"containers": [{"name": "a", "image": "x:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    assert apply(kubectl, kube_cluster, pod) == (0, "pod/web created (server dry run)\n")


def test_the_python_client_reads_the_kubeconfig(kube_cluster: Path) -> None:
    from kubernetes import client, config

    api = client.CoreV1Api(config.new_client_from_config(str(kube_cluster)))
    names = [one.metadata.name for one in api.list_namespace().items]
    assert "default" in names


def test_helm_installs_upgrades_and_rolls_back(
    helm: Path, kubectl: Path, kube_cluster: Path, tmp_path: Path
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: little\nversion: 1.0.0\n")
    (tmp_path / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: little}\n"
        "data: {model: {{ .Values.model | quote }}}\n"
    )

    def model() -> str:
        return kube(
            kubectl, kube_cluster, "get", "configmap", "little", "-o", "jsonpath={.data.model}"
        )[1]

    upgrade = ("upgrade", "--install", "little", str(tmp_path), "--set")
    for words, expected in [
        ((*upgrade, "model=one"), "one"),
        ((*upgrade, "model=two", "--dry-run=server"), "one"),
        ((*upgrade, "model=two"), "two"),
        (("rollback", "little", "1"), "one"),
    ]:
        status, said = kube(helm, kube_cluster, *words)
        assert status == 0, said
        assert model() == expected
    assert kube(helm, kube_cluster, "uninstall", "little")[0] == 0


# Ollama


def test_ollama_tells_the_pinned_version(ollama_server: str) -> None:
    told = json.loads(ask(f"{ollama_server}/api/version"))
    assert told == {"version": ollama.OLLAMA.version}


def test_ollama_runs_a_tiny_model(
    ollama_server: str, tiny_llama: models.Base, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.gguf"
    gguf.write(tiny_llama.folder, file, "f16", tiny_llama, template(tiny_llama))
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    ask(f"{ollama_server}/api/blobs/{digest}", file.read_bytes())
    wish = {"model": "tiny", "files": {"tiny.gguf": digest}, "stream": False}
    assert json.loads(ask(f"{ollama_server}/api/create", wish)) == {"status": "success"}
    options = {"num_predict": 4, "temperature": 0, "num_ctx": 256, "num_thread": 1}
    question = {"model": "tiny", "prompt": "hi", "stream": False, "options": options}
    reply = json.loads(ask(f"{ollama_server}/api/generate", question))
    assert reply["done"]
    assert 0 < reply["eval_count"] <= 4


def test_llama_quantize_makes_a_smaller_file(
    llama_quantize: Path, tiny_llama: models.Base, tmp_path: Path
) -> None:
    file, out = tmp_path / "tiny.gguf", tmp_path / "q8_0.gguf"
    gguf.write(tiny_llama.folder, file, "f16", tiny_llama, template(tiny_llama))
    words = [llama_quantize, file, out, "Q8_0", "1"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert ggufheader.read(out).get("general.file_type") == 7  # MOSTLY_Q8_0
    assert out.stat().st_size < file.stat().st_size
