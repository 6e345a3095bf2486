"""Risk rules for the host: processes, network, firewall, units, and tools with a read half."""

from __future__ import annotations

import re

from opslore.commands.arguments import Invocation
from opslore.commands.judgement import READ, Judgement, Scene, at_least
from opslore.commands.tables import Level

_ACCESS_UNITS = re.compile(
    r"^(?:sshd?|NetworkManager|networking|network|systemd-networkd)(?:\.service)?$"
)
_LAST_UNITS = re.compile(
    r"^(?:rescue|emergency|poweroff|halt|reboot|kexec|runlevel[016])(?:\.target)?$"
)
_GIT_RUNS = re.compile(r"alias\.|command|pager|hook|editor|filter|ext::", re.I)
_INSPECT: dict[str, tuple[str, Level]] = {
    "date": (r"-s|--set", "disruptive"),
    "hostname": (r"^[A-Za-z]|-F|-b", "disruptive"),
    "timedatectl": (r"\bset-", "disruptive"),
    "hostnamectl": (r"\bset-|\bhostname \S", "disruptive"),
    "localectl": (r"\bset-", "disruptive"),
    "loginctl": (r"terminate|kill|lock|disable", "disruptive"),
    "chronyc": (r"makestep|burst|online|offline|add|delete|settime|waitsync", "disruptive"),
    "dmesg": (r"(?:^|\s)-\w*[cCDE]|--clear|--console", "disruptive"),
    "nvme": (r"format|sanitize|write|fw-|reset|delete|create|attach|detach", "destructive"),
    "smartctl": (r"(?:^|\s)-[stXo]|--set|--test", "disruptive"),
    "ethtool": (r"(?:^|\s)-[sAKGLCEprfPXNU]\b|--(?:set|change|reset|flash)", "disruptive"),
    "swapon": (r".", "disruptive"),
    "top": (r"$^", "read"),
}
_NETWORK: dict[str, tuple[str, Level]] = {
    "nc": (r"(?:^|\s)-\w*[ec]\b|--(?:exec|sh-exec)", "denied"),
    "ncat": (r"(?:^|\s)-\w*[ec]\b|--(?:exec|sh-exec)", "denied"),
    "socat": (r"\b(?:EXEC|SYSTEM|SHELL)\b", "denied"),
    "tcpdump": (r"(?:^|\s)-\w*z\b", "denied"),
    "conntrack": (r"(?:^|\s)-\w*[DFUI]\b|--(?:delete|flush)", "disruptive"),
    "ipvsadm": (r"(?:^|\s)-\w*[CDdARaE]\b|--(?:clear|delete)", "destructive"),
    "arp": (r"(?:^|\s)-\w*[ds]\b", "disruptive"),
    "route": (r"\b(?:add|del|flush)\b", "disruptive"),
    "ss": (r"(?:^|\s)-\w*K\b|--kill", "disruptive"),
    "nmap": (r".", "unknown"),
    "grpcurl": (r".", "unknown"),
}


def _rest(call: Invocation) -> str:
    return " ".join(word.text for word in call.positionals)


