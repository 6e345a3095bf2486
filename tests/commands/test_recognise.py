"""Back-ticked text: commands and everything else that runbooks put in back-ticks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opslore.commands import is_setup, looks_like_command

COMMANDS = """\
kubectl get pods
kubectl -n $NAMESPACE logs $POD -c $CONTAINER
kubectl -n $NAMESPACE rollout history deployment $NAME
oc adm top nodes
kubectl logs
flux reconcile kustomization apps
helm list -A
git submodule update
systemctl restart kubelet
journalctl -u kubelet
sudo systemctl status docker
df -h
ip addr show
find / -name x
curl http://localhost:9090/-/ready
etcdctl defrag
redis-cli FLUSHALL
for p in a; do kubectl get pod $p; done
kubectl get pods | grep Pending
KUBECONFIG=x kubectl get nodes
service nginx restart
"""
OTHERS = """\
kube_pod_status_ready
up == 0
PersistentVolume
/var/lib/x
values.yaml
true
--flag
http://localhost:9090/targets
sum(rate(http_requests_total[5m])) > 0
rate(x[5m])
SELECT * FROM x
key: value
long: 6h
find the pod
make sure
watch out
time series
service account
host network
kubectl
kubectl, helm and flux
> 0.01
severity="info"
{component="kube-apiserver"}
machineconfiguration.openshift.io/state : Working
.spec.resources.requests.storage
<namespace>/<service-monitor-name>/<endpoint-id>
<details>
kube-system
NotReady
top pods
set the label
etcdserver: no leader
"""


@pytest.mark.parametrize("text", COMMANDS.splitlines())
def test_commands_are_recognised(text: str):
    assert looks_like_command(text)


@pytest.mark.parametrize("text", OTHERS.splitlines())
def test_names_queries_and_prose_are_not_commands(text: str):
    assert not looks_like_command(text)


@pytest.mark.parametrize("text", ["", " ", "\n", "'", "$(", "\x00"])
def test_rubbish_is_no_command(text: str):
    assert not looks_like_command(text)


def test_inline_code_of_real_runbooks(shared_data: Path):
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for path in sorted((shared_data / "runbooks/prometheus-operator").rglob("*.md")):
        for text in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", path.read_text("utf-8")):
            found[looks_like_command(text)].add(text)
    assert len(found[True]) >= 15
    # Everything with kubectl and an argument, and nothing without a program in front.
    assert all(not re.match(r"kubectl \S", text) for text in found[False])
    assert all(re.match(r"(?:kubectl|git|oc|etcdctl|hugo)\s", text) for text in found[True])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("A=b", True),
        ("NODE=$(oc get nodes -o name | head -1)", True),
        ("export NAMESPACE=x", True),
        ("cd /var/lib", True),
        ("# a comment", True),
        ("source ~/.bashrc", True),
        ("set -euo pipefail; cd x", True),
        ("kubectl get pods", False),
        ("A=b kubectl get pods", False),
        ("cd /x && ls", False),
        ("export A=b; kubectl get pods", False),
        ("", False),
        ("'", False),
    ],
)
def test_setup(command: str, expected: bool):
    assert is_setup(command) is expected
