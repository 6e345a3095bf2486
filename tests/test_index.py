"""The searchable runbook: what people type finds the entry they mean."""

from __future__ import annotations

import random
import time
from pathlib import Path

import entries
import pytest

from opslore.cards import ESCALATE, Command, Document, Span
from opslore.errors import IntegrityError
from opslore.index import IN_A_ROW, MAX_ANSWER, TELLS, Entry, Index, entry, one_line
from opslore.stems import LONGEST, quoted, terms, words

ALERTS = [
    ("KubePodCrashLooping", "apps", "The container exits soon after each start."),
    ("KubeHpaMaxedOut", "apps", "The autoscaler asks for more replicas than it may have."),
    ("NodeFilesystemSpaceFillingUp", "nodes", "The root filesystem will be full in four hours."),
    ("NodeClockSkewDetected", "nodes", "chronyd is seconds away from its time server."),
    ("FluxHelmReleaseStalled", "flux", "The chart has no upgrade retries left."),
    ("CertificateExpiringSoon", "certs", "TLS handshakes fail next week."),
]


def made(name: str, section: str = "", symptoms: str = "", command: str = "df -h") -> Entry:
    return entries.made(name, symptoms, command, section)


def document(name: str, *found: tuple[str, str], first: int = 10) -> Document:
    """An alert with commands given as (role, text), on the lines after its heading."""
    commands = [
        Command(text=text, role=role, first=first + 1 + i, last=first + 1 + i)  # type: ignore[arg-type]
        for i, (role, text) in enumerate(found)
    ]
    return Document(
        id=f"doc-{name}-{first}",
        title=name,
        text=name,
        span=Span(file="RUNBOOK.md", first=first, last=first + 20),
        commands=commands,
    )


@pytest.fixture(scope="module")
def index() -> Index:
    return Index([made(*alert) for alert in ALERTS])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("KubePodCrashLooping", "KubePodCrashLooping"),
        ("kubepodcrashlooping", "KubePodCrashLooping"),
        ("pod crash looping again", "KubePodCrashLooping"),
        ("KubePodCrashLopping", "KubePodCrashLooping"),
        ("crashloping pods", "KubePodCrashLooping"),
        ("container exited after starting", "KubePodCrashLooping"),
        ("node filesystm is filling", "NodeFilesystemSpaceFillingUp"),
        ("HPA maxed", "KubeHpaMaxedOut"),
        ("certificat expires", "CertificateExpiringSoon"),
        ("helm release stalled", "FluxHelmReleaseStalled"),
        ("TLS handshake failing", "CertificateExpiringSoon"),
        ('{"labels": {"alertname": "NodeClockSkewDetected"}}', "NodeClockSkewDetected"),
    ],
)
def test_what_people_type_finds_the_alert(index: Index, asked: str, found: str) -> None:
    assert index.search(asked)[0].entry.title == found


def test_words_splits_camel_case_acronyms_and_numbers() -> None:
    assert words("KubeHPAMaxed") == [*words("kubehpamaxed"), *words("kube hpa maxed")]
    assert words("disk85full") == ["disk85ful", "disk", "85", "full"]
    assert words("pods restarting") == words("pod restarts")


def test_terms_adds_trigrams_of_long_words_only() -> None:
    assert terms("disk") == ["disk"]
    assert set(terms("chrony")) >= {"#chr", "#hro", "#ron"}


def test_hits_are_best_first_and_k_limits_them(index: Index) -> None:
    hits = index.search("the pod of the node has a full filesystem", k=4)
    assert len(hits) == 4
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert len(index.search("pod", k=50)) == len(ALERTS)


def test_without_pretends_the_runbook_lacks_an_entry(index: Index) -> None:
    best = index.search("pod crash looping")[0].entry
    rest = index.search("pod crash looping", k=50, without=[best.id])
    assert best.id not in {h.entry.id for h in rest}
    assert len(rest) == len(ALERTS) - 1
    whole = index.search("pod crash looping", k=50)
    assert [(h.entry.id, h.score) for h in whole if h.entry.id != best.id] == [
        (h.entry.id, h.score) for h in rest
    ]


def test_ties_keep_the_order_of_the_runbook() -> None:
    twins = [made(f"Twin{letter}", symptoms="the same words") for letter in "ZCAB"]
    found = Index(twins).search("the same words")
    assert [h.entry.title for h in found] == ["TwinZ", "TwinC", "TwinA", "TwinB"]


