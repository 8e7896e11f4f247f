"""Records what a real server answers, as fixtures for parsers and for the simulated server.

Field names and codes in documentation are not always what comes over the wire; these files are.
"""

import json
import threading
import time
import urllib.request

import grpc

import moves
from agent import Lab
from datasets import query_segments
from processes import wait_until
from provision import MILVUS_VERSION, log
from rpc import Client, make_request, to_plain

LOADED, GROWING, UNLOADED = "loaded", "growing", "unloaded"
SMALL_NODE, SMALL_NODE_MEMORY = 3, 40_000_000
NO_SUCH_NODE = 9999
METRICS_CACHE_SECONDS = 5.5  # the proxy answers GetMetrics from a cache for 5 s

README = """# Real answers of Milvus {version}

Recorded from a real cluster of three query nodes by

    python3 tests/real/lab/lab.py capture --out tests/fixtures/milvus-{version}

- `system_info.json`: the JSON inside the answer of GetMetrics, with one collection fully sealed
  (`loaded`) and one that also has growing rows (`growing`).
- `standalone-metrics.txt`, `querynode-metrics.txt`: /metrics of the standalone process (all
  coordinators, the proxy and a query node) and of a plain query node, after some searches.
- `answers.json`: one entry per call, with the method, the request and the answer; protobuf
  field names, integers as integers, enums as numbers. `grpc_error` stands for a failed call;
  `milliseconds` is what the call took that day.
"""


class Recorder:
    """Collects calls by name."""

    def __init__(self, client):
        self.client = client
        self.calls = {}

    def record(self, name, method, database=None, **fields):
        request = make_request(method, database, **fields)
        entry = {"method": method, "request": to_plain(request)}
        started = time.monotonic()
        try:
            entry["answer"] = to_plain(self.client.ask(method, request, database))
        except grpc.RpcError as error:
            entry["grpc_error"] = {"code": error.code().name, "details": error.details()}
        entry["milliseconds"] = round((time.monotonic() - started) * 1000)
        self.calls[name] = entry
        return entry.get("answer")


def capture(cache, out):
    out.mkdir(parents=True, exist_ok=True)
    calls = {}
    lab = Lab(cache)
    try:
        calls |= _capture_cluster(lab, out)
    finally:
        lab.down()
    try:
        calls |= _capture_refusals(lab)
    finally:
        lab.down()
    _write_json(out / "answers.json", calls)
    (out / "README.md").write_text(README.format(version=MILVUS_VERSION))
    log(f"captured into {out}")


def _capture_cluster(lab, out):
    # The small node is started only for the last calls.
    nodes = lab.up(nodes=3, memory_limits={SMALL_NODE: SMALL_NODE_MEMORY})["nodes"]
    lab.create_database("archive")
    common = {"rows_per_segment": 2000, "dim": 32}
    lab.create_collections(
        [
            {"name": LOADED, "segments": 6, "index": "HNSW", "replicas": 1, **common},
            {"name": GROWING, "segments": 2, "shards": 2, "replicas": 2, **common},
            {"name": UNLOADED, "segments": 1, "load": False, **common},
            {"name": "old", "database": "archive", "segments": 1, **common},
        ]
    )
    lab.insert(GROWING, 700)
    lab.start_load([LOADED, GROWING], threads=2)
    time.sleep(METRICS_CACHE_SECONDS)
    _write_json(out / "system_info.json", lab.get_metrics()["system_info"])
    _write_metrics(out / "standalone-metrics.txt", nodes[0])
    _write_metrics(out / "querynode-metrics.txt", nodes[1])
    lab.stop_load()
    recorder = Recorder(lab._client)
    _record_reads(recorder)
    _record_moves(recorder, lab)
    return recorder.calls


def _record_reads(recorder):
    record = recorder.record
    record("GetVersion", "GetVersion")
    record("CheckHealth", "CheckHealth")
    record("ListDatabases", "ListDatabases")
    record("ShowCollections/loaded", "ShowCollections", type=1)
    record("ShowCollections/all", "ShowCollections", type=0)
    record("ShowCollections/loaded in archive", "ShowCollections", "archive", type=1)
    for name in (LOADED, GROWING, UNLOADED, "unknown"):
        record(f"DescribeCollection/{name}", "DescribeCollection", collection_name=name)
        record(f"DescribeIndex/{name}", "DescribeIndex", collection_name=name)
        record(f"GetLoadState/{name}", "GetLoadState", collection_name=name)
        record(f"GetReplicas/{name}", "GetReplicas", collection_name=name, with_shard_nodes=True)
        record(f"GetQuerySegmentInfo/{name}", "GetQuerySegmentInfo", collectionName=name)
    groups = record("ListResourceGroups", "ListResourceGroups")
    for group in groups["resource_groups"]:
        record("DescribeResourceGroup", "DescribeResourceGroup", resource_group=group)
    record("DescribeResourceGroup/unknown", "DescribeResourceGroup", resource_group="unknown")
    record("GetMetrics/wrong type", "GetMetrics", request='{"metric_type": "nonsense"}')


