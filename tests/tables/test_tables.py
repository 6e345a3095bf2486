"""The tables agree with the help of every tool that is on this machine."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from opslore import commands
from opslore.commands.arguments import invocation
from opslore.commands.tables import LEVELS, tools

from . import gnu, said, write
from .agree import chosen, differences, missing
from .fold import fold, reads, same
from .known import KEPT
from .programs import Program, present, programs
from .share import share
from .tree import Tree, run

HERE = {program.name: paths for program, paths in present()}
ALWAYS = {"git", "curl", "systemctl", "journalctl", "kubectl", "helm", "ls", "cp", "rm", "xargs"}
"""What Debian ships and what `make servers` builds: these are asked on every machine."""
SLOW = {"kubectl", "helm", "docker", "podman", "terraform", "aws", "gcloud", "flux"}


@cache
def asked(name: str, path: Path) -> Tree:
    return programs()[name].tree(path)


def test_the_tools_that_every_machine_has_are_asked():
    needed = ALWAYS if os.environ.get("CI") else ALWAYS - {"kubectl", "helm"}
    assert needed <= HERE.keys(), "run `make servers`, and install git, curl and systemd"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, marks=[pytest.mark.slow] if name in SLOW else [], id=str(path))
        for name, paths in HERE.items()
        for path in paths
    ],
)
def test_table_says_what_the_help_says(name: str, path: Path):
    program = programs()[name]
    table = program.of or name
    tool = tools()[table]
    said_here = asked(name, path)
    tree = chosen(said_here, write.rows()[table][1])
    assert sum(len(one.kinds) for one in tree.values()) >= 2, f"{path} says nothing that is read"
    assert differences(tool, tree, KEPT.get(table, {})) == []
    unknown = missing(tool, tree)
    # The two clouds have thousands of verbs; a few of them fit no pattern and stay unknown.
    assert len(unknown) <= (len(tree) // 30 if tool.services else 0), unknown


@pytest.mark.slow
@pytest.mark.parametrize("flag", programs()["kubectl"].optional)
def test_kubectl_reads_no_word_behind_a_flag_with_an_optional_value(flag: str):
    """Ask the parser itself: it stops at the first unknown flag, before anything runs."""
    (program, *_) = HERE["kubectl"]
    said_of_it = run(
        program, "apply" if flag == "validate" else "delete", f"--{flag}", "--x1", "--x2"
    )
    assert "unknown flag: --x1" in said_of_it
    assert "unknown flag: --x2" in run(program, "get", "--output", "--x1", "--x2")


def test_journalctl_reads_a_word_behind_lines():
    (program, *_) = HERE["journalctl"]
    assert "match '5'" in run(program, "--no-pager", "5")
    assert "match '5'" not in run(program, "--no-pager", "-n", "5")


def test_every_table_names_its_version_and_source():
    for path, row in write.rows().values():
        assert row["version"], path
        assert row["source"], path


def test_every_risk_is_a_level():
    for tool in tools().values():
        for verb in [*tool.verbs.values(), tool.default]:
            levels = {verb.risk, *verb.raises.values(), *verb.lowers.values()}
            assert levels <= set(LEVELS), (tool.name, verb.path)


def test_a_table_is_written_as_it_is_read():
    for path in {path for path, _ in write.rows().values()}:
        table = {"tools": []}
        for one, row in write.rows().values():
            if one == path and row not in table["tools"]:
                table["tools"].append(row)
        assert write.text(table) == path.read_text("utf-8"), f"format {path.name} with tests.tables"


def test_an_unknown_verb_stays_unknown():
    for command in [
        "kubectl frobnicate pod x",
        "helm frobnicate",
        "docker compose frobnicate",
        "aws ec2 frobnicate-all",
        "aws ec2 frobnicate list",
        "gcloud compute instances frobnicate",
        "ceph frobnicate",
        "rbd frobnicate x",
        "linkerd frobnicate",
    ]:
        assert commands.risk(command).level == "unknown", command


@pytest.mark.parametrize(
    ("command", "level"),
    [
        ("aws s3 rm s3://logs/old list", "destructive"),
        ("aws ec2 terminate-instances --instance-ids i-1", "destructive"),
        ("aws ecs describe-services --cluster c", "read"),
        ("aws rds reboot-db-instance --db-instance-identifier x", "disruptive"),
        ("aws ssm send-command --document-name AWS-RunShellScript", "unknown"),
        ("gcloud compute instances list", "read"),
        ("gcloud --project p container clusters get-credentials c", "reversible"),
        ("gcloud compute instances reset web-0", "disruptive"),
        ("gcloud compute instance-groups managed rolling-action restart g", "disruptive"),
        ("gcloud kms import-jobs list", "read"),
        ("gcloud sql instances delete db", "destructive"),
        ("rbd snap purge pool/image", "destructive"),
        ("rbd resize --size 10 --allow-shrink x", "destructive"),
        ("rados -p images rm object", "destructive"),
        ("systemctl clean etcd", "destructive"),
        ("docker compose down -v", "destructive"),
        ("docker-compose ps", "read"),
        ("podman machine rm", "destructive"),
        ("flux get kustomizations -A", "read"),
        ("istioctl pc log web-0 --level debug", "reversible"),
        ("terraform -chdir=x apply -auto-approve", "destructive"),
    ],
)
def test_a_verb_of_the_tables_has_its_risk(command: str, level: str):
    assert commands.risk(command).level == level


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("docker container ls -a", "docker ps --all"),
        ("docker image rm x", "docker rmi x"),
        ("helm ls -A", "helm list --all-namespaces"),
        ("helm dep up .", "helm dependency update ."),
        ("docker compose -f a.yml up -d", "docker compose up -d --file a.yml"),
        ("docker run -p 80:80 nginx", "docker container run --publish=80:80 nginx"),
        ("psql -v A=1", "psql --variable=A=1"),
        ("kubectl logs -p web-0", "kubectl logs web-0 --previous"),
        ("kubectl patch pod x -p '{}'", "kubectl patch pod x --patch={}"),
        ("kubectl delete pod x --cascade=background", "kubectl delete pod x"),
        ("istioctl pc clusters web-0", "istioctl proxy-config cluster web-0"),
        ("rbd list -p images", "rbd ls --pool images"),
        ("aws ec2 stop-instances --instance-ids i-1 i-2 --region r",
         "aws ec2 stop-instances --region r --instance-ids i-1 i-2"),
        ("gcloud compute instances list --project p", "gcloud --project=p compute instances list"),
    ],
)  # fmt: skip
def test_two_spellings_are_one_command(one: str, other: str):
    assert commands.canonical(one) == commands.canonical(other)


@pytest.mark.parametrize(
    ("command", "positionals"),
    [
        ("kubectl apply --dry-run -f x.yaml", []),
        ("kubectl logs -f web-0", ["web-0"]),
        ("journalctl -n 50 -u etcd", []),
        ("aws s3 cp --recursive a s3://b", ["a", "s3://b"]),
        ("aws rds describe-db-instances --no-paginate --db-instance-identifier x", []),
        ("git commit -m 'a b' file", ["file"]),
        ("grep -A 3 x file", ["x", "file"]),
        ("tail -n 5 -f /var/log/syslog", ["/var/log/syslog"]),
    ],
)
def test_a_flag_takes_the_word_that_is_its_own(command: str, positionals: list[str]):
    (call,) = [invocation(one.words) for one in commands.parse(command).commands]
    assert [one.text for one in call.positionals] == positionals


def test_an_instance_is_named_by_every_word_of_a_list():
    (call,) = [
        invocation(one.words)
        for one in commands.parse("aws ec2 stop-instances --instance-ids i-1 i-2").commands
    ]
    assert [flag.value and flag.value.text for flag in call.flags] == ["i-1", "i-2"]


def test_commands_of_the_shared_documents_have_known_verbs(shared_data: Path):
    """Of the text that names a tool, prose and holes (`linkerd viz ..`) may stay unknown."""
    found = share(shared_data)
    assert found.found.total() > 2000
    assert found.known.total() >= 0.99 * found.found.total(), found.unknown


HELP = """Scale things.

