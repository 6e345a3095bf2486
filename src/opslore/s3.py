"""A connection to an S3 bucket: its settings, and its failures in our own words.

Where and who come from the environment, as for every S3 program: AWS_ENDPOINT_URL (empty is
Amazon), AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. Keys are never
defaulted and never looked for elsewhere.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from opslore import waiting
from opslore.errors import ConfigError, ServerError

if TYPE_CHECKING:
    from obstore.store import S3Store

P = ParamSpec("P")
T = TypeVar("T")

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

CONNECT = "5s"
"""Time to reach the endpoint."""
REQUEST = "60s"
"""Time for one request with its body, which is at most one part of `bucket.PART` bytes."""
RETRIES = 4
"""Tries after the first, on 5xx, 429 and broken connections; 0.2 s to 5 s apart."""
GIVE_UP = timedelta(seconds=120)

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_PERMISSIONS = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a store's objects lie."""

    bucket: str
    prefix: str = ""
    """Folder in the bucket, without slashes at its ends."""
    endpoint: str = ""
    """Base URL of the S3 server; empty is Amazon's."""
    region: str = "us-east-1"

    def key(self, key: str) -> str:
        """The whole key in the bucket."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def uri(self, key: str = "") -> str:
        """`s3://bucket/prefix/key`, as people and other programs name it."""
        return f"s3://{self.bucket}/{self.key(key)}".rstrip("/")

    def make(self) -> str:
        """The command that makes the bucket."""
        there = f" --endpoint-url {self.endpoint}" if self.endpoint else ""
        return f"aws s3 mb s3://{self.bucket} --region {self.region}{there}"


def place(uri: str) -> Place:
    """Read `s3://bucket/prefix` and the endpoint and region of the environment.

    Raises:
        ConfigError: the URI names no bucket, or AWS_ENDPOINT_URL is no http(s) URL.
    """
    found = _URI.fullmatch(uri)
    prefix = (found.group(2) or "").strip("/") if found else ""
    if not found or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise ConfigError(f"store: {uri!r} is not s3://bucket or s3://bucket/prefix")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
        raise ConfigError(
            "AWS_ENDPOINT_URL is no http:// or https:// address",
            hint="export AWS_ENDPOINT_URL=http://127.0.0.1:9000 (or unset it for Amazon S3)",
        )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return Place(found.group(1), prefix, endpoint.rstrip("/"), region)


def connect(where: Place) -> S3Store:
    """A client of the bucket; nothing is sent yet.

    Raises:
        ConfigError: a key is not in the environment; the message names it.
    """
    missing = [name for name in KEYS if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"{where.uri()}: {' and '.join(missing)} not set",
            hint=f"export {' '.join(f'{name}=...' for name in missing)}",
        )
    from obstore.store import S3Store

    config: dict[str, str | bool] = {
        "access_key_id": os.environ[KEYS[0]],
        "secret_access_key": os.environ[KEYS[1]],
        "region": where.region,
        # The server compares each part with its digest, besides the signature over the part;
        # nothing in the environment can take that away.
        "checksum_algorithm": "SHA256",
        "skip_signature": False,
        "unsigned_payload": False,
    }
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        config["session_token"] = token
    if where.endpoint:
        config["endpoint"] = where.endpoint
    return S3Store(
        where.bucket,
        config=config,  # type: ignore[arg-type]
        client_options={
            "allow_http": where.endpoint.startswith("http://"),
            "connect_timeout": CONNECT,
            "timeout": REQUEST,
        },
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": GIVE_UP,
            "backoff": {
                "init_backoff": timedelta(seconds=0.2),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    )


def create(where: Place, client: S3Store) -> None:
    """Make the bucket, private as every S3 server makes it.

    Raises:
        ServerError: the server does not let us; the hint is the command for who may.
    """
    import httpx
    import obstore

    # The library has no such call, but the signed address of the bucket itself is one.
    address = obstore.sign(client, "PUT", "", timedelta(seconds=60))
    xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"
    body = (
        ""
        if where.region == "us-east-1"
        else f'<CreateBucketConfiguration xmlns="{xmlns}"><LocationConstraint>{where.region}'
        "</LocationConstraint></CreateBucketConfiguration>"
    )
    try:
        answer = httpx.put(address, content=body, timeout=30, follow_redirects=False)
    except httpx.HTTPError as error:
        # The address carries a signature, so the error's own words, which may quote it, are not.
        raise ServerError(
            f"{where.uri()}: cannot make the bucket: {type(error).__name__}",
            hint=where.make(),
            retryable=True,
        ) from None
    if answer.is_success or "BucketAlreadyOwnedByYou" in answer.text:
        _logger.warning("made the bucket %s, which was not there", where.bucket)
        return
    code = _tag(answer.text, "Code") or f"HTTP {answer.status_code}"
    raise ServerError(
        f"{where.uri()}: there is no such bucket, and it cannot be made with these keys: {code}",
        hint=f"let somebody who may do it run: {where.make()}",
    )


def asked(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Wait for a call of the client so that Ctrl-C and SIGTERM end the wait at once.

    The client hears no signal until its own limits are over, two minutes later.
    """
    return waiting.within(None, lambda: call(*args, **kwargs))


