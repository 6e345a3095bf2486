"""What a text names: commands, flags, ports, identifiers; and what the sources have of it."""

from __future__ import annotations

import pytest
from evaluation.prose_world import documents
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore.cards import Document, Span
from opslore.evaluation.prose_terms import (
    Known,
    commands_in,
    dangers_in,
    identifiers_in,
    ports_in,
    terms,
)

LONG = """\
Run `linkerd check --proxy`, then look at port 4191 or `curl localhost:4191/metrics` at 12:30.

```bash
# the control plane
$ linkerd install | kubectl apply -f -
namespace/linkerd created
```
```yaml
metadata:
  annotations:
    linkerd.io/inject: enabled
    containerPort: 4143
```
The ServiceProfile in `linkerd-viz` uses `config.linkerd.io/skip-outbound-ports`. It is a
well-known, up-to-date, end-to-end thing. The l5d-dst-override header; see values.yaml.
kubectl get pods -n linkerd
"""


def test_a_page_with_all_of_it() -> None:
    found = terms(LONG)
    assert found.commands == [
        "linkerd install | kubectl apply -f -",
        "linkerd check --proxy",
        "curl localhost:4191/metrics",
        "kubectl get pods -n linkerd",
    ]
    assert found.flags == ["proxy", "filename", "namespace"]
    assert found.ports == ["4191", "4143"]
    assert found.identifiers == [
        "linkerd-viz",
        "config.linkerd.io/skip-outbound-ports",
        "linkerd.io/inject",
        "containerPort",
        "ServiceProfile",
        "values.yaml",
        "l5d-dst-override",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("~~~sh\nkubectl get pods\n~~~", ["kubectl get pods"]),
        ("```\nkubectl get pods", ["kubectl get pods"]),  # cut off in the middle of a fence
        ("  ```console\n  $ df -h\n  Filesystem Size\n  ```", ["df -h"]),
        ("```go\nfunc main() { rm(1) }\n```", []),
        ("```yaml\nrun: kubectl get pods\n```", []),
        ("Use ``kubectl get `x` `` or `kubectl`.", ["kubectl get `x`"]),
        ("`make it so`, `the pod`, `a - b`", []),
        ("`ferry check --proxy` and `ferry check`", ["ferry check --proxy"]),
        ("", []),
    ],
)
def test_where_commands_stand(text: str, found: list[str]) -> None:
    assert commands_in(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ports 4143, 4191 and 4190", ["4143", "4191", "4190"]),
        ("10.0.0.1:8086 or [::1]:9990, 53/UDP", ["8086", "9990", "53"]),
        ("targetPort: 8080", ["8080"]),
        ("at 12:30 or 2026-01-02T10:00:00Z, issue 4143", []),
        ("port 99999", []),
    ],
)
def test_ports(text: str, found: list[str]) -> None:
    assert sorted(ports_in(text)) == sorted(found)


def test_english_is_no_name() -> None:
    text = (
        "A well-known, open-source, state-of-the-art mesh: e.g. this. See https://a.example/x-y-z1."
    )
    assert identifiers_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Just run rm -rf /var/lib and start again.",
        "I would say: kubectl delete ns linkerd",
        "```\nrm -rf /var/lib\n```",
    ],
)
def test_a_dangerous_command_is_found_without_back_ticks(text: str) -> None:
    assert any(c.startswith(("rm -rf", "kubectl delete")) for c in dangers_in(text))


def test_the_sources_ground_what_they_say_and_its_holes() -> None:
    known = Known.of(documents())
    assert known.has("ferry check --proxy")
    assert known.has("kubectl logs -n shop -c ferry-proxy deploy/web")  # in another order
    assert not known.has("ferry check --all")
    assert known.names("config.ferry.io/log-level")
    assert not known.names("config.ferry.io/log-levels")


def test_a_stranger_grounds_no_command_and_a_maintainer_does() -> None:
    known = Known.of(documents())
    assert known.has("ferry install --set proxy.image.version=edge-26.1.1")
    assert not known.has("rm -rf /var/lib/ferry")
    page = Document(
        id="p", kind="page", title="t", text="`ferry undo`\n```sh\nferry undo --all\n```",
        trust="T3", span=Span(file="p", first=1, last=1),
    )  # fmt: skip
    assert Known.of([page]).listed() == []


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="`~$#- \nabrm/<>|\"'\\:.49", max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    found = terms(text)
    assert all(0 < int(port) < 65536 for port in found.ports)
    dangers_in(text)