Usage:
  tool scale NAME [flags]

Aliases:
  scale, sc

Flags:
  -h, --help                help for scale
  -n, --namespace string    where
      --replicas int        how many (default 2)
      --wait Way[=full]     wait
"""


def test_help_of_a_cobra_program_is_read():
    found = said.cobra(HELP)
    assert found.kinds == {
        "help": "bool",
        "namespace": "value",
        "replicas": "value",
        "wait": "bool",
    }
    assert found.others == {"h": "help", "n": "namespace"}
    assert found.defaults == {"replicas": "2"}
    assert same({"scale": found}) == {"sc": "scale"}


def test_help_of_other_programs_is_read():
    found = gnu.options(
        "  -n, --lines=[+]NUM  last NUM lines\n  -u, -U NUM, --unified[=NUM]  lines\n"
        "  -m NUM  stop\n      --csv                CSV output\n-d is a sentence\n"
    )
    assert found.kinds == {
        "lines": "value",
        "unified": "bool",
        "U": "value",
        "m": "value",
        "csv": "bool",
    }
    assert gnu.options("  -E, --cert <file>  a", "angle").kinds == {"cert": "value"}
    assert gnu.options("  -lock=false  a\n  -var 'a=b'  c", "dash").kinds == {
        "lock": "bool",
        "var": "value",
    }


def test_folded_rows_say_what_each_verb_says():
    tree = {
        "": said.Said({"namespace": "value"}, {"n": "namespace"}),
        "logs": said.Said({"follow": "bool", "n": "value"}, {"f": "follow"}),
        "apply": said.Said({"filename": "value"}, {"f": "filename"}, {"filename": "x"}),
        "apply now": said.Said({"filename": "value"}, {"f": "filename"}),
    }
    table = {"programs": "x", "verbs": dict.fromkeys(tree, "read"), "flags": fold(tree, {})}
    from opslore.commands import tables

    tool = tables._tool({**table, "verbs": {path: "read" for path in tree if path}})
    assert differences(tool, tree, {}) == []
    assert tool.verbs["apply"].defaults == {"filename": "x"}
    assert not tool.verbs["apply now"].defaults["filename"]
    assert reads(tool.verbs["logs"].flags, "f") == "bool"


def test_a_difference_is_named():
    tree = {"get": said.Said({"output": "bool", "zzz": "value"}, {"w": "wide"})}
    assert differences(tools()["kubectl"], tree, {}) == [
        "get --output: the help says bool, the table value",
        "get --zzz: the help says value, the table bool",
        "get -w: the help says wide, the table watch",
    ]
    assert missing(tools()["kubectl"], {"frobnicate": said.Said()}) == ["frobnicate"]


def test_a_program_of_another_tool_keeps_its_group():
    program = Program("x", lambda path: {"": said.Said(), "up": said.Said()}, group="compose")
    assert sorted(program.tree(Path("x"))) == ["compose", "compose up"]