@pytest.mark.parametrize("asked", ["", "   ", "???", "zzzzqqq wwwwvvv", "\x00\ud800"])
def test_unknown_words_explain_nothing(index: Index, asked: str) -> None:
    hits = index.search(asked, k=3)
    assert [h.entry.title for h in hits] == [a[0] for a in ALERTS[:3]]
    assert {h.score for h in hits} == {0.0}


def test_an_empty_index_finds_nothing() -> None:
    assert Index([]).search("anything") == []
    assert Index([]).sections() == {}


def test_a_name_of_signs_only_does_not_stop_the_index() -> None:
    lone = Index([made("???", command=""), made("!!!", command="")])
    assert [h.entry.title for h in lone.search("???")] == ["???", "!!!"]


def test_names_in_other_alphabets_are_found() -> None:
    mixed = Index([made("ПодПадает", command=""), made("磁盘已满", command=""), made("NodeDown")])
    assert mixed.search("磁盘已满")[0].entry.title == "磁盘已满"
    assert mixed.search("ПодПадает")[0].entry.title == "ПодПадает"


def test_a_word_said_ten_times_counts_twice(index: Index) -> None:
    once, twice, often = (index.search("root " * n)[0].score for n in (1, 2, 10))
    # What is quoted in a row counts on its own, once.
    once, twice, often = (score - IN_A_ROW for score in (once, twice, often))
    assert often == pytest.approx(twice) == 2 * once > 0


def test_a_run_is_counted_up_to_a_limit() -> None:
    said = [f"w{n}" for n in range(30)]
    assert quoted(said, said) == LONGEST
    assert quoted(said[3:7], said) == 4
    assert quoted(["w3", "w5"], said) == 1
    assert quoted([], said) == quoted(said, []) == 0


def test_words_quoted_in_a_row_lead_over_the_same_words_apart() -> None:
    rows = [
        made("Apart", "", "Ready pods of the api: not all answer, some are late."),
        made("Quoted", "", "Some pods of the api are not ready, all of it is late."),
    ]
    for order in (rows, rows[::-1]):
        found = Index(order).search("it says: pods of the api are not ready")
        assert found[0].entry.title == "Quoted"


def test_a_named_alert_is_found_whatever_else_is_said() -> None:
    rows = [
        made("VirtControllerDown", "", "No controller."),
        made("KubeJobFailed", "", "The job name of a thumbnail backfill, the job failed. " * 3),
        made("Watchdog", "", "Always fires."),
    ]
    index = Index(rows)
    asked = "[FIRING:1] VirtControllerDown job_name=thumbnail-backfill job failed"
    assert index.search(asked)[0].entry.title == "VirtControllerDown"
    assert index.search(asked.lower())[0].entry.title == "VirtControllerDown"
    # A name that is a word of the language is one only in its own spelling.
    assert index.search("Watchdog and a failed job")[0].entry.title == "Watchdog"
    assert (
        index.search("the watchdog and the job name of a failed job")[0].entry.title != "Watchdog"
    )


def test_the_answer_is_the_first_resolution_command_that_does_something() -> None:
    found = entry(
        document(
            "A",
            ("investigation", "kubectl get pods -A"),
            ("resolution", "export NS=apps"),
            ("resolution", "cd /srv"),
            ("resolution", "kubectl rollout restart deploy/web -n apps"),
            ("resolution", "kubectl delete pod web-0"),
        )
    )
    assert found.answer == "kubectl rollout restart deploy/web -n apps"
    assert found.line == 14
    assert found.commands == [
        "export NS=apps",
        "cd /srv",
        "kubectl rollout restart deploy/web -n apps",
        "kubectl delete pod web-0",
        "kubectl get pods -A",
    ]


@pytest.mark.parametrize(
    "unusable",
    ["export NS=apps", "kubectl get pods -o json | jq '.items[", "echo " + "x" * MAX_ANSWER],
)
def test_without_a_usable_resolution_the_first_look_is_the_answer(unusable: str) -> None:
    found = entry(document("A", ("resolution", unusable), ("investigation", "df -h /var")))
    assert (found.answer, found.line) == ("df -h /var", 12)


def test_without_any_command_the_answer_is_to_escalate() -> None:
    assert (entry(document("A")).answer, entry(document("A")).line) == (ESCALATE, 10)
    setup = entry(document("A", ("resolution", "export NS=apps")))
    assert (setup.answer, setup.line) == (ESCALATE, 10)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("kubectl get pods \\\n    -n apps \\\n\t-o wide", "kubectl get pods -n apps -o wide"),
        ("  uptime -p\n", "uptime -p"),
        ("cat <<EOF\na \\\n b\nEOF", "cat <<EOF\na \\\n b\nEOF"),
        ("for i in 1 2; do\n  echo $i\ndone", "for i in 1 2; do\n  echo $i\ndone"),
    ],
)
def test_one_line_joins_continuations_and_nothing_else(command: str, line: str) -> None:
    assert one_line(command) == line


