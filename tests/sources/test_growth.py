"""Ten thousand alerts in seconds, and no worse than in proportion."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from opslore.config_sources import RunbookSource
from opslore.sources.coverage import coverage
from opslore.sources.runbook import collect


def book(alerts: int) -> str:
    parts = ["# Generated\n"]
    for number in range(alerts):
        team = f"team-{number % 97}"
        if number % 50 == 0:
            parts.append(f"## section-{number // 50}\n")
        parts.append(
            f"### Alert: Service{number}Slow\n\n**Severity:** warning\n\n**Symptoms:**\n"
            f"- Requests of `service-{number}` take longer than {number % 9 + 1} s.\n"
            f"- The queue grows.\n\n**Investigation:**\n```bash\n"
            f"kubectl get pods -n {team} -l app=service-{number}\n"
            f"kubectl logs -n {team} deploy/service-{number} --tail=100 | grep -i error\n"
            f"```\n\n**Resolution:**\n1. Restart it:\n   ```bash\n"
            f"   kubectl rollout restart -n {team} deploy/service-{number}\n   ```\n\n---\n"
        )
    return "\n".join(parts)


def seconds(folder: Path, alerts: int) -> float:
    name = f"{alerts}.md"
    (folder / name).write_text(book(alerts))
    start = time.process_time()
    found = collect(RunbookSource(path=name), folder)
    spent = time.process_time() - start
    assert len(found.documents) == alerts
    assert sum(len(document.commands) for document in found.documents) == 3 * alerts
    return spent


def test_time_grows_with_the_size(tmp_path: Path) -> None:
    seconds(tmp_path, 100)
    thousand, ten_thousand = seconds(tmp_path, 1_000), seconds(tmp_path, 10_000)
    assert ten_thousand / thousand < 20
    assert ten_thousand < 60


def test_coverage_of_many_alerts(tmp_path: Path) -> None:
    (tmp_path / "R.md").write_text(book(2_000))
    found = collect(RunbookSource(path="R.md"), tmp_path)
    start = time.process_time()
    report = coverage(found)
    assert time.process_time() - start < 20
    assert (report.alerts, report.with_resolution, report.commands) == (2_000, 2_000, 6_000)


HOSTILE = {
    "headings at one level": "# Fix\n" * 20_000,
    "fields at the level of their alerts": "## A\n## Symptoms\nx\n## Fix\ny\n" * 4_000,
    "open quotes": "### Alert: A\n**Fix:**\n```bash\n" + "echo 'it\"\n" * 20_000 + "```\n",
    "open brackets": "### Alert: A\n**Fix:**\n```bash\n" + 'echo "$(\n' * 20_000 + "```\n",
    "prompts that never close": "### Alert: A\n```console\n" + '$ echo "$(\n' * 20_000 + "```\n",
    "many small fences": "### Alert: A\n**Fix:**\n" + "```\ndf -h\n```\n" * 5_000,
    "back-ticks": "### Alert: A\n**Fix:** " + "`a b` " * 5_000,
    "labels": "### Alert: A\n" + "**Fix:** x\n" * 10_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_seconds(tmp_path: Path, name: str) -> None:
    (tmp_path / "R.md").write_text(HOSTILE[name] + "\n\n### Alert: Last\n**Fix:** `df -h`\n")
    start = time.process_time()
    collect(RunbookSource(path="R.md"), tmp_path)
    assert time.process_time() - start < 20
