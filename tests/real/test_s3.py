"""The S3 server keeps the promises that the store and its pointers rest on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, PreconditionError
from obstore.store import S3Store

from real import s3
from real.test_process import USES_ONE, pytest_on

pytest_plugins = ["real.fixtures"]


@pytest.fixture
def bucket(s3_server: s3.S3, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A new bucket; gives a function that opens it."""
    name = request.node.name.replace("_", "-").lower()[:60]

    def opened(**more: Any) -> S3Store:
        return S3Store(
            name,
            endpoint=s3_server.url,
            access_key_id=s3_server.access_key,
            region=s3_server.region,
            client_options={"allow_http": True},
            **{"secret_access_key": s3_server.secret_key, **more},
        )

    signed = obstore.sign(opened(), "PUT", "", timedelta(minutes=1))
    urllib.request.urlopen(urllib.request.Request(signed, method="PUT"), timeout=30).close()
    return opened


def test_s3_creates_only_once(bucket: Callable[..., Any]) -> None:
    store = bucket()
    store.put("one", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("one", b"second", mode="create")
    assert store.get("one").bytes().to_bytes() == b"first"


def test_s3_replaces_only_what_was_seen(bucket: Callable[..., Any]) -> None:
    store = bucket()
    seen = store.put("current", b"v1")["e_tag"]
    store.put("current", b"v2", mode={"e_tag": seen})
    with pytest.raises(PreconditionError):
        store.put("current", b"v3", mode={"e_tag": seen})
    assert store.get("current").bytes().to_bytes() == b"v2"


def test_s3_takes_parts_with_checksums(bucket: Callable[..., Any]) -> None:
    store = bucket(checksum_algorithm="SHA256")
    # 17 MiB in parts of 6: not the same bytes in every part.
    many = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(17 * 2**15))
    store.put("big", many, use_multipart=True, chunk_size=6 * 2**20)
    assert store.head("big")["e_tag"].endswith('-3"')
    assert store.get("big").bytes().to_bytes() == many


def test_s3_refuses_bytes_that_are_not_their_checksum(
    bucket: Callable[..., Any], s3_server: s3.S3
) -> None:
    store = bucket()
    right, wrong = (
        base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (b"hello", b"other")
    )
    assert signed_put(s3_server, store.config["bucket"], "a", b"hello", right) == 200
    assert signed_put(s3_server, store.config["bucket"], "b", b"hello", wrong) == 400
    assert [entry["path"] for entry in store.list().collect()] == ["a"]


def signed_put(server: s3.S3, bucket: str, key: str, body: bytes, checksum: str) -> int:
    """One PUT with a given x-amz-checksum-sha256, signed by hand (AWS Signature Version 4)."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": server.url.removeprefix("http://"),
        "x-amz-checksum-sha256": checksum,
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n/{bucket}/{key}\n\n{lines}\n{names}\n{digest}"
    scope = f"{now[:8]}/{server.region}/s3/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    signing = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}"
    secret = f"AWS4{server.secret_key}".encode()
    for word in scope.split("/"):
        secret = hmac.digest(secret, word.encode(), "sha256")
    signature = hmac.digest(secret, signing.encode(), "sha256").hex()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={server.access_key}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    url = f"{server.url}/{bucket}/{key}"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers, method="PUT"), timeout=30
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_s3_knows_its_account(bucket: Callable[..., Any]) -> None:
    with pytest.raises(PermissionDeniedError):
        bucket(secret_access_key="0" * 40).put("one", b"")


def test_s3_has_no_bucket_by_itself(s3_server: s3.S3) -> None:
    store = S3Store(
        "nobody-made-it",
        endpoint=s3_server.url,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        client_options={"allow_http": True},
    )
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        store.put("one", b"")


def test_a_failed_test_shows_what_its_server_said(s3_server: s3.S3, tmp_path: Path) -> None:
    done = pytest_on(USES_ONE, tmp_path)
    assert "1 failed" in done.stdout
    assert "s3.log" in done.stdout
    assert "VersityGW" in done.stdout
