"""A dataset of answers in prose, made by hand as `prepare` writes it, and a tiny model's agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opslore import steps, store
from opslore.cards import Corpus, Dataset, Document, Dropped, Example, Message, Span, Turn
from opslore.config import Agent
from opslore.index import Index
from opslore.sources import Collected
from opslore.sources.coverage import coverage
from opslore.store import Store

SYSTEM = "You are an expert on Ferry, a service mesh. Answer in Markdown."

PAGES = [
    ("Checking the proxies", "Run `ferry check --proxy` after each upgrade. The proxies answer on"
     " port 4191, and `ferry.io/inject: enabled` is the annotation that brings them in."),
    ("Reading the logs", "```bash\n$ kubectl logs deploy/web -c ferry-proxy -n shop\n```\nThe"
     " container is called `ferry-proxy`; raise its level with `config.ferry.io/log-level`."),
    ("Retries", "Retries are set in a `ServiceProfile`. Use `ferry profile --template web -n shop`"
     " to write one, then `kubectl apply -f web.yaml`."),
    ("Upgrading", "Upgrade with `helm upgrade ferry ferry/ferry-control-plane -n ferry`. The"
     " identity issuer has to be valid for at least 60 days."),
    ("Metrics", "`ferry viz stat deploy -n shop` prints success rates; Prometheus scrapes"
     " port 4191 under `/metrics` every 10 seconds."),
    ("Skipping ports", "Set `config.ferry.io/skip-outbound-ports: \"3306\"` on the pod template for"
     " MySQL, because it speaks first. Then restart with `kubectl rollout restart deploy/web`."),
    ("Removing a mesh", "`ferry uninstall | kubectl delete -f -` removes the control plane; take"
     " the annotation away first and restart the pods."),
    ("Certificates", "The trust anchor is in the secret `ferry-identity-trust-roots`. Rotate it"
     " with `step certificate create root.ferry ca.crt ca.key` before it expires."),
]  # fmt: skip
THREAD = Document(
    id="github:ferry/ferry#7",
    kind="issue",
    title="Proxy does not start on ARM",
    text="It crashes at once.",
    author="somebody",
    trust="T3",
    span=Span(file="https://github.com/ferry/ferry/issues/7", first=1, last=1),
    origin="issues ferry/ferry",
    product="Ferry",
    state="completed",
    turns=[
        Turn(kind="body", text="It crashes. I ran `rm -rf /var/lib/ferry`.", author="somebody",
             created="2026-01-01T10:00:00Z"),
        Turn(text="Use the edge release: `ferry install --set proxy.image.version=edge-26.1.1`.",
             author="mate", association="MEMBER", trust="T2", created="2026-01-02T10:00:00Z"),
    ],
)  # fmt: skip


def documents() -> list[Document]:
    """The pages, and a thread in which a stranger and a maintainer write."""
    pages = [
        Document(
            id=f"docs:manual/{number}.md",
            kind="page",
            title=title,
            text=text,
            trust="T2",
            span=Span(file=f"manual/{number}.md", first=1, last=9, commit="c0ffee"),
            origin="docs manual",
            product="Ferry",
        )
        for number, (title, text) in enumerate(PAGES)
    ]
    return [*pages, THREAD]


def example(number: int, split: str, question: str, answer: str, group: str) -> Example:
    """One pair as `prepare` would have written it."""
    return Example(
        id=f"{split}-{number:04}",
        messages=[
            Message(role="system", content=SYSTEM),
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ],
        target=answer,
        source=Span(file=group, first=1, last=9),
        group=group,
        split=split,
        labels={"source": "docs manual", "tier": "T2", "url": ""},
        family="docs",
        question=question,
        book="closed",
    )


def examples() -> list[Example]:
    """Two questions about each page; whole pages are for training or for the test."""
    out = []
    for number, (title, text) in enumerate(PAGES):
        split = "test" if number in (0, 3, 5) else "valid" if number == 6 else "train"
        for part, form in enumerate(("In Ferry 2, what about {}?", "How does Ferry do {}?")):
            answer = text if part == 0 else f"In short: {text}"
            question = form.format(title.lower())
            out.append(example(2 * number + part, split, question, answer, f"manual/{number}.md"))
    return out


def write(folder: Path) -> dict[str, Any]:
    """A dataset folder; returns the fields of its card."""
    rows = examples()
    counts = {}
    for split in ("train", "valid", "test"):
        among = [row for row in rows if row.split == split]
        store.write_rows(folder / f"{split}.jsonl", among)
        counts[split] = len(among)
    store.write_rows(folder / "documents.jsonl", documents())
    store.write_rows(folder / "dropped.jsonl", [Dropped(what="x", reason="too short")])
    store.write(folder / "sources.json", "[]\n")
    Index([]).write(folder)
    return {"splits": counts, "dropped": 1, "digest": store.sha256(folder / "train.jsonl")}


def agent(base: Path, home: Path, **more: Any) -> Agent:
    """An agent that answers in prose, with a tiny base model and few prompts."""
    given: dict[str, Any] = {
        "name": "ferry",
        "store": str(home),
        "base_model": str(base),
        "system_prompt": SYSTEM,
        "collect": [{"path": "RUNBOOK.md"}],
        "prepare": {"task": "answers"},
        "train": {"iters": 2, "lora_layers": 1, "batch_size": 2},
        "export": {"quantization": "f16", "num_ctx": 1024},
        "evaluate": {
            "max_tokens": 16,
            "general": 20,
            "prose": 5,
            "parity": 4,
            "resamples": 200,
            "known": ["Which port has the metrics of Ferry?"],
            "gate": {"min_test": 4},
        },
    }
    return Agent.model_validate({**given, **more})


def dataset(home: Store) -> Dataset:
    """Cards of a corpus and of the dataset made from it."""

    def corpus(work: Path) -> dict[str, Any]:
        store.write_rows(work / "documents.jsonl", documents())
        store.write_rows(work / "dropped.jsonl", [])
        found = coverage(Collected([], [], ""), [])
        store.write(work / "coverage.json", found.model_dump_json() + "\n")
        return {"documents": len(documents()), "dropped": 0, "digest": "0" * 64}

    read = home.made(Corpus, [], [], corpus, facts=["by hand"])
    return home.made(Dataset, {"by": "hand"}, [read], write)


def evaluated(settings: Agent) -> tuple[Any, Any, Any]:
    """Train, export and evaluate; the three cards."""
    home = steps.store_of(settings)
    made = dataset(home)
    adapter = steps.train(settings, made)
    bundle = steps.export(settings, adapter)
    return adapter, bundle, steps.evaluate(settings, made, bundle)
