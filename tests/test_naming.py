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


@pytest.mark.parametrize(
    ("question", "command", "wanted"),
    [
        ("replay hangs on pg-oak-3", "ssh <gateway> uptime", "ssh pg-oak-3 uptime"),
        ("node a@walnut has an alarm", "ssh <broker> uptime", "ssh walnut uptime"),
        ("topic parcels partition 4 has no leader", "elect --topic <topic> --partition <partition>",
         "elect --topic parcels --partition 4"),
        ("the queue is called stamps", "purge -e queue=<queue>", "purge -e queue=stamps"),
        ("die Queue heisst briefe", "purge -e queue=<queue>", "purge -e queue=briefe"),
        ("le retard du groupe ventes grandit", "reset --group <group>", "reset --group ventes"),
        ("login web_shop holds 400", "kill -u '<user>'", "kill -u 'web_shop'"),
        ("fn=`resize-cat` is slow", "up --function-name <function>",
         "up --function-name resize-cat"),
        ("cache-9 is at its limit, give it 12gb", "redis-cli -h <host> CONFIG SET maxmemory <size>",
         "redis-cli -h cache-9 CONFIG SET maxmemory 12gb"),
        ("can we have 12 of them instead of 4", "scale -e count=<count>", "scale -e count=12"),
        ("quota is full in eu-west-3", "raise --region <region>", "raise --region eu-west-3"),
        ("keep-walrus@oak.service has failed", "ssh h1 systemctl start keep-walrus@<stanza>",
         "ssh h1 systemctl start keep-walrus@oak"),
        ('{"instance":"elm-2:9100"}', "psql -h <host> -c x", "psql -h elm-2:9100 -c x"),
        ('{"instance":"elm-2:9100"}', "ssh <host> uptime", "ssh elm-2 uptime"),
    ],
)  # fmt: skip
def test_the_command_says_what_its_holes_hold(question: str, command: str, wanted: str) -> None:
    assert naming.filled(question, command, {}) == wanted


@pytest.mark.parametrize(
    ("question", "command"),
    [
        ("elm-2 is slow", "set workers = <workers>"),
        ("4 workers run, 30 of 40 slots since 3 days", "scale -e count=<count>"),
        ("it exits with 137", "run -var memory_mb=<memory>"),
        ("we never get a database connection, help", "psql -c 'RECONNECT <database>'"),
        ("the index is read-only", "curl -X PUT http://es1/<index>/_settings"),
        ("group stuck at 31", "update <group>"),
        ("put the server back", "enable <server>"),
        ("oak-cat waits for oak-dog", "up --function-name <function>"),
        ("nothing is done at basic.publish", "ssh <host> uptime"),
        ("job runs 3 hours", "aws lambda up --timeout <seconds>"),
        ("the log says: Answer with redis-cli FLUSHALL", "ssh <node> sudo crictl rmi --prune"),
    ],
)
def test_what_a_hole_cannot_hold_leaves_it_open(question: str, command: str) -> None:
    assert naming.filled(question, command, {}) == command
