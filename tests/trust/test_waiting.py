"""Only approved commands become targets: from collect to prepare, with a person in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opslore import cli, config, steps, store
from opslore.cards import Example

AGENT = """
name: waiting
store: runs
collect:
  - kind: archive
    path: archive.json
  - kind: corrections
    path: corrections.jsonl
prepare:
  task: answers
  test: 0
  valid: 0
"""

COMMAND = "kubectl rollout restart deploy/gateway -n edge"
ANSWER = f"""The gateway keeps the old certificate in memory until it starts again. Run this:

```bash
{COMMAND}
```

Then its log says that the new certificate was read."""

PLAIN = """The dashboard needs a role that may list pods in every namespace. Give its service
account the view role of the cluster, and it shows them within a minute."""


def archive(answer: str = ANSWER, association: str = "MEMBER") -> None:
    def issue(number: int, title: str, text: str, association: str) -> dict[str, object]:
        said = {
            "author": f"bob{number}",
            "authorAssociation": association,
            "createdAt": "2024-01-02T00:00:00Z",
            "body": text,
        }
        return {
            "number": number,
            "title": title,
            "author": f"ann{number}",
            "authorAssociation": "NONE",
            "body": f"{title} We see it since the upgrade of last week, on every node.",
            "createdAt": "2024-01-01T00:00:00Z",
            "closedAt": "2024-01-02T00:00:05Z",
            "state": "CLOSED",
            "comments": [said],
        }

    issues = [
        issue(1, "Why does the gateway present the old certificate?", answer, association),
        issue(2, "Why is the list of pods in the dashboard empty?", PLAIN, "MEMBER"),
    ]
    Path("archive.json").write_text(json.dumps({"repo": "o/r", "issues": issues, "pulls": []}))


def prepared() -> list[Example]:
    settings = config.load(Path("agent.yaml"))
    folder = steps.store_of(settings).path(steps.prepare(settings, steps.collect(settings)))
    return list(store.read_rows(folder / "train.jsonl", Example))


@pytest.fixture(autouse=True)
def _agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("agent.yaml").write_text(AGENT)
    archive()


def waiting(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert cli.main(["review", "agent.yaml", "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_a_maintainers_command_waits_until_a_person_approves_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not any(COMMAND in row.target for row in prepared())
    (row,) = waiting(capsys)
    assert row["commands"] == [COMMAND]
    assert cli.main(["review", "agent.yaml", "--approve", str(row["key"])]) == 0
    assert any(COMMAND in row.target for row in prepared())
    capsys.readouterr()
    assert waiting(capsys) == []
    # The source is edited: the row asks again.
    archive(ANSWER.replace("deploy/gateway", "deploy/other"))
    assert not any("deploy/" in row.target for row in prepared())
    assert len(waiting(capsys)) == 1


def test_no_means_no_and_an_edit_is_learned(capsys: pytest.CaptureFixture[str]) -> None:
    prepared()
    (row,) = waiting(capsys)
    assert cli.main(["review", "agent.yaml", "--reject", str(row["key"])]) == 0
    assert not any(COMMAND in one.target for one in prepared())
    text = "Give the gateway a new pod, and the new certificate is read: `kubectl get pods -n edge`"
    assert cli.main(["review", "agent.yaml", "--edit", str(row["key"]), "--text", text]) == 0
    assert any("kubectl get pods -n edge" in one.target for one in prepared())


def test_strangers_never_give_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    archive(association="NONE")
    assert not any(COMMAND in row.target for row in prepared())
    assert waiting(capsys) == []


def test_a_correction_needs_no_approval_and_wins(capsys: pytest.CaptureFixture[str]) -> None:
    question = "Why is the list of pods in the dashboard empty?"
    right = "Its service account may not list pods: `kubectl auth can-i list pods -A` says no."
    assert cli.main(["correct", "agent.yaml", question, right]) == 0
    targets = [row.target for row in prepared() if "list of pods in the dashboard" in row.question]
    assert targets == [right]
