"""A client of the MLflow registry, with its settings, and its failures in our own words."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opslore.errors import ConfigError, MissingExtra, ServerError
from opslore.release import database

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")

# MLflow reads these when it is imported; what the person has set already stands.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    # MLflow would write its "View run" lines to stdout, where a card's JSON goes.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # No connection outlives its call, so a file that was replaced is not written through.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}


@contextmanager
def connected(uri: str, *, write: bool) -> Iterator[MlflowClient]:
    """A client of the registry; on sqlite the only writer while the block runs."""
    if uri.partition(":")[0].partition("+")[0] not in _SCHEMES or "://" not in uri:
        raise ConfigError(
            f"publish.registry: {shown(uri)!r} is not an MLflow URI this version speaks",
            hint="write sqlite:///runs/mlflow.db or the https:// address of an MLflow server",
        )
    file = database.path(uri)
    client = _client_class()
    with _translated(uri):
        if file is None:
            yield client(uri, registry_uri=uri)
            return
        query = uri.partition("?")[2]
        there = f"sqlite:///{file}" + (f"?{query}" if query else "")
        if not write:
            database.probe(uri, file, write=False)
            yield client(there, registry_uri=there)
            return
        with database.ready(uri, file, _build):
            yield client(there, registry_uri=there)


def _client_class() -> type[MlflowClient]:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # Each failure is raised here in our own words; MLflow would log its traceback as well.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient  # type: ignore[no-any-return]


def _build(uri: str) -> None:
    _client_class()(uri, registry_uri=uri).search_experiments(max_results=1)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        raise _server_error(uri, error) from error
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"MLflow registry {shown(uri)} needs the package {error.name}",
            hint=f"pip install {error.name}",
        ) from error


def _server_error(uri: str, error: Exception) -> ServerError:
    text = str(error).strip().partition("\n")[0].replace(uri, shown(uri))
    status = getattr(error, "get_http_status_code", lambda: 500)()
    retryable = status in (429, 500, 502, 503, 504)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        text = "the database was made by another version of MLflow"
        hint = f"back it up, then: mlflow db upgrade {shown(uri)} (or install the newer MLflow)"
        retryable = False
    elif status in (401, 403):
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    elif status == 400:
        hint = "the registry answered and refused the value named above"
    elif uri.startswith("http"):
        hint = (
            "check that the MLflow server runs there, then run again; nothing is registered twice"
        )
    else:
        hint = "check publish.registry in the agent file, then run again"
    return ServerError(f"MLflow registry {shown(uri)}: {text}", hint=hint, retryable=retryable)


def shown(uri: str) -> str:
    """The URI without a password."""
    return re.sub(r"//[^/@]*@", "//***@", uri)
