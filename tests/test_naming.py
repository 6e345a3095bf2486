"""Names that nobody introduces are read where they can be nothing else, and else left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore import commands, naming

RESTART = "kubectl rollout restart deployment <deployment> -n <namespace>"
LOGS = "kubectl logs <pod> -n <namespace>"


@pytest.mark.parametrize(
    ("question", "command", "wanted"),
    [
        ("mail-0 in post says disk full", LOGS, "kubectl logs mail-0 -n post"),
        ("cart-7d9c4bfb6-x2kqz (shop) is dead", LOGS, "kubectl logs cart-7d9c4bfb6-x2kqz -n shop"),
        ("ns post, mail-0 does not answer", LOGS, "kubectl logs mail-0 -n post"),
        ("mail-0 ns post: no answer", LOGS, "kubectl logs mail-0 -n post"),
        ("mail-0 hangs, kube-system I think", LOGS, "kubectl logs mail-0 -n kube-system"),
        ("the worker7 box is gone", "ssh <node> uptime", "ssh worker7 uptime"),
        ("10.1.2.3 does not answer", "ssh <node> uptime", "ssh 10.1.2.3 uptime"),
        (
            "our gallery deployment in photos shows the old page",
            RESTART,
            "kubectl rollout restart deployment gallery -n photos",
        ),
        (
            "billing-api (ns money) shows the old page",
            RESTART,
            "kubectl rollout restart deployment billing-api -n money",
        ),
        ("pool attic is slow", "zpool scrub <zpool>", "zpool scrub attic"),
        ("the attic pool is slow", "zpool scrub <zpool>", "zpool scrub attic"),
        ("a disk is dying: /dev/sdq", "smartctl -t long <device>", "smartctl -t long /dev/sdq"),
        ("mail-0 (pod) in post", LOGS, "kubectl logs mail-0 -n post"),
        ("nobody can write to /srv/www", "mount <mountpoint>", "mount /srv/www"),
        ("gpu 3 is at 95 degrees", "nvidia-smi -i <gpu> -pl 220", "nvidia-smi -i 3 -pl 220"),
        ("the schedule is called sundays", "velero schedule unpause <schedule>",
         "velero schedule unpause sundays"),
        ("mistral:7b answers nonsense", "ollama stop <model>", "ollama stop mistral:7b"),
    ],
)  # fmt: skip
def test_a_name_is_read_by_its_form_and_the_words_around_it(
    question: str, command: str, wanted: str
) -> None:
    assert naming.filled(question, command, {}) == wanted


@pytest.mark.parametrize(
    ("question", "command"),
    [
        ("pods keep restarting in production, help", LOGS),
        ("web-0 and web-1 are both down", LOGS),
        ("it hangs in Terminating", LOGS),
        ("connections are idle in transaction", LOGS),
        ("worker1 and worker2 do not answer", "ssh <node> uptime"),
        ("restarted 14 times since 10:30, exit 137, v1.2.3", LOGS),
        ("our deployment hangs, what now?", RESTART),
        ("the deployment is running", RESTART),
        ("different nodes show it", RESTART),
        ("pool gets slow", "zpool scrub <zpool>"),
        ("95 degrees in the rack", "nvidia-smi -i <gpu> -pl 220"),
        ("see https://wiki.example.com/web-0 for it", LOGS),
    ],
)
def test_what_could_be_prose_or_two_things_fills_nothing(question: str, command: str) -> None:
    assert naming.filled(question, command, {}) == command


def test_labels_that_were_read_win_and_fill_no_other_hole() -> None:
    known = {"namespace": "post", "pod": "mail-0"}
    command = "kubectl exec -n <namespace> <pod> -c <container> -- df"
    assert naming.filled("mail-1 in shop: mail-0", command, known) == (
        "kubectl exec -n post mail-0 -c <container> -- df"
    )


def test_a_name_the_entry_uses_itself_needs_a_word_that_introduces_it() -> None:
    told = "node-exporter2 is missing on some nodes"
    command = "kubectl rollout restart daemonset <daemonset>"
    assert naming.filled("node-exporter2 is gone", command, {}, told) == command
    assert naming.filled("the daemonset node-exporter2 is gone", command, {}, told).endswith(
        "node-exporter2"
    )


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abz019-_/.:$`;|&(){}<> '\"\n\\", max_size=60))
def test_no_question_puts_a_shell_character_into_a_command(noise: str) -> None:
    command = naming.filled(f"in {noise} pod {noise} ns {noise}", LOGS, {})
    script = commands.parse(command)
    assert script.ok
    assert len(list(script.commands)) == 1
    assert not set(command.replace("<pod>", "").replace("<namespace>", "")) & set(
        "$`;|&(){}<>'\"\\"
    )
