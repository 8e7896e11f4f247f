//! What can be read, and how it looks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milvus_rebalancer::milvus::MilvusClient;
use milvus_rebalancer::milvus::wire::milvus as rpc;
use milvus_rebalancer::units::CollectionId;
use serde_json::Value;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

use super::cluster::{BOOKS, GROWING_ROWS, NODES, ROW_BYTES, ROWS, Subject, places};

const RECORDED: &str = include_str!("../../fixtures/milvus-2.3.5/system_info.json");
const GROUP: &str = "__default_resource_group";

pub fn lists(s: &mut Subject) {
    let version = s.ask(s.client.version()).unwrap();
    assert!(version.starts_with("v2.3.5"), "{version}");
    let databases: BTreeSet<String> = s.ask(s.client.list_databases()).unwrap().into_iter().collect();
    assert_eq!(databases, BTreeSet::from(["archive".to_owned(), "default".to_owned()]));
    let loaded = |database: &str| -> BTreeMap<String, (i64, Option<u8>)> {
        let listed = s.ask(s.client.loaded_collections(database)).unwrap();
        listed.into_iter().map(|entry| (entry.name, (entry.id.0, entry.load_percentage))).collect()
    };
    let expected = |names: &[&str]| -> BTreeMap<String, (i64, Option<u8>)> {
        names.iter().map(|name| ((*name).to_owned(), (s.id(name), Some(100)))).collect()
    };
    assert_eq!(loaded("default"), expected(&["books", "growing", "pairs"]));
    assert_eq!(loaded(""), loaded("default"));
    assert_eq!(loaded("archive"), expected(&["old"]));
    assert!(s.ask(s.client.check_health()).unwrap().healthy);
}

pub fn replicas(s: &mut Subject) {
    let nodes: BTreeSet<i64> = s.cluster.nodes().into_iter().collect();
    for (name, count, shards) in [("books", 1, 1), ("pairs", 2, 2), ("growing", 1, 2)] {
        let replicas = s.replicas(name);
        assert_eq!(replicas.len(), count, "{name}");
        let mut members = Vec::new();
        for replica in &replicas {
            assert_eq!(replica.collection_id, s.id(name));
            assert_eq!(replica.resource_group_name, GROUP);
            assert_eq!(replica.num_outbound_node, BTreeMap::new());
            assert_eq!(replica.shard_replicas.len(), shards, "{name}");
            for shard in &replica.shard_replicas {
                assert!(replica.node_ids.contains(&shard.leader_id), "{replica:?}");
                let suffix = format!("_{}v", s.id(name));
                assert!(shard.dm_channel_name.contains(&suffix), "{shard:?}");
                assert!(shard.leader_addr.contains(':'), "{shard:?}");
            }
            assert_eq!(replica.node_ids.len(), NODES / count, "{name}: {replica:?}");
            members.extend(&replica.node_ids);
        }
        let distinct: BTreeSet<i64> = members.iter().copied().collect();
        assert_eq!(distinct, nodes, "{name}: every node in one replica");
        assert_eq!(members.len(), nodes.len(), "{name}: every node in one replica");
    }
}

/// The fields of a segment that our own messages leave out, because no version fills them.
#[derive(Clone, PartialEq, prost::Message)]
struct WholeSegment {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "4")]
    mem_size: i64,
    #[prost(int64, tag = "8")]
    node_id: i64,
    #[prost(int32, tag = "9")]
    state: i32,
    #[prost(int32, tag = "11")]
    level: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WholeSegments {
    #[prost(message, repeated, tag = "2")]
    infos: Vec<WholeSegment>,
}

async fn whole_segments(channel: Channel, name: &str) -> Vec<WholeSegment> {
    let mut rpc = tonic::client::Grpc::new(channel);
    rpc.ready().await.unwrap();
    let query = rpc::GetQuerySegmentInfoRequest { db_name: String::new(), collection_name: name.to_owned() };
    let path = PathAndQuery::from_static("/milvus.proto.milvus.MilvusService/GetQuerySegmentInfo");
    let codec = tonic_prost::ProstCodec::<rpc::GetQuerySegmentInfoRequest, WholeSegments>::default();
    rpc.unary(tonic::Request::new(query), path, codec).await.unwrap().into_inner().infos
}

