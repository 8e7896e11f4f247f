//! The simulated 2.3 beside the answers that a real 2.3.5 gave: where they differ, the simulator is wrong.

#![allow(clippy::unwrap_used)] // a test that cannot set its scene should fail loudly

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milvus_rebalancer::milvus::wire::common::Status;
use milvus_rebalancer::milvus::wire::milvus as rpc;
use milvus_rebalancer::sim::calls::{BalanceRequest, CallAnswer};
use milvus_rebalancer::sim::cluster::CopyState;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, World, WorldPlan, build};
use milvus_rebalancer::units::{NodeId, SegmentId};
use serde_json::Value;

const ANSWERS: &str = include_str!("../fixtures/milvus-2.3.5/answers.json");
const SYSTEM_INFO: &str = include_str!("../fixtures/milvus-2.3.5/system_info.json");
const NODE_PAGE: &str = include_str!("../fixtures/milvus-2.3.5/querynode-metrics.txt");
const STANDALONE_PAGE: &str = include_str!("../fixtures/milvus-2.3.5/standalone-metrics.txt");

fn world() -> World {
    let mut plan =
        WorldPlan { nodes: 3, collections: 2, segments: 12, ..WorldPlan::new(Profile::of(Line::V2_3), 5) };
    // The recorded cluster's segments are tiny.
    plan.settings.load_bytes_per_second = 64 << 30;
    plan.unequal_machines = false;
    build(&plan)
}

/// A text with every number and name that belongs to one cluster made equal.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut in_number = false;
    for letter in text.chars() {
        let is_number = letter.is_ascii_digit() || (in_number && matches!(letter, '.' | '+' | 'e'));
        if !is_number {
            masked.push(letter);
        } else if !in_number {
            masked.push('#');
        }
        in_number = is_number;
    }
    masked
}

fn recorded_status(status: &Value) -> (i64, i64, bool, String) {
    (
        status["code"].as_i64().unwrap(),
        status["error_code"].as_i64().unwrap(),
        status["retriable"].as_bool().unwrap(),
        masked(status["reason"].as_str().unwrap()),
    )
}

fn told(status: &Status) -> (i64, i64, bool, String) {
    (i64::from(status.code), i64::from(status.error_code), status.retriable, masked(&status.reason))
}

/// Sends a call and waits; the answer and how long it took.
fn send(world: &mut World, request: BalanceRequest) -> (CallAnswer, Duration) {
    let began = world.now();
    let call = world.load_balance(request);
    loop {
        if let Some(answer) = world.answer(call) {
            return (answer, world.now() - began);
        }
        let next = world.answer_due(call).or_else(|| world.next_event_at()).unwrap();
        world.advance(next);
    }
}

#[test]
fn load_balance_is_answered_as_by_a_real_one() {
    let recorded: Value = serde_json::from_str(ANSWERS).unwrap();
    let mut world = world();
    let mut collections = world.collections().values().cloned();
    let (collection, other) = (collections.next().unwrap(), collections.next().unwrap());
    let on_first = |segment: &SegmentId| {
        let segment = &world.segments()[segment];
        segment.rows > 0
            && segment.copies.iter().any(|copy| copy.node == NodeId(1) && copy.state == CopyState::Serving)
    };
    let segment = collection.segments.iter().copied().find(on_first).unwrap();
    world.release_collection(other.id);
    let request = |from: i64, to: i64, segment: SegmentId, name: &str| BalanceRequest {
        caller: String::new(),
        database: collection.database.clone(),
        collection: name.to_owned(),
        from: NodeId(from),
        to: vec![NodeId(to)],
        segments: vec![segment],
    };
    let name = collection.name.as_str();
    let cases = [
        ("wrong source node", request(9999, 2, segment, name)),
        ("wrong destination node", request(1, 9999, segment, name)),
        ("wrong segment", request(1, 2, SegmentId(1), name)),
        ("unknown collection", request(1, 2, segment, "unknown")),
        (
            "unloaded collection",
            BalanceRequest { database: other.database.clone(), ..request(1, 2, segment, &other.name) },
        ),
        ("source is destination", request(1, 1, segment, name)),
        ("success", request(1, 2, segment, name)),
        ("already moved", request(1, 2, segment, name)),
    ];
    for (case, request) in cases {
        let entry = &recorded[format!("LoadBalance/{case}")];
        let (answer, took) = send(&mut world, request);
        assert_eq!(told(&world.balance_status(&answer)), recorded_status(&entry["answer"]), "{case}");
        let real = Duration::from_millis(entry["milliseconds"].as_u64().unwrap());
        // One measurement of one day on one machine: the order of magnitude is what counts.
        assert!(took <= real * 3 + Duration::from_millis(5), "{case}: {took:?}, really {real:?}");
        assert!(took * 5 + Duration::from_millis(5) >= real, "{case}: {took:?}, really {real:?}");
        let settled = world.now() + Duration::from_secs(1);
        world.advance(settled);
    }
}

