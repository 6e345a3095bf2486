"""Code blocks to commands."""

from __future__ import annotations

import pytest

from opslore.sources.blocks import language, pieces
from opslore.sources.evidence import is_command
from opslore.sources.shell import unfinished


def texts(content: str, info: str = "bash") -> list[str]:
    found = pieces(content, 1, info)
    return [
        piece.text
        for piece in found
        if not piece.open and is_command(piece.text, "prompt" if piece.prompt else "shell")
    ]


def test_each_statement_is_a_command() -> None:
    assert texts("df -h\n\nkubectl get pods; kubectl get nodes\n") == [
        "df -h",
        "kubectl get pods; kubectl get nodes",
    ]


def test_continuations_pipelines_and_quotes_over_lines_are_one_command() -> None:
    block = "kubectl get pods \\\n  -n x |\n  grep y\nkubectl patch x -p '{\n  \"a\": 1\n}'\ntrue"
    assert texts(block) == [
        "kubectl get pods \\\n  -n x |\n  grep y",
        "kubectl patch x -p '{\n  \"a\": 1\n}'",
        "true",
    ]


def test_here_documents_loops_and_functions_are_one_command() -> None:
    block = (
        "cat <<'EOF' | kubectl apply -f -\nkind: X\n# not a comment\nEOF\n"
        "for n in $(kubectl get no -o name); do\n  kubectl drain $n # slowly\ndone\n"
        "while true; do sleep 1; done\nif true; then\n  df -h\nfi\nf() {\n  df -h\n}\n"
    )
    assert [text.split("\n")[0] for text in texts(block)] == [
        "cat <<'EOF' | kubectl apply -f -",
        "for n in $(kubectl get no -o name); do",
        "while true; do sleep 1; done",
        "if true; then",
        "f() {",
    ]


def test_comments_stay_beside_their_command() -> None:
    first, second = pieces("# look\n# twice\ndf -h # human\n\nls -l\n", 10, "bash")
    assert (first.text, first.comment, first.first) == ("df -h", "look\ntwice\nhuman", 12)
    assert (second.text, second.comment, second.first) == ("ls -l", "", 14)


def test_prompts_mark_the_commands_and_the_rest_is_output() -> None:
    block = (
        "$ kubectl get pods \\\n>   -n x\nNAME READY\ndf -h\n[root@node ~]# chroot /host\n"
        "sh-5.1# ls /etc\nhosts\nme@box:~$ free -m\n$ cat <<EOF\ntext\nEOF\n# lsof -n\n# a remark\n"
    )
    assert texts(block, "console") == [
        "kubectl get pods \\\n  -n x",
        "chroot /host",
        "ls /etc",
        "free -m",
        "cat <<EOF\ntext\nEOF",
        "lsof -n",
    ]


def test_root_prompts_in_a_console_and_comments_in_a_script() -> None:
    assert texts("# rpm-ostree status\n# journalctl -u x\n", "console") == [
        "rpm-ostree status",
        "journalctl -u x",
    ]
    assert texts("# kubectl delete ns x\ndf -h\n", "bash") == ["df -h"]


def test_holes_do_not_disturb_the_boundaries() -> None:
    lines = [
        "oc logs <pod name> -n <ns>",
        "oc get x <name> > out.txt",
        "kubectl exec {{ $labels.pod }} -- ls",
    ]
    assert texts("\n".join(lines)) == lines


def test_what_breaks_off_is_told_and_swallows_nothing() -> None:
    found = pieces("oc patch x -p '[{\noc get pods\nfor a in b; do\n", 5, "bash")
    assert [(piece.text, piece.open, piece.first) for piece in found] == [
        ("oc patch x -p '[{", "a quote", 5),
        ("oc get pods", "", 6),
        ("for a in b; do", "a loop", 7),
    ]
    cut, whole = pieces("$ oc exec x -- sh -c 'ls\nfile\n$ df -h\nmore\n", 1, "console")
    assert (cut.text, cut.open, cut.last) == ("oc exec x -- sh -c 'ls", "a quote", 1)
    assert (whole.text, whole.open) == ("df -h", "")


@pytest.mark.parametrize(
    "text",
    [
        "sum(rate(http_requests_total[5m])) by (job)",
        "kube_pod_status_ready == 0",
        'up{job="x"} == 0',
        "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))",
        "apiVersion: v1",
        "kind: Pod\nmetadata:\n  name: x",
        "SELECT * FROM pg_stat_activity;",
        "NAME    READY   STATUS",
        "pod-1   1/1     Running   0   3d",
        "default_runtime = 5",
        "prometheus-k8s -> prometheus",
        "I0428 02:23:13.498282 11418 daemon.go:1250] Enabling",
        'level=error msg="failed" err=timeout',
        '{"level": "info"}',
        ": exit status 1",
        "get pods -n x | grep y",
        "error: Transaction in progress: (null)",
        "Restart the pod, then wait.",
    ],
)
def test_what_a_bash_fence_may_hold_that_is_no_command(text: str) -> None:
    assert texts(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "NS=monitoring",
        'export NS="$(kubectl get ns -o name | head -1)"',
        "./repair.sh --all",
        "/usr/bin/gather",
        "exit",
        "sudo systemctl restart kubelet",
        "our-tool check --node <node>",
        "ceph status",
        "OK=true oc adm upgrade accept X",
        'L="none"; for p in a b; do echo $p; done',
    ],
)
def test_commands_of_every_kind(text: str) -> None:
    assert texts(text) == [text]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("df -h", ""),
        ("echo 'a", "a quote"),
        ('echo "$(date', "a parenthesis"),
        ('echo "a # b"', ""),
        ("cat <<EOF\na", "a here-document"),
        ("cat <<-'EOF'\na\n\tEOF", ""),
        ("a |", "a pipe or a backslash"),
        ("a \\", "a pipe or a backslash"),
        ("a &&", "a pipe or a backslash"),
        ("if true; then", "an if"),
        ("case $x in", "a case"),
        ("case $x in a) b;; esac", ""),
        ("f() {", "a brace"),
        ("echo {a,b} ${x} {}", ""),
        ("echo for done if", ""),
        ("x=`date", "a back-tick"),
        ("x=`date` y=$((1 + 2))", ""),
        ("echo \\' it\\'s", ""),
        ("grep -c 'it'\\''s'", ""),
        ("cat <<< word", ""),
        ("# it's a comment", ""),
    ],
)
def test_unfinished(text: str, left: str) -> None:
    assert unfinished(text) == left


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("bash", "bash"),
        ("Bash title=x", "bash"),
        ("{.sh}", "sh"),
        ("language-console", "console"),
        ("bash,linenos", "bash"),
        ("", ""),
    ],
)
def test_language(info: str, name: str) -> None:
    assert language(info) == name


def test_a_hole_behind_an_unknown_program_is_its_argument() -> None:
    block = (
        "ldapctl <instance> agreement enable <agreement>\n"
        "VAULT_ADDR=https://<host>:8200 vault status\n"
        "node_load1 < 5\nrate < <threshold>\n"
    )
    assert texts(block) == [
        "ldapctl <instance> agreement enable <agreement>",
        "VAULT_ADDR=https://<host>:8200 vault status",
    ]
