"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
