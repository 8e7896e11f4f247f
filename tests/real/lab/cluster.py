"""A real Milvus cluster on loopback: one standalone process and any number of query nodes.

Node 0 is the query node inside the standalone process (which also holds the coordinators, the
proxy and an embedded etcd); nodes 1, 2, ... are processes of their own. A node keeps its ports
over a stop and a start, as a node with a fixed address does in production.
"""

import base64
import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from processes import Child, LabError, make_cpu_cgroup, pick_ports, wait_until
from server_config import ClusterPaths, Options, Ports, write_config

START_TIMEOUT = 60


@dataclass
class Node:
    """One query node: its fixed ports, and its process while it has one."""

    index: int
    grpc_port: int
    metrics_port: int
    child: Optional[Child] = None

    @property
    def address(self):
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics(self):
        return f"127.0.0.1:{self.metrics_port}"


class Cluster:
    """Starts, disturbs and ends the processes. Talks to them only through their /metrics."""

    def __init__(self, cache, run_folder, options: Options):
        self.options = options
        self.run_name = run_folder.name
        self.paths = ClusterPaths(server=cache.server, run=run_folder.path)
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        (run_folder.path / "data").mkdir(exist_ok=True)
        if options.tls:
            from certificates import make_certificates

            self.paths.certificates = make_certificates(run_folder.path / "tls")
        ports = pick_ports(Ports.COUNT + 2 * options.nodes)
        self.ports = Ports.from_list(ports)
        pairs = ports[Ports.COUNT :]
        self.nodes = {
            index: Node(index, pairs[2 * index], pairs[2 * index + 1])
            for index in range(options.nodes)
        }
        self.broker_child = None
        self.broker_address = None

    @property
    def proxy(self):
        return f"127.0.0.1:{self.ports.proxy}"

    @property
    def etcd(self):
        return f"127.0.0.1:{self.ports.etcd_client}"

    def start(self):
        self._start_broker()
        self._start_process(self.nodes[0])
        # The others find the coordinators through etcd, and wait for them by themselves.
        wait_until("etcd", self._is_etcd_open, START_TIMEOUT, 0.05)
        for node in list(self.nodes.values())[1:]:
            self._start_process(node)
        self.wait_for_nodes(len(self.nodes))

    def stop(self):
        """Kills everything. Never raises, so that a teardown always runs to its end."""
        children = [node.child for node in self.nodes.values()] + [self.broker_child]
        for child in filter(None, children):
            child.signal(signal.SIGKILL)
        for child in filter(None, children):
            child.reap()

    def start_node(self, index=None):
        """Starts a node that is down, or (without an index) a new one. Returns its index."""
        if index is None or index not in self.nodes:
            index = max(self.nodes) + 1 if index is None else index
            self.nodes[index] = Node(index, *pick_ports(2))
        node = self.nodes[index]
        if node.child is not None and node.child.is_running():
            raise LabError(f"node {index} is running already")
        previous = self.id_of(node) or 0
        self._start_process(node)
        wait_until(
            f"node {index} to register", lambda: self._has_registered(node, previous), START_TIMEOUT
        )
        return index

    def kill_node(self, index):
        self.running_child(index).kill()

    def stop_node(self, index, timeout):
        """An orderly stop: Milvus moves the node's segments away first."""
        return self.running_child(index).terminate(timeout)

    def pause_node(self, index):
        self.running_child(index).signal(signal.SIGSTOP)

    def resume_node(self, index):
        self.running_child(index).signal(signal.SIGCONT)

    def running_child(self, index):
        node = self.nodes.get(index)
        if node is None or node.child is None or not node.child.is_running():
            raise LabError(f"node {index} is not running")
        return node.child

    def running_nodes(self):
        return [n for n in self.nodes.values() if n.child is not None and n.child.is_running()]

    def wait_for_nodes(self, count, timeout=START_TIMEOUT):
        """Waits until the coordinator has `count` query nodes registered."""

        def registered():
            for node in self.nodes.values():
                node.child.check_running()
            match = re.search(
                r"^milvus_querycoord_querynode_num (\d+)", self._metrics(self.nodes[0]), re.M
            )
            return match and int(match.group(1)) >= count

        wait_until(f"{count} query nodes to register", registered, timeout)

    def _start_broker(self):
        script = Path(__file__).with_name("broker.py")
        self.broker_child = Child(
            "broker", [sys.executable, script], self.paths.logs, stdout=subprocess.PIPE, bufsize=0
        )
        output = self.broker_child.process.stdout
        readable, _, _ = select.select([output], [], [], START_TIMEOUT)
        address = output.readline().decode().strip() if readable else ""
        if not address:
            raise LabError(f"the message broker did not start:\n{self.broker_child.log_tail()}")
        self.broker_address = address

    def _start_process(self, node):
        config = write_config(
            self.paths, self.options, self.ports, self.broker_address, node.index, node.grpc_port
        )
        env = dict(
            os.environ,
            MILVUSCONF=str(config),
            LD_LIBRARY_PATH=str(self.paths.server),
            METRICS_PORT=str(node.metrics_port),
        )
        command = [self.paths.server / "milvus", "run"]
        if node.index == 0:
            env["DEPLOY_MODE"] = "STANDALONE"
            env["ETCD_CONFIG_PATH"] = str(config / "embedEtcd.yaml")
            command += ["standalone"]
        else:
            command += ["querynode", "-alias", f"node{node.index}"]
        if node.index in self.options.memory_limits:
            # What Milvus reports as its memory, and what its guard against overload uses.
            env["MEM_LIMIT"] = str(self.options.memory_limits[node.index])
        cgroup = None
        if node.index in self.options.cpu_limits:
            cores = self.options.cpu_limits[node.index]
            cgroup = make_cpu_cgroup(self.run_name, node.index, cores)
            env["GOMAXPROCS"] = str(max(1, math.ceil(cores)))
        node.child = Child(
            f"node{node.index}", command, self.paths.logs, env, self.paths.run, cgroup
        )

    def messages_consumed(self, collection_id):
        """How many insert messages of a collection the data node has read from the queue."""
        pattern = (
            rf'^milvus_datanode_consume_msg_count{{collection_id="{collection_id}",'
            r'msg_type="insert",.*} (\S+)'
        )
        counts = re.findall(pattern, self._metrics(self.nodes[0]), re.M)
        return sum(map(float, counts))

    def sessions(self):
        """The query nodes registered in etcd, as (id, address). A killed one stays about 30 s.

        Asked from etcd and not by GetMetrics: the proxy answers that from a cache whose age
        starts anew with every read, so that a lab that polls would freeze it for the daemon.
        """
        prefix = b"by-dev/meta/session/querynode-"
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        query = {"key": _base64(prefix), "range_end": _base64(end)}
        request = urllib.request.Request(
            f"http://{self.etcd}/v3/kv/range", json.dumps(query).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                found = json.loads(answer.read()).get("kvs", [])
        except OSError:
            return []
        sessions = [json.loads(base64.b64decode(item["value"])) for item in found]
        return sorted((session["ServerID"], session["Address"]) for session in sessions)

    def id_of(self, node, after=0):
        """The newest id above `after` that a node has registered, or None."""
        ids = [key for key, address in self.sessions() if address == node.address]
        return max((key for key in ids if key > after), default=None)

    def _is_etcd_open(self):
        self.nodes[0].child.check_running()
        try:
            socket.create_connection(("127.0.0.1", self.ports.etcd_client), 0.2).close()
            return True
        except OSError:
            return False

    def _has_registered(self, node, previous):
        node.child.check_running()
        return self.id_of(node, previous)

    def _metrics(self, node):
        try:
            with urllib.request.urlopen(f"http://{node.metrics}/metrics", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return ""


def _base64(data):
    return base64.b64encode(data).decode()


def start_cluster(cache, run_folder, options):
    """Starts a cluster; a second attempt covers a port that was taken in between."""
    first_error = None
    for _ in range(2):
        cluster = Cluster(cache, run_folder, options)
        try:
            cluster.start()
            return cluster
        except LabError as error:
            cluster.stop()
            first_error = first_error or error
        except BaseException:
            cluster.stop()
            raise
    raise first_error
