"""Backends by name: a module is the plug."""

from __future__ import annotations

from pathlib import Path

import pytest

from opslore import servers
from opslore.errors import ConfigError, MissingExtra


def test_a_name_is_a_module() -> None:
    backend = servers.load("llamacpp")
    assert backend.Server.__module__ == "opslore.servers.llamacpp"
    assert servers.load("opslore.servers.llamacpp") is backend


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no server 'lamacpp'; there are .*llamacpp") as caught:
        servers.load("lamacpp")
    assert caught.value.hint == "did you mean llamacpp?"


def test_a_dotted_path_is_the_door_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "good.py").write_text("class Server:\n    pass\n")
    (package / "empty.py").touch()
    (package / "needy.py").write_text("import a_package_nobody_has\n")
    assert servers.load("theirs.good").Server.__name__ == "Server"
    with pytest.raises(ConfigError, match=r"theirs\.empty has no class Server"):
        servers.load("theirs.empty")
    with pytest.raises(ConfigError, match=r"no server 'theirs\.absent'"):
        servers.load("theirs.absent")
    with pytest.raises(ConfigError, match=r"no server 'absent\.package'"):
        servers.load("absent.package")
    with pytest.raises(MissingExtra, match="needs 'a_package_nobody_has'") as caught:
        servers.load("theirs.needy")
    assert caught.value.hint == "pip install a_package_nobody_has"
