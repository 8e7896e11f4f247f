"""Collections with an exact number of equal sealed segments, and queries that fingerprint them.

A rebalancer is tested against known segments, so a collection made here has exactly the
segments asked for, checked against what Milvus says it has. Rows come from a seeded generator:
the same arguments always give the same data, and so the same search results.
"""

import array
import hashlib
import random
import struct
from dataclasses import dataclass, field
from typing import Optional

import grpc

from processes import LabError, wait_until
from rpc import RpcError, common_pb2, key_values, milvus_pb2, schema_pb2

# The mock broker keeps only the newest 5 MB of a topic, so that what is not consumed in time is
# lost. A batch to one shard is small enough to be one message; few may be under way at once.
BATCH_BYTES = 1024 * 1024
MESSAGES_UNDER_WAY = 2

LOADED = 3  # common.LoadState.LoadStateLoaded
INDEX_FINISHED = 3  # common.IndexState.Finished
FLUSHED = 4  # common.SegmentState.Flushed
STRONG = 0  # common.ConsistencyLevel.Strong

INDEX_PARAMS = {
    "FLAT": {},
    "IVF_FLAT": {"nlist": 16},
    "HNSW": {"M": 8, "efConstruction": 64},
}
SEARCH_PARAMS = {"FLAT": "{}", "IVF_FLAT": '{"nprobe": 16}', "HNSW": '{"ef": 128}'}


@dataclass
class Collection:
    """What was asked for, and how far the primary keys have been used up."""

    name: str
    segments: int
    rows_per_segment: int
    dim: int
    database: Optional[str] = None
    replicas: int = 1
    shards: int = 1
    index: str = "FLAT"
    payload_bytes: int = 0
    load: bool = True
    seed: int = 1
    keys: Optional["ShardKeys"] = field(default=None, repr=False)

    def __post_init__(self):
        if self.index not in INDEX_PARAMS:
            raise LabError(f"index must be one of {', '.join(INDEX_PARAMS)}")
        self.keys = ShardKeys(self.shards)


