"""Labels out of questions: everything a machine writes, only what is certain of what people say."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from opslore import labels

NAMES = ("namespace", "pod", "node", "deployment", "persistentvolumeclaim", "name", "mountpoint")


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Down pod=web-0 namespace=shop", {"pod": "web-0", "namespace": "shop"}),
        ('{"tags": {"pod": "a-0", "disk": "/dev/sdc"}}', {"pod": "a-0", "disk": "/dev/sdc"}),
        ('up{job="api",instance="10.0.0.1:9100"}', {"job": "api", "instance": "10.0.0.1:9100"}),
        ("pod: web-0, namespace: shop.", {"pod": "web-0", "namespace": "shop"}),
        ("mountpoint=/ is full", {"mountpoint": "/"}),
        ("pod=a-1 pod=b-2", {"pod": "a-1"}),
        ("Labels: pod=web-0", {"pod": "web-0"}),
        ("namespace shop: The queue grows", {}),
        ("we saw it in the pod: it hangs", {}),
        ("see http://example.org/x", {}),
    ],
)
def test_written_labels(question: str, wanted: dict[str, str]) -> None:
    assert labels.written(question) == wanted


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("it crashes in namespace payments", {"namespace": "payments"}),
        ("the payments namespace is slow", {"namespace": "payments"}),
        ("cart-6c9f7-x2 (pod) in ns shop", {"pod": "cart-6c9f7-x2", "namespace": "shop"}),
        ("the cart-6c9f7 pod on node worker-01", {"pod": "cart-6c9f7", "node": "worker-01"}),
        ("pvc data-pg-0 is full", {"persistentvolumeclaim": "data-pg-0"}),
        ("deployment `web-front` hangs", {"deployment": "web-front"}),
        ("a pod named web-0 hangs", {"pod": "web-0"}),
        ("the pod name web-0 is odd", {"pod": "web-0"}),
        ("on node 10.1.2.3 since noon", {"node": "10.1.2.3"}),
        ("disk full at mountpoint /var/lib.", {"mountpoint": "/var/lib"}),
        ("for name apps, job name backup-7", {"name": "apps", "job_name": "backup-7"}),
    ],
)
def test_labels_said_in_plain_words(question: str, wanted: dict[str, str]) -> None:
    assert labels.read(question, NAMES) == wanted


@pytest.mark.parametrize(
    "question",
    [
        "the pod is crashing",
        "a pod restarts every minute and the node reboots",
        "pods 0/3 ready on the same node",
        "the whole namespace",
        "in the namespace where it runs",
        "10 pods failed on node pressure",
        "the node is read-only",
        "on the read-only node",
        "the affected node",
        "namespace quota exceeded",
        "of the deployment that nobody knows",
    ],
)
def test_prose_is_no_value(question: str) -> None:
    assert labels.said(question, NAMES, {"pressure"}) == {}


def test_two_values_of_one_label_are_left_to_the_model() -> None:
    assert labels.said("pod web-0 waits for pod db-1 in namespace shop", NAMES) == {
        "namespace": "shop"
    }


def test_what_is_written_counts_before_what_is_said() -> None:
    text = "pod=web-0 but they call it the db-1 pod"
    assert labels.read(text, NAMES)["pod"] == "web-0"


def test_prose_after_a_colon_counts_less_than_a_name_said() -> None:
    text = "container: terminated, for web-front (container)"
    assert labels.read(text, ["container"])["container"] == "web-front"


def test_a_word_of_the_runbook_is_no_bare_value() -> None:
    text = "messages pile up on node eviction"
    assert labels.said(text, NAMES) == {"node": "eviction"}
    assert labels.said(text, NAMES, {"eviction"}) == {}


def test_without_names_nothing_is_said() -> None:
    assert labels.said("pod web-0", []) == {}


PODS = st.from_regex(r"[a-z][a-z]{1,8}(-[a-z0-9]{2,6}){1,3}", fullmatch=True)
FORMS = ["pod {}", "the {} pod", "{} (pod)", "pod={}", "pod: {}", '{{"pod": "{}"}}', "pod `{}`"]


@settings(max_examples=300, deadline=None)
@given(PODS, st.sampled_from(FORMS), st.sampled_from(["", "help with ", "since 10:00, "]))
def test_any_pod_is_read_in_any_form(pod: str, form: str, lead: str) -> None:
    assert labels.read(lead + form.format(pod), NAMES)["pod"] == pod


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.frozensets(st.text(min_size=1, max_size=12), max_size=4))
def test_any_text_is_read_without_a_crash_and_values_stand_in_it(
    text: str, names: frozenset[str]
) -> None:
    found = labels.read(text, names | {"pod"})
    assert all(value in text for value in found.values())
    json.dumps(found)
