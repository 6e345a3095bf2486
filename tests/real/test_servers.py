"""Each server answers for real, as the tests of publish and deploy will use it."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from base_models import template

from opslore import ggufheader, models
from opslore.bundle import gguf
from real import ollama, s3
from real.test_process import USES_ONE, pytest_on

pytest_plugins = ["base_models", "real.fixtures"]


def ask(url: str, body: Any = None, method: str | None = None) -> bytes:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data, method=method), timeout=120) as answer:
        return bytes(answer.read())


# S3


@pytest.fixture
def bucket(s3_server: s3.S3, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A new bucket; gives a function that opens it."""
    import obstore
    from obstore.store import S3Store

    name = request.node.name.replace("_", "-").lower()[:60]

    def opened(**more: Any) -> S3Store:
        return S3Store(
            name,
            endpoint=s3_server.url,
            access_key_id=s3_server.access_key,
            region=s3_server.region,
            client_options={"allow_http": True},
            **{"secret_access_key": s3_server.secret_key, **more},
        )

    ask(obstore.sign(opened(), "PUT", "", timedelta(minutes=1)), method="PUT")
    return opened


def test_s3_creates_only_once(bucket: Callable[..., Any]) -> None:
    from obstore.exceptions import AlreadyExistsError

    store = bucket()
    store.put("one", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("one", b"second", mode="create")
    assert store.get("one").bytes().to_bytes() == b"first"


def test_s3_replaces_only_what_was_seen(bucket: Callable[..., Any]) -> None:
    from obstore.exceptions import PreconditionError

    store = bucket()
    seen = store.put("current", b"v1")["e_tag"]
    store.put("current", b"v2", mode={"e_tag": seen})
    with pytest.raises(PreconditionError):
        store.put("current", b"v3", mode={"e_tag": seen})
    assert store.get("current").bytes().to_bytes() == b"v2"


def test_s3_takes_parts_with_checksums(bucket: Callable[..., Any]) -> None:
    store = bucket(checksum_algorithm="SHA256")
    # 17 MiB in parts of 6: not the same bytes in every part.
    many = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(17 * 2**15))
    store.put("big", many, use_multipart=True, chunk_size=6 * 2**20)
    assert store.head("big")["e_tag"].endswith('-3"')
    assert store.get("big").bytes().to_bytes() == many


def test_s3_refuses_bytes_that_are_not_their_checksum(
    bucket: Callable[..., Any], s3_server: s3.S3
) -> None:
    store = bucket()
    right, wrong = (
        base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (b"hello", b"other")
    )
    assert signed_put(s3_server, store.config["bucket"], "a", b"hello", right) == 200
    assert signed_put(s3_server, store.config["bucket"], "b", b"hello", wrong) == 400
    assert [entry["path"] for entry in store.list().collect()] == ["a"]


def signed_put(server: s3.S3, bucket: str, key: str, body: bytes, checksum: str) -> int:
    """One PUT with a given x-amz-checksum-sha256, signed by hand (AWS Signature Version 4)."""
    import hmac
    from datetime import UTC, datetime

    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": server.url.removeprefix("http://"),
        "x-amz-checksum-sha256": checksum,
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n/{bucket}/{key}\n\n{lines}\n{names}\n{digest}"
    scope = f"{now[:8]}/{server.region}/s3/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    signing = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}"
    secret = f"AWS4{server.secret_key}".encode()
    for word in scope.split("/"):
        secret = hmac.digest(secret, word.encode(), "sha256")
    signature = hmac.digest(secret, signing.encode(), "sha256").hex()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={server.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    url = f"{server.url}/{bucket}/{key}"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers, method="PUT"), timeout=30
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_s3_knows_its_account(bucket: Callable[..., Any]) -> None:
    from obstore.exceptions import PermissionDeniedError

    with pytest.raises(PermissionDeniedError):
        bucket(secret_access_key="0" * 40).put("one", b"")


def test_s3_has_no_bucket_by_itself(s3_server: s3.S3) -> None:
    from obstore.store import S3Store

    store = S3Store(
        "nobody-made-it",
        endpoint=s3_server.url,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        client_options={"allow_http": True},
    )
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        store.put("one", b"")


def test_a_failed_test_shows_what_its_server_said(s3_server: s3.S3, tmp_path: Path) -> None:
    done = pytest_on(USES_ONE, tmp_path)
    assert "1 failed" in done.stdout
    assert "s3.log" in done.stdout
    assert "VersityGW" in done.stdout


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