class Inserter:
    """Inserts rows no faster than the data node takes them out of the message queue."""

    def __init__(self, client, collection, messages_consumed):
        self._client = client
        self._collection = collection
        identity = collection_id(client, collection.name, collection.database)
        self._consumed = lambda: messages_consumed(identity)
        self._before = self._consumed()
        self._sent = 0

    def insert(self, keys):
        row_bytes = 4 * self._collection.dim + self._collection.payload_bytes + 64
        batch = max(1, BATCH_BYTES // row_bytes)
        for start in range(0, len(keys), batch):
            _insert_batch(self._client, self._collection, keys[start : start + batch])
            self._sent += 1
            wait_until("inserted rows to be consumed", self._has_room, 60, 0.05)

    def _has_room(self):
        if self._sent <= MESSAGES_UNDER_WAY:
            return True
        return self._sent - (self._consumed() - self._before) <= MESSAGES_UNDER_WAY


class ShardKeys:
    """Hands out primary keys that Milvus will put into a wanted shard."""

    def __init__(self, shards):
        self._waiting = [[] for _ in range(shards)]
        self._next = 0

    def take(self, shard, count):
        waiting = self._waiting[shard]
        while len(waiting) < count:
            key = self._next
            self._next += 1
            self._waiting[_hash_of_key(key) % len(self._waiting)].append(key)
        taken = waiting[:count]
        del waiting[:count]
        return taken


def _hash_of_key(key):
    """murmur3 (32 bit, seed 0) of the key's eight little-endian bytes, without the sign bit."""
    mask = 0xFFFFFFFF
    state = 0
    for word in struct.unpack("<II", struct.pack("<q", key)):
        word = word * 0xCC9E2D51 & mask
        word = (word << 15 | word >> 17) & mask
        state ^= word * 0x1B873593 & mask
        state = (state << 13 | state >> 19) & mask
        state = (state * 5 + 0xE6546B64) & mask
    state ^= 8
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    return (state ^ state >> 16) & 0x7FFFFFFF


def create_collection(client, collection, messages_consumed):
    """Creates, fills, indexes and loads. Returns the collection's id and its segments' ids."""
    _create(client, collection)
    segment_ids = _insert_segments(client, collection, messages_consumed)
    if collection.segments:
        _check_segments(client, collection, segment_ids)
    _build_index(client, collection)
    if collection.load:
        load_collection(client, collection)
    return collection_id(client, collection.name, collection.database), sorted(segment_ids)


def _create(client, collection):
    fields = [
        schema_pb2.FieldSchema(name="id", is_primary_key=True, data_type=schema_pb2.Int64),
        schema_pb2.FieldSchema(
            name="vector",
            data_type=schema_pb2.FloatVector,
            type_params=key_values(dim=collection.dim),
        ),
    ]
    if collection.payload_bytes:
        fields.append(
            schema_pb2.FieldSchema(
                name="payload",
                data_type=schema_pb2.VarChar,
                type_params=key_values(max_length=collection.payload_bytes),
            )
        )
    schema = schema_pb2.CollectionSchema(name=collection.name, fields=fields)
    client.call(
        "CreateCollection",
        collection.database,
        collection_name=collection.name,
        schema=schema.SerializeToString(),
        shards_num=collection.shards,
        consistency_level=STRONG,
    )


def _insert_segments(client, collection, messages_consumed):
    """One flush makes one segment in each shard that has new rows."""
    inserter = Inserter(client, collection, messages_consumed)
    segment_ids = set()
    remaining = collection.segments
    while remaining:
        shards = range(min(remaining, collection.shards))
        for shard in shards:
            inserter.insert(collection.keys.take(shard, collection.rows_per_segment))
        segment_ids |= flush(client, collection)
        remaining -= len(shards)
    return segment_ids


def insert_rows(client, collection, rows, messages_consumed):
    """Rows that stay in growing segments, spread over the shards."""
    inserter = Inserter(client, collection, messages_consumed)
    base, extra = divmod(rows, collection.shards)
    for shard in range(collection.shards):
        inserter.insert(collection.keys.take(shard, base + (shard < extra)))


def _insert_batch(client, collection, keys):
    generator = random.Random(f"{collection.seed} {keys[0]} {len(keys)}")
    ids = schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=keys))
    vectors = _random_floats(generator, len(keys) * collection.dim)
    fields = [
        schema_pb2.FieldData(type=schema_pb2.Int64, field_name="id", scalars=ids),
        schema_pb2.FieldData(
            type=schema_pb2.FloatVector,
            field_name="vector",
            vectors=schema_pb2.VectorField(
                dim=collection.dim, float_vector=schema_pb2.FloatArray(data=vectors)
            ),
        ),
    ]
    if collection.payload_bytes:
        texts = schema_pb2.StringArray(data=["x" * collection.payload_bytes] * len(keys))
        fields.append(
            schema_pb2.FieldData(
                type=schema_pb2.VarChar,
                field_name="payload",
                scalars=schema_pb2.ScalarField(string_data=texts),
            )
        )
    client.call(
        "Insert",
        collection.database,
        collection_name=collection.name,
        fields_data=fields,
        num_rows=len(keys),
    )


def _random_floats(generator, count):
    return [value / 65536 for value in array.array("H", generator.randbytes(2 * count))]


def flush(client, collection):
    """Seals the growing segments; returns their ids without waiting for them to be written."""
    answer = client.call("Flush", collection.database, collection_names=[collection.name])
    # The answer repeats segments of earlier flushes that are still being written.
    return set(answer.coll_segIDs[collection.name].data)


def _check_segments(client, collection, expected_ids):
    def flushed():
        answer = client.call(
            "GetPersistentSegmentInfo", collection.database, collectionName=collection.name
        )
        ready = [info for info in answer.infos if info.state == FLUSHED]
        return len(ready) >= collection.segments and ready

    infos = wait_until(f"{collection.segments} flushed segments", flushed, 120)
    rows = {info.segmentID: info.num_rows for info in infos}
    if rows != dict.fromkeys(expected_ids, collection.rows_per_segment):
        raise LabError(
            f"wanted {collection.segments} segments of {collection.rows_per_segment} rows, "
            f"sealed {sorted(expected_ids)}, got {rows}"
        )


def _build_index(client, collection):
    params = key_values(
        index_type=collection.index, metric_type="L2", **INDEX_PARAMS[collection.index]
    )
    client.call(
        "CreateIndex",
        collection.database,
        collection_name=collection.name,
        field_name="vector",
        index_name="vector",
        extra_params=params,
    )

    def built():
        answer = client.call(
            "DescribeIndex", collection.database, collection_name=collection.name
        )
        return all(index.state == INDEX_FINISHED for index in answer.index_descriptions)

    wait_until("the index to be built", built, 120)


