from __future__ import annotations

import http.server
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opslore.errors import (
    ConfigError,
    DataError,
    MissingInput,
    OpsloreError,
    ServerError,
)
from opslore.files import alone
from opslore.release import connection, database, registry
from opslore.release.champion import Champion
from opslore.release.targets import Staged, switch

V1 = "v20260131-0123abcd"
V2 = "v20260214-89abcdef"
RELEASE: dict[str, Any] = {
    "agent": "agent-sre",
    "version": V1,
    "params": {"train.lora_rank": "8", "base_model": "smollm2-135m-instruct"},
    "metrics": {"S1.tuned": 0.925, "unsafe": 0.0},
    "tags": {"dataset.digest": "ab" * 32, "runbook.commit": "c0ffee"},
    "source": f"opslore://agent-sre/{V1}/ollama-model.tar.gz",
}
STEPS = ["run", "logged", "model version", "finished", "candidate"]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry without entries; its schema takes seconds to build, so once for all tests."""
    file = tmp_path_factory.mktemp("registry") / "deep" / "down" / "mlflow.db"
    with connection.connected(f"sqlite:///{file}", write=True):
        pass
    return file


@pytest.fixture
def file(empty: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty, tmp_path / "mlflow.db"))


@pytest.fixture
def uri(file: Path) -> str:
    return f"sqlite:///{file}"


def dump(file: Path) -> list[str]:
    with sqlite3.connect(file) as db:
        return list(db.iterdump())


def counts(uri: str) -> tuple[int, int]:
    """Runs of the agent, and model versions."""
    with connection.connected(uri, write=False) as client:
        experiment = client.get_experiment_by_name("agent-sre")
        runs = client.search_runs([experiment.experiment_id])
        return len(runs), len(client.search_model_versions("name = 'agent-sre'"))


def child(call: Callable[[], object]) -> int:
    """Start another process; it ends with 0, or 1 on an error of ours, or as `call` says."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            call()
            status = 0
        except OpsloreError:
            status = 1
        finally:
            os._exit(status)
    return pid


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dying(step: str) -> Callable[[str], None]:
    """Die as by SIGKILL when the step is reached: no cleanup, no flush, no finally."""

    def reached(name: str) -> None:
        if name == step:
            os._exit(77)

    return reached


