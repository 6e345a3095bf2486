"""Aliases of a model in the MLflow registry: names that move from release to release."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from opslore.errors import MissingInput
from opslore.release import database
from opslore.release.connection import connected, shown
from opslore.release.version import checked

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERSION_TAG = "opslore.version"
CHAMPION = "champion"
"""Alias of the release that is deployed."""

_FOREIGN = re.compile(r"#[1-9][0-9]{0,9}")


def point(uri: str, agent: str, alias: str, version: str | None) -> None:
    """Move an alias to a release's model version; None takes the alias away.

    Args:
        uri: MLflow tracking URI.
        agent: name of the registered model.
        alias: such as `champion`.
        version: `v{YYYYMMDD}-{8 hex}`, or `#7` for a model version that opslore did not register.

    Raises:
        MissingInput: no such version is registered; nothing has moved.
        ServerError: the registry does not answer, or is locked, read-only or damaged.
    """
    if version is not None and not _FOREIGN.fullmatch(version):
        checked(version)
    with connected(uri, write=True) as client:
        held = _alias(client, agent, alias)
        if version is None:
            if held is not None:
                client.delete_registered_model_alias(agent, alias)
            return
        if _FOREIGN.fullmatch(version):
            number = version[1:]
        else:
            found = [m for m in _all(client, agent) if m.tags.get(VERSION_TAG) == version]
            if not found:
                raise MissingInput(
                    f"MLflow registry {shown(uri)}: {agent} has no version {version}",
                    hint="run `opslore publish AGENT.yaml` first",
                )
            number = str(newest(found).version)
        if held != number:
            client.set_registered_model_alias(agent, alias, number)


def pointed(uri: str, agent: str, alias: str) -> str | None:
    """The release an alias names, None when there is no such alias; makes nothing.

    `#7` is the model version 7 when it is not one that opslore registered.

    Raises:
        ServerError: the registry does not answer, or is locked or damaged.
    """
    file = database.path(uri)
    if file is not None and not file.exists():
        return None
    with connected(uri, write=False) as client:
        number = _alias(client, agent, alias)
        if number is None:
            return None
        tags = client.get_model_version(agent, number).tags
        return str(tags.get(VERSION_TAG) or f"#{number}")


def _alias(client: MlflowClient, agent: str, alias: str) -> str | None:
    """The number of the model version that an alias names."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(agent).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return str(aliases[alias]) if alias in aliases else None


def _all(client: MlflowClient, agent: str) -> list[Any]:
    found = client.search_model_versions(f"name = '{agent}'")
    models = list(found)
    while found.token:
        found = client.search_model_versions(f"name = '{agent}'", page_token=found.token)
        models += found
    return models


def newest(models: list[Any]) -> Any:
    """The model version with the highest number, or None."""
    return max(models, key=lambda model: int(model.version), default=None)
