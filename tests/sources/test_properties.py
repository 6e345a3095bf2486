"""Whatever stands in a file: the parser never raises, and no command leaves its alert's lines."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opslore.config_sources import RunbookSource
from opslore.errors import DataError
from opslore.sources.blocks import pieces
from opslore.sources.runbook import collect
from opslore.sources.shell import unfinished

WRITTEN = r"""
# X
## Y
### Alert: Z
#### Symptoms
## Mitigation
Title
=====
-----
**Symptoms:**
**Fix:** `df -h`
**Resolution:**
- **Severity:** high
Symptoms:
```bash
```
~~~
   ```console
- item
  - deeper
> quote
1. one
$ df -h
# chroot /host
kubectl get pods \
  -n x | grep y
cat <<EOF
EOF
for i in a; do
done
echo 'open
echo "$(
<!-- hidden
-->
---
    df -h
up == 0
kind: Pod
`kubectl get nodes`
[a]: b
| a | b |
| - | - |
<details>
</details>
{{< ref >}}
\`
` ` `
***
"""
LINES = st.one_of(
    st.sampled_from([*WRITTEN.split("\n"), "\tdf -h", "\ufeff", "\u2028x"]),
    st.text(max_size=30),
    st.text(alphabet="`*_#>-~|$<>\\ \t[]()'\"{}", max_size=20),
)
TEXTS = st.lists(LINES, max_size=40).map("\n".join)


def check(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "R.md").write_bytes(raw)
        try:
            found = collect(RunbookSource(path="R.md"), Path(folder))
        except DataError:
            return
    ends = 0
    for document in found.documents:
        span = document.span
        assert ends < span.first <= span.last
        ends = span.last
        assert document.text.count("\n") == span.last - span.first
        for command in document.commands:
            assert span.first <= command.first <= command.last <= span.last
            assert command.text.strip() == command.text != ""
        document.model_dump_json()
    for row in found.dropped:
        assert row.reason
        row.model_dump_json()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_any_lines(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"### Alert: X\n", b"\xff\xfe", b"\xfe\xff", b"---\n"]),
)
def test_any_bytes(raw: bytes, start: bytes) -> None:
    check(start + raw)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["", "bash", "console"]))
def test_pieces_stay_in_their_block_and_in_order(content: str, info: str) -> None:
    last = 9
    for piece in pieces(content, 10, info):
        assert last < piece.first <= piece.last <= 10 + content.count("\n")
        last = piece.last


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abif \n\t'\"`$(){}<>|&;\\#=EOF", max_size=80))
def test_the_lexer_never_raises(text: str) -> None:
    unfinished(text)
