"""llama.cpp in process: the same prompt and the same tokens as transformers, from our GGUF."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from base_models import template

from opslore import models
from opslore.bundle import gguf
from opslore.cards import Message
from opslore.errors import DataError, IntegrityError, ServerError
from opslore.servers import Reply
from opslore.servers.llamacpp import Server

pytest_plugins = ["base_models"]

BOTH = pytest.mark.parametrize("which", ["tiny_llama", "tiny_gemma"])
CONVERSATIONS = [
    [Message(role="user", content="What is 2+2?")],
    [
        Message(role="system", content="You are an SRE. Answer with one command."),
        Message(
            role="user", content='PodCrashLooping: größer  als\n\n\t\'3\' {"pod": "web-12345"}'
        ),
    ],
    [
        Message(role="system", content="Short."),
        Message(role="user", content="Which pods?"),
        Message(role="assistant", content="kubectl get pods -A"),
        Message(role="user", content="<b>Only</b> those in `monitoring`!"),
    ],
]


def transformers_greedy(folder: Path, prompts: list[str], tokens: int) -> list[str]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = []
    for prompt in prompts:
        read = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        made = model.generate(**read, max_new_tokens=tokens, do_sample=False)
        said.append(tokenizer.decode(made[0, read.input_ids.shape[1] :], skip_special_tokens=True))
    return said


def transformers_prompts(folder: Path) -> list[str]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        tokenizer.apply_chat_template(
            [turn.model_dump() for turn in turns], tokenize=False, add_generation_prompt=True
        )
        for turns in CONVERSATIONS
    ]


@BOTH
def test_a_tiny_model_says_the_same_in_both(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base: models.Base = request.getfixturevalue(which)
    gguf.write(base.folder, tmp_path / "tiny.gguf", "f16", base, template(base))
    with Server(tmp_path / "tiny.gguf", context=512) as server:
        prompts = [server.render(turns) for turns in CONVERSATIONS]
        assert prompts == transformers_prompts(base.folder)
        said = [server.complete(prompt, max_tokens=12).text for prompt in prompts]
    assert said == transformers_greedy(base.folder, prompts, 12)


@pytest.fixture(scope="module")
def server(smollm2_f16: Path) -> Iterator[Server]:
    with Server(smollm2_f16, context=512) as loaded:
        yield loaded


@pytest.fixture
def tiny(tiny_llama: models.Base) -> Iterator[Server]:
    assert tiny_llama.gguf is not None
    with Server(tiny_llama.gguf, context=512) as loaded:
        yield loaded


def test_smollm2_says_the_same_in_both(server: Server, smollm2: models.Base) -> None:
    prompts = [server.render(turns) for turns in CONVERSATIONS]
    assert prompts == transformers_prompts(smollm2.folder)
    said = [server.complete(prompt, max_tokens=16).text for prompt in prompts]
    assert said == transformers_greedy(smollm2.folder, prompts, 16)


def test_q8_0_stays_near_f16(
    server: Server, smollm2: models.Base, smollm2_f16: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q8_0.gguf"
    gguf.write(smollm2.folder, out, "q8_0", smollm2, template(smollm2))
    assert out.stat().st_size < 0.55 * smollm2_f16.stat().st_size
    exact = server.chat(CONVERSATIONS[0], max_tokens=8)
    with Server(out, context=512) as rounded:
        near = rounded.chat(CONVERSATIONS[0], max_tokens=8)
    assert near.text == exact.text
    assert near.confidence == pytest.approx(exact.confidence, abs=0.06)


def test_a_reply_does_not_depend_on_what_was_asked_before(server: Server) -> None:
    alone = server.chat(CONVERSATIONS[1], max_tokens=12)
    server.chat(CONVERSATIONS[2], max_tokens=4)
    again = server.chat(CONVERSATIONS[1], max_tokens=12)
    assert (again.text, again.confidence) == (alone.text, alone.confidence)


def test_a_reply_says_how_it_ended(server: Server) -> None:
    ended = server.chat(CONVERSATIONS[0], grammar='root ::= "kubectl get pods"', max_tokens=40)
    assert ended.text == "kubectl get pods"
    assert ended.stopped
    assert 0 < ended.confidence < 1
    cut = server.chat(CONVERSATIONS[0], max_tokens=3)
    assert (cut.stopped, cut.tokens) == (False, 3)
    assert 0 < cut.seconds < 60


def test_confidence_is_the_geometric_mean_of_the_probabilities(smollm2: models.Base) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder)
    model = AutoModelForCausalLM.from_pretrained(smollm2.folder, dtype=torch.float32)
    assert smollm2.gguf is not None
    with Server(smollm2.gguf, context=512) as server:
        prompt = server.render(CONVERSATIONS[0])
        reply = server.complete(prompt, max_tokens=5)
    ids = tokenizer(prompt + reply.text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.no_grad():
        logs = model(ids).logits[0, -6:-1].log_softmax(-1)
    mean = logs.gather(1, ids[0, -5:, None]).mean().item()
    assert reply.confidence == pytest.approx(math.exp(mean), abs=0.02)


def test_many_conversations_come_back_in_order(tiny: Server) -> None:
    heard: list[int] = []
    said = list(tiny.chat_many(CONVERSATIONS * 2, max_tokens=4, progress=heard.append))
    alone = [tiny.chat(turns, max_tokens=4).text for turns in CONVERSATIONS]
    assert [reply.text for reply in said] == alone * 2
    assert heard == [1, 2, 3, 4, 5, 6]


def test_engines_side_by_side_answer_in_order_too(tiny_llama: models.Base, tmp_path: Path) -> None:
    gguf.write(tiny_llama.folder, tmp_path / "t.gguf", "f16", tiny_llama, template(tiny_llama))
    grammar = 'root ::= [a-z]{3} "."'
    with Server(tmp_path / "t.gguf", context=256, parallel=3) as server:
        assert len(server._engines) == 3
        many: list[Reply] = list(server.chat_many(CONVERSATIONS * 3, grammar=grammar))
        alone = [server.chat(turns, grammar=grammar).text for turns in CONVERSATIONS]
    assert [reply.text for reply in many] == alone * 3


def test_a_prompt_beyond_the_context_is_an_error_not_a_cut(tiny: Server) -> None:
    with pytest.raises(DataError, match="need 600 tokens, the context has 512") as caught:
        tiny.complete(" word" * 600)
    assert "prepare.entries" in caught.value.hint
    with pytest.raises(DataError, match="the context has 512"):
        tiny.complete(" word" * 508, max_tokens=40)


def test_a_grammar_that_is_none_is_an_error(tiny: Server) -> None:
    with pytest.raises(DataError, match="cannot read the grammar"):
        tiny.chat(CONVERSATIONS[0], grammar="root ::= (")


def test_a_closed_server_does_not_answer(tiny_llama: models.Base, tmp_path: Path) -> None:
    assert tiny_llama.gguf is not None
    server = Server(tiny_llama.gguf, context=256)
    room = server._room
    assert [file.name for file in room.iterdir()] == ["0.sock"]
    server.close()
    assert not room.exists()
    with pytest.raises(ServerError, match="was closed"):
        server.complete("hi")


def test_opening_and_closing_at_once_does_not_hang(tiny_llama: models.Base) -> None:
    assert tiny_llama.gguf is not None
    for _ in range(10):
        with Server(tiny_llama.gguf, context=256):
            pass


def test_no_tcp_port_is_opened(server: Server) -> None:
    assert server._engines[0].listening_address.startswith("unix://")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no chat template inside"),
        ("{% for m in messages %}{{ m", "broken chat template"),
        ("{{ raise_exception('Conversation roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0].content.__class__.__mro__ }}", "refuses the turns user"),
    ],
)
def test_a_template_that_cannot_be_used_is_an_error(
    tiny_llama: models.Base, tmp_path: Path, text: str, said: str
) -> None:
    gguf.write(tiny_llama.folder, tmp_path / "t.gguf", "f16", tiny_llama, text)
    with pytest.raises(DataError, match=said), Server(tmp_path / "t.gguf", context=256) as server:
        server.chat(CONVERSATIONS[0])


def test_a_damaged_model_is_not_loaded(tiny_llama: models.Base, tmp_path: Path) -> None:
    assert tiny_llama.gguf is not None
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_llama.gguf.read_bytes()[:-1000])
    with pytest.raises(IntegrityError, match="damaged GGUF: tensor"):
        Server(cut)


def test_a_model_llama_cpp_does_not_know_is_a_server_error(
    tiny_llama: models.Base, tmp_path: Path
) -> None:
    assert tiny_llama.gguf is not None
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_llama.gguf.read_bytes().replace(b"llama", b"lhama"))
    with pytest.raises(ServerError, match=r"other\.gguf: llama\.cpp cannot load it"):
        Server(other)


def test_loading_and_asking_takes_seconds(smollm2_f16: Path) -> None:
    started = time.perf_counter()
    with Server(smollm2_f16, context=256) as server:
        server.chat(CONVERSATIONS[0], max_tokens=1)
    assert time.perf_counter() - started < 20


def test_an_end_that_the_grammar_forces_is_no_doubt(smollm2_f16: Path) -> None:
    """The commands are cut where one choice is left; the model would have gone on."""
    with Server(smollm2_f16, context=512) as server:
        turn = [Message(role="user", content="Count from one to ten in words, with commas.")]
        free = server.chat(turn, max_tokens=40)
        word = free.text.split()[0]
        cut = server.chat(turn, grammar=f'root ::= "{word}"', max_tokens=40)
    assert cut.text == word
    assert cut.confidence > 0.1
