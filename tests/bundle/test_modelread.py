"""Reading our own Modelfile back, and refusing everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from opslore.bundle import modelfile, modelread
from opslore.errors import IntegrityError, MissingInput

TEMPLATES = {
    "chatml": "{{ '<|im_start|>' }}",
    "gemma": "{{ '<start_of_turn>' }}",
    "functiongemma": "{{ '<start_of_turn>developer' }}{{ '<start_function_call>' }}",
}
PARAMETERS = {"num_ctx": 4096, "temperature": 0.0, "min_p": 1e-05, "num_predict": 160}


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("system", ["", 'You are an SRE.\nPARAMETER "x" 1\nSay "df -h", or ask'])
def test_what_was_written_is_read_back(tmp_path: Path, family: str, system: str) -> None:
    template = TEMPLATES[family]
    text = modelfile.render("m.gguf", template, system, modelfile.stops(template), PARAMETERS)
    (tmp_path / "Modelfile").write_text(text)
    found = modelread.read(tmp_path / "Modelfile")
    assert found.gguf == "m.gguf"
    assert found.system == system
    assert found.stops == modelfile.stops(template)
    assert found.parameters == PARAMETERS
    rendered = family == "functiongemma"
    assert found.template == ("" if rendered else modelfile.go_template(template))
    assert found.renderer == found.parser == ("functiongemma" if rendered else "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "FROM is missing"),
        ("FROM /etc/passwd\n", "FROM /etc/passwd, not a file beside it"),
        ("FROM ./../model.gguf\n", "not a file beside it"),
        ("FROM ./.gguf\n", "not a file beside it"),
        ("FROM ./a.gguf\nFROM ./b.gguf\n", ":2: not what `export` writes: 'FROM ./b.gguf'"),
        ("FROM ./a.gguf", ":1: not what"),
        ("FROM ./a.gguf\n# hello\n", ":2: not what"),
        ("from ./a.gguf\n", ":1: not what"),
        ("FROM ./a.gguf\nADAPTER ./b.gguf\n", ":2: not what"),
        ("FROM ./a.gguf\nSYSTEM hello\n", ":2: not what"),
        ('FROM ./a.gguf\nRENDERER """x"""\n', ":2: not what"),
        ('FROM ./a.gguf\nSYSTEM """one\ntwo\n', ":2: not what"),
        ("FROM ./a.gguf\nPARAMETER num_ctx many\n", ":2: not what"),
        ("FROM ./a.gguf\nPARAMETER num_ctx 1\nPARAMETER num_ctx 2\n", ":3: not what"),
        ("FROM ./a.gguf\nPARAMETER stop 5\n", ":2: not what"),
        ('FROM ./a.gguf\nPARAMETER num_ctx """4096"""\n', ":2: not what"),
    ],
)
def test_what_export_never_writes_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "Modelfile").write_text(text)
    with pytest.raises(IntegrityError, match=said):
        modelread.read(tmp_path / "Modelfile")


def test_bytes_that_are_no_text_and_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="opslore export"):
        modelread.read(tmp_path / "Modelfile")
    (tmp_path / "Modelfile").write_bytes(b"FROM \xff\n")
    with pytest.raises(IntegrityError, match="not UTF-8"):
        modelread.read(tmp_path / "Modelfile")