def load_collection(client, collection, replicas=None):
    replicas = replicas or collection.replicas
    client.call(
        "LoadCollection",
        collection.database,
        collection_name=collection.name,
        replica_number=replicas,
    )

    def loaded():
        answer = client.call(
            "GetLoadState", collection.database, collection_name=collection.name
        )
        return answer.state == LOADED and _all_placed(client, collection, replicas)

    wait_until(f"{collection.name} to be loaded", loaded, 120)


def _all_placed(client, collection, replicas):
    """GetLoadState can say yes shortly before the segments are listed."""
    placed = query_segments(client, collection.name, collection.database)
    sealed = [segment for segment in placed if segment["state"] == "Sealed"]
    return len(sealed) >= collection.segments and all(
        len(segment["nodes"]) == replicas for segment in sealed
    )


def query_segments(client, name, database=None):
    try:
        answer = client.call("GetQuerySegmentInfo", database, collectionName=name)
    except RpcError as error:
        raise LabError(f"segments of {name}: {error}") from error
    return [
        {
            "id": info.segmentID,
            "rows": info.num_rows,
            "nodes": sorted(info.nodeIds),
            "state": common_pb2.SegmentState.Name(info.state),
        }
        for info in sorted(answer.infos, key=lambda info: info.segmentID)
    ]


def collection_id(client, name, database=None):
    return client.call("DescribeCollection", database, collection_name=name).collectionID


def count_rows(client, name, database=None):
    """count(*) at strong consistency."""
    answer = client.call(
        "Query",
        database,
        collection_name=name,
        output_fields=["count(*)"],
        consistency_level=STRONG,
    )
    return answer.fields_data[0].scalars.long_data.data[0]


def make_search(collection, vectors, topk=10, consistency=STRONG):
    """A SearchRequest for several query vectors at once."""
    value = common_pb2.PlaceholderValue(
        tag="$0",
        type=common_pb2.PlaceholderType.FloatVector,
        values=[struct.pack(f"<{len(vector)}f", *vector) for vector in vectors],
    )
    return milvus_pb2.SearchRequest(
        db_name=collection.database or "",
        collection_name=collection.name,
        dsl_type=common_pb2.DslType.BoolExprV1,
        placeholder_group=common_pb2.PlaceholderGroup(placeholders=[value]).SerializeToString(),
        nq=len(vectors),
        consistency_level=consistency,
        search_params=key_values(
            anns_field="vector",
            topk=topk,
            metric_type="L2",
            round_decimal=-1,
            params=SEARCH_PARAMS[collection.index],
        ),
    )


def random_vectors(seed, count, dim):
    generator = random.Random(f"queries {seed}")
    return [_random_floats(generator, dim) for _ in range(count)]


def search_digest(client, collection, count=100, seed=1, topk=10):
    """A fingerprint of what `count` fixed searches find."""
    request = make_search(collection, random_vectors(seed, count, collection.dim), topk)
    answer = client.ask("Search", request, collection.database)
    if answer.status.code or answer.status.error_code:
        raise RpcError("Search", answer.status)
    digest = hashlib.sha256()
    ids, scores = answer.results.ids.int_id.data, answer.results.scores
    start = 0
    for found in answer.results.topks:
        hits = zip(scores[start : start + found], ids[start : start + found])
        digest.update(repr(sorted((round(score, 4), key) for score, key in hits)).encode())
        start += found
    return digest.hexdigest(), start


def wait_searchable(client, collection, timeout):
    """Waits until the collection answers searches and all its segments are placed (again)."""

    def answers():
        try:
            search_digest(client, collection, count=1)
            return _all_placed(client, collection, collection.replicas)
        except (grpc.RpcError, LabError):
            return False

    wait_until(f"searches in {collection.name}", answers, timeout, 0.3)


def wait_search_digest(client, collection, digest, timeout):
    """Waits until searches find what they found when `digest` was taken.

    Measured on 2.3.5: for a second or two after the segments of a killed node are placed again, searches can miss rows.
    """
    wait_searchable(client, collection, timeout)

    def is_the_same():
        try:
            return search_digest(client, collection)[0] == digest
        except (grpc.RpcError, LabError):
            return False

    wait_until(f"the same results from {collection.name}", is_the_same, timeout, 0.3)