def test_register_and_find(uri: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<h1>all right</h1>")
    run_id = registry.register(uri, **RELEASE, artifacts=[report])
    found = registry.find(uri, "agent-sre", V1)
    assert found == registry.Registered(
        run_id=run_id,
        agent="agent-sre",
        version=V1,
        finished=True,
        params=RELEASE["params"],
        metrics=RELEASE["metrics"],
        tags={**RELEASE["tags"], "opslore.version": V1},
        model_version="1",
        source=RELEASE["source"],
        aliases=["candidate"],
    )
    kept = tmp_path / "mlartifacts" / "agent-sre" / run_id / "artifacts" / "report.html"
    assert kept.read_text() == "<h1>all right</h1>"


def test_the_second_time_writes_nothing(uri: str, file: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("# card")
    release = {**RELEASE, "artifacts": [card]}
    first = registry.register(uri, **release)
    before = dump(file)
    assert registry.register(uri, **release) == first
    assert dump(file) == before


@pytest.mark.parametrize("step", STEPS)
def test_a_publish_that_died_is_completed(uri: str, file: Path, step: str) -> None:
    pid = child(lambda: registry.register(uri, **RELEASE, reached=dying(step)))
    assert status(pid) == 77
    left = registry.find(uri, "agent-sre", V1)
    assert left is not None
    assert left.finished == (STEPS.index(step) >= STEPS.index("finished"))
    assert ("candidate" in left.aliases) == (step == "candidate")

    reached: list[str] = []
    run_id = registry.register(uri, **RELEASE, reached=reached.append)
    assert reached == STEPS
    assert run_id == left.run_id
    found = registry.find(uri, "agent-sre", V1)
    assert found is not None
    assert (found.finished, found.aliases) == (True, ["candidate"])
    assert (found.params, found.metrics) == (RELEASE["params"], RELEASE["metrics"])
    assert counts(uri) == (1, 1)


def aliases(uri: str, version: str) -> list[str]:
    found = registry.find(uri, "agent-sre", version)
    assert found is not None
    return found.aliases


def test_candidate_moves_at_publish_and_champion_only_when_told(uri: str, file: Path) -> None:
    registry.register(uri, **RELEASE)
    assert registry.pointed(uri, "agent-sre", "champion") is None
    registry.point(uri, "agent-sre", "champion", V1)
    registry.register(uri, **{**RELEASE, "version": V2, "source": "opslore://agent-sre/2.tar.gz"})
    assert (aliases(uri, V1), aliases(uri, V2)) == (["champion"], ["candidate"])
    registry.register(uri, **RELEASE)  # the champion published again stays champion
    assert (aliases(uri, V1), aliases(uri, V2)) == (["candidate", "champion"], [])
    registry.point(uri, "agent-sre", "champion", V2)
    assert registry.pointed(uri, "agent-sre", "champion") == V2
    before = dump(file)
    registry.point(uri, "agent-sre", "champion", V2)
    assert dump(file) == before
    registry.point(uri, "agent-sre", "champion", None)
    registry.point(uri, "agent-sre", "champion", None)
    assert registry.pointed(uri, "agent-sre", "champion") is None
    assert aliases(uri, V1) == ["candidate"]


def test_an_alias_never_goes_to_what_is_not_registered(uri: str) -> None:
    with pytest.raises(MissingInput, match=f"agent-sre has no version {V1}") as caught:
        registry.point(uri, "agent-sre", "champion", V1)
    assert caught.value.hint == "run `opslore publish AGENT.yaml` first"
    registry.register(uri, **RELEASE)
    registry.point(uri, "agent-sre", "champion", V1)
    with pytest.raises(MissingInput, match=f"agent-sre has no version {V2}"):
        registry.point(uri, "agent-sre", "champion", V2)
    with pytest.raises(DataError, match="not a release version"):
        registry.point(uri, "agent-sre", "champion", "latest")
    assert registry.pointed(uri, "agent-sre", "champion") == V1


def test_an_alias_on_somebody_elses_version_is_put_back_as_it_was(uri: str) -> None:
    registry.register(uri, **RELEASE)
    with connection.connected(uri, write=True) as client:
        made = client.create_model_version("agent-sre", "s3://theirs/model")
        client.set_registered_model_alias("agent-sre", "champion", made.version)
    before = registry.pointed(uri, "agent-sre", "champion")
    assert before == f"#{made.version}"
    registry.point(uri, "agent-sre", "champion", V1)
    registry.point(uri, "agent-sre", "champion", before)
    assert registry.pointed(uri, "agent-sre", "champion") == before


def test_pointed_makes_nothing(tmp_path: Path) -> None:
    assert registry.pointed(f"sqlite:///{tmp_path}/mlflow.db", "agent-sre", "champion") is None
    assert list(tmp_path.iterdir()) == []


def staged(version: str) -> Staged:
    return Staged("agent-sre", version, Path("files"), "s3://ml/x", "ab" * 32)


def test_champion_is_a_target_that_a_switch_moves_and_puts_back(uri: str) -> None:
    champion = Champion(uri, "agent-sre")
    assert champion.name == f"MLflow {uri} agent-sre@champion"
    with pytest.raises(MissingInput, match=f"{V1} is not registered"):
        champion.stage(staged(V1))
    pid = child(lambda: registry.register(uri, **RELEASE, reached=dying("model version")))
    assert status(pid) == 77
    with pytest.raises(MissingInput, match=f"{V1} is half registered"):
        champion.stage(staged(V1))
    registry.register(uri, **RELEASE)
    champion.stage(staged(V1))
    assert champion.now() is None
    assert switch([champion], "agent-sre", V1) == [champion.name]
    assert champion.now() == champion.aim("agent-sre", V1) == V1
    assert switch([champion], "agent-sre", V1) == []

    class Refuses(Champion):
        def now(self) -> str | None:
            return "old"

        def move(self, state: str | None) -> None:
            raise ServerError("no")

    registry.register(uri, **{**RELEASE, "version": V2, "source": "opslore://agent-sre/2.tar.gz"})
    with pytest.raises(ServerError, match="no"):
        switch([champion, Refuses(uri, "agent-sre")], "agent-sre", V2)
    assert champion.now() == V1
    champion.move(None)
    assert champion.now() is None


def test_changed_numbers_are_logged_anew_and_champion_stays(uri: str) -> None:
    registry.register(uri, **RELEASE)
    registry.point(uri, "agent-sre", "champion", V1)
    registry.register(uri, **{**RELEASE, "metrics": {"S1.tuned": 0.5, "unsafe": 3.0}})
    found = registry.find(uri, "agent-sre", V1)
    assert found is not None
    assert found.aliases == ["candidate", "champion"]
    assert found.metrics == {"S1.tuned": 0.5, "unsafe": 3.0}
    assert counts(uri) == (1, 1)


def test_a_moved_archive_gets_a_model_version_of_its_own(uri: str) -> None:
    run_id = registry.register(uri, **RELEASE)
    assert registry.register(uri, **{**RELEASE, "source": "s3://ml/new.tar.gz"}) == run_id
    found = registry.find(uri, "agent-sre", V1)
    assert found is not None
    assert (found.source, found.model_version) == ("s3://ml/new.tar.gz", "2")
    assert found.aliases == ["candidate"]


def test_more_than_one_call_holds(uri: str) -> None:
    params = {f"p{n}": str(n) for n in range(250)}
    tags = {f"t{n}": str(n) for n in range(130)}
    registry.register(uri, **{**RELEASE, "params": params, "tags": tags})
    found = registry.find(uri, "agent-sre", V1)
    assert found is not None
    assert found.params == params
    assert found.tags == {**tags, "opslore.version": V1}


def test_two_agents_share_a_database(uri: str) -> None:
    registry.register(uri, **RELEASE)
    registry.register(uri, **{**RELEASE, "agent": "agent-dba"})
    assert counts(uri) == (1, 1)
    assert registry.find(uri, "agent-dba", V2) is None


def test_parameters_are_fixed(uri: str, file: Path) -> None:
    registry.register(uri, **RELEASE)
    before = dump(file)
    with pytest.raises(DataError, match="lora_rank is registered as '8', now '16'"):
        registry.register(uri, **{**RELEASE, "params": {"train.lora_rank": "16"}})
    assert dump(file) == before


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number(uri: str, file: Path, number: float) -> None:
    before = dump(file)
    with pytest.raises(DataError, match=r"metric S1\.tuned is"):
        registry.register(uri, **{**RELEASE, "metrics": {"S1.tuned": number}})
    assert dump(file) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params": {"system_prompt": "x" * 6001}}, "system_prompt has 6001 characters"),
        ({"tags": {"note": "x" * 8001}}, "note has 8001 characters"),
        ({"params": {"a(b)": "x"}}, "'a(b)' cannot name a parameter"),
        ({"metrics": {"../x": 1.0}}, "'../x' cannot name a parameter"),
        ({"tags": {"x" * 251: "1"}}, "cannot name a parameter"),
        ({"version": "v1' OR '1"}, "is not a release version"),
    ],
)
def test_what_mlflow_cannot_hold(uri: str, file: Path, change: dict[str, Any], reason: str) -> None:
    before = dump(file)
    with pytest.raises(DataError) as caught:
        registry.register(uri, **{**RELEASE, **change})
    assert reason in caught.value.message
    assert dump(file) == before


