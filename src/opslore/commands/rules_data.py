"""Risk rules for what talks to databases and over HTTP."""

from __future__ import annotations

import re

from opslore.commands.arguments import Invocation, split_flags
from opslore.commands.judgement import READ, Judgement, Scene, at_least, written
from opslore.commands.tables import Level, vocabulary

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.S)
_STRING = re.compile(r"'(?:[^']|'')*'")
_SQL_DENIED = re.compile(
    r"\\!|\bPROGRAM\b|\bpg_(?:read|write|ls)_|\bxp_cmdshell\b|\blo_export\b|\\o\s*\|", re.I
)
_SQL_DESTROYS = re.compile(
    r"\b(?:DROP|TRUNCATE|DELETE|RESET\s+(?:MASTER|SLAVE|REPLICA)|PURGE|pg_drop_replication_slot|"
    r"pg_resetwal|lo_unlink|REASSIGN)\b|\bUPDATE\b(?!.*\bWHERE\b)",
    re.I | re.S,
)
_SQL_DISTURBS = re.compile(
    r"\b(?:INSERT|UPDATE|ALTER|CREATE|GRANT|REVOKE|VACUUM|REINDEX|CLUSTER|CHECKPOINT|REFRESH|LOCK|KILL|MERGE|"
    r"COPY|CALL|DO|SET|FLUSH|OPTIMIZE|STOP|START|NOTIFY|pg_terminate_backend|pg_cancel_backend|pg_promote|"
    r"pg_switch_wal|pg_reload_conf|pg_wal_replay_\w+|setval|nextval|INTO)\b",
    re.I,
)
_SQL_READS = re.compile(
    r"^(?:\\(?:[dlxz]\w*\+?|conninfo|timing|pset|q|sf|sv|echo)\b.*|(?:SELECT|SHOW|EXPLAIN|WITH|TABLE|VALUES|DESCRIBE|DESC|"
    r"ANALYZE|USE|STATUS|PRAGMA|\.\w+)\b.*|)$",
    re.I | re.S,
)

_REDIS_GROUPS = {
    "CONFIG": ("GET HELP", "", "SET REWRITE RESETSTAT"),
    "CLIENT": ("LIST INFO ID GETNAME HELP", "", "KILL PAUSE UNPAUSE"),
    "MEMORY": ("USAGE STATS DOCTOR MALLOC-STATS HELP", "", "PURGE"),
    "SLOWLOG": ("GET LEN HELP", "", "RESET"),
    "LATENCY": ("LATEST HISTORY DOCTOR GRAPH HISTOGRAM HELP", "", "RESET"),
    "CLUSTER": (
        "INFO NODES SLOTS SHARDS MYID LINKS KEYSLOT COUNTKEYSINSLOT REPLICAS SLAVES",
        "RESET FORGET FLUSHSLOTS DELSLOTS DELSLOTSRANGE",
        "FAILOVER MEET ADDSLOTS REPLICATE SETSLOT SAVECONFIG",
    ),
    "SENTINEL": (
        "MASTERS MASTER REPLICAS SLAVES SENTINELS GET-MASTER-ADDR-BY-NAME CKQUORUM",
        "REMOVE",
        "FAILOVER RESET SET MONITOR",
    ),
    "ACL": ("LIST WHOAMI USERS CAT GETUSER LOG", "DELUSER", "SETUSER SAVE LOAD"),
    "SCRIPT": ("EXISTS", "", "FLUSH KILL LOAD"),
    "MODULE": ("LIST", "", ""),
    "FUNCTION": ("LIST STATS DUMP", "FLUSH DELETE", "LOAD KILL"),
}


