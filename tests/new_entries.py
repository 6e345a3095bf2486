"""Twenty alerts that no model was trained on, with a question about each, for `refresh`."""

from __future__ import annotations

from typing import NamedTuple


class NewEntry(NamedTuple):
    """An alert, and how somebody asks about it."""

    title: str
    symptoms: str
    command: str
    question: str


def _entry(title: str, symptoms: str, command: str, question: str) -> NewEntry:
    return NewEntry(title, symptoms, command, question)


ENTRIES = [
    _entry("KafkaBrokerOffline", "one broker left the cluster and its partitions have no leader",
           "kubectl rollout restart statefulset kafka -n kafka",
           "a kafka broker left the cluster, partitions without leader"),
    _entry("KafkaConsumerLagging", "a consumer group falls behind by millions of messages",
           "kafka-consumer-groups.sh --bootstrap-server kafka:9092 --describe --all-groups",
           "our consumer group falls behind, millions of messages"),
    _entry("RabbitQueueGrowing", "a queue holds more than a hundred thousand unread messages",
           "rabbitmqctl list_queues name messages consumers",
           "rabbit queue has more than a hundred thousand unread messages"),
    _entry("ElasticShardsUnassigned", "the index health is red because shards are unassigned",
           "curl -sS http://elastic.lab.internal:9200/_cluster/allocation/explain",
           "index health red, unassigned shards"),
    _entry("MailQueueStuck", "outgoing mail waits for hours in the deferred queue of postfix",
           "postqueue -f", "mail waits for hours, postfix deferred queue is full"),
    _entry("PrinterSpoolerDead", "nobody can print, the spooler cups does not answer",
           "systemctl restart cups", "nobody can print and cups does not answer"),
    _entry("VpnUsersLocked", "remote workers cannot log in to the openvpn gateway",
           "systemctl restart openvpn-server@office", "remote workers cannot log in to openvpn"),
    _entry("ProxySquidFull", "the web proxy squid has filled its cache directory",
           "squid -k rotate", "squid filled its cache directory"),
    _entry("LdapReplicaDiverged", "the directory replica answers with entries of last month",
           "systemctl restart slapd", "directory replica gives entries of last month"),
    _entry("JenkinsAgentOffline", "builds wait because no agent of jenkins is connected",
           "kubectl rollout restart deployment jenkins-agent -n ci",
           "jenkins builds wait, no agent connected"),
    _entry("GitlabRunnerPaused", "pipelines stay pending since the gitlab runner was paused",
           "gitlab-runner verify", "gitlab pipelines stay pending, runner paused"),
    _entry("HarborScanFailing", "vulnerability scans of harbor end without a result",
           "kubectl rollout restart deployment harbor-trivy -n harbor",
           "harbor vulnerability scans end without result"),
    _entry("VaultSealed", "every application gets 503 because vault is sealed",
           "vault status", "applications get 503, vault is sealed"),
    _entry("ConsulLeaderLost", "consul has no leader and service discovery is empty",
           "consul operator raft list-peers", "consul without leader, service discovery is empty"),
    _entry("NatsStreamFull", "a stream of nats refuses messages as its limit is reached",
           "nats stream report", "nats stream refuses messages, limit reached"),
    _entry("InfluxShardCorrupt", "influx does not start and names a corrupt shard",
           "influxd inspect verify-tsm", "influx does not start, corrupt shard"),
    _entry("ClickhouseMergesSlow", "clickhouse rejects inserts with too many parts",
           "clickhouse-client --query 'SELECT table, count() FROM system.parts GROUP BY table'",
           "clickhouse rejects inserts, too many parts"),
    _entry("SambaShareReadonly", "people cannot save to the samba share, it is read only",
           "smbstatus --shares", "cannot save on the samba share, read only"),
    _entry("UpsOnBattery", "the ups runs on battery and has minutes left",
           "upsc ups@localhost", "ups is on battery, minutes left"),
    _entry("SwitchPortFlapping", "a switch port goes up and down every few seconds",
           "snmpwalk -v2c -c public switch01 ifOperStatus",
           "switch port goes up and down every few seconds"),
]  # fmt: skip


def text() -> str:
    """The alerts as a section that can be put at a runbook's end."""
    parts = ["\n## Newcomers\n"]
    for one in ENTRIES:
        parts.append(
            f"### Alert: {one.title}\n\n**Symptoms:**\n- {one.symptoms}\n\n"
            f"**Resolution:**\n```bash\n{one.command}\n```\n"
        )
    return "\n".join(parts)