def test_the_limits_are_mlflows() -> None:
    from mlflow.utils import validation

    assert registry.MAX_PARAM == validation.MAX_PARAM_VAL_LENGTH
    assert registry.MAX_TAG == validation.MAX_TAG_VAL_LENGTH
    assert registry.MAX_KEY == validation.MAX_ENTITY_KEY_LENGTH


def test_an_artifact_that_is_not_there(uri: str, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"no file .*report\.html"):
        registry.register(uri, **RELEASE, artifacts=[tmp_path / "report.html"])
    assert registry.find(uri, "agent-sre", V1) is None


def test_find_makes_nothing(tmp_path: Path) -> None:
    assert registry.find(f"sqlite:///{tmp_path}/runs/mlflow.db", "agent-sre", V1) is None
    assert list(tmp_path.iterdir()) == []


def test_many_publish_the_same_release_at_once(uri: str) -> None:
    pids = [child(lambda: registry.register(uri, **RELEASE)) for _ in range(4)]
    assert [status(pid) for pid in pids] == [0] * 4
    assert counts(uri) == (1, 1)


def test_many_publish_different_releases_at_once(uri: str) -> None:
    versions = [f"v2026013{n}-0123abcd" for n in range(1, 5)]
    pids = [
        child(lambda v=version: registry.register(uri, **{**RELEASE, "version": v}))  # type: ignore[misc]
        for version in versions
    ]
    assert [status(pid) for pid in pids] == [0] * 4
    assert counts(uri) == (4, 4)
    held = [registry.find(uri, "agent-sre", version) for version in versions]
    assert sorted(alias for found in held if found for alias in found.aliases) == ["candidate"]