def sql(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """psql, mysql, sqlite3: the worst statement given on the command line or on standard input."""
    given = [
        flag.value.text for flag in call.flags if flag.name in ("command", "execute") and flag.value
    ]
    if call.program == "sqlite3":
        given += [word.text for word in call.positionals[1:]]
    if call.value("file") is not None:
        return Judgement("unknown", "sql-file", "the statements are in a file")
    if scene.text:
        given.append(scene.text)
    elif scene.piped and not given:
        return Judgement("unknown", "sql-pipe", "the statements come through a pipe")
    if not given:
        listing = call.value("list") is not None or call.value("version") is not None
        return READ if listing else Judgement("reversible", "session", "opens a database session")
    found = READ
    for text in given:
        found = at_least(found, statements(text))
    return found


def statements(text: str) -> Judgement:
    """The judgement on SQL text."""
    plain = _STRING.sub("''", _COMMENT.sub(" ", text))
    if _SQL_DENIED.search(plain):
        return Judgement(
            "denied", "sql-shell", "SQL that runs a program or reads the server's files"
        )
    if _SQL_DESTROYS.search(plain):
        return Judgement("destructive", "sql-destroys", "deletes rows, tables or a database")
    if _SQL_DISTURBS.search(plain):
        return Judgement("disruptive", "sql-changes", "changes data, settings or sessions")
    if all(_SQL_READS.match(part.strip()) for part in plain.split(";")):
        return READ
    return Judgement("unknown", "sql-unknown", "no statement that is known")


def redis(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """redis-cli: the Redis command it sends."""
    assert call.tool is not None
    positionals, flags = split_flags(call.tool, call.positionals)
    words = [word.text.upper() for word in positionals]
    names = {flag.name for flag in flags}
    if names & {"eval", "pipe", "cluster", "x", "function"}:
        safe = "cluster" in names and words[:1] and words[0] in ("CHECK", "INFO")
        return READ if safe else Judgement("unknown", "redis-script", "sends more than one command")
    if not words:
        if scene.piped or scene.text:
            return _redis_lines(scene)
        return (
            READ
            if names & {"stat", "latency", "bigkeys", "memkeys", "scan", "hotkeys"}
            else Judgement("reversible", "session", "opens a Redis session")
        )
    return _redis_command(words)


def _redis_lines(scene: Scene) -> Judgement:
    found = Judgement("unknown", "redis-pipe", "the commands come through a pipe")
    for line in scene.text.upper().splitlines():
        for at in range(len(line.split())):
            found = at_least(found, _redis_command(line.split()[at : at + 2]))
    return found


def _redis_command(words: list[str]) -> Judgement:
    name = words[0]
    if name in _REDIS_GROUPS:
        reads, destroys, disturbs = (set(part.split()) for part in _REDIS_GROUPS[name])
        name = words[1] if len(words) > 1 else "HELP"
    else:
        reads, destroys, disturbs = (
            set(vocabulary("redis", level)) for level in ("read", "destructive", "disruptive")
        )
    if name in destroys:
        return Judgement("destructive", "redis-destroys", f"{' '.join(words[:2])} loses data")
    if name in reads:
        return READ
    if name in disturbs:
        return Judgement("disruptive", "redis-changes", f"{' '.join(words[:2])} changes the server")
    if name in ("BGSAVE", "SAVE", "BGREWRITEAOF"):
        return Judgement("reversible", "redis-saves", "writes the dataset to disk")
    return Judgement("unknown", "redis-unknown", f"{name} is no known read")


def http(call: Invocation, scene: Scene, base: Judgement) -> Judgement:
    """Curl and wget: the method, and where the answer is written."""
    url = " ".join(word.text for word in call.positionals) + (call.value("url") or "")
    data = call.value(
        "data",
        "data-binary",
        "data-raw",
        "data-urlencode",
        "form",
        "json",
        "post-data",
        "post-file",
        "body-data",
    )
    sends = data is not None and call.value("get") is None
    method = (call.value("request", "method") or ("POST" if sends else "GET")).upper()
    found = READ
    if call.value("config", "upload-file", "post-file") is not None or "@" in (data or "")[:1]:
        found = Judgement("unknown", "uploads", "sends a file")
    if re.search(r"169\.254\.169\.254|metadata\.google", url):
        found = at_least(
            found, Judgement("denied", "metadata", "asks for the machine's credentials")
        )
    if method == "DELETE" or (method != "GET" and re.search(r"delete|/admin/|purge|/-/quit", url)):
        found = at_least(found, Judgement("destructive", "http-delete", f"sends {method} to {url}"))
    elif method not in ("GET", "HEAD", "OPTIONS"):
        level: Level = "disruptive" if method in ("POST", "PUT", "PATCH") else "unknown"
        found = at_least(found, Judgement(level, "http-changes", f"sends {method} to {url}"))
    path = call.value("output", "output-document")
    if path and path != "-":
        found = at_least(found, written(path))
    elif call.value("remote-name") is not None or (
        call.program == "wget" and path is None and call.value("spider") is None
    ):
        found = at_least(found, Judgement("reversible", "writes-file", "writes a file"))
    return found


DATA_RULES = {"sql": sql, "redis": redis, "http": http}