def _record_moves(recorder, lab):
    segments = query_segments(recorder.client, LOADED)
    source = segments[0]["nodes"][0]
    moved = [segment["id"] for segment in segments if segment["nodes"] == [source]][:1]
    others = [n["id"] for n in lab.node_ids()["nodes"] if n["live"] and n["id"] != source]

    def balance(name, **changes):
        fields = {
            "collectionName": LOADED,
            "src_nodeID": source,
            "dst_nodeIDs": others[:1],
            "sealed_segmentIDs": moved,
        }
        return recorder.record(f"LoadBalance/{name}", "LoadBalance", **(fields | changes))

    balance("wrong source node", src_nodeID=NO_SUCH_NODE)
    balance("wrong destination node", dst_nodeIDs=[NO_SUCH_NODE])
    balance("wrong segment", sealed_segmentIDs=[1])
    balance("unknown collection", collectionName="unknown")
    balance("unloaded collection", collectionName=UNLOADED)
    balance("collection of another database", collectionName="old")
    balance("source is destination", dst_nodeIDs=[source])
    _record_during_move(recorder, lambda: balance("success"), moved[0])
    _settle(recorder, moved[0], others[0])
    balance("already moved")
    _record_out_of_memory(recorder, lab, balance)


def _record_during_move(recorder, move, segment):
    """GetQuerySegmentInfo while a segment is on both its old and its new node."""
    thread = threading.Thread(target=move)
    thread.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        name = "GetQuerySegmentInfo/during a move"
        answer = recorder.record(name, "GetQuerySegmentInfo", collectionName=LOADED)
        places = {info["segmentID"]: info["nodeIds"] for info in answer["infos"]}
        if len(places.get(segment, [])) > 1:
            break
    else:
        log("no answer with the segment on both nodes was caught")
    thread.join()


def _settle(recorder, segment, node):
    def settled():
        places = {s["id"]: s["nodes"] for s in query_segments(recorder.client, LOADED)}
        return places[segment] == [node]

    wait_until("the move to settle", settled, 30)


def _record_out_of_memory(recorder, lab, balance):
    # An idle node takes about 25 MB, and each segment another 31: the first one fills the node
    # beyond its limit (Milvus lets it), the second one is refused.
    lab.create_collection(name="large", segments=2, rows_per_segment=30_000, dim=256)
    small = lab.start_node(SMALL_NODE)["id"]

    def joined():
        replicas = moves.replicas(recorder.client, "large")
        return any(small in replica["nodes"] for replica in replicas)

    wait_until("the small node to join the replica", joined, 60)
    first, second = query_segments(recorder.client, "large")
    lab.push("large", first["nodes"][0], small, [first["id"]])
    balance(
        "memory limit exceeded",
        collectionName="large",
        src_nodeID=second["nodes"][0],
        dst_nodeIDs=[small],
        sealed_segmentIDs=[second["id"]],
    )


def _capture_refusals(lab):
    """What a client without the right password or privilege gets."""
    lab.up(nodes=1, auth=True)
    lab.create_collection(name=LOADED, segments=1, rows_per_segment=1000, dim=8)
    lab.create_user("reader", "reader-password")
    lab.grant("reading", ["Search"], user="reader")
    calls = {}
    for name, user, password in (
        ("no password", None, None),
        ("wrong password", "root", "wrong"),
        ("privilege missing", "reader", "reader-password"),
    ):
        recorder = Recorder(Client(lab._cluster.proxy, None, user, password))
        fields = {"src_nodeID": 1, "dst_nodeIDs": [2], "sealed_segmentIDs": [1]}
        recorder.record(f"LoadBalance/{name}", "LoadBalance", collectionName=LOADED, **fields)
        recorder.record(f"ListDatabases/{name}", "ListDatabases")
        recorder.record(f"ShowCollections/{name}", "ShowCollections", type=1)
        request = '{"metric_type": "system_info"}'
        recorder.record(f"GetMetrics/{name}", "GetMetrics", request=request)
        recorder.record(f"GetReplicas/{name}", "GetReplicas", collection_name=LOADED)
        recorder.record(
            f"GetQuerySegmentInfo/{name}", "GetQuerySegmentInfo", collectionName=LOADED
        )
        _drop_metrics(recorder.calls)
        calls |= recorder.calls
    return calls


def _drop_metrics(calls):
    """A GetMetrics that succeeds would put another whole system_info into the file."""
    for entry in calls.values():
        if entry.get("answer", {}).get("response"):
            entry["answer"]["response"] = "{}"


def _write_metrics(path, node):
    with urllib.request.urlopen(f"http://{node['metrics']}/metrics", timeout=5) as answer:
        path.write_bytes(answer.read())


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
