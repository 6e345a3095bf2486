"""Two public collections as they are: a file per alert, fences with prompts, inline code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from opslore.config_sources import RunbookSource
from opslore.sources import Collected
from opslore.sources.coverage import coverage
from opslore.sources.runbook import collect


@pytest.fixture(scope="module")
def openshift(shared_data: Path) -> Collected:
    return collect(RunbookSource(path="openshift"), shared_data / "runbooks")


@pytest.fixture(scope="module")
def prometheus(shared_data: Path) -> Collected:
    return collect(RunbookSource(path="prometheus-operator"), shared_data / "runbooks")


def test_openshift_every_file_is_an_alert_or_has_a_reason(openshift: Collected) -> None:
    assert openshift.files == 272
    alerts = {document.span.file for document in openshift.documents}
    skipped = {row.what for row in openshift.dropped if row.what.endswith(".md")}
    moved = {row.span.file for row in openshift.dropped if row.span and "only points" in row.reason}
    assert len(openshift.documents) == len(alerts) == 253
    assert len(skipped) == 17
    assert moved == {
        "openshift/alerts/cluster-monitoring-operator/KubeAPIDown.md",
        "openshift/alerts/cluster-monitoring-operator/KubeAggregatedAPIErrors.md",
    }
    assert len(alerts | skipped | moved) == 272


def test_openshift_what_was_skipped_is_no_alert(openshift: Collected) -> None:
    skipped = {Path(row.what) for row in openshift.dropped if row.what.endswith(".md")}
    assert {path.name for path in skipped if path.parent.name != "helpers"} == {
        "ClusterLogForwarderConfigNamingSchema.md",
        "README.md",
        # Two lines that say the alert is deprecated.
        "KubeVirtComponentExceedsRequestedCPU.md",
        "KubeVirtComponentExceedsRequestedMemory.md",
        "VirtualMachineCRCErrors.md",
    }


def test_openshift_counts(openshift: Collected) -> None:
    report = coverage(openshift)
    assert (report.alerts, report.with_resolution, report.only_investigation) == (253, 87, 120)
    assert report.without_commands == 46
    assert report.skipped["yaml, not shell"] == 56
    assert report.skipped["promql, not shell"] == 29


def test_openshift_has_no_query_no_prompt_and_no_output(openshift: Collected) -> None:
    programs: Counter[str] = Counter()
    for document in openshift.documents:
        for command in document.commands:
            assert not command.text.startswith(("$", "#", ">"))
            programs[command.text.split()[0]] += 1
    assert (
        not {"sum", "rate", "irate", "histogram_quantile", "NAME", "apiVersion:"} & programs.keys()
    )
    assert programs["oc"] > 600


def test_openshift_a_console_with_output(openshift: Collected) -> None:
    (alert,) = (d for d in openshift.documents if d.title == "NodeFileDescriptorLimit")
    assert [(command.text, command.first) for command in alert.commands] == [
        ("NODE_NAME='<value of instance label from alert>'", 21),
        ('oc debug "node/$NODE_NAME"', 23),
        ("sysctl -a | grep 'fs.file-'", 24),
        ("lsof -n", 27),
    ]


def test_openshift_a_here_document(openshift: Collected) -> None:
    (alert,) = (d for d in openshift.documents if d.title == "HCOInstallationIncomplete")
    (command,) = (c for c in alert.commands if c.text.startswith("cat <<EOF"))
    assert (command.first, command.last, command.role) == (23, 30, "resolution")
    assert command.text.endswith("\nEOF")


def test_prometheus_all_108_alerts(prometheus: Collected) -> None:
    assert len(prometheus.documents) == 108
    skipped = {Path(row.what).name for row in prometheus.dropped if row.what.endswith(".md")}
    assert skipped == {"_index.md", "add-runbook.md"}


def test_prometheus_inline_commands(prometheus: Collected) -> None:
    (alert,) = (d for d in prometheus.documents if d.title == "KubePodCrashLooping")
    assert alert.investigation == [
        "kubectl -n $NAMESPACE get pod $POD",
        "kubectl -n $NAMESPACE describe pod $POD",
        "kubectl -n $NAMESPACE logs $POD -c $CONTAINER",
    ]
    assert [command.first for command in alert.commands] == [21, 22, 23]
    assert alert.commands[1].comment == "Check pod events via"


def test_prometheus_every_back_ticked_call_of_kubectl_is_found(
    prometheus: Collected, shared_data: Path
) -> None:
    """Outside fences, back-ticked text with kubectl and at least three words."""
    wanted: Counter[str] = Counter()
    for path in sorted((shared_data / "runbooks" / "prometheus-operator").rglob("*.md")):
        body = path.read_text("utf-8").split("```")[::2]
        for text in "".join(body).split("`")[1::2]:
            if text.startswith("kubectl ") and len(text.split()) > 2:
                wanted[text] += 1
    found = Counter(c.text for d in prometheus.documents for c in d.commands)
    missing = wanted - found
    assert sum(wanted.values()) == 25
    assert not missing


def test_prometheus_mentions_are_no_commands(prometheus: Collected) -> None:
    found = {command.text for document in prometheus.documents for command in document.commands}
    assert not found & {"kubectl logs", "kubectl exec", "kubeconform", "etcdctl", "up == 0", "diff"}


def test_coverage_is_plain_data(prometheus: Collected) -> None:
    report = coverage(prometheus)
    again = type(report).model_validate_json(report.model_dump_json())
    assert again == report
    assert sum(count.alerts for count in report.per_file) == report.alerts == 108
    assert sum(report.skipped.values()) == len(report.skipped_rows)
