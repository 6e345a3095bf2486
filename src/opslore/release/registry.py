"""The MLflow registry: one experiment per agent, one run and one model version per release.

Everything is looked up before it is made, so that a publish that died between two calls is
completed by the next one and a finished one is left as it is. The alias `candidate` moves last;
`champion` moves when the release is deployed (`point`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from opslore.cards import Record
from opslore.errors import DataError, MissingInput, ServerError
from opslore.release import database, limits
from opslore.release.aliases import CHAMPION, VERSION_TAG, newest, point, pointed
from opslore.release.connection import connected
from opslore.release.limits import MAX_KEY, MAX_PARAM, MAX_TAG
from opslore.release.version import checked

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "CANDIDATE",
    "CHAMPION",
    "MAX_KEY",
    "MAX_PARAM",
    "MAX_TAG",
    "VERSION_TAG",
    "Registered",
    "find",
    "point",
    "pointed",
    "register",
]

CANDIDATE = "candidate"
"""Alias of the release published last."""

NOT_KEPT = "opslore.files_not_kept"
"""Tag naming the files that the server takes none of."""

_logger = logging.getLogger(__name__)


class Registered(Record):
    """A release as the registry knows it."""

    run_id: str
    agent: str
    version: str
    finished: bool
    """False when a publish died half-way: publish again to complete it."""
    params: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    """Without MLflow's own `mlflow.*` tags."""
    model_version: str = ""
    source: str = ""
    """URI of the archive."""
    aliases: list[str] = Field(default_factory=list)


def register(
    uri: str,
    *,
    agent: str,
    version: str,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    source: str,
    artifacts: Sequence[Path] = (),
    reached: Callable[[str], None] = lambda step: None,
) -> str:
    """Register a release, or complete what an interrupted try has left.

    Args:
        uri: MLflow tracking URI; `sqlite:///file` is made with its folder.
        agent: name of the experiment and of the registered model.
        version: `v{YYYYMMDD}-{8 hex}`.
        params: what the bundle was made with; fixed for ever once logged.
        metrics: finite numbers; a changed one is logged anew and MLflow keeps the history.
        tags: digests and commits; a changed one is replaced.
        source: URI of the archive, the model version's source.
        artifacts: small files to keep with the run (an evaluation, a model card). A server that
            does not take files itself gets a tag that says so.
        reached: told the name of each step that is done: run, logged, model version, finished,
            candidate.

    Returns:
        The id of the MLflow run.

    Raises:
        DataError: a value MLflow cannot hold, or another value for a parameter already fixed.
        MissingInput: an artifact is not there.
        ServerError: the registry does not answer, or is locked, read-only or damaged.
    """
    checked(version)
    limits.refuse(params, metrics, tags)
    for artifact in artifacts:
        if not artifact.is_file():
            raise MissingInput(f"no file {artifact} to keep in the registry")
    with connected(uri, write=True) as client:
        run = _run(client, agent, version, _artifact_root(uri, agent))
        run_id: str = run.info.run_id
        reached("run")
        kept = artifacts if _takes_files(uri, run) else ()
        left = {NOT_KEPT: ", ".join(p.name for p in artifacts)} if artifacts and not kept else {}
        _log(client, run, params, metrics, {**tags, **left, VERSION_TAG: version})
        _keep(client, run, kept)
        reached("logged")
        number = _model_version(client, agent, version, run_id, source)
        reached("model version")
        if run.info.status != "FINISHED":
            client.set_terminated(run_id)
        reached("finished")
        if CANDIDATE not in _aliases_of(client, agent, number):
            client.set_registered_model_alias(agent, CANDIDATE, number)
        reached(CANDIDATE)
    return run_id


