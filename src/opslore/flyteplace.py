"""The Flyte cluster that is configured here: its address, and questions to it.

Which one it is stands in Flyte's own configuration: `.flyte/config.yaml`, ~/.flyte/config.yaml, or
the variable FLYTE_ADMIN_ENDPOINT. Flyte is imported when a function is called, not before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from opslore import waiting
from opslore.errors import ConfigError, MissingExtra, MissingInput, ServerError

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds in which the cluster must answer a question."""


def connect(project: str = "", domain: str = "") -> str:
    """Read Flyte's configuration; the cluster's address. Nothing is asked of the cluster yet.

    Raises:
        MissingExtra: the SDK is not installed.
        ConfigError: no cluster, project or domain is configured.
    """
    try:
        import flyte
        import flyte.config
    except ImportError as error:
        raise MissingExtra(
            "runs in a cluster need Flyte's SDK, which is not installed",
            hint="pip install 'opslore[flyte]'",
        ) from error
    found = flyte.config.auto()
    where = f" in {found.source}" if found.source else ""
    if not found.platform.endpoint:
        raise ConfigError(
            f"no Flyte cluster is configured{where or ' here'}",
            hint="write .flyte/config.yaml: flyte create config --endpoint HOST "
            "--project PROJECT --domain DOMAIN -o .flyte/config.yaml",
        )
    project, domain = project or found.task.project or "", domain or found.task.domain or ""
    if not (project and domain):
        raise ConfigError(
            f"no {'domain' if project else 'project'} of {found.platform.endpoint} is named{where}",
            hint="--project PROJECT --domain DOMAIN, or task.project and task.domain in the file",
        )
    flyte.init_from_config(found, project=project, domain=domain, log_level=logging.ERROR)
    return str(found.platform.endpoint)


def asked(endpoint: str, call: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What the cluster answers, within a time; its failures in our own words."""
    import flyte.errors
    from connectrpc.code import Code
    from connectrpc.errors import ConnectError

    try:
        return waiting.within(seconds, call)
    except TimeoutError as error:
        message = f"Flyte at {endpoint} did not answer within {seconds:g} s"
        raise ServerError(message, hint="try again later", retryable=True) from error
    except ConnectError as error:
        if error.code == Code.NOT_FOUND:
            raise MissingInput(f"Flyte at {endpoint}: {error.message}") from error
        passing = error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELED)
        message = f"Flyte at {endpoint} did not answer" if passing else f"Flyte at {endpoint}"
        raise ServerError(f"{message}: {error.message}", retryable=passing) from error
    except flyte.errors.RuntimeSystemError as error:
        raise ServerError(f"Flyte at {endpoint}: {error}", retryable=True) from error


def known_here(endpoint: str) -> bool:
    """Whether the cluster can be asked without a browser that opens to log in."""
    import flyte.config

    found = flyte.config.auto().platform
    if found.insecure or found.auth_mode not in ("Pkce", "DeviceFlow", None):
        return True
    from flyte.remote._client.auth._keyring import KeyringStore

    return KeyringStore.retrieve(endpoint, disable=found.disable_keyring) is not None