@contextmanager
def explained(where: Place, key: str = "") -> Iterator[None]:
    """Turn what the client raises into a ServerError that names the object and what mends it."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise explanation(where, key, error) from error


def absent(error: Exception, *codes: str) -> bool:
    """Whether a server said that something is not there, by its code.

    A bare 404 is not enough: some servers answer it for an access key that they do not know. The
    answer to a HEAD has no code, and counts as absent when no code is asked for.
    """
    code = _tag(str(error).partition("\n\nDebug source")[0], "Code")
    return code in (codes or ("", "NoSuchKey", "NoSuchBucket"))


def explanation(where: Place, key: str, error: Exception) -> ServerError:
    """What went wrong with an object, without the address, the headers or a key in it."""
    raw = str(error)
    text = raw.partition("\n\nDebug source")[0]
    code, said = _tag(text, "Code"), _tag(text, "Message")
    status = re.search(r"status code: (\d{3})", text)
    number = int(status.group(1)) if status else 0
    if "redirect without LOCATION" in text:
        code = "PermanentRedirect"
    what, hint, retryable = _reason(where, code, number, raw)
    if said and code != "NoSuchBucket":
        what = f"{what} ({said[:200]})"
    return ServerError(f"{where.uri(key)}: {what}", hint=hint, retryable=retryable)


def _reason(where: Place, code: str, status: int, raw: str) -> tuple[str, str, bool]:
    """What, hint, retryable."""
    server = where.endpoint or "Amazon S3"
    if code == "XAdminUserNotFound":  # versitygw's word, with a 404
        code = "InvalidAccessKeyId"
    known = {
        "NoSuchBucket": ("there is no such bucket", f"make it: {where.make()}"),
        "InvalidAccessKeyId": (
            f"{server} does not know this AWS_ACCESS_KEY_ID",
            "export the AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of this server",
        ),
        "SignatureDoesNotMatch": (
            "AWS_SECRET_ACCESS_KEY is not the secret of this AWS_ACCESS_KEY_ID",
            "export the right AWS_SECRET_ACCESS_KEY",
        ),
        "ExpiredToken": ("AWS_SESSION_TOKEN has expired", "get new keys, then run again"),
        "InvalidToken": ("AWS_SESSION_TOKEN is refused", "get new keys, or unset it"),
        "RequestTimeTooSkewed": (
            "the clocks of this machine and of the server differ too much",
            "set this machine's clock: timedatectl set-ntp true",
        ),
        "RequestExpired": ("the clocks differ too much", "timedatectl set-ntp true"),
    }
    if code in known:
        return *known[code], False
    if code in ("AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion"):
        text = f"the bucket is not in the region {where.region}"
        return text, "export AWS_REGION with the bucket's region", False
    if status in (401, 403):
        text = "access denied" + (f" ({code})" if code not in ("", "AccessDenied") else "")
        return text, f"allow {_PERMISSIONS} for this AWS_ACCESS_KEY_ID", False
    if status == 507 or code in ("XMinioStorageFull", "QuotaExceeded"):
        return "the server is out of room", "make room there, then run again", True
    if status >= 500 or status == 429:
        return f"{server} answers {status} {code}".strip(), "run again in a while", True
    if status:
        return f"{server} answers {status} {code}".strip(), "", False
    hint = "start the server, or set AWS_ENDPOINT_URL; then run again, nothing is done twice"
    return f"{server} does not answer: {_cause(raw)}", hint, True


def _tag(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return found.group(1).strip() if found else ""


def _cause(raw: str) -> str:
    for words in ("Connection refused", "timed out", "dns error", "reset by peer", "certificate"):
        if words.lower() in raw.lower():
            return words
    first = raw.partition("\n")[0]
    return re.sub(r"https?://\S+", "", first.rpartition(" - ")[2] or first).strip()[:160]
