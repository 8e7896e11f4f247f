"""The long-lived agent behind `lab.py serve`: one JSON command a line, one JSON answer a line.

The Rust tests own a cluster through this process. When their end of the pipe closes, for
whatever reason, everything is torn down at once, even in the middle of a command.
"""

import base64
import dataclasses
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import moves
from cluster import start_cluster
from datasets import Collection
from processes import Child, LabError, RunFolder, wait_until
from rpc import ROOT_PASSWORD, ROOT_USER, Client, milvus_pb2
from server_config import Options

GRANT, ADD_USER_TO_ROLE = 0, 0  # milvus.OperatePrivilegeType.Grant, OperateUserRoleType


class Lab:
    """At most one cluster with its client and its collections. Public methods are commands."""

    def __init__(self, cache):
        self._cache = cache
        self._run = None
        self._cluster = None
        self._client = None
        self._collections = {}
        self._load = None

    # The cluster

    def up(self, **options):
        if self._cluster is not None:
            raise LabError("a cluster is up already")
        self._run = RunFolder(self._cache.runs)
        options = Options(**options)
        self._cluster = start_cluster(self._cache, self._run, options)
        user = (ROOT_USER, ROOT_PASSWORD) if options.auth else (None, None)
        certificates = self._cluster.paths.certificates
        self._client = Client(self._cluster.proxy, certificates, *user)
        wait_until("the proxy", self._proxy_answers, 60, 0.05)
        answer = {"proxy": self._cluster.proxy, "etcd": self._cluster.etcd}
        answer["nodes"] = [self._describe(node) for node in self._cluster.nodes.values()]
        if options.auth:
            answer |= {"user": ROOT_USER, "password": ROOT_PASSWORD}
        if certificates is not None:
            answer["tls"] = _paths_as_text(certificates)
        return answer

    def down(self):
        """Ends everything and removes every file of this run."""
        if self._load is not None:
            self._load.kill()
            self._load = None
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.stop()
        if self._run is not None:
            self._run.remove()
        self._run = self._cluster = self._client = None
        self._collections = {}

    def start_node(self, index=None):
        self._require_cluster()
        return self._describe(self._cluster.nodes[self._cluster.start_node(index)])

    def kill_node(self, index):
        self._require_cluster().kill_node(index)

    def stop_node(self, index, timeout=60):
        return {"ended": self._require_cluster().stop_node(index, timeout)}

    def pause_node(self, index):
        self._require_cluster().pause_node(index)

    def resume_node(self, index):
        self._require_cluster().resume_node(index)

    def restart_standalone(self, timeout=120):
        """SIGKILL, start, and wait until the proxy answers and all running nodes are back."""
        cluster = self._require_cluster()
        previous = cluster.id_of(cluster.nodes[0])
        cluster.kill_node(0)
        cluster.start_node(0)
        running = cluster.running_nodes()
        wait_until(
            "the cluster to come back",
            lambda: self._proxy_answers()
            and cluster.id_of(cluster.nodes[0], previous)
            and all(cluster.id_of(node) for node in running),
            timeout,
        )
        return {"nodes": [self._describe(node) for node in running]}

    def logs(self, index, lines=50):
        return {"text": self._require_cluster().nodes[index].child.log_tail(lines)}

    # Databases, users

    def create_database(self, name):
        self._call("CreateDatabase", database=name)

    def create_user(self, user, password):
        self._call("CreateCredential", username=user, password=_base64(password))

    def grant(
        self, role, privileges, user=None, object="Collection", object_name="*", database="*"
    ):
        """Gives a role (made when it is missing) privileges on an object, and a user the role."""
        if role not in self._roles():
            self._call("CreateRole", entity=milvus_pb2.RoleEntity(name=role))
        for privilege in privileges:
            entity = milvus_pb2.GrantEntity(
                role=milvus_pb2.RoleEntity(name=role),
                object=milvus_pb2.ObjectEntity(name=object),
                object_name=object_name,
                db_name=database,
                grantor=milvus_pb2.GrantorEntity(
                    privilege=milvus_pb2.PrivilegeEntity(name=privilege)
                ),
            )
            self._call("OperatePrivilege", entity=entity, type=GRANT)
        if user is not None:
            self._call(
                "OperateUserRole", username=user, role_name=role, type=ADD_USER_TO_ROLE
            )

    def _roles(self):
        answer = self._call("SelectRole", include_user_info=False)
        return [result.role.name for result in answer.results]

    # Collections

    def create_collection(self, **fields):
        collection = Collection(**fields)
        self._require_cluster()
        self._collections[_key(collection.name, collection.database)] = collection
        identity, segments = datasets.create_collection(
            self._client, collection, self._cluster.messages_consumed
        )
        return {"collection_id": identity, "segments": segments}

    def create_collections(self, collections):
        """Several at once, in about the time of one."""
        with ThreadPoolExecutor(max_workers=8) as pool:
            made = pool.map(lambda fields: self.create_collection(**fields), collections)
            return {"collections": list(made)}

    def drop_collection(self, name, database=None):
        self._call("DropCollection", database, collection_name=name)
        self._collections.pop(_key(name, database), None)

    def release_collection(self, name, database=None):
        self._call("ReleaseCollection", database, collection_name=name)

    def load_collection(self, name, database=None, replicas=None):
        datasets.load_collection(self._client, self._known(name, database), replicas)

    def insert(self, name, rows, database=None, flush=False):
        """Rows into growing segments; `flush` seals them into new segments at once."""
        collection = self._known(name, database)
        datasets.insert_rows(
            self._client, collection, rows, self._cluster.messages_consumed
        )
        if flush:
            return {"segments": sorted(datasets.flush(self._client, collection))}

    def segments(self, name, database=None):
        return {"segments": datasets.query_segments(self._require_client(), name, database)}

    def replicas(self, name, database=None):
        return {"replicas": moves.replicas(self._require_client(), name, database)}

    def count(self, name, database=None):
        return {"count": datasets.count_rows(self._require_client(), name, database)}

    def search_digest(self, name, database=None, count=100, seed=1, topk=10):
        collection = self._known(name, database)
        digest, hits = datasets.search_digest(self._client, collection, count, seed, topk)
        return {"digest": digest, "hits": hits}

    def wait_searchable(self, name, database=None, timeout=120):
        """For after a disturbance: until searches work and every segment is placed."""
        datasets.wait_searchable(self._client, self._known(name, database), timeout)

    def wait_search_digest(self, name, digest, database=None, timeout=120):
        """For after a disturbance: until searches find again what they found before."""
        datasets.wait_search_digest(self._client, self._known(name, database), digest, timeout)

    # Moves

    def push(self, name, src, dst, segments, database=None):
        moves.push(self._require_client(), name, src, dst, segments, database)

    def push_all_to(self, name, node, database=None):
        return {"moved": moves.push_all_to(self._require_client(), name, node, database)}

    # What Milvus reports

    def get_metrics(self):
        """Mind that each call keeps the proxy's cached answer alive for 5 s more."""
        answer = self._call("GetMetrics", request='{"metric_type": "system_info"}')
        return {"system_info": json.loads(answer.response)}

    def node_ids(self):
        """The registered query nodes, with the index under which the lab started them.

        A killed node stays registered for about 30 s; `live` tells it apart.
        """
        cluster = self._require_cluster()
        sessions = cluster.sessions()
        newest = {address: key for key, address in sessions}
        by_address = {node.address: node for node in cluster.nodes.values()}
        found = []
        for key, address in sessions:
            node = by_address.get(address)
            live = node in cluster.running_nodes() and newest[address] == key
            index = node.index if node else None
            found.append({"id": key, "address": address, "index": index, "live": live})
        return {"nodes": found}

    # Background load

    def start_load(self, names, threads=2, topk=10, database=None):
        if self._load is not None:
            raise LabError("a load is running already")
        user = (ROOT_USER, ROOT_PASSWORD) if self._cluster.options.auth else (None, None)
        certificates = self._cluster.paths.certificates
        order = {
            "proxy": self._cluster.proxy,
            "certificates": certificates and _paths_as_text(certificates),
            "user": user[0],
            "password": user[1],
            "threads": threads,
            "topk": topk,
            "collections": [_as_order(self._known(name, database)) for name in names],
        }
        self._load = Child(
            "traffic",
            [sys.executable, Path(__file__).with_name("traffic.py")],
            self._cluster.paths.logs,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._load.process.stdin.write((json.dumps(order) + "\n").encode())
        self._load.process.stdin.flush()

    def load_window(self):
        """What the searches saw since they began, or since this was asked last. They go on."""
        return self._ask_load(b"window\n")

    def stop_load(self):
        """Ends them; what they saw since they began, or since a window was asked for last."""
        try:
            return self._ask_load(b"stop\n")
        finally:
            if self._load is not None:
                self._load.kill()
            self._load = None

    # Helpers

    def _ask_load(self, order):
        if self._load is None:
            raise LabError("no load is running")
        self._load.process.stdin.write(order)
        self._load.process.stdin.flush()
        readable, _, _ = select.select([self._load.process.stdout], [], [], 40)
        line = self._load.process.stdout.readline() if readable else b""
        if not line:
            raise LabError(f"the load gave no result:\n{self._load.log_tail()}")
        return json.loads(line)

    def _require_cluster(self):
        if self._cluster is None:
            raise LabError("no cluster is up")
        return self._cluster

    def _require_client(self):
        self._require_cluster()
        return self._client

    def _call(self, method, database=None, **fields):
        return self._require_client().call(method, database, **fields)

    def _known(self, name, database):
        self._require_cluster()
        try:
            return self._collections[_key(name, database)]
        except KeyError:
            raise LabError(f"the lab did not make a collection {name}") from None

    def _proxy_answers(self):
        for node in self._cluster.running_nodes():
            node.child.check_running()
        try:
            # The loaded collections: proxy, root coordinator and query coordinator take part.
            self._client.call("ShowCollections", type=1, timeout=5)
            return True
        except Exception:  # noqa: BLE001 - any failure means that it is not ready
            return False

    def _describe(self, node):
        return {
            "index": node.index,
            "id": self._cluster.id_of(node),
            "metrics": node.metrics,
            "address": node.address,
        }


def serve(cache):
    """Answers commands until stdin ends."""
    lab = Lab(cache)
    commands = queue.Queue()
    signal.signal(signal.SIGTERM, _exit_at_once)
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    try:
        _answer({"ok": True, "ready": True})
        while (line := commands.get()) is not None:
            _answer(_execute(lab, line))
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        # A second signal must not stop the teardown half way.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lab.down()


def _read_commands(commands):
    for line in sys.stdin:
        commands.put(line)
    # The owner is gone: interrupt whatever the main thread is doing, and tear down.
    commands.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


def _exit_at_once(_number, _frame):
    raise SystemExit(0)


def _execute(lab, line):
    try:
        fields = json.loads(line)
        command = fields.pop("cmd")
        method = None if command.startswith("_") else getattr(lab, command, None)
        if method is None:
            raise LabError(f"no such command: {command}")
        return {"ok": True} | (method(**fields) or {})
    except Exception as error:  # noqa: BLE001 - every failure is an answer
        return {"ok": False, "error": f"{error}" if isinstance(error, LabError) else repr(error)}


def _answer(answer):
    print(json.dumps(answer), flush=True)


def _as_order(collection):
    fields = {f.name: getattr(collection, f.name) for f in dataclasses.fields(collection)}
    fields.pop("keys")
    return fields


def _key(name, database):
    return (database or "default", name)


def _paths_as_text(certificates):
    return {name: str(path) for name, path in dataclasses.asdict(certificates).items()}


def _base64(text):
    return base64.b64encode(text.encode()).decode()
