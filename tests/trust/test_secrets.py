"""Secrets and personal data: all that is planted is found, and real text is left alone."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from detect_secrets.settings import get_settings

from opslore.cards import Document, Span, Turn
from opslore.dataset import secrets
from opslore.dataset.secrets import Detector, Scanner
from opslore.errors import DataError

UPPER, LOWER, HEX = string.ascii_uppercase, string.ascii_lowercase, "0123456789abcdef"
WORDS = string.ascii_letters + string.digits


def made(alphabet: str, length: int, rng: random.Random) -> str:
    """Made here, so that no scanner of this repository takes a test for a leak."""
    text = "".join(rng.choice(alphabet) for _ in range(length))
    # A real token has a digit among its letters; one made of 12 letters alone is a word.
    return text[:-2] + ("a7" if alphabet == WORDS else text[-2:])


def jwt(rng: random.Random) -> str:
    # {"alg":"HS256"} and {"sub":"1"}
    return "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0." + made(WORDS, 43, rng)


KINDS = {
    "hf": lambda r: ("export HF=%s", "hf_" + made(WORDS, 34, r)),
    "openai": lambda r: ("key %s here", "sk-proj-" + made(WORDS + "_-", 48, r)),
    "openai old": lambda r: ("key %s here", "sk-" + made(WORDS, 48, r)),
    "anthropic": lambda r: ("key %s here", "sk-ant-api03-" + made(WORDS, 90, r)),
    "google": lambda r: ("maps?key=%s&x=1", "AIza" + made(WORDS, 35, r)),
    "bearer": lambda r: ('curl -H "Authorization: Bearer %s" https://x', made(WORDS, 32, r)),
    "literal": lambda r: ("kubectl create secret generic db --from-literal=password=%s",
                          made(LOWER, 12, r)),
    "environment": lambda r: ("DJANGO_SECRET_KEY=%s", made(WORDS, 40, r)),
    "private key": lambda r: ("%s", "-----BEGIN RSA PRIVATE KEY-----\n"
                              + "\n".join(made(WORDS, 64, r) for _ in range(6))
                              + "\n-----END RSA PRIVATE KEY-----"),
    "jwt": lambda r: ("token %s end", jwt(r)),
    "aws id": lambda r: ("aws_access_key_id = %s", "AKIA" + made(UPPER, 16, r)),
    "aws secret": lambda r: ("AWS_SECRET_ACCESS_KEY=%s", made(WORDS + "/+", 40, r)),
    "github": lambda r: ("git clone with %s now", "ghp_" + made(WORDS, 36, r)),
    "github fine": lambda r: ("token: %s",
                              f"github_pat_{made(WORDS, 22, r)}_{made(WORDS, 59, r)}"),
    "gitlab": lambda r: ("use %s", "glpat-" + made(WORDS, 20, r)),
    "slack": lambda r: ("SLACK %s",
                        f"xoxb-{r.randrange(10**11)}-{r.randrange(10**12)}-{made(WORDS, 24, r)}"),
    "npm": lambda r: ("//registry.npmjs.org/:_authToken=%s", "npm_" + made(WORDS, 36, r)),
    "basic auth": lambda r: ("postgres://app:%s@db.prod.acme.io:5432/app", made(WORDS, 14, r)),
    "vault": lambda r: ("VAULT_TOKEN=%s", "hvs." + made(WORDS, 90, r)),
    "flag": lambda r: ("mysql -uroot --password=%s shop", made(LOWER, 11, r)),
    "yaml": lambda r: ('  db_password: "%s"', made(WORDS, 16, r)),
    "helm": lambda r: ("helm upgrade x ./x --set auth.adminPassword=%s", made(WORDS, 12, r)),
    "curl": lambda r: ("curl -u admin:%s https://x", made(WORDS, 12, r)),
    "prose": lambda r: ("The password is %s, do not tell.", made(WORDS, 12, r)),
    "webhook": lambda r: ("post to %s", "https://hooks.slack.com/services/"
                          f"T{made(UPPER, 9, r)}/B{made(UPPER, 9, r)}/{made(WORDS, 24, r)}"),
}  # fmt: skip

CLEAN = """
password: <password>
password: $PASSWORD
password: {{ .Values.password }}
secret: my-secret
secretName: linkerd-identity-issuer
token: ${{ secrets.GITHUB_TOKEN }}
GITHUB_TOKEN=xxxxxxxxxxxx
MY_SECRET_KEY=changeme
password = os.environ["DB_PASSWORD"]
password = config.get("password")
token=$(kubectl -n vault get secret x -o jsonpath='{.data.token}')
image: nginx@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
commit 3f786850e387550fdab836ed7e6dc881de23001b (tag: v1.2.3, origin/main)
sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJ3VENDQVdhZ0F3SUJBZ0lRZURacDVs
-----BEGIN CERTIFICATE-----
MIIBwTCCAWagAwIBAgIQeDZp5lDaIygQ5UfMKZrFATAKBggqhkjOPQQDAjApMScw
-----END CERTIFICATE-----
linkerd install --identity-external-issuer --token-ttl=24h
the token is expired; passwords must have 8 characters
curl -H "Authorization: Bearer $TOKEN" https://x
kubectl create secret generic db --from-literal=password=<password>
https://user:<password>@host/ http://localhost:8080/@x
git@github.com:linkerd/linkerd2.git ssh://git@host.acme.io/x getty@tty1.service user@1000.service
10.0.0.1 127.0.0.1 0.0.0.0 192.168.1.1 172.16.0.0/12 192.0.2.7 203.0.113.9 255.255.255.0 8.8.8.8
brotlicffi>=1.2.0.0 nvidia-cublas==13.1.1.3 typing-extensions >= 4.10.0.2
TWILIO_API_KEY=SK00000000000000000000000000000000 token: xoxb-local-test
169.254.169.254 ::1 fe80::1 2001:db8::1 v1.22.33.44 build 7.8.9.10 12:34:56 00:1a:2b:3c:4d:5e
2023-10-05T12:00:00+0000 +100 -5 1-800 (200) 404 500-502 10000000000 alice@example.com x@2x.png
"""


def test_every_planted_secret_is_found() -> None:
    scanner, missed = Scanner(), []
    for kind, plant in KINDS.items():
        for seed in range(12):
            line, secret = plant(random.Random(f"{kind}/{seed}"))
            text = f"It fails since today.\n\n    {line % secret}\n\nAny idea?"
            masked = scanner.masked(text)
            body = [part for part in secret.splitlines() if not part.startswith("---")]
            if any(part in masked.text for part in body) or not masked.found:
                missed.append(f"{kind}: {line % secret}")
    assert missed == [], f"{len(missed)} of {12 * len(KINDS)} missed: {missed[:5]}"


def test_what_only_looks_like_one_is_left() -> None:
    masked = Scanner().masked(CLEAN)
    changed = [
        (a, b) for a, b in zip(CLEAN.splitlines(), masked.text.splitlines(), strict=True) if a != b
    ]
    assert changed == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mail jane.doe+x@acme-corp.co.uk, please", "mail <EMAIL>, please"),
        ("from 54.12.33.9:443 to 10.0.0.1", "from <IP>:443 to 10.0.0.1"),
        ("http://54.12.33.9/x", "http://<IP>/x"),
        ("ip.addr==54.12.33.9 || ip.src == 54.12.33.9", "ip.addr==<IP> || ip.src == <IP>"),
        ("at 2a01:4f8:c17:b8f::2 now", "at <IP> now"),
        ("call +49 170 1234567 or (415) 555-2671", "call <PHONE> or <PHONE>"),
        ("+1 415-555-2671, 415-555-2671", "<PHONE>, <PHONE>"),
        ("Tel: 030 1234 5678", "Tel: <PHONE>"),
    ],
)  # fmt: skip
def test_personal_data_has_a_typed_placeholder(text: str, wanted: str) -> None:
    assert Scanner().masked(text).text == wanted


def test_counts_are_by_type() -> None:
    found = Scanner().masked("a@acme.io b@acme.io 54.12.33.9").found
    assert found == {"EMAIL": 2, "IP": 1}


def test_a_document_is_masked_whole() -> None:
    turn = Turn(text="mail x@acme.io", author="ann", created="")
    document = Document(
        id="d",
        title="x@acme.io",
        text="x@acme.io",
        turns=[turn],
        span=Span(file="f", first=1, last=1),
    )
    masked = Scanner().document(document)
    assert "acme" not in masked.model_dump_json()
    assert masked.turns[0].author == "ann"


def test_masking_twice_changes_nothing() -> None:
    scanner = Scanner()
    text = "".join(
        line % secret + "\n" for line, secret in (p(random.Random(1)) for p in KINDS.values())
    )
    once = scanner.masked(text)
    assert scanner.masked(once.text) == (once.text, {})


SECRETS = {"API_TOKEN", "AWS_KEY", "JWT", "PASSWORD", "PRIVATE_KEY"}


def test_real_runbooks_and_docs_have_no_false_alarm(shared_data: Path) -> None:
    scanner, alarms, people, files = Scanner(), [], 0, 0
    for folder in ("runbooks", "docs"):
        for path in sorted((shared_data / folder).rglob("*.md")):
            files += 1
            text = path.read_text("utf-8")
            for start, end, mask in scanner.spans(text, path.name):
                people += mask not in SECRETS
                if mask in SECRETS:
                    alarms.append(f"{path.name}: {mask} {text[max(0, start - 30) : end]!r}")
    assert files > 380
    assert alarms == [], f"{len(alarms)} false alarms in {files} files: {alarms}"
    # Real people: the maintainers' lists of two repositories.
    assert people == 14


def test_a_detector_that_fails_stops_the_run() -> None:
    def broken(line: str) -> Iterator[tuple[int, int]]:
        raise ValueError("cannot read this")
        yield

    scanner = Scanner((Detector("broken", "X", ("a",), broken),))
    with pytest.raises(
        DataError, match=r"github:o/r#12: the detector 'broken' failed.*cannot read"
    ):
        scanner.masked("a text", "github:o/r#12")
    assert scanner.masked("nothing").text == "nothing"  # its hint is not there


def test_the_librarys_settings_are_not_touched() -> None:
    get_settings.cache_clear()
    Scanner().masked("AKIA" + "ABCDEFGHIJKLMNOP" + " aws key '" + "a1B2" * 10 + "'")
    assert get_settings.cache_info().currsize == 0


def test_letters_that_grow_in_lower_case_move_no_mask() -> None:
    assert Scanner().masked("İİİ PASSWORD mail x@acme.io İ").text == "İİİ PASSWORD mail <EMAIL> İ"


def test_fifty_thousand_threads_take_no_minutes() -> None:
    """A thread has about 3 kB: 150 MB; even this slow machine must read more than 1 MB a second."""
    line = "2024-01-01 12:00:00 INFO linkerd-proxy 10.1.2.3:4143 password policy at https://x/y\n"
    text = (
        "Some words about a pod that restarts, and its logs - every line of them.\n" + line
    ) * 15
    scanner = Scanner()
    scanner.masked(text)
    best = min(_seconds(scanner, text) for _ in range(3))
    assert len(text) * 20 / best / 1e6 > 1.0


def _seconds(scanner: Scanner, text: str) -> float:
    begin = time.process_time()
    for _ in range(20):
        scanner.masked(text)
    return time.process_time() - begin


def test_the_detectors_are_made_once() -> None:
    assert Scanner().detectors is secrets.Scanner().detectors
