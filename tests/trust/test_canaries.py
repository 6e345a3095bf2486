"""Twenty canaries in a tiny corpus: none comes out of the functions that every text passes."""

from __future__ import annotations

import random

from test_secrets import KINDS

from opslore.dataset.quarantine import suspicious, visible
from opslore.dataset.secrets import Scanner


def test_no_canary_leaves() -> None:
    canaries = [
        (kind, *plant(random.Random(f"canary/{kind}"))) for kind, plant in list(KINDS.items())[:20]
    ]
    assert len(canaries) == 20
    scanner, out = Scanner(), []
    for number, (_, line, secret) in enumerate(canaries):
        post = (
            f"Hello,\n<!-- describe it -->\npod {number} fails:\n```\n{line % secret}\n```\nThanks"
        )
        assert suspicious(post) == ""
        out.append(scanner.masked(visible(post)).text)
    written = "\n".join(out)
    for kind, _, secret in canaries:
        for part in secret.splitlines():
            assert part.startswith("---") or part not in written, kind
    assert "describe it" not in written
