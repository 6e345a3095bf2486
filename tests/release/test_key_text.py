"""A signing key that comes as text, as a cluster gives its secrets to pods."""

from __future__ import annotations

from pathlib import Path

import pytest
from release import release_world

from opslore.errors import ConfigError
from opslore.release import keys


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (keys.KEY, keys.PASSWORD, keys.TRUSTED):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "opslore"


def test_the_text_signs_and_verifies_as_its_file_does(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = release_world.key(tmp_path / "team.pem")
    monkeypatch.setenv(keys.KEY, str(path))
    by_path = keys.private()
    monkeypatch.setenv(keys.KEY, path.read_text().strip())  # a secret may lose its last newline
    by_text = keys.private()
    assert by_text.public == by_path.public
    assert keys.trusted() == [by_path.public]
    assert by_text.path.stat().st_mode & 0o777 == 0o600
    assert not (home / "signing.pem").exists()  # no key is made beside the one that was given


def test_text_that_is_no_key_is_an_error_that_does_not_quote_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.KEY, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----")
    with pytest.raises(ConfigError, match="not a private key in PEM") as caught:
        keys.private()
    assert "c2VjcmV0" not in str(caught.value) + caught.value.hint
