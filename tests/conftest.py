"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _at_home_nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys and what was deployed go to a folder of the tests, not to the person's own."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real runbooks that nobody here wrote; never copied into the project."""
    named = os.environ.get("OPSLORE_SHARED_DATA", "")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        message = (
            f"{folder} is not there: set OPSLORE_SHARED_DATA to the folder with the real runbooks"
        )
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of a test run share, for what is slow to make."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own
