"""The servers as session fixtures: a test module says pytest_plugins = ["real.fixtures"].

Each starts when the first test asks for it and ends with the session. What a server said is shown
below the traceback of a failed test that used it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from . import emulate, flux, flyte1, kube, mlflow, node, ollama, s3
from . import helm as programs
from .parts import Missing, tail

T = TypeVar("T")
_LOGS: dict[str, list[Path]] = {}
"""The logs of each fixture that was started in this session."""


@pytest.fixture(scope="session")
def ollama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an Ollama without models."""
    yield from _served("ollama_server", ollama.serving, tmp_path_factory)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3]:
    """URL, access key and secret key of an S3 server without buckets."""
    yield from _served("s3_server", s3.serving, tmp_path_factory)


@pytest.fixture(scope="session")
def github_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulate.GitHub]:
    """URL and tokens of a GitHub with one empty repository (see emulate.py)."""
    yield from _served("github_server", emulate.serving, tmp_path_factory)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty MLflow tracking server."""
    yield from _served("mlflow_server", mlflow.serving, tmp_path_factory)


@pytest.fixture(scope="session")
def kube_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The path of a kubeconfig for an apiserver without nodes and controllers (see kube.py)."""
    yield from _served("kube_cluster", kube.serving, tmp_path_factory)


@pytest.fixture(scope="session")
def kube_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[node.Node]:
    """A cluster whose one node runs pods; only in `make test-cluster` (see node.py)."""
    yield from _served("kube_node", node.serving, tmp_path_factory)


@pytest.fixture(scope="session")
def helm() -> Path:
    """The path of helm."""
    return _or_without(programs.helm)


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """The path of kubectl."""
    return _or_without(programs.kubectl)


@pytest.fixture(scope="session")
def flux_definitions() -> list[Path]:
    """The files with Flux's CustomResourceDefinitions (see flux.py)."""
    return _or_without(flux.definitions)


@pytest.fixture(scope="session")
def flyte1_programs() -> Path:
    """The folder of Flyte 1's programs, and of a Python that has its SDK (see flyte1.py)."""
    return _or_without(flyte1.programs)


@pytest.fixture(scope="session")
def llama_quantize() -> Path:
    """The path of llama.cpp's quantizer."""
    return _or_without(ollama.llama_quantize)


def _served(
    fixture: str,
    serving: Callable[[Path], AbstractContextManager[T]],
    factory: pytest.TempPathFactory,
) -> Iterator[T]:
    """Serve in a folder that pytest keeps for its last three runs."""
    room = factory.mktemp(fixture)
    context = serving(room)
    it = _or_without(context.__enter__)
    _LOGS[fixture] = sorted(room.glob("*.log"))
    try:
        yield it
    finally:
        context.__exit__(None, None, None)


def _or_without(get: Callable[[], T]) -> T:
    """What is there, or the end of the test: CI may not do without, a person may."""
    try:
        return get()
    except Missing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the last words of the servers under the traceback of a failed test."""
    report = yield
    if report.failed:
        for fixture in getattr(item, "fixturenames", ()):
            for log in _LOGS.get(fixture, []):
                report.sections.append((f"{log}", tail(log)))
    return report