pub fn segments(s: &mut Subject) {
    let listed = s.ask(s.client.query_segments("default", "books")).unwrap();
    assert_eq!(listed.len(), BOOKS);
    for segment in &listed {
        assert_eq!(segment.collection_id, s.id("books"));
        assert_eq!((segment.num_rows, segment.node_ids.len()), (ROWS, 1), "{segment:?}");
        assert!(segment.partition_id > 0);
    }
    // Milvus deals them out more or less evenly, depending on how soon each was there.
    let held = s.cluster.nodes().into_iter().map(|node| s.held("books", node).len());
    assert_eq!(held.sum::<usize>(), BOOKS);
    let replicas = s.replicas("pairs");
    for (segment, at) in s.places("pairs") {
        assert_eq!(at.len(), 2, "{segment}: once in each replica");
        let homes = replicas.iter().filter(|replica| at.iter().any(|node| replica.node_ids.contains(node)));
        assert_eq!(homes.count(), 2, "{segment}: once in each replica");
    }
    let sealed = 3;
    let channel =
        s.ask(async { Channel::from_shared(s.cluster.endpoint()).unwrap().connect().await.unwrap() });
    for segment in s.ask(whole_segments(channel, "books")) {
        let seen = (segment.mem_size, segment.node_id, segment.level, segment.state);
        assert_eq!(seen, (0, 0, 0, sealed), "{}", segment.id);
    }
}

pub fn resource_groups(s: &mut Subject) {
    assert_eq!(s.ask(s.client.list_resource_groups()).unwrap(), [GROUP]);
    let group = s.ask(s.client.describe_resource_group(GROUP)).unwrap();
    assert_eq!(group.nodes, []);
    assert_eq!((group.name.as_str(), group.num_available_node), (GROUP, 4));
    assert_eq!(group.capacity, 1_000_000, "the default group takes whoever comes");
}

pub fn missing(s: &mut Subject) {
    assert_eq!(s.places("unloaded"), BTreeMap::new());
    let replicas = |client: &MilvusClient, id: i64| s.ask(client.replicas(CollectionId(id)));
    let unloaded = replicas(&s.client, s.id("unloaded")).unwrap_err();
    assert!(unloaded.to_string().contains("code 400 (failed to get replicas by collection"), "{unloaded}");
    let unknown = replicas(&s.client, 7).unwrap_err();
    assert!(unknown.to_string().contains("code 400 (failed to get replicas by collection"), "{unknown}");
    for (database, name) in [("", "unknown"), ("", "old"), ("archive", "books")] {
        let error = s.ask(s.client.query_segments(database, name)).unwrap_err();
        assert!(error.to_string().contains("code 100 (collection not found"), "{error}");
        assert!(error.collection_is_gone());
        let error = s.ask(s.client.describe_collection(database, name)).unwrap_err();
        assert!(error.to_string().contains("code 100"), "{error}");
        assert!(error.collection_is_gone());
    }
    let error = s.ask(s.client.query_segments("nowhere", "books")).unwrap_err();
    let text = "code 100 (collection not found[database=nowhere][collection=books])";
    assert!(error.to_string().contains(text), "{error}");
    assert!(error.collection_is_gone());
    let error = s.ask(s.client.loaded_collections("nowhere")).unwrap_err();
    assert!(error.to_string().contains("code 800 (database not found[database=nowhere])"), "{error}");
    let group = s.ask(s.client.describe_resource_group("unknown")).unwrap_err();
    assert!(group.to_string().contains("code 300 (resource group not found[rg=unknown]"), "{group}");
}

