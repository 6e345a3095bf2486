"""Risk rules for kubectl and oc: what is deleted, scaled, patched, granted and applied."""

from __future__ import annotations

import re

from opslore.commands.arguments import Invocation
from opslore.commands.judgement import Judgement, Scene, at_least, written
from opslore.commands.kube import targets
from opslore.commands.scan import MARK
from opslore.commands.tables import vocabulary

_MANIFEST = (
    (re.compile(r"cluster-admin|system:masters"), "grants cluster-admin"),
    (re.compile(r"privileged[\"']?\s*:\s*[\"']?true"), "starts a privileged container"),
    (re.compile(r"hostPath[\"']?\s*:"), "mounts the node's own files"),
    (
        re.compile(r"hostPID[\"']?\s*:\s*true|hostNetwork[\"']?\s*:\s*true"),
        "joins the node's namespaces",
    ),
    (re.compile(r"verbs[\"']?\s*:\s*\[?[\s\"'-]*\*"), "grants every verb"),
    (re.compile(r"replicas[\"']?\s*:\s*[\"']?0\b"), "scales to zero"),
    (re.compile(r"reclaimpolicy[\"']?\s*:\s*[\"']?delete", re.I), "lets volumes be deleted"),
)
_FINALIZERS = re.compile(
    r"finalizers[\"']?\s*:\s*(?:null|\[\s*\])|\"op\"\s*:\s*\"(?:remove|replace)\"[^}]*finalizers"
    r"|finalizers[^}]*\"op\"\s*:\s*\"remove\"",
    re.S,
)


def kubernetes(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """The judgement on a kubectl or oc call, never below the table's own."""
    dry = call.value("dry-run")
    if dry is not None and dry not in ("none", "false"):
        return Judgement("read")
    verb = call.verb.path[0] if call.verb.path else ""
    rule = _RULES.get(verb)
    found = rule(call, scene, base) if rule else base
    if call.value("raw") is not None and verb != "get":
        found = at_least(
            found, Judgement("destructive", "raw-api", "calls the API server directly")
        )
    if "system:masters" in (call.value("as-group") or ""):
        found = at_least(found, Judgement("unknown", "impersonation", "acts as system:masters"))
    return found


def _delete(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    found, _ = targets(call)
    kinds = {kind for target in found for kind in target.kind.split(",")}
    named = all(target.name for target in found)
    chosen = call.value("selector", "field-selector")
    if not found:
        return Judgement("destructive", "delete-unseen", "deletes what a file or a pipe names")
    if call.value("all") is not None or (not named and not chosen):
        return Judgement("destructive", "delete-all", f"deletes every {', '.join(sorted(kinds))}")
    if not kinds <= vocabulary("resources", "recreated"):
        lost = ", ".join(sorted(kinds - vocabulary("resources", "recreated")))
        return Judgement("destructive", "delete-kind", f"deletes {lost}, which nothing makes again")
    if call.value("force") is not None or call.value("grace-period") == "0":
        return Judgement("destructive", "delete-force", "deletes without waiting for a clean stop")
    if call.value("all-namespaces") is not None:
        return Judgement("destructive", "delete-everywhere", "deletes in every namespace")
    return Judgement("disruptive", "delete-recreated", "deletes objects that are made again")


def _scale(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    replicas = call.value("replicas")
    if replicas is None:
        return Judgement("unknown", "scale", "no number of replicas")
    if not MARK.search(replicas) and re.fullmatch(r"0+", replicas):
        return Judgement("destructive", "scale-to-zero", "stops the whole workload until scaled up")
    if not replicas.isdigit():
        return Judgement("disruptive", "scale", "scales to a number that is not known here")
    return base


def _patch(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    text = call.value("patch")
    if not text:
        return Judgement("unknown", "patch-unseen", "the patch is not in the command")
    if _FINALIZERS.search(text):
        return Judgement(
            "destructive", "patch-finalizers", "removes finalizers: cleanup never runs"
        )
    return _manifest(text, base)


def _manifest(text: str, base: Judgement) -> Judgement:
    for pattern, why in _MANIFEST:
        if pattern.search(text):
            return Judgement("destructive", "manifest", why)
    return base


def _apply(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    words = " ".join(word.text for word in call.positionals)
    flags = " ".join(f"{flag.name}={flag.value.text}" for flag in call.flags if flag.value)
    found = _manifest(f"{scene.text}\n{words} {flags}", base)
    if scene.fetched or re.search(r"(?:filename|kustomize)=\S*(?:://|github\.com)", flags):
        found = at_least(
            found, Judgement("unknown", "remote-manifest", "applies text from elsewhere")
        )
    return found


def _policy(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    return _manifest(" ".join(word.text for word in call.positionals), base)


def _run(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    found = _manifest(call.value("overrides") or "", base)
    if call.value("privileged") is not None:
        return Judgement("destructive", "privileged", "starts a privileged container")
    return found


def _label(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    if call.value("all") is not None:
        return Judgement("disruptive", "label-all", "changes every object of the kind")
    return base


def _copy(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    target = call.positionals[-1].text if call.positionals else ""
    return at_least(base, written(target.rpartition(":")[2]))


_RULES = {
    "cp": _copy,
    "delete": _delete,
    "scale": _scale,
    "patch": _patch,
    "apply": _apply,
    "create": _apply,
    "replace": _apply,
    "policy": _policy,
    "adm": _policy,
    "run": _run,
    "label": _label,
    "annotate": _label,
}