def find(uri: str, agent: str, version: str) -> Registered | None:
    """The release in the registry, or None; makes nothing.

    Raises:
        ServerError: the registry does not answer, or is locked or damaged.
    """
    checked(version)
    file = database.path(uri)
    if file is not None and not file.exists():
        return None
    with connected(uri, write=False) as client:
        experiment = client.get_experiment_by_name(agent)
        run = _oldest(client, experiment.experiment_id, version) if experiment else None
        if run is None:
            return None
        model = newest(_versions(client, agent, run.info.run_id))
        return Registered(
            run_id=run.info.run_id,
            agent=agent,
            version=version,
            finished=run.info.status == "FINISHED",
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags={k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
            model_version=str(model.version) if model else "",
            source=model.source if model else "",
            aliases=sorted(_aliases_of(client, agent, str(model.version))) if model else [],
        )


def _takes_files(uri: str, run: Any) -> bool:
    """Whether files can be kept with a run: on our own disk, or through the server itself.

    Any other place (a bucket, a folder of the server's machine) needs the server's keys and disk.
    """
    scheme = str(run.info.artifact_uri).partition(":")[0]
    return database.path(uri) is not None or scheme in ("mlflow-artifacts", "http", "https")


def _artifact_root(uri: str, agent: str) -> str | None:
    # Without a server MLflow would put artifacts into ./mlruns of wherever the command ran.
    file = database.path(uri)
    return (file.parent / "mlartifacts" / agent).as_uri() if file else None


def _run(client: MlflowClient, agent: str, version: str, artifact_root: str | None) -> Any:
    experiment = client.get_experiment_by_name(agent)
    if experiment is None:
        experiment_id = _unless_there(
            lambda: client.create_experiment(agent, artifact_location=artifact_root)
        )
        experiment_id = experiment_id or client.get_experiment_by_name(agent).experiment_id
    elif experiment.lifecycle_stage != "active":
        raise ServerError(
            f"the MLflow experiment {agent!r} was deleted",
            hint=f"mlflow experiments restore --experiment-id {experiment.experiment_id}",
        )
    else:
        experiment_id = experiment.experiment_id
    found = _oldest(client, experiment_id, version)
    if found is not None:
        if found.info.status != "FINISHED":
            _logger.info("completing the unfinished registration of %s %s", agent, version)
        return found
    made = client.create_run(experiment_id, tags={VERSION_TAG: version}, run_name=version)
    # A call whose answer was lost is sent again by the client: two runs with one start time.
    first = _oldest(client, experiment_id, version) or made
    for other in _runs(client, experiment_id, version):
        same_call = other.info.start_time == made.info.start_time
        if same_call and other.info.run_id != first.info.run_id:
            client.delete_run(other.info.run_id)
    return first


def _oldest(client: MlflowClient, experiment_id: str, version: str) -> Any:
    # Two publishers of one server may both have made a run; everybody then agrees on the first.
    found = _runs(client, experiment_id, version)
    return min(found, key=lambda run: (run.info.start_time, run.info.run_id), default=None)


def _runs(client: MlflowClient, experiment_id: str, version: str) -> list[Any]:
    return list(client.search_runs([experiment_id], f"tags.\"{VERSION_TAG}\" = '{version}'"))


def _log(
    client: MlflowClient,
    run: Any,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    """Log what the run does not say yet."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.utils.time import get_current_time_millis

    for key, value in params.items():
        if (logged := run.data.params.get(key, value)) != value:
            raise DataError(
                f"{run.info.run_name}: parameter {key} is registered as {logged!r}, now {value!r}",
                hint="a release's parameters are fixed; what may change later belongs in a tag",
            )
    now = get_current_time_millis()
    new_params = [Param(k, v) for k, v in params.items() if k not in run.data.params]
    new_tags = [RunTag(k, v) for k, v in tags.items() if run.data.tags.get(k) != v]
    new_metrics = [
        Metric(k, float(v), now, 0) for k, v in metrics.items() if run.data.metrics.get(k) != v
    ]
    for start in range(0, max(len(new_params), len(new_tags), len(new_metrics)), 100):
        part = slice(start, start + 100)  # MLflow takes 100 parameters and 100 tags a call
        client.log_batch(run.info.run_id, new_metrics[part], new_params[part], new_tags[part])


def _keep(client: MlflowClient, run: Any, artifacts: Sequence[Path]) -> None:
    """Keep files with a run; those of a finished one are there, and are left as they are."""
    run_id = run.info.run_id
    present = {item.path for item in client.list_artifacts(run_id)} if artifacts else set()
    for artifact in artifacts:
        if artifact.name not in present or run.info.status != "FINISHED":
            client.log_artifact(run_id, str(artifact))


def _model_version(client: MlflowClient, agent: str, version: str, run_id: str, source: str) -> str:
    """The model version of this run and archive; a moved archive gets a version of its own."""
    same = [model for model in _versions(client, agent, run_id) if model.source == source]
    if same:
        return str(min(int(model.version) for model in same))
    _unless_there(lambda: client.create_registered_model(agent))
    made = client.create_model_version(agent, source, run_id, tags={VERSION_TAG: version})
    same = [model for model in _versions(client, agent, run_id) if model.source == source]
    first = min((int(model.version) for model in same), default=int(made.version))
    if first < int(made.version):  # made twice, as above
        client.delete_model_version(agent, str(made.version))
    return str(first)


def _versions(client: MlflowClient, agent: str, run_id: str) -> list[Any]:
    found = client.search_model_versions(f"run_id = '{run_id}'")
    return [model for model in found if model.name == agent]


def _aliases_of(client: MlflowClient, agent: str, number: str) -> set[str]:
    aliases = client.get_registered_model(agent).aliases
    return {alias for alias, target in aliases.items() if str(target) == number}


def _unless_there(make: Callable[[], Any]) -> Any:
    """Make something, or None if another publisher was first."""
    from mlflow.exceptions import MlflowException

    try:
        return make()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return None
