"""A whole flow through the real command line: a small runbook, a tiny real model, one store."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models

import opslore

ALERTS = [
    ("apps", "KubePodCrashLooping", "the pod restarts again and again after each start",
     "kubectl logs <pod> -n <namespace> --previous"),
    ("apps", "KubePodNotReady", "the pod is pending and not ready for a quarter of an hour",
     "kubectl describe pod <pod> -n <namespace>"),
    ("apps", "KubeDeploymentStuck", "the rollout of a deployment makes no progress at all",
     "kubectl rollout restart deployment/<deployment> -n <namespace>"),
    ("apps", "KubeJobFailed", "a batch job has failed and nobody has looked at it",
     "kubectl describe job <job_name> -n <namespace>"),
    ("nodes", "NodeDiskFull", "the filesystem of the node is almost full of old files",
     "df -h"),
    ("nodes", "NodeNotReady", "the kubelet stopped posting the status of its node",
     "kubectl describe node <node>"),
    ("nodes", "NodeClockSkew", "the clock of the machine is minutes away from the truth",
     "chronyc tracking"),
    ("nodes", "NodeLoadHigh", "the load average is far above the number of processors",
     "uptime -p"),
    ("storage", "VolumeOrphaned", "a persistent volume claim is bound to nothing for days",
     "kubectl delete pvc <persistentvolumeclaim> -n <namespace>"),
    ("storage", "BackupTooOld", "the newest backup of the cluster is older than a day",
     "velero backup get"),
    ("storage", "BucketUnreachable", "the object store does not answer its health check",
     "mc admin info homelab"),
    ("storage", "SnapshotStuck", "a volume snapshot never becomes ready to use",
     "kubectl get volumesnapshot -n <namespace>"),
    ("flux", "FluxReconcileFailed", "the kustomization drifts from git and is not ready",
     "flux reconcile kustomization <name> --with-source"),
    ("flux", "FluxSourceStale", "the git repository could not be fetched for an hour",
     "flux get sources git"),
    ("flux", "HelmReleaseFailed", "the helm release has no upgrade retries left",
     "flux get helmreleases -A"),
    ("flux", "GitCredentialsExpired", "the deploy key was refused by the git server", ""),
]  # fmt: skip

AGENT = """\
name: tiny
base_model: tiny.gguf
collect: [{path: RUNBOOK.md}]
prepare: {s1: 10, s2: 3, s3: 6, s4: 3, phrasings: 2, calibrate: 30}
train: {iters: 2, lora_layers: 1, batch_size: 2}
export: {quantization: f16, num_ctx: 2048}
evaluate:
  max_tokens: 12
  general: 20
  parity: 2
  base: 2
  closed: 2
  resamples: 100
  gate: {min_s1: 5, min_s3: 2, min_s4: 3, unsafe: 100, unsafe_freely: 1}
"""


@dataclass(frozen=True)
class Flow:
    """A folder where `opslore run tiny.yaml` was called, and what it said."""

    folder: Path
    code: int
    out: str
    err: str
    cpu: float
    """Seconds of computing; unlike those on the clock they do not depend on the neighbours."""


def runbook() -> str:
    """The alerts as a runbook; each has an investigation command too."""
    parts = ["# Runbook\n"]
    section = ""
    for part, title, symptoms, command in ALERTS:
        if part != section:
            parts.append(f"## {part}\n")
            section = part
        parts.append(
            f"### Alert: {title}\n\n**Severity:** warning\n\n**Symptoms:**\n- {symptoms}\n"
        )
        if command:
            look = f"kubectl get events -A --field-selector reason={title}"
            parts.append(f"**Investigation:**\n```bash\n{look}\n```\n")
            parts.append(f"**Resolution:**\n```bash\n{command}\n```\n")
        else:
            parts.append("Call the owner of the git server.\n")
    return "\n".join(parts)


def world(folder: Path) -> Path:
    """A folder with a runbook, a tiny base model and an agent file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "tiny.yaml").write_text(AGENT)
    tiny_models.llama(folder / "tiny.gguf")
    return folder


def environment() -> dict[str, str]:
    """This process's, so that another one finds the same opslore, installed or not."""
    source = str(Path(opslore.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}


def call(folder: Path, *arguments: str) -> Flow:
    """Call the command line as a user does: another process, in this folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "opslore", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=900,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Flow(folder, done.returncode, done.stdout, done.stderr, cpu)


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """The first run of the whole flow; its random weights fail the gate."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(cache))
        return call(world(tmp_path_factory.mktemp("flow")), "run", "tiny.yaml")


@pytest.fixture
def there(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished flow's folder, as the working folder."""
    folder = tmp_path / "world"
    shutil.copytree(flow.folder, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder
