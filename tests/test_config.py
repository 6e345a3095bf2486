"""The agent file: every mistake answers with file, key and the nearest key there is."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from opslore import config, config_sources, starter
from opslore.config import Agent
from opslore.errors import ConfigError

ROOT = Path(__file__).parents[1]
LEAST = "name: sre\ncollect: [{path: RUNBOOK.md}]\n"


def load(tmp_path: Path, text: str | bytes) -> Agent:
    path = tmp_path / "sre.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return config.load(path)


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return caught.value.message.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("path", sorted((ROOT / "agents").glob("*.yaml")), ids=lambda p: p.name)
def test_the_agents_of_the_repository_load(path: Path) -> None:
    agent = config.load(path)
    assert agent.name.startswith(("agent-sre", "linkerd"))


def test_two_lines_are_enough(tmp_path: Path) -> None:
    agent = load(tmp_path, LEAST)
    assert agent == Agent(name="sre", collect=[config_sources.RunbookSource(path="RUNBOOK.md")])
    assert agent.train == config.Train()
    assert agent.deploy == []


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode()).name == "sre"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            LEAST + "train: {rnak: 4}\n",
            "sre.yaml: train.rnak: not a key of train (did you mean lora_rank?)",
        ),
        (
            LEAST + "trian: {}\n",
            "sre.yaml: trian: not a key of the agent file (did you mean train?)",
        ),
        (
            LEAST + "evaluate: {gate: {recal: 1}}\n",
            "sre.yaml: evaluate.gate.recal: not a key of evaluate.gate (did you mean recall?)",
        ),
        (
            "name: sre\ncollect: [{path: a, feilds: {}}]\n",
            "sre.yaml: collect.0.feilds: not a key of collect.0 (did you mean fields?)",
        ),
        (
            LEAST + "deploy: [{kind: folder, path: a, zzz: b}]\n",
            "sre.yaml: deploy.0.zzz: not a key of deploy.0",
        ),
        (
            LEAST + "train: {learning_rate: 0}\n",
            "sre.yaml: train.learning_rate: Input should be greater than 0; got 0",
        ),
        (
            LEAST + "train: {iters: many}\n",
            "sre.yaml: train.iters: Input should be a valid integer, unable to parse string as an"
            " integer; got 'many'",
        ),
        (
            LEAST + "export: {quantization: q5}\n",
            "sre.yaml: export.quantization: Input should be 'f16', 'q8_0' or 'q4_k_m'; got 'q5'",
        ),
        (
            "name: Not A Name\ncollect: [{path: a}]\n",
            "sre.yaml: name: must be 1-40 of a-z, 0-9 and -, and start and end with a-z or 0-9;"
            " got 'Not A Name'",
        ),
        (
            LEAST + "store: gs://models\n",
            "sre.yaml: store: 'gs://models' is neither a folder nor s3://bucket/prefix;"
            " got 'gs://models'",
        ),
        (
            LEAST + "deploy: [{kind: ollama, modell: b}]\n",
            "sre.yaml: deploy.0.modell: not a key of deploy.0 (did you mean model?)",
        ),
        (
            LEAST + "deploy: [{kind: olama}]\n",
            "sre.yaml: deploy.0: Input tag 'olama' found using 'kind' does not match any of the"
            " expected tags: 'folder', 'ollama', 'values', 'resource'; got {'kind': 'olama'}",
        ),
        (
            LEAST + "deploy: [{kind: ollama, job: {imge: a}}]\n",
            "sre.yaml: deploy.0.job.imge: not a key of deploy.0.job (did you mean image?)",
        ),
        (
            "name: sre\ncollect: [{path: a, fields: {cause: [Ursache]}}]\n",
            "sre.yaml: collect.0.fields: 'cause' is not a field of an alert; there are symptoms,"
            " investigation, resolution, severity; got {'cause': ['Ursache']}",
        ),
        ("collect: [{path: a}]\n", "sre.yaml: name: missing"),
        ("name: sre\n", "sre.yaml: collect: missing"),
        (
            "name: sre\ncollect: []\n",
            "sre.yaml: collect: List should have at least 1 item after validation, not 0; got []",
        ),
        ("", "sre.yaml: expected keys such as `name:` and `collect:`, found none"),
        ("- a\n- b\n", "sre.yaml: expected keys such as `name:` and `collect:`, found none"),
        (
            LEAST + "train: &t {iters: 1}\nexport: *t\n",
            "sre.yaml: YAML aliases (*t) are not allowed",
        ),
        (b"name: \xff\xfe\n", "sre.yaml: not UTF-8 text: invalid start byte at byte 6"),
        (
            "name: sre\ncollect: [\n",
            "sre.yaml:3: expected the node content, but found '<stream end>'",
        ),
        ("name: sre\nname: two\n", 'sre.yaml:2: found duplicate key "name" with value "two"'),
        (
            "name: !!python/object:os.system x\ncollect: []\n",
            "sre.yaml:1: could not determine a constructor for the tag"
            " 'tag:yaml.org,2002:python/object:os.system'",
        ),
    ],
)
def test_every_mistake_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    said = refused(tmp_path, text)
    assert said.startswith(message)
    assert len(said) < len(message) + 80


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, LEAST + "train: {rnak: 4, iters: 0}\nexprot: {}\n")
    assert sorted(said.splitlines()) == [
        "sre.yaml: exprot: not a key of the agent file (did you mean export?)",
        "sre.yaml: train.iters: Input should be greater than or equal to 1; got 0",
        "sre.yaml: train.rnak: not a key of train (did you mean lora_rank?)",
    ]


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert caught.value.message == f"{path}: No such file or directory"
    assert caught.value.hint == f"write one with: opslore init {path}"
    with pytest.raises(ConfigError, match="Is a directory"):
        config.load(tmp_path)


def test_a_huge_file_is_not_parsed(tmp_path: Path) -> None:
    text = LEAST + "# " + "x" * config.MAX_BYTES
    assert refused(tmp_path, text) == (
        f"sre.yaml: {len(text)} bytes; an agent file has at most {config.MAX_BYTES}"
    )


def test_a_deeply_nested_file_is_refused(tmp_path: Path) -> None:
    for text in ("name: " + "[" * 100_000, "name: " + "{a: " * 100_000, "- " * 100_000):
        began = time.process_time()
        assert refused(tmp_path, text) == "sre.yaml: nested more than 20 deep"
        assert time.process_time() - began < 5


class TestStarter:
    def test_it_loads_and_every_value_is_the_default(self, tmp_path: Path) -> None:
        path = tmp_path / "agents" / "My SRE.yaml"
        starter.write(path)
        agent = config.load(path)
        assert agent == Agent(
            name="my-sre", collect=[config_sources.RunbookSource(path=agent.collect[0].path)]
        )

    def test_every_key_stands_there_with_what_it_means(self, tmp_path: Path) -> None:
        text = starter.render(tmp_path / "sre.yaml")
        flat = " ".join(line.strip(" #") for line in text.splitlines())

        def fields(model: Any) -> None:
            for name, field in model.model_fields.items():
                assert f"{name}:" in text, name
                assert " ".join((field.description or "").split()) in flat, name

        sections = [Agent, config_sources.RunbookSource, config.Prepare, config.Train]
        sections += [config.Export, config.Evaluate, config.Thresholds, config.Publish]
        for section in sections:
            fields(section)
        assert "at least 0, at most 0.5" in text
        assert "one of f16, q8_0, q4_k_m" in text
        assert all(len(line) <= 100 for line in text.splitlines() if str(tmp_path) not in line)

    def test_the_examples_in_its_comments_load(self, tmp_path: Path) -> None:
        lines = starter.render(tmp_path / "sre.yaml").splitlines()
        examples = [line.split("Example: ")[1] for line in lines if "Example: " in line]
        assert len(examples) == len(starter.EXAMPLES)
        where = {"paraphraser": "prepare: {%s}\n", "judge": "evaluate: {%s}\n", "deploy": "%s\n"}
        for example in examples:
            agent = load(tmp_path, LEAST + where[example.split(":")[0]] % example)
            assert agent.prepare.paraphraser or agent.evaluate.judge or agent.deploy

    def test_it_overwrites_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "sre.yaml"
        path.write_text("mine")
        with pytest.raises(ConfigError) as caught:
            starter.write(path)
        assert caught.value.message == f"{path}: exists already"
        assert path.read_text() == "mine"

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match=re.escape(f"{tmp_path / 'file'}: File exists")):
            starter.write(tmp_path / "file" / "sre.yaml")

    @pytest.mark.parametrize(
        ("stem", "name"),
        [("SRE", "sre"), ("my agent_2", "my-agent-2"), ("---", "agent"), ("x" * 60, "x" * 40)],
    )
    def test_the_agent_is_named_like_its_file(self, stem: str, name: str) -> None:
        assert starter.slug(stem) == name

    def test_the_runbook_that_lies_there_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert starter.runbook(Path("agents/sre.yaml")) == "RUNBOOK.md"
        (tmp_path / "runbooks").mkdir()
        assert starter.runbook(Path("agents/sre.yaml")) == "runbooks"
        (tmp_path / "agents").mkdir()
        (tmp_path / "agents" / "RUNBOOK.md").write_text("")
        assert starter.runbook(Path("agents/sre.yaml")) == "agents/RUNBOOK.md"