def inspect(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Tools that show the host's state, and the few arguments with which they change it."""
    return _by_pattern(_INSPECT, call, base)


def network(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Network tools; a listener that runs a program is refused."""
    return _by_pattern(_NETWORK, call, base)


def _by_pattern(rows: dict[str, tuple[str, Level]], call: Invocation, base: Judgement) -> Judgement:
    pattern, level = rows.get(call.program, ("$^", "read"))
    if re.search(pattern, _rest(call), re.I if call.program == "socat" else 0):
        return Judgement(
            level, "changes-host", f"{call.program} with arguments that change the host"
        )
    return base


def signals(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """kill, killall, pkill."""
    texts = [word.text for word in call.positionals]
    if texts[:1] in (["-0"], ["-l"], ["-L"]):
        return READ
    if call.program == "kill" and any(text in ("1", "-1", "--") for text in texts[-1:]):
        return Judgement("destructive", "kill-all", "signals init or every process")
    return base


def firewall(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Firewalls: listing is harmless, flushing is not."""
    rest = _rest(call)
    if re.search(
        r"(?:^|\s)-\w*[FXZ]\b|--flush|\bflush\b|\bdelete\b|\breset\b|-P \w+ ACCEPT|\bdisable\b",
        rest,
    ):
        return Judgement("destructive", "firewall-flush", "takes firewall rules away")
    if re.search(r"(?:^|\s)-\w*[LS]\b|--list|^list\b|^status\b|--state|--get|^show\b", rest):
        return READ
    return base


def routes(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """`ip`: without an action it shows."""
    rest = _rest(call)
    inner = re.search(r"\bnetns exec \S+ (.+)", rest)
    if inner:
        return Judgement("unknown", "netns", "runs a command in another network namespace")
    if re.search(r"\b(?:flush|del|delete)\b", rest):
        return Judgement("destructive", "network-removed", "takes addresses or routes away")
    if re.search(r"\b(?:add|set|replace|change|append|down|up)\b", rest):
        return Judgement("disruptive", "network-changed", "changes addresses or routes")
    return READ


def kernel(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Sysctl reads, unless it writes."""
    rest = _rest(call)
    if "sysrq" in rest:
        return Judgement("destructive", "sysrq", "enables or triggers SysRq")
    if call.value("write") is not None or "=" in rest or call.value("load", "system") is not None:
        return Judgement("disruptive", "kernel-setting", "changes kernel settings")
    return READ


def units(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """systemctl: stopping what gives access to the host locks people out."""
    names = [word.text for word in call.positionals]
    verb = call.verb.path[0] if call.verb.path else ""
    if verb in ("stop", "disable", "kill") and any(map(_ACCESS_UNITS.match, names)):
        return Judgement("destructive", "access-unit", "stops what people reach the host with")
    if verb == "isolate" and any(map(_LAST_UNITS.match, names)):
        return Judgement("destructive", "last-unit", "stops nearly everything on the host")
    return base


def versions(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """git: refspecs that delete or overwrite, and settings that run programs."""
    rest = [word.text for word in call.positionals]
    if call.verb.path[:1] == ("push",) and any(text.startswith(("+", ":")) for text in rest):
        return Judgement("destructive", "push-overwrites", "deletes or overwrites a remote branch")
    if call.verb.path[:1] == ("reflog",) and rest[:1] in (["expire"], ["delete"]):
        return Judgement("destructive", "reflog", "takes the last way back to lost commits away")
    settings = [flag.value.text for flag in call.flags if flag.name == "c" and flag.value]
    if any(map(_GIT_RUNS.search, settings)):
        return Judgement("denied", "git-runs", "a setting that runs a program of its own")
    if _GIT_RUNS.search(" ".join(rest)):
        return at_least(base, Judgement("unknown", "git-runs", "may run a program of its own"))
    return base


def cloud(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """aws: the first part of the operation's name says what it does."""
    if call.value("desired-capacity", "desired-count", "max-size") == "0":
        return Judgement("destructive", "scale-to-zero", "leaves no machine or task running")
    if call.known_verb or len(call.verb.path) < 2:
        return base
    operation = call.verb.path[1].split("-")[0]
    if operation in ("describe", "list", "get", "wait", "head", "lookup", "filter", "tail"):
        return READ
    if operation in ("delete", "terminate", "remove", "deregister", "purge", "disable", "revoke"):
        return Judgement("destructive", "cloud-deletes", f"{call.verb.path[1]} cannot be undone")
    if operation in (
        "create",
        "put",
        "update",
        "modify",
        "start",
        "stop",
        "reboot",
        "set",
        "attach",
    ):
        return Judgement("disruptive", "cloud-changes", f"{call.verb.path[1]} changes resources")
    return base


def interpreter(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """python, perl ...: a program in a string is read for what is plainly dangerous."""
    texts = [word.text for word in call.positionals]
    if texts[:2] == ["-m", "json.tool"] or texts in (["--version"], ["-V"]):
        return READ
    code = " ".join(texts)
    if not [text for text in texts if text != "-"] and (scene.piped or scene.text):
        return Judgement("denied", "pipe-to-shell", "runs a program that a pipe brings")
    if re.search(
        r"\bsystem\b|subprocess|popen|rmtree|unlink|\bexec|os\.remove|eval\b|socket|child_process|`"
        r"|\bspawn|\bFileUtils\b|\brmdir|\bqx\b",
        code,
    ):
        return Judgement("denied", "runs-command", "a program that runs commands or removes files")
    return base


def query_tools(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """promtool, amtool, logcli, jq, yq, openssl: read, with a few exceptions."""
    rest = _rest(call)
    if call.program == "amtool" and re.search(r"\bsilence (?:add|expire|update|import)\b", rest):
        return Judgement("disruptive", "silence", "changes who is alerted")
    if call.program == "yq" and re.search(r"(?:^|\s)-\w*i|--inplace", rest):
        return Judgement("disruptive", "edits-file", "edits files in place")
    if re.search(r"(?:^|\s)-out\s|create-blocks|\bdelete\b", rest) and call.program != "jq":
        return Judgement("reversible", "writes-file", "writes a file")
    if call.program == "mimirtool" and "delete" not in rest:
        return Judgement("unknown", "mimirtool", "no table for this tool")
    return base


def containers(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Docker run with the host's files or namespaces; images removed wholesale."""
    if call.verb.path[-1:] == ("rmi",) and call.value("prune", "all", "a") is not None:
        return at_least(base, Judgement("destructive", "remove", "removes every unused image"))
    if call.verb.path[-1:] != ("run",):
        return base
    values = " ".join(f"{flag.name}={flag.value.text}" for flag in call.flags if flag.value)
    if re.search(r"(?:volume|source|src)=/(?::|,|etc|root|var/run/docker)", values):
        return Judgement("destructive", "host-mount", "mounts the host's own files")
    if re.search(r"(?:pid|network|ipc)=host", values):
        return at_least(base, Judgement("unknown", "host-namespace", "joins the host's namespaces"))
    return base


SYSTEM_RULES = {
    "inspect": inspect,
    "network": network,
    "kill": signals,
    "firewall": firewall,
    "ip": routes,
    "sysctl": kernel,
    "units": units,
    "git": versions,
    "aws": cloud,
    "interpreter": interpreter,
    "prometheus": query_tools,
    "jq": query_tools,
    "openssl": query_tools,
    "containers": containers,
}
