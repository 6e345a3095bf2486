"""`opslore watch`: what it does about a change, what it does not, and what it proves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flow_world import environment, runbook
from pages_world import Site, committed, quick, site
from ruamel.yaml import YAML
from watch_world import NEW, OLD, World

from opslore import cli_watch, config, files, steps, watching
from opslore.cards import Adapter, Bundle, Release
from opslore.cli_watch import FIRST, LONGEST, Watcher
from opslore.config_sources import RunbookSource
from opslore.errors import ConfigError, IntegrityError
from opslore.index import Index
from opslore.proving import Proof
from opslore.release import keys
from opslore.release.current import history

pytest_plugins = ["watch_world"]
__all__ = ["quick", "site"]

WORKFLOW = Path(__file__).parents[1] / "deploy" / "github" / "opslore.yaml"


@pytest.fixture
def here(released: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of the released world, as the working folder."""
    world = released.copy(tmp_path / "world")
    monkeypatch.chdir(world.folder)
    return world


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200)])
def test_an_interval_has_a_unit(text: str, seconds: float) -> None:
    assert cli_watch.seconds(text) == seconds


@pytest.mark.parametrize("text", ["5", "0m", "m", "-1s", "1d", "1.5h"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        cli_watch.seconds(text)


def test_pages_of_an_agent_that_answers_in_prose_are_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("# One\n\nSome words about one thing.\n")
    collect, prepare = "collect: [{kind: docs, path: docs}]", "prepare: {task: answers}"
    (tmp_path / "prose.yaml").write_text(f"name: prose\n{collect}\n{prepare}\n")
    seen = watching.look(config.load(Path("prose.yaml")))
    assert (seen.todo, seen.base, seen.changes.pages) == ("run", None, {"added": 1})


@pytest.mark.slow
class TestRefused:
    def test_the_first_look_takes_all_steps_and_says_why_it_is_refused(
        self, refused: World
    ) -> None:
        said = refused.said["first"]
        assert said.code == 3
        assert "no release yet: 16 documents are new" in said.out
        assert "FAIL G4" in said.err
        assert refused.home.cards(Release) == []

    def test_the_same_sources_are_not_tried_again(self, refused: World) -> None:
        before = refused.files()
        said = refused.watch()
        assert said.code == 3
        assert "the gate has refused this already" in said.out
        assert "FAIL G4" in said.err
        assert refused.files() == before

    def test_in_a_loop_it_is_said_once(
        self, refused: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(refused.folder)
        watcher = Watcher(Path("tiny.yaml"))
        assert watcher.safely(60) == 60
        assert "FAIL G4" in capsys.readouterr().err
        assert watcher.safely(60) == 60
        said = capsys.readouterr()
        assert said.out == ""
        assert "FAIL" not in said.err

    def test_other_blanks_are_no_reason_to_try_again(
        self, refused: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = refused.copy(tmp_path / "world")
        monkeypatch.chdir(world.folder)
        world.change(("chronyc tracking", "chronyc   tracking"))
        assert watching.look(world.agent).todo == "refused"

    @pytest.mark.parametrize("what", ["runbook", "agent file"])
    def test_a_changed_source_or_agent_file_is(
        self, what: str, refused: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = refused.copy(tmp_path / "world")
        monkeypatch.chdir(world.folder)
        if what == "runbook":
            world.change((OLD, NEW))
        else:
            world.set("iters: 90", "iters: 91")
        assert watching.look(world.agent).todo == "run"


@pytest.mark.slow
class TestReleased:
    def test_what_a_person_lets_pass_goes_on(self, released: World) -> None:
        said = released.said["released"]
        assert said.code == 0, said.err
        (release,) = released.home.cards(Release)
        assert "the release that was begun goes on" in said.out
        assert f"deploy    {release.version}" in said.out
        assert history(released.home).version == release.version
        (tried,) = [watching.recall(released.home)]
        assert tried is not None
        assert tried.done

    def test_without_a_change_nothing_is_done(self, released: World) -> None:
        before = released.files()
        said = released.watch()
        assert said.code == 0
        assert "nothing to do" in said.out
        assert released.files() == before

    def test_what_does_not_matter_is_said_and_nothing_is_made(self, here: World) -> None:
        here.change(("chronyc tracking", "chronyc   tracking"), ("## nodes", "\n\n## nodes"))
        before = here.files()
        said = here.watch()
        assert said.code == 0
        assert "does not matter: the same commands written otherwise (1 alert)" in said.out
        assert "does not matter: moved in the file (11 alerts)" in said.out
        assert here.files() == before

    def test_a_dry_run_shows_the_commands_and_makes_nothing(self, here: World) -> None:
        here.change((OLD, NEW))
        before = here.files()
        said = here.watch("--dry-run")
        assert said.code == 0
        assert "BackupTooOld" in said.out
        assert OLD in said.out
        assert NEW in said.out
        (row,) = here.watch("--dry-run", "--json").rows
        assert (row["event"], row["todo"]) == ("look", "run")
        assert [(one["alert"], one["old"][0], one["new"][0]) for one in row["alerts"]] == [
            ("BackupTooOld", OLD, NEW)
        ]
        assert here.files() == before

    def test_a_git_remote_is_compared_with_the_release(self, here: World, tmp_path: Path) -> None:
        remote = tmp_path / "remote"
        committed(remote, {"ops/RUNBOOK.md": runbook()})
        source = RunbookSource(path=f"file://{remote}", inside="ops")
        agent = here.agent.model_copy(update={"collect": [source]})
        assert watching.look(agent, {"file"}).todo == "nothing"
        committed(remote, {"main.go": "package main\n"})
        assert watching.look(agent, {"file"}).todo == "nothing"
        committed(remote, {"ops/RUNBOOK.md": runbook().replace(OLD, NEW)})
        seen = watching.look(agent, {"file"})
        assert seen.todo == "run"
        assert [(one.alert, one.what) for one in seen.changes.alerts] == [
            ("BackupTooOld", "commands")
        ]

    def test_an_address_is_compared_with_the_release(self, here: World, site: Site) -> None:
        path = "/raw/RUNBOOK.md"
        site.pages[path] = ("text/plain", runbook().encode())
        source = RunbookSource(path=site.url(path))
        agent = here.agent.model_copy(update={"collect": [source]})
        assert watching.look(agent, site.allow).todo == "nothing"
        site.pages[path] = ("text/plain", runbook().replace(OLD, NEW).encode())
        assert watching.look(agent, site.allow).changes.alerts[0].alert == "BackupTooOld"

    def test_a_folder_of_files_is_compared_with_the_release(self, here: World) -> None:
        (here.folder / "book").mkdir()
        (here.folder / "RUNBOOK.md").rename(here.folder / "book" / "RUNBOOK.md")
        here.set("path: RUNBOOK.md", "path: book")
        assert watching.look(here.agent).todo == "nothing"

    def test_a_damaged_memory_is_named(self, here: World) -> None:
        (here.folder / "runs" / "tiny" / "watch").write_text("{}\n")
        with pytest.raises(IntegrityError, match="not what watch wrote") as raised:
            watching.look(here.agent)
        assert "delete" in raised.value.hint

    def test_another_watch_of_the_store_is_waited_for(self, here: World) -> None:
        here.change((OLD, NEW))
        with files.alone(here.home.home / ".watch.lock"):
            assert here.watch().code == 75


@pytest.mark.slow
class TestErrorsOfALook:
    def test_an_error_is_said_once_and_the_next_look_goes_on(
        self, here: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        watcher = Watcher(Path("tiny.yaml"))
        book = here.folder / "RUNBOOK.md"
        book.rename(here.folder / "away.md")
        assert watcher.safely(300) == 300
        assert "RUNBOOK.md: unreadable" in capsys.readouterr().err
        assert watcher.safely(300) == 300
        assert "error" not in capsys.readouterr().err
        (here.folder / "away.md").rename(book)
        assert watcher.safely(300) == 300
        assert "nothing to do" in capsys.readouterr().out

    def test_the_network_is_waited_for_longer_and_longer(
        self, here: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.set("path: RUNBOOK.md", 'path: "https://nowhere.invalid/RUNBOOK.md"')
        watcher = Watcher(Path("tiny.yaml"))
        pauses = [watcher.safely(300) for _ in range(9)]
        assert pauses[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
        assert pauses[-1] == LONGEST
        assert capsys.readouterr().err.count("error: https://nowhere.invalid") == 1
        here.set('"https://nowhere.invalid/RUNBOOK.md"', "RUNBOOK.md")
        assert watcher.safely(300) == 300

    def test_a_broken_agent_file_is_an_error_too(
        self, here: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        watcher = Watcher(Path("tiny.yaml"))
        here.set("name: tiny", "nom: tiny")
        assert watcher.safely(7) == 7
        assert "nom" in capsys.readouterr().err

    def test_ctrl_c_ends_it_and_says_how_to_go_on(self, here: World) -> None:
        process = here.begin("--every", "1h")
        assert process.stdout is not None
        assert "nothing to do" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "stopped; resume with: opslore watch tiny.yaml --every 1h" in err


@pytest.mark.slow
class TestChanged:
    def test_a_killed_try_goes_on_where_it_stopped(self, changed: World) -> None:
        assert "export" not in changed.said["killed"].out
        again = changed.said["begun again"]
        assert "the release that was begun goes on" in again.out
        assert "BackupTooOld" in again.out
        assert again.code == 3
        assert "train:" not in again.err  # nothing was trained a second time
        assert len(changed.home.cards(Adapter)) == 2

    def test_the_proof_counts_the_evaluations_own_rows(self, changed: World) -> None:
        said = changed.said["changed"]
        assert said.code == 0, said.err
        look, released = said.rows
        assert look["todo"] == "resume"
        proof = Proof.model_validate(released["proof"])
        assert proof.version == released["version"]
        (one,) = proof.changed
        assert (one.alert, one.what, one.learned, one.old) == ("BackupTooOld", "commands", True, 0)
        now, then = changed.replies(proof.version), changed.replies(proof.before)
        about = [
            (e.question, r.reply, r.scores["equivalent"] == 1)
            for e, r in now.values()
            if e.group == one.id and e.split in ("s1", "s2")
        ]
        told = [(a.question, a.answer, a.right) for a in one.answers if a.by == "evaluation"]
        assert sorted(told) == sorted(about)
        assert len(about) >= 2
        assert one.asked == len(one.answers) == len({a.question for a in one.answers}) == 8
        assert one.right == sum(a.right for a in one.answers)
        assert {a.answer for a in one.answers if a.right} == {NEW}
        trained = {e.question for e, _ in now.values()}
        assert not {a.question for a in one.answers if a.by == "proof"} & trained

        old = {(e.split, e.question): r for e, r in then.values() if e.group != one.id}
        pairs = [
            (old[e.split, e.question].scores["equivalent"], r.scores["equivalent"])
            for e, r in now.values()
            if e.group != one.id and (e.split, e.question) in old
        ]
        assert proof.others.prompts == len(pairs) > 25
        assert proof.others.won == sum(b > a for a, b in pairs)
        assert proof.others.lost == len(proof.others.fallen) == sum(b < a for a, b in pairs)
        assert not proof.others.worse
        assert [(gone.alert, gone.offered) for gone in proof.removed] == [("BackupTooOld", [])]
        assert proof.holds

    def test_the_proof_is_kept_in_the_store(self, changed: World) -> None:
        kept = changed.said["changed"].rows[-1]["proof"]
        path = Path(kept.pop("kept"))
        assert path.is_relative_to(changed.folder / "runs" / "tiny" / "proofs")
        stored = json.loads(path.read_text())
        assert stored.pop("kept") == ""
        assert stored == kept
        assert not list((changed.folder / "runs" / "tiny" / ".work").glob("*"))

    def test_a_try_killed_before_its_proof_is_proved_all_the_same(
        self, changed: World, tmp_path: Path
    ) -> None:
        world = changed.copy(tmp_path / "world")
        first = changed.said["changed"].rows[-1]["proof"]
        tried = watching.recall(world.home)
        assert tried is not None
        world.home.note("watch", tried.model_copy(update={"done": False}).model_dump_json())
        (proof,) = (world.folder / "runs" / "tiny" / "proofs").iterdir()
        proof.unlink()
        again = world.watch("--json").rows
        assert again[0]["todo"] == "resume"
        assert {**again[-1]["proof"], "kept": ""} == {**first, "kept": ""}
        assert world.watch("--json").rows[0]["todo"] == "nothing"

    def test_afterwards_there_is_nothing_to_do(self, changed: World) -> None:
        before = changed.files()
        assert changed.watch("--json").rows[0]["todo"] == "nothing"
        assert changed.files() == before

    def test_a_runbook_that_is_put_back_gives_the_release_of_then(
        self, changed: World, tmp_path: Path
    ) -> None:
        world = changed.copy(tmp_path / "world")
        first, second = (card.version for card in world.home.cards(Release))
        assert history(world.home).version == second
        world.change((NEW, OLD))
        said = world.watch("--json")
        assert said.code == 0, said.err
        assert history(world.home).version == first
        assert len(world.home.cards(Bundle)) == 2
        proof = Proof.model_validate(said.rows[-1]["proof"])
        assert (proof.before, proof.version, proof.holds) == (second, first, True)
        assert world.watch("--json").rows[0]["todo"] == "nothing"

    def test_what_a_person_took_back_stays_back(self, changed: World, tmp_path: Path) -> None:
        world = changed.copy(tmp_path / "world")
        first, second = (card.version for card in world.home.cards(Release))
        with contextlib.chdir(world.folder):
            steps.rollback(world.agent)
        assert history(world.home).version == first
        assert world.watch("--json").rows[0]["todo"] == "nothing"
        # Its runbook once more, after another one was read: it is still not deployed by itself.
        world.change((NEW, OLD))
        assert world.watch("--json").code == 0
        world.change((OLD, NEW))
        said = world.watch()
        assert said.code == 3
        assert f"{second} was rolled back" in said.err
        assert history(world.home).version == first
        again = world.watch()
        assert again.code == 3
        assert "refused this already" in again.out


@pytest.mark.slow
class TestUnlearned:
    def test_what_was_not_learned_is_said_and_ends_with_5(self, unlearned: World) -> None:
        said = unlearned.said["unlearned"]
        assert said.code == cli_watch.UNPROVEN == 5
        assert "THE PROOF DOES NOT HOLD" in said.out
        assert "WORSE" in said.out
        lines = [" ".join(line.split()) for line in said.out.splitlines()]
        assert any(x.startswith("BackupTooOld commands 0 of 8") and x.endswith("NO") for x in lines)

    def test_every_alert_that_changed_came_or_went_is_judged(self, unlearned: World) -> None:
        (path,) = (unlearned.folder / "runs" / "tiny" / "proofs").iterdir()
        proof = Proof.model_validate_json(path.read_text())
        assert {(one.alert, one.what) for one in proof.changed} == {
            ("BackupTooOld", "commands"), ("FluxPaused", "added"),
        }  # fmt: skip
        assert all(one.asked == 8 and not one.learned for one in proof.changed)
        assert ("NodeLoadHigh", []) in [(gone.alert, gone.offered) for gone in proof.removed]
        bundle = unlearned.home.path(unlearned.home.latest(Bundle))
        assert "NodeLoadHigh" not in {one.title for one in Index.read(bundle, False).entries}
        others = proof.others
        assert others.worse
        assert others.p < 0.05
        assert others.lost == len(others.fallen) > others.won
        assert all(one.before != one.now for one in others.fallen)
        assert not proof.holds

    def test_a_refusal_is_a_line_of_json_too(self, unlearned: World) -> None:
        said = unlearned.said["refused now"]
        assert said.code == 3
        assert [row["event"] for row in said.rows] == ["look", "refused"]
        assert said.rows[1]["reasons"][0].startswith("G4 ")

    def test_the_next_look_does_not_repeat_it(self, unlearned: World) -> None:
        assert unlearned.watch().code == 0


@pytest.mark.slow
def test_the_scripts_of_the_github_workflow_run(released: World, tmp_path: Path) -> None:
    """Every `run` of deploy/github, in order, by bash as GitHub calls it, in a released world."""
    jobs = YAML(typ="safe").load(WORKFLOW.read_text())["jobs"]
    world = released.copy(tmp_path / "world")
    (tmp_path / "bin").mkdir()
    shim(tmp_path / "bin" / "opslore", f'exec {sys.executable} -m opslore "$@"')
    shim(tmp_path / "bin" / "pip", "true")
    secret = keys.private()
    env = {
        **environment(),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "AGENT": "tiny.yaml",
        "RUNBOOK": "RUNBOOK.md",
        keys.KEY: secret.path.read_text().rstrip("\n"),  # GitHub keeps a secret's words alone
    }
    said = []
    for step in [*jobs["lint"]["steps"], *jobs["watch"]["steps"]]:
        if "run" not in step:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=world.folder, env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, (step["name"], done.stdout, done.stderr)
        said.append(done.stdout)
    sarif = json.loads((world.folder / "lint.sarif").read_text())
    assert sarif["version"] == "2.1.0"
    assert sum("nothing to do" in out for out in said) == 2
    assert "deploy" in said[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keys.KEY, env[keys.KEY])
        given = keys.private()
    assert given.public.fingerprint == secret.public.fingerprint
    assert stat.S_IMODE(given.path.stat().st_mode) == 0o600


def shim(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