/// Every path to a value, with the kind of value there; lists count as their first entry.
fn shape(value: &Value, path: &str, paths: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Object(entries) => {
            for (key, entry) in entries {
                shape(entry, &format!("{path}.{key}"), paths);
            }
            "object"
        }
        Value::Array(entries) => {
            if let Some(first) = entries.first() {
                shape(first, &format!("{path}[]"), paths);
            }
            "list"
        }
        Value::String(_) => "text",
        Value::Number(_) => "number",
        Value::Bool(_) => "flag",
        Value::Null => "nothing",
    };
    paths.insert(path.to_owned(), kind);
}

fn entries<'a>(document: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = document["nodes_info"].as_array().unwrap().iter();
    all.filter(|entry| entry["infos"]["type"] == kind).collect()
}

pub fn system_info_shape(s: &mut Subject) {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let shape_of = |entry: &Value| {
        let mut paths = BTreeMap::new();
        shape(entry, "", &mut paths);
        paths
    };
    let info = s.system_info();
    let kinds = |document: &Value| -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for entry in document["nodes_info"].as_array().unwrap() {
            *kinds.entry(entry["infos"]["type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        kinds
    };
    let mut expected = kinds(&recorded);
    expected.insert("querynode".to_owned(), NODES);
    assert_eq!(kinds(&info), expected);
    let ids: BTreeSet<i64> = entries(&info, "querynode")
        .iter()
        .map(|entry| {
            assert_eq!(entry["identifier"], entry["infos"]["id"]);
            entry["identifier"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(ids, s.cluster.nodes().into_iter().collect());
    let example = shape_of(entries(&recorded, "querynode")[0]);
    for entry in entries(&info, "querynode") {
        assert_eq!(shape_of(entry), example);
        let hardware = &entry["infos"]["hardware_infos"];
        assert!(hardware["memory"].as_u64().unwrap() > hardware["memory_usage"].as_u64().unwrap());
        assert_eq!((&hardware["disk"], &hardware["disk_usage"]), (&104_857_600.into(), &2_097_152.into()));
    }
}

fn collections_of(entry: &Value) -> BTreeSet<i64> {
    let listed = entry["infos"]["quota_metrics"]["Effect"]["CollectionIDs"].as_array();
    listed.into_iter().flatten().map(|id| id.as_i64().unwrap()).collect()
}

pub fn effects(s: &mut Subject) {
    // A node answers with what it has by then: growing rows take a moment to arrive.
    s.pause(Duration::from_secs(6));
    let info = s.system_info();
    for entry in entries(&info, "querynode") {
        let node = entry["identifier"].as_i64().unwrap();
        let mut expected = BTreeSet::new();
        for (database, name) in [("", "books"), ("", "pairs"), ("", "growing"), ("archive", "old")] {
            let holds = s.ask(places(&s.client, database, name)).values().any(|at| at.contains(&node));
            let leads = s
                .replicas(name)
                .iter()
                .any(|replica| replica.shard_replicas.iter().any(|shard| shard.leader_id == node));
            // A delegator without growing rows has no segments of its own.
            if holds || (leads && name == "growing") {
                expected.insert(s.id(name));
            }
        }
        assert_eq!(collections_of(entry), expected, "node {node}");
    }
}

pub fn growing(s: &mut Subject) {
    let shards = s.replicas("growing")[0].shard_replicas.clone();
    let leads = |node: i64| shards.iter().filter(|shard| shard.leader_id == node).count() as u64;
    // Growing rows are no segments.
    assert_eq!(s.places("growing").len(), 2);
    s.pause(Duration::from_secs(6));
    for entry in entries(&s.system_info(), "querynode") {
        let node = entry["identifier"].as_i64().unwrap();
        let told = entry["infos"]["quota_metrics"]["GrowingSegmentsSize"].as_u64().unwrap();
        let inserted = GROWING_ROWS as u64 / 2 * ROW_BYTES * leads(node);
        println!("    node {node}: {told} bytes growing, {inserted} inserted");
        assert_eq!(told > 0, inserted > 0, "node {node}");
        assert!(told <= inserted * 3 && told * 3 >= inserted, "node {node}: {told}, inserted {inserted}");
    }
}
