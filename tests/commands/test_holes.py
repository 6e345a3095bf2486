"""Holes: what is one, what fills it, and what must never be pasted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore.commands import fill, holes, parse


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("kubectl logs <pod-name> -n <ns>", ["pod", "namespace"]),
        ("kubectl logs $POD -n ${NAMESPACE}", ["pod", "namespace"]),
        ("kubectl logs <POD_NAME> -n $NS", ["pod", "namespace"]),
        ("kubectl logs POD_NAME -n NAMESPACE", ["pod", "namespace"]),
        ("kubectl logs {{ $labels.pod }} -n {{ $labels.namespace }}", ["pod", "namespace"]),
        ("oc describe node $NODE", ["node"]),
        ("oc debug node/<node-name>", ["node"]),
        ("oc describe pvc <pvc>", ["persistentvolumeclaim"]),
        ("oc describe pvc <persistentvolumeclaim>", ["persistentvolumeclaim"]),
        ("kubectl rollout restart deploy <deploy>", ["deployment"]),
        ("kubectl get kustomization <name>", ["name"]),
        ("oc logs <virt-controller>", ["pod"]),
        ("oc get secret <YOUR_SECRET_NAME>", ["secret"]),
        ("NS='<value of namespace label from alert>'", ["namespace"]),
        ("NAME='<namespace label from alert>'", ["namespace"]),
        ('export N="<alert name label>"', ["name"]),
        ("oc get x -n <x>", ["namespace"]),
        ("oc get pvc -n <sa-namespace>", ["namespace"]),
        ("oc adm top pod -n <namespace> | grep '<pattern>'", ["namespace", "pattern"]),
        ("jq -r '.items[] | select(.x==\"<my-pvc>\")'", ["persistentvolumeclaim"]),
        ("ceph osd pool set-quota <pool> max_bytes <bytes>", ["pool", "bytes"]),
        ("curl https://${host}/api", ["host"]),
    ],
)
def test_kind_of_hole(command: str, kinds: list[str]):
    assert [hole.kind for hole in holes(command)] == kinds


@pytest.mark.parametrize(
    "command",
    [
        "awk '{print $1}' x",
        "jq '.items[] | select(.a < 3 and .b > 4)' x",
        "kubectl get po -o go-template='{{range .items}}{{.metadata.name}}{{end}}'",
        'docker ps --format "{{.Names}}"',
        "kubectl get po -o jsonpath='{.items[*].x}'",
        "echo $HOME $PATH $1 $? $$ \\$X",
        "for p in a b; do kubectl logs $p; done",
        "while read NODE; do kubectl describe node $NODE; done",
        "NS=prod; kubectl get pods -n $NS",
        "X=$(kubectl get pods); echo $X",
        "sort <in.txt>out.txt",
        "cat < in > out",
        "oc describe pods | grep CONTAINER_IMAGE",
        "oc get nodes -o custom-columns=NAME:.metadata.name,NODE:.spec.x",
        "cat <<'EOF'\n$X {{y}}\nEOF",
        "diff <(ls a) <(ls b)",
        "kubectl set env deploy/x LOG_LEVEL=debug",
        "kubectl get pods # not <this> one",
    ],
)
def test_not_a_hole(command: str):
    assert holes(command) == []


def test_spans_are_in_the_text_as_given():
    command = "$ kubectl logs \\\n  <pod> -n $NS"
    assert [command[hole.start : hole.end] for hole in holes(command)] == ["<pod>", "$NS"]


def test_redirect_reading_of_a_hole_is_avoided():
    script = parse("kubectl get kustomization <name> -n apps")
    assert script.ok
    assert script.commands[0].redirects == ()
    assert script.commands[0].words[-1].text == "apps"


def test_fill_uses_the_labels_and_leaves_the_rest():
    labels = {"namespace": "prod", "pod": "web-0", "severity": "page"}
    assert fill("kubectl logs <pod> -n $NS -c <container>", labels) == (
        "kubectl logs web-0 -n prod -c <container>"
    )
    assert fill('oc get pod "${POD}"', labels) == 'oc get pod "web-0"'


def test_fill_prefers_the_resource_over_the_generic_name():
    command = "kubectl get kustomization <name>"
    assert fill(command, {"name": "infra"}) == "kubectl get kustomization infra"
    assert fill(command, {"name": "x", "kustomization": "apps"}).endswith(" apps")


def test_node_is_not_filled_with_a_scrape_address():
    assert fill("kubectl describe node <node>", {"instance": "10.0.0.1:9100"}).endswith("<node>")
    assert fill("kubectl describe node <node>", {"instance": "worker-1"}).endswith("worker-1")


def test_job_is_not_filled_with_the_scrape_job():
    assert "<job>" in fill("kubectl describe job <job>", {"job": "kube-state-metrics"})
    assert fill("kubectl describe job <job>", {"job_name": "backup-1"}).endswith("backup-1")


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["kubectl logs <pod> -n $NS", "echo '<pod>' \"$POD\" ${POD}", "rm /x/<pod>"]),
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            [
                "--all",
                "-rf",
                "$(id)",
                "a;b",
                "a b",
                "`id`",
                "a|b",
                "a&b",
                ">x",
                "a\nb",
                "'",
                '"',
                "<x>",
                "*",
                "~",
            ]
        ),
    ),
)
def test_no_metacharacter_of_a_label_reaches_the_command(command: str, value: str):
    filled = fill(command, {"pod": value, "namespace": value})
    changed = filled != command
    safe = value.replace("-", "").replace(".", "").replace("_", "")
    for sign in "/:@":
        safe = safe.replace(sign, "")
    if changed:
        assert safe.isascii()
        assert safe == "" or safe.isalnum()
        assert not value.startswith("-")


def test_a_label_has_the_name_of_a_kind_without_its_group():
    command = "kubectl patch clusters.postgresql.cnpg.io <cluster> -n <namespace> -p x"
    assert fill(command, {"cluster": "orders", "namespace": "shop"}) == (
        "kubectl patch clusters.postgresql.cnpg.io orders -n shop -p x"
    )