def test_of_two_alerts_with_one_name_the_one_with_a_command_is_kept() -> None:
    index = Index.of(
        [
            document("DiskFull", first=10),
            document("diskfull", ("resolution", "df -h"), first=40),
            document("Lonely", first=70),
            document("Lonely", first=100),
        ]
    )
    assert [(e.title, e.span.first) for e in index.entries] == [
        ("diskfull", 40),
        ("Lonely", 70),
        ("Lonely", 100),
    ]


def test_two_alerts_with_one_name_and_two_commands_are_both_kept() -> None:
    rows = [document("A", ("resolution", c), first=10 * i) for i, c in enumerate(["df -h", "w -s"])]
    assert [e.answer for e in Index.of(rows).entries] == ["df -h", "w -s"]


def test_what_is_no_alert_is_no_entry() -> None:
    page = document("A", ("resolution", "df -h")).model_copy(update={"kind": "page"})
    assert Index.of([page]).entries == []


def test_an_index_reads_back_as_it_was_written(index: Index, tmp_path: Path) -> None:
    odd = made("Odd\u2028Name", symptoms="größer\u0085\x0b als 'drei'\t\"vier\"", command="df -h")
    Index([*index.entries, odd]).write(tmp_path)
    again = Index.read(tmp_path)
    assert again.entries == [*index.entries, odd]
    asked = "node filesystem größer"
    assert again.search(asked) == Index([*index.entries, odd]).search(asked)


def test_a_torn_index_is_named_with_its_line(index: Index, tmp_path: Path) -> None:
    index.write(tmp_path)
    file = tmp_path / "index.jsonl"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(IntegrityError, match=r"index\.jsonl:6: not a Entry"):
        Index.read(tmp_path)


def test_what_tells_an_alert_are_the_stems_few_others_have() -> None:
    rows = [
        made(f"Alert{n}", "", f"This is critical. Gadget{n} burns, code {n}0x.", f"df -h /{n}")
        for n in "abcd"
    ]
    rows.append(made("Other", "", "A gadget melts."))
    index = Index(rows)
    tells = index.tells(index.entries[0])
    assert tells("this is critical, burns") == 0
    assert tells("gadgeta burns") == 2
    assert tells("gadgeta of alerta") == TELLS
    # A word of two alerts still tells, as it leaves only one other; but the question is not clear.
    twins = Index(
        [made("A", "", "Fan stalls", "df -h"), made("B", "", "Fan stalls, hot", "df -i"), *rows]
    )
    assert twins.tells(twins.entries[0])("fan stalls") == 2
    assert twins.tells(twins.entries[1])("fan stalls hot") == TELLS
    # With one answer for both it does not matter which of them is meant.
    same = Index([made("A", "", "Fan stalls"), made("B", "", "Fan stalls, hot"), *rows])
    assert same.tells(same.entries[0])("fan stalls") == TELLS


def test_sections_lists_the_entries_of_each(index: Index) -> None:
    assert index.sections()["nodes"] == [
        "id-NodeFilesystemSpaceFillingUp",
        "id-NodeClockSkewDetected",
    ]


def test_ten_thousand_entries_are_searched_in_milliseconds() -> None:
    """Measured on one busy core: 4 s to build, 20 ms per question."""
    rng = random.Random(7)
    parts = ["Kube", "Node", "Pod", "Disk", "Flux", "Etcd", "Redis", "Quota", "Mesh", "Queue"]
    states = ["Full", "Slow", "Down", "Stuck", "Stale", "Failed", "Lagging", "Missing"]
    lexicon = [f"{a}{b}{i}".lower() for a in parts for b in states for i in range(40)]
    rows = [
        made(
            f"{rng.choice(parts)}{rng.choice(parts)}{rng.choice(states)}{i}",
            rng.choice(parts),
            " ".join(rng.choices(lexicon, k=25)),
        )
        for i in range(10_000)
    ]
    index = Index(rows)
    asked = [f"{rows[i].title} {rows[i].symptoms[:60]}" for i in range(0, 10_000, 500)]
    index.search(asked[0])
    began = time.process_time()
    found = [index.search(question)[0].entry.id for question in asked]
    each = (time.process_time() - began) / len(asked)
    assert found == [rows[i].id for i in range(0, 10_000, 500)]
    print(f"{1000 * each:.1f} ms per question")
    assert each < 0.25
