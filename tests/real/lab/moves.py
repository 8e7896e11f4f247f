"""Puts segments where a test wants them, by the same LoadBalance call the daemon uses."""

from processes import LabError, wait_until
from datasets import query_segments

SETTLE_TIMEOUT = 60


def replicas(client, name, database=None):
    """The replicas of a collection with their nodes and shard leaders."""
    answer = client.call(
        "GetReplicas", database, collection_name=name, with_shard_nodes=True
    )
    return [
        {
            "id": replica.replicaID,
            "nodes": sorted(replica.node_ids),
            "resource_group": replica.resource_group_name,
            "leaders": {shard.dm_channel_name: shard.leaderID for shard in replica.shard_replicas},
        }
        for replica in sorted(answer.replicas, key=lambda replica: replica.replicaID)
    ]


def push(client, name, src, dst, segments, database=None):
    """Moves segments and waits until they are on `dst` and no longer on `src`."""
    client.call(
        "LoadBalance",
        database,
        timeout=120,
        collectionName=name,
        src_nodeID=src,
        dst_nodeIDs=[dst],
        sealed_segmentIDs=segments,
    )
    wanted = set(segments)

    def settled():
        nodes = {s["id"]: s["nodes"] for s in query_segments(client, name, database)}
        return all(dst in nodes.get(s, []) and src not in nodes.get(s, []) for s in wanted)

    wait_until(f"segments of {name} to settle on node {dst}", settled, SETTLE_TIMEOUT)


def push_all_to(client, name, node, database=None):
    """Moves every sealed segment of the node's replica onto the node. Returns how many moved."""
    home = [r for r in replicas(client, name, database) if node in r["nodes"]]
    if not home:
        raise LabError(f"node {node} serves no replica of {name}")
    others = [other for other in home[0]["nodes"] if other != node]
    by_source = {}
    for segment in query_segments(client, name, database):
        for other in others:
            if segment["state"] == "Sealed" and other in segment["nodes"]:
                by_source.setdefault(other, []).append(segment["id"])
    for source, segments in by_source.items():
        push(client, name, source, node, segments, database)
    return sum(map(len, by_source.values()))