#[test]
fn reading_what_is_not_there_is_answered_as_by_a_real_one() {
    let recorded: Value = serde_json::from_str(ANSWERS).unwrap();
    let mut world = world();
    let unloaded = world.collections().values().next().unwrap().clone();
    world.release_collection(unloaded.id);
    let expected = |entry: &str| recorded_status(&recorded[entry]["answer"]["status"]);
    let named = |name: &str| rpc::GetQuerySegmentInfoRequest {
        db_name: String::new(),
        collection_name: name.to_owned(),
    };
    let replicas = rpc::GetReplicasRequest { collection_id: unloaded.id.0 };
    let replicas = world.get_replicas(&replicas).unwrap().status.unwrap();
    assert_eq!(told(&replicas), expected("GetReplicas/unloaded"));
    let segments = world.get_query_segment_info(&named("unknown")).unwrap().status.unwrap();
    assert_eq!(told(&segments), expected("GetQuerySegmentInfo/unknown"));
    let segments = world.get_query_segment_info(&named(&unloaded.name)).unwrap();
    assert_eq!(told(&segments.status.unwrap()), expected("GetQuerySegmentInfo/unloaded"));
    assert!(segments.infos.is_empty());
    let group = rpc::DescribeResourceGroupRequest { resource_group: "unknown".to_owned() };
    let group = world.describe_resource_group(&group).unwrap().status.unwrap();
    assert_eq!(told(&group), expected("DescribeResourceGroup/unknown"));
    let metrics = rpc::GetMetricsRequest { request: "{\"metric_type\":\"nonsense\"}".to_owned() };
    let metrics = world.get_metrics(&metrics).unwrap().status.unwrap();
    assert_eq!(told(&metrics), expected("GetMetrics/wrong type"));
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

fn query_node_shape(system_info: &str) -> BTreeMap<String, &'static str> {
    let document: Value = serde_json::from_str(system_info).unwrap();
    let nodes = document["nodes_info"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["infos"]["type"] == "querynode").unwrap();
    let mut paths = BTreeMap::new();
    shape(node, "", &mut paths);
    paths
}

#[test]
fn nodes_describe_themselves_as_real_ones_do() {
    assert_eq!(query_node_shape(&world().system_info()), query_node_shape(SYSTEM_INFO));
}

/// The label names that each metric of Milvus' comes with.
fn labels(page: &str) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let mut metrics: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("milvus_")) {
        let (name, rest) = line.split_once('{').unwrap_or_else(|| line.split_once(' ').unwrap());
        let labels = rest.split_once('}').map(|(labels, _)| labels).unwrap_or_default();
        let mut keys: Vec<String> =
            labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
        keys.sort();
        metrics.entry(name.to_owned()).or_default().insert(keys);
    }
    metrics
}

#[tokio::test]
async fn pages_have_only_names_and_labels_that_real_ones_have() {
    let mut simulated = world();
    simulated.advance(Duration::from_secs(60));
    let server = SimServer::start(SharedWorld::new(simulated)).await.unwrap();
    let fetch = |url: String| async move {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    let node = fetch(server.node_pages().values().next().unwrap().clone()).await;
    let proxy = fetch(format!("http://{}/metrics", server.http_address())).await;
    for (page, recorded) in [(node, NODE_PAGE), (proxy, STANDALONE_PAGE)] {
        let (simulated, real) = (labels(&page), labels(recorded));
        assert!(!simulated.is_empty());
        for (metric, simulated) in simulated {
            assert_eq!(Some(&simulated), real.get(&metric), "{metric}");
        }
    }
}
