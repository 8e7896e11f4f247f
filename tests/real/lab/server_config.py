"""Writes the configuration files of each Milvus process.

The wheel carries the server's own configuration as a template; what a multi-process cluster on
loopback needs differently is put on top: a shared Kafka, loopback addresses, chosen ports.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Optional

import yaml

COORDINATOR_ROLES = ("rootCoord", "queryCoord", "dataCoord", "indexCoord", "dataNode", "indexNode")


@dataclass
class Ports:
    """Ports that the cluster as a whole uses; each node has two more of its own."""

    proxy: int
    proxy_internal: int
    etcd_client: int
    etcd_peer: int
    roles: dict

    COUNT = 4 + len(COORDINATOR_ROLES)

    @classmethod
    def from_list(cls, ports):
        return cls(*ports[:4], roles=dict(zip(COORDINATOR_ROLES, ports[4 : cls.COUNT])))


@dataclass
class Options:
    """What `up` can be asked for."""

    nodes: int = 3
    auth: bool = False
    tls: Any = False  # False, True, or "mutual"
    auto_balance: bool = False
    compaction: bool = False
    memory_limits: dict = field(default_factory=dict)
    cpu_limits: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        # JSON object keys are strings.
        self.memory_limits = {int(node): int(size) for node, size in self.memory_limits.items()}
        self.cpu_limits = {int(node): float(cores) for node, cores in self.cpu_limits.items()}


@dataclass
class ClusterPaths:
    """Where the cluster finds its program and keeps its files."""

    server: Any
    run: Any
    certificates: Optional[Any] = None

    @property
    def logs(self):
        return self.run / "logs"

    def config(self, node):
        return self.run / "conf" / str(node)


def write_config(paths, options, ports, broker, node, query_node_port):
    """Writes milvus.yaml and its companions for one process, and returns their folder."""
    folder = paths.config(node)
    folder.mkdir(parents=True, exist_ok=True)
    config = _template(paths, ports)
    _set_queue(config, broker)
    config["etcd"]["endpoints"] = f"127.0.0.1:{ports.etcd_client}"
    config["etcd"]["use"]["embed"] = node == 0
    for role in (*COORDINATOR_ROLES, "queryNode", "proxy"):
        config.setdefault(role, {})["ip"] = "127.0.0.1"
    for role, port in ports.roles.items():
        config[role]["port"] = port
    config["queryNode"]["port"] = query_node_port
    config["queryCoord"]["autoBalance"] = options.auto_balance
    config["dataCoord"]["enableCompaction"] = options.compaction
    _set_security(config, options, paths.certificates)
    for name, value in options.settings.items():
        _set_by_dotted_name(config, name, value)
    (folder / "milvus.yaml").write_text(yaml.safe_dump(config))
    (folder / "embedEtcd.yaml").write_text(_etcd_config(ports))
    (folder / "glog.conf").write_text(
        f"--logtostderr=false\n--minloglevel=2\n--log_dir={paths.logs}\n"
    )
    return folder


def _template(paths, ports):
    values = {
        "etcd_port": ports.etcd_client,
        "etcd_data_dir": paths.run / "data" / "etcd",
        "local_storage_dir": paths.run / "data" / "storage",
        "rocksmq_data_dir": paths.run / "data" / "queue",
        "system_log_path": "",
        "proxy_port": ports.proxy,
        "proxy_internal_port": ports.proxy_internal,
    }

    def fill(match):
        # A placeholder looks like {{ name(type): default }}.
        name, default = re.match(r"(\w+)(?:\(\w+\))?\s*(?::\s*(.*))?$", match.group(1)).groups()
        return str(values.get(name, default or ""))

    text = (paths.server / "config.yaml.template").read_text()
    return yaml.safe_load(re.sub(r"\{\{\s*(.*?)\s*\}\}", fill, text))


def _set_queue(config, broker):
    for other_queue in ("pulsar", "rocksmq", "natsmq"):
        config.pop(other_queue, None)
    config["mq"] = {"type": "kafka"}
    config["kafka"] = {"brokerList": broker, "readTimeout": 10}


def _set_security(config, options, certificates):
    security = config["common"]["security"]
    security["authorizationEnabled"] = options.auth
    security["tlsMode"] = {False: 0, True: 1, "mutual": 2}[options.tls]
    if certificates is not None:
        config["tls"] = {
            "serverPemPath": str(certificates.server_cert),
            "serverKeyPath": str(certificates.server_key),
            "caPemPath": str(certificates.ca),
        }


def _set_by_dotted_name(config, name, value):
    *path, last = name.split(".")
    for part in path:
        config = config.setdefault(part, {})
    config[last] = value


def _etcd_config(ports):
    client, peer = (f"http://127.0.0.1:{port}" for port in (ports.etcd_client, ports.etcd_peer))
    return (
        f"name: default\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\n"
        f"listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\n"
        f"initial-cluster: default={peer}\n"
    )
