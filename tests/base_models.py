"""Session fixtures with base models; a test module imports the ones it uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models

from opslore import models
from opslore.bundle import gguf as bundle_gguf


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this test run; parallel workers share it."""
    root = tmp_path_factory.getbasetemp()
    if root.name.startswith("popen-"):
        root = root.parent
    folder = root / "opslore-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_llama(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> models.Base:
    return models.resolve(str(tiny_models.llama(tmp_path_factory.mktemp("llama") / "llama.gguf")))


@pytest.fixture(scope="session")
def tiny_gemma(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> models.Base:
    return models.resolve(str(tiny_models.gemma(tmp_path_factory.mktemp("gemma") / "gemma.gguf")))


@pytest.fixture(scope="session")
def smollm2(model_cache: Path) -> models.Base:
    return models.resolve("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def smollm2_f16(smollm2: models.Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("smollm2") / "f16.gguf"
    bundle_gguf.write(smollm2.folder, out, "f16", smollm2, template(smollm2))
    return out


def template(base: models.Base) -> str:
    return (base.folder / "chat_template.jinja").read_text(encoding="utf-8")