def test_a_fresh_database_two_at_once_and_one_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative path, folder not there; the first try dies while the schema is being built."""
    monkeypatch.chdir(tmp_path)
    uri = "sqlite:///runs/mlflow.db"
    killed = child(lambda: registry.register(uri, **RELEASE))
    unfinished = tmp_path / "runs" / ".mlflow.db.new"
    deadline = time.monotonic() + 60
    while not (unfinished.exists() and unfinished.stat().st_size > 100_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed, 9)
    assert status(killed) == -9
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    with sqlite3.connect(unfinished) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    assert "experiments" in tables  # half a schema, which MLflow itself would refuse

    pids = [child(lambda: registry.register(uri, **RELEASE)) for _ in range(2)]
    assert [status(pid) for pid in pids] == [0, 0]
    assert counts(uri) == (1, 1)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [".mlflow.db.lock", "mlflow.db"]
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]  # no ./mlruns of MLflow's own


def test_an_empty_file_is_no_database_yet(empty: Path, tmp_path: Path) -> None:
    """What a program leaves that only opened it; MLflow would fill it in place."""
    file = tmp_path / "mlflow.db"
    file.touch()
    built: list[str] = []

    def build(uri: str) -> None:
        built.append(uri)
        shutil.copy(empty, uri.removeprefix("sqlite:///"))

    with database.ready(f"sqlite:///{file}", file, build):
        assert file.stat().st_size == empty.stat().st_size
    assert built == [f"sqlite:///{tmp_path}/.mlflow.db.new"]


def test_locked(uri: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY", 0.2)
    with sqlite3.connect(file) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        for call in (
            lambda: registry.register(uri, **RELEASE),
            lambda: registry.find(uri, "agent-sre", V1),
        ):
            with pytest.raises(ServerError) as caught:
                call()
            assert caught.value.message == f"MLflow registry {uri}: database is locked: {file}"
            assert caught.value.retryable
            assert "close what has it open" in caught.value.hint


def test_another_writer_that_does_not_end(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "lock"),
        pytest.raises(ServerError, match="another process has held this lock for 0 s") as caught,
        alone(tmp_path / "lock", wait=0.1),
    ):
        pass
    assert caught.value.retryable


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    def die() -> None:
        with alone(tmp_path / "lock"):
            os._exit(77)

    assert status(child(die)) == 77
    with alone(tmp_path / "lock", wait=0.1):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_read_only_as_root(empty: Path) -> None:
    # tmp_path is closed to other users, so that another user cannot even look at it.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        file = Path(shutil.copy(empty, Path(place) / "mlflow.db"))
        file.chmod(0o444)
        os.seteuid(65534)
        try:
            refuses_to_write(file)
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only(file: Path) -> None:
    file.chmod(0o444)
    file.parent.chmod(0o555)
    try:
        refuses_to_write(file)
    finally:
        file.parent.chmod(0o755)


def refuses_to_write(file: Path) -> None:
    uri = f"sqlite:///{file}"
    with pytest.raises(ServerError, match="Permission denied") as caught:
        registry.register(uri, **RELEASE)
    assert f"make {file.parent} writable" in caught.value.hint
    with pytest.raises(ServerError, match="readonly database"):
        database.probe(uri, file, write=True)
    assert registry.find(uri, "agent-sre", V1) is None


def test_no_database(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("some other file, long enough to have a header " * 10)
    with pytest.raises(ServerError, match="file is not a database") as caught:
        registry.register(f"sqlite:///{file}", **RELEASE)
    assert f"move {file} away" in caught.value.hint
    assert file.read_text().startswith("some other file")


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ServerError, match=r"MLflow registry sqlite:///.*(Not a directory|exists)"):
        registry.register(f"sqlite:///{tmp_path}/file/mlflow.db", **RELEASE)


def test_a_database_of_another_mlflow(uri: str, file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    with pytest.raises(ServerError, match="made by another version of MLflow") as caught:
        registry.register(uri, **RELEASE)
    assert "mlflow db upgrade" in caught.value.hint
    assert not caught.value.retryable


def test_a_deleted_experiment(uri: str) -> None:
    registry.register(uri, **RELEASE)
    with connection.connected(uri, write=True) as client:
        client.delete_experiment(client.get_experiment_by_name("agent-sre").experiment_id)
    with pytest.raises(ServerError, match="experiment 'agent-sre' was deleted") as caught:
        registry.register(uri, **RELEASE)
    assert "mlflow experiments restore --experiment-id" in caught.value.hint


@pytest.mark.parametrize(
    "bad", ["", "runs/mlflow.db", "./mlruns", "file:///x", "sqlite://", "sqlite:///:memory:", "ftp://x"]
)  # fmt: skip
def test_a_uri_that_is_none(bad: str) -> None:
    with pytest.raises(ConfigError, match=r"publish\.registry:") as caught:
        registry.register(bad, **RELEASE)
    assert "write sqlite:///runs/mlflow.db" in caught.value.hint


def test_a_driver_that_is_not_installed() -> None:
    with pytest.raises(OpsloreError) as caught:
        registry.register("postgresql://opslore:s3cret@127.0.0.1:1/mlflow", **RELEASE)
    assert "postgresql://***@127.0.0.1:1/mlflow" in caught.value.message
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServerError, match=r"MLflow registry http://127.0.0.1:9: .*") as caught:
        registry.register("http://127.0.0.1:9", **RELEASE)
    assert caught.value.retryable
    assert "check that the MLflow server runs there" in caught.value.hint


class _Answers(http.server.BaseHTTPRequestHandler):
    code = 401

    def do_GET(self) -> None:
        self.send_response(self.code)
        self.end_headers()
        self.wfile.write(b"no")

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_wants_a_password(refusing: str) -> None:
    with pytest.raises(ServerError) as caught:
        registry.register(refusing, **RELEASE)
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.hint
    assert not caught.value.retryable


def test_importing_the_room_does_not_import_mlflow() -> None:
    code = (
        "import sys; from opslore.release import archive, folder, registry, version;"
        "print([m for m in ('mlflow', 'sqlalchemy', 'alembic', 'pandas') if m in sys.modules])"
    )
    source = str(Path(registry.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_every_score_has_its_bars_under_the_names_of_the_summary() -> None:
    from opslore.cards import Evaluation, Score
    from opslore.evaluation.numbers import summary
    from opslore.release import record

    def score(column: str, split: str, name: str, value: float) -> Score:
        low, high = value - 0.1, value + 0.1
        return Score(
            name=name, column=column, split=split, right=1, n=2, value=value, low=low, high=high
        )

    scores = [
        score(column, split, name, 0.2 + number / 20)
        for number, (column, split, name) in enumerate(record.HEADLINES)
    ]
    scores.append(score("tuned", "s1", "equivalent:chat", 0.75))
    evaluation = Evaluation(
        id="e", uri="", created="", made_with="", passed=True, headline="", scores=scores, gates=[]
    )
    bars = record.bars(scores)
    for name, value in summary(evaluation).items():
        if name not in ("S1_low", "unsafe"):
            assert bars[f"{name}.low"] < value < bars[f"{name}.high"]
    assert bars["tuned/s1/equivalent:chat"] == 0.75
    assert bars["tuned/s1/equivalent:chat.high"] == 0.85
    assert len(bars) == 3 * len(scores) + 2 * len(record.HEADLINES)


def test_what_a_release_is_made_of_is_registered(uri: str, file: Path) -> None:
    from opslore.cards import Adapter, Bundle, Corpus, Dataset, Evaluation, Gate, Score
    from opslore.config import Agent
    from opslore.release import record

    base = {"uri": "", "created": "2026-01-31T00:00:00+00:00", "made_with": "opslore"}
    score = Score(
        name="equivalent", column="tuned", split="s1", right=9, n=10, value=0.9, low=0.6, high=0.98
    )
    gate = Gate(name="G1", title="", passed=True, measured="0.90", threshold=">= 0.80")
    cards = (
        Corpus(id="1", documents=3, dropped=0, digest="aa" * 32, commit="c0ffee", **base),
        Dataset(id="2", splits={"train": 3}, dropped=0, digest="bb" * 32, **base),
        Adapter(
            id="3", base_model="m", base_digest="d", steps=4, loss=0.5, valid_loss=None,
            seconds=1.0, **base,
        ),
        Bundle(
            id="4", base_model="m", quantization="q8_0", gguf_sha256="cc" * 32,
            template_sha256="dd" * 32, commands=3, **base,
        ),
        Evaluation(
            id="5" * 64, passed=True, headline="Right on 0.90", scores=[score], gates=[gate], **base
        ),
    )  # fmt: skip
    agent = Agent.model_validate(
        {"name": "agent-sre", "collect": [{"path": "R.md"}], "publish": {"registry": uri}}
    )
    archives = (f"s3://ml/agent-sre/{V1}/adapters.tar.gz", f"s3://ml/agent-sre/{V1}/model.tar.gz")
    digests = ("ee" * 32, "ff" * 32)

    def register() -> str:
        return record.register(agent, cards, V1, digests, {"S1": 0.9, "unsafe": 0.0}, archives)

    run_id = register()
    found = registry.find(uri, "agent-sre", V1)
    assert found is not None
    assert (found.aliases, found.source) == (["candidate"], archives[1])
    assert found.metrics == {
        "S1": 0.9,
        "S1.low": 0.6,
        "S1.high": 0.98,
        "tuned/s1/equivalent": 0.9,
        "tuned/s1/equivalent.low": 0.6,
        "tuned/s1/equivalent.high": 0.98,
        "train.loss": 0.5,
        "train.steps": 4.0,
        "unsafe": 0.0,
    }
    assert found.tags["opslore.runbook"] == "aa" * 32
    assert found.tags["opslore.dataset"] == "bb" * 32
    assert found.tags["opslore.gates"] == "G1 holds: 0.90 (>= 0.80)"
    assert found.tags["opslore.adapters_uri"] == archives[0]
    kept = file.parent / "mlartifacts" / "agent-sre" / run_id / "artifacts" / "evaluation.json"
    assert Evaluation.model_validate_json(kept.read_text()) == cards[4]
    before = dump(file)
    assert register() == run_id
    assert dump(file) == before
