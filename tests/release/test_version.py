from __future__ import annotations

import pytest

from opslore.errors import DataError
from opslore.release.version import checked, version

ID = "0123abcd" + "0" * 56


def test_day_and_digest() -> None:
    assert version(ID, "2026-01-31T10:00:00+00:00") == "v20260131-0123abcd"


def test_the_day_is_the_same_everywhere() -> None:
    assert version(ID, "2026-02-01T01:30:00+02:00") == "v20260131-0123abcd"
    assert version(ID, "2026-01-31T23:30:00") == "v20260131-0123abcd"


def test_what_it_gives_passes_its_own_check() -> None:
    assert checked(version(ID, "2026-01-31")) == "v20260131-0123abcd"


@pytest.mark.parametrize("bundle", ["", "0123", "not-a-digest", "../../etc", ID.upper()])
def test_an_id_that_is_no_digest(bundle: str) -> None:
    with pytest.raises(DataError, match="is not a SHA-256 in lower-case hex digits"):
        version(bundle, "2026-01-31T10:00:00+00:00")


def test_a_time_that_is_none() -> None:
    with pytest.raises(DataError, match="'yesterday' is not an ISO 8601 time"):
        version(ID, "yesterday")


@pytest.mark.parametrize("name", ["", "v1", "../v20260131-0123abcd", "v20260131-0123abcd\n"])
def test_a_name_that_is_no_version(name: str) -> None:
    with pytest.raises(DataError, match="is not a release version"):
        checked(name)
