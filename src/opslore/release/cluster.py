"""A Kubernetes cluster through the official client: plain dicts in and out, errors explained.

Every request has a time limit. What is written is written with strict field validation, so that a
misspelt field is an error and not silently dropped.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from opslore.errors import ConfigError, MissingExtra, OpsloreError, ServerError

SECONDS = 30
"""How long one request may take to connect, and to answer."""

LOG_BYTES = 64 << 10
"""Bytes of a pod's log that are read."""

_MANAGER = "opslore"
# A refused patch comes back with the whole object in it, and so with whatever that holds.
_QUOTED = re.compile(r'(Invalid value): "(?:[^"\\]|\\.){60,}"')
_HINTS = {
    401: "log in again: kubectl auth whoami",
    403: "ask for the right: kubectl auth can-i --list",
    404: "kubectl get namespaces",
    429: "the API server is busy: run it again in a minute",
}


class Conflict(ServerError):
    """Somebody else has changed the object since it was read, or has made one with its name."""


@dataclass(frozen=True)
class _Kind:
    """Where objects of a kind are in the API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        group = (
            f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        )
        within = f"/namespaces/{_part(namespace)}" if self.namespaced else ""
        return f"{group}{within}/{self.plural}" + (f"/{_part(name)}" if name else "")


class Cluster:
    """The cluster of one context of the kubeconfig, or the one this pod runs in."""

    def __init__(self, context: str = "") -> None:
        """Name the context; nothing is read or asked yet.

        The first request reads the kubeconfig, and raises ConfigError when there is none or no
        such context in it: a place that cannot be reached is one line of `status`, not its end.
        """
        self.context = context
        self._kinds: dict[tuple[str, str], _Kind] = {}

    @cached_property
    def _client(self) -> Any:
        return _client(self.context)

    @property
    def name(self) -> str:
        """The context, or the server's address."""
        return self.context or str(self._client.configuration.host)

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None.

        Raises:
            ConfigError: the cluster does not know this kind.
            ServerError: the cluster does not answer, or refuses.
        """
        path = self._kind(api_version, kind).path(namespace, name)
        status, data = self._ask("GET", path)
        if status == 404:
            return None
        return self._object(status, data, f"read {kind} {namespace}/{name}")

    def create(self, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Make an object, or only let the server check it.

        Raises:
            ConfigError: the server finds it invalid.
            Conflict: there is one with this name.
            ServerError: the cluster does not answer, or refuses.
        """
        where, kind = body["metadata"], str(body["kind"])
        path = self._kind(body["apiVersion"], kind).path(where["namespace"])
        answer = self._ask("POST", path, _writing(dry_run), body)
        return self._object(*answer, f"create {kind} {where['namespace']}/{where['name']}")

    def patch(
        self,
        api_version: str,
        kind: str,
        where: tuple[str, str],
        operations: list[dict[str, Any]],
        *,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Apply a JSON patch (RFC 6902), or only let the server check it.

        Args:
            api_version: `group/version`.
            kind: the object's kind.
            where: namespace and name.
            operations: the patch.
            dry_run: change nothing.

        Returns:
            The object as it is, or would be.

        Raises:
            ConfigError: the server finds the result invalid.
            Conflict: the object was changed by somebody else.
            ServerError: the cluster does not answer, or refuses.
        """
        path = self._kind(api_version, kind).path(*where)
        answer = self._ask("PATCH", path, _writing(dry_run), operations)
        return self._object(*answer, f"patch {kind} {'/'.join(where)}")

    def delete(self, found: dict[str, Any]) -> None:
        """Delete exactly this object, not another of its name, and what it owns.

        Raises:
            ServerError: the cluster does not answer, or refuses.
        """
        where, kind = found["metadata"], str(found["kind"])
        options = {"preconditions": {"uid": where["uid"]}, "propagationPolicy": "Background"}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        path = self._kind(found["apiVersion"], kind).path(where["namespace"], where["name"])
        status, data = self._ask("DELETE", path, [], body)
        if status != 404:
            self._object(status, data, f"delete {kind} {where['namespace']}/{where['name']}")

    def pods(self, namespace: str, job: str) -> list[dict[str, Any]]:
        """The pods of a Job, the newest last.

        Raises:
            ServerError: the cluster does not answer, or refuses.
        """
        labels = {"batch.kubernetes.io/job-name": job}
        return self.labelled("v1", "Pod", namespace, labels)

    def labelled(
        self, api_version: str, kind: str, namespace: str, labels: dict[str, str]
    ) -> list[dict[str, Any]]:
        """The objects of a kind that have all these labels, the newest last.

        Raises:
            ServerError: the cluster does not answer, or refuses.
        """
        query = [("labelSelector", ",".join(f"{name}={text}" for name, text in labels.items()))]
        answer = self._ask("GET", self._kind(api_version, kind).path(namespace), query)
        found = self._object(*answer, f"list {kind} in {namespace}")
        items: list[dict[str, Any]] = found.get("items") or []
        return sorted(items, key=lambda item: str(item["metadata"]["creationTimestamp"]))

    def log(self, namespace: str, pod: str, container: str, lines: int) -> str:
        """The end of a container's log.

        Raises:
            ServerError: the cluster does not answer, or its node does not.
        """
        query = [("container", container), ("tailLines", str(lines))]
        path = self._kind("v1", "Pod").path(namespace, pod) + "/log"
        status, data = self._ask("GET", path, [*query, ("limitBytes", str(LOG_BYTES))])
        if status != 200:
            raise self._refused(f"read the log of pod {namespace}/{pod}", status, data)
        return data.decode(errors="replace")

    def _kind(self, api_version: str, kind: str) -> _Kind:
        known = self._kinds.get((api_version, kind))
        if known is not None:
            return known
        status, data = self._ask("GET", _Kind(api_version, kind, "", False).path("").rstrip("/"))
        found = [] if status == 404 else self._object(status, data, "ask for kinds")["resources"]
        for entry in found:
            if entry["kind"] == kind and "/" not in entry["name"]:
                known = _Kind(api_version, kind, entry["name"], entry["namespaced"])
                return self._kinds.setdefault((api_version, kind), known)
        raise ConfigError(
            f"cluster {self.name} has no kind {kind} in {api_version}",
            hint=f"kubectl api-resources | grep -i {kind}",
        )

    def _object(self, status: int, data: bytes, doing: str) -> dict[str, Any]:
        if not 200 <= status <= 299:
            raise self._refused(doing, status, data)
        try:
            found: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise ServerError(
                f"cluster {self.name}: {doing}: no JSON came back: {data[:80]!r}",
                hint="is it a Kubernetes API server, and not a login page? kubectl cluster-info",
            ) from error
        return found

    def _ask(
        self, method: str, path: str, query: Sequence[tuple[str, str]] = (), body: Any = None
    ) -> tuple[int, bytes]:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        content = "application/json-patch+json" if method == "PATCH" else "application/json"
        try:
            request = self._client.param_serialize(
                method,
                path,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*request, _request_timeout=(SECONDS, SECONDS))
            return int(answer.status), bytes(answer.read())
        except (ApiException, HTTPError) as error:
            # Its text repeats the whole request; only the innermost reason says why.
            reason = getattr(error, "reason", None) or error
            why = str(getattr(reason, "reason", None) or reason).rsplit(": ", 1)[-1]
            raise ServerError(
                f"cluster {self.name} does not answer: {why[:200]}",
                hint="kubectl cluster-info"
                + (f" --context {self.context}" if self.context else ""),
                retryable=True,
            ) from error

    def _refused(self, doing: str, status: int, data: bytes) -> OpsloreError:
        try:
            why = str(json.loads(data)["message"])
        except (ValueError, KeyError, TypeError):
            why = data.decode(errors="replace").strip()
        why = _QUOTED.sub(r"\1", why)
        message = f"cluster {self.name}: cannot {doing}: {why[:600]} ({status})"
        if status == 409:
            return Conflict(message, hint="run `opslore deploy AGENT.yaml` again", retryable=True)
        if status in (400, 422):
            return ConfigError(message, hint="mend this target in the agent file's deploy section")
        retryable = status in (429, 500, 502, 503, 504)
        return ServerError(message, hint=_HINTS.get(status, ""), retryable=retryable)


def _writing(dry_run: bool) -> list[tuple[str, str]]:
    strict = [("fieldManager", _MANAGER), ("fieldValidation", "Strict")]
    return [*strict, ("dryRun", "All")] if dry_run else strict


def _part(name: str) -> str:
    """A name as one part of a URL's path, whatever it is."""
    return quote(name, safe="")


def _client(context: str) -> Any:
    try:
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config.config_exception import ConfigException
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "deploying to Kubernetes needs the package kubernetes", hint="pip install kubernetes"
        ) from error
    configuration = Configuration()
    config: Any = importlib.import_module("kubernetes.config")  # it has no types
    # The client itself reads KUBECONFIG only once, when it is imported.
    file = os.environ.get("KUBECONFIG") or "~/.kube/config"
    told = {"context": context or None, "client_configuration": configuration}
    try:
        try:
            config.load_kube_config(file, **told)
        except ConfigException:
            if context:
                raise
            config.load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        raise ConfigError(
            f"no cluster to deploy to: {error}",
            hint="kubectl config get-contexts; set KUBECONFIG, or deploy[].context",
        ) from error
    configuration.retries = 1
    return ApiClient(configuration)
