"""Ops lore in, a small local model out.

```python
import opslore

agent = opslore.load("agents/sre.yaml")
opslore.run(agent)
print(opslore.ask(agent, "KubePodCrashLooping in namespace payments").command)
```

The names below are the public ones; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opslore.answer import Answer, ask
    from opslore.cards import (
        Adapter,
        Bundle,
        Corpus,
        Dataset,
        Deployment,
        Document,
        Evaluation,
        Example,
        Finding,
        Release,
        Result,
    )
    from opslore.config import Agent, load
    from opslore.errors import (
        ConfigError,
        DataError,
        GateFailed,
        IntegrityError,
        MissingExtra,
        MissingInput,
        OpsloreError,
        ServerError,
        SourceError,
    )
    from opslore.index import Index
    from opslore.lineage import Trace, trace
    from opslore.steps import collect, deploy, evaluate, export, prepare, publish, run, train
    from opslore.store import VERSION as __version__
    from opslore.store import Store

_HOMES = {
    "answer": "Answer ask",
    "cards": "Adapter Bundle Corpus Dataset Deployment Document Evaluation Example Finding"
    " Release Result",
    "config": "Agent load",
    "errors": "ConfigError DataError GateFailed IntegrityError MissingExtra MissingInput"
    " OpsloreError ServerError SourceError",
    "index": "Index",
    "lineage": "Trace trace",
    "steps": "collect deploy evaluate export prepare publish run train",
    "store": "Store",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Adapter",
    "Agent",
    "Answer",
    "Bundle",
    "ConfigError",
    "Corpus",
    "DataError",
    "Dataset",
    "Deployment",
    "Document",
    "Evaluation",
    "Example",
    "Finding",
    "GateFailed",
    "Index",
    "IntegrityError",
    "MissingExtra",
    "MissingInput",
    "OpsloreError",
    "Release",
    "Result",
    "ServerError",
    "SourceError",
    "Store",
    "Trace",
    "__version__",
    "ask",
    "collect",
    "deploy",
    "evaluate",
    "export",
    "load",
    "prepare",
    "publish",
    "run",
    "trace",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing opslore stays light."""
    if name == "__version__":
        return import_module("opslore.store").VERSION
    if name not in _HOME:
        raise AttributeError(f"module 'opslore' has no attribute {name!r}")
    return getattr(import_module(f"opslore.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
