//! `/api/v1/*` of the proxy (2.5+), the part that says more than gRPC does: bytes of segments, growing segments,
//! channels, targets, read-only nodes, tasks and whose they are, settings.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::sim::cluster::{SimCollection, SimNode, SimSegment};
use crate::sim::seams::SharedWorld;
use crate::sim::tasks::TaskSource;
use crate::sim::world::World;
use crate::units::{CollectionId, NodeId, SegmentId};

type Parameters = Query<BTreeMap<String, String>>;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/api/v1/_qc/segments", get(coordinator_segments))
        .route("/api/v1/_qn/segments", get(node_segments))
        .route("/api/v1/_qn/channels", get(node_channels))
        .route("/api/v1/_qc/dist", get(distribution))
        .route("/api/v1/_qc/target", get(target))
        .route("/api/v1/_qc/replica", get(replicas))
        .route("/api/v1/_qc/resource_group", get(resource_groups))
        .route("/api/v1/_qc/tasks", get(tasks))
        .route("/api/v1/_cluster/info", get(info))
        .route("/api/v1/_cluster/configs", get(configs))
}

/// A list or an object without what is zero, empty or false, at any depth: the server leaves that out.
pub(super) fn lean(value: Value) -> Response {
    Json(without_zeros(value)).into_response()
}

fn without_zeros(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, field)| !is_zero(field));
            Value::Object(fields.map(|(name, field)| (name, without_zeros(field))).collect())
        }
        // An entry of a list stays, whatever it is.
        Value::Array(list) => list.into_iter().map(without_zeros).collect(),
        other => other,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

/// A segment. Ids are strings here, except those of nodes in most places.
struct Row<'a> {
    id: SegmentId,
    collection: &'a SimCollection,
    shard: usize,
    rows: u64,
    state: &'static str,
    level: &'static str,
    node: Option<NodeId>,
    bytes: u64,
}

impl<'a> Row<'a> {
    fn sealed(collection: &'a SimCollection, segment: &SimSegment) -> Row<'a> {
        Row {
            id: segment.id,
            collection,
            shard: segment.shard,
            rows: segment.rows,
            state: "Sealed",
            level: if segment.level0 { "L0" } else { "L1" },
            node: None,
            bytes: 0,
        }
    }

    fn json(&self) -> Value {
        json!({
            "segment_id": self.id,
            "collection_id": self.collection.id,
            "partition_id": self.collection.partition,
            "channel": self.collection.channels.get(self.shard),
            "num_of_rows": self.rows.to_string(),
            "state": self.state,
            "level": self.level,
            "node_id": self.node.map(|node| node.0),
            "resource_group": self.node.map(|_| crate::sim::DEFAULT_RESOURCE_GROUP),
            "mem_size": self.bytes.to_string(),
        })
    }
}

/// Collections asked for: all of them where none is named.
fn wanted<'a>(world: &'a World, parameters: &Parameters) -> Vec<&'a SimCollection> {
    let wanted = parameters.get("collection_id").filter(|id| !id.is_empty());
    let is_wanted = |id: CollectionId| wanted.is_none_or(|text| *text == id.to_string());
    world.collections().values().filter(|collection| is_wanted(collection.id)).collect()
}

/// Sealed segments as the coordinator believes them to lie.
fn coordinator_rows<'a>(world: &'a World, collection: &'a SimCollection) -> Vec<Value> {
    let segments = collection.segments.iter().filter_map(|id| world.segments().get(id));
    let mut list = Vec::new();
    for segment in segments {
        for copy in segment.copies.iter().filter(|copy| copy.state.is_listed()) {
            list.push(Row { node: Some(copy.node), ..Row::sealed(collection, segment) }.json());
        }
    }
    list
}

async fn coordinator_segments(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let world = shared.lock();
    let list: Vec<Value> = wanted(&world, &parameters)
        .into_iter()
        .flat_map(|collection| coordinator_rows(&world, collection))
        .collect();
    lean(json!(list))
}

/// What the nodes themselves say that they hold, growing segments included: the only bytes of single segments that
/// Milvus tells. Nobody can ask for one collection alone, and dead nodes say nothing.
async fn node_segments(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let runs = |node: NodeId| world.nodes().get(&node).is_some_and(SimNode::is_running);
    let mut list = Vec::new();
    for collection in world.collections().values() {
        let segments = collection.segments.iter().filter_map(|id| world.segments().get(id));
        for segment in segments {
            let held = segment.copies.iter().filter(|copy| copy.state.is_resident() && runs(copy.node));
            list.extend(held.map(|copy| {
                let bytes = segment.bytes;
                Row { node: Some(copy.node), bytes, ..Row::sealed(collection, segment) }.json()
            }));
        }
        for (leader, row) in growing_rows(collection) {
            if runs(leader) {
                list.push(Row { node: Some(leader), bytes: row.rows * collection.row_bytes, ..row }.json());
            }
        }
    }
    lean(json!(list))
}

/// Growing segments with each delegator that holds them.
fn growing_rows(collection: &SimCollection) -> Vec<(NodeId, Row<'_>)> {
    let mut list = Vec::new();
    for (shard, id, rows) in collection.growing().filter(|_| collection.loaded) {
        for leader in collection.replicas.iter().filter_map(|replica| replica.leaders.get(shard).copied()?) {
            let row =
                Row { id, collection, shard, rows, state: "Growing", level: "L1", node: None, bytes: 0 };
            list.push((leader, row));
        }
    }
    list
}

/// Channels and their delegators, where there are any.
fn led_channels(collection: &SimCollection) -> Vec<(usize, &str, NodeId)> {
    let mut list = Vec::new();
    for replica in collection.replicas.iter().filter(|_| collection.loaded) {
        let shards = replica.leaders.iter().zip(&collection.channels).enumerate();
        list.extend(shards.filter_map(|(shard, (leader, name))| Some((shard, name.as_str(), (*leader)?))));
    }
    list
}

/// Segments with their channels, and the delegators with their growing rows. Here the leader's id is a string.
async fn distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let world = shared.lock();
    let (mut segments, mut channels, mut leaders) = (Vec::new(), Vec::new(), Vec::new());
    for collection in wanted(&world, &parameters) {
        segments.extend(coordinator_rows(&world, collection));
        for (shard, name, leader) in led_channels(collection) {
            channels.push(json!({
                "node_id": leader.0,
                "collection_id": collection.id,
                "channel_name": name,
            }));
            let growing = collection.growing().filter(|(position, ..)| *position == shard);
            let growing: Vec<(SegmentId, u64)> = growing.map(|(_, id, rows)| (id, rows)).collect();
            let rows: u64 = growing.iter().map(|(_, rows)| rows).sum();
            let ids: Vec<Value> = growing.iter().map(|(id, _)| json!({ "segment_id": id })).collect();
            leaders.push(json!({
                "leader_id": leader.0.to_string(),
                "collection_id": collection.id,
                "channel": name,
                "growing_segments": ids,
                "num_of_growing_rows": rows.to_string(),
            }));
        }
    }
    lean(json!({ "segments": segments, "dm_channels": channels, "leader_views": leaders }))
}

/// Of which target (`target_scope`): 1 the current one, which is meant unless told otherwise, 2 the next.
async fn target(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let world = shared.lock();
    let is_next = parameters.get("target_scope").is_some_and(|scope| scope == "2");
    let in_target = |segment: &&SimSegment| match is_next {
        true => segment.target.is_next(),
        false => segment.target.is_current(),
    };
    let mut list = Vec::new();
    for collection in wanted(&world, &parameters).into_iter().filter(|collection| collection.loaded) {
        let segments = collection.segments.iter().filter_map(|id| world.segments().get(id));
        let rows = segments.filter(in_target).map(|segment| Row::sealed(collection, segment).json());
        let channels = collection.channels.iter();
        let channels = channels.map(|name| json!({ "collection_id": collection.id, "channel_name": name }));
        list.push(json!({
            "collection_id": collection.id,
            "segments": rows.collect::<Vec<_>>(),
            "dm_channels": channels.collect::<Vec<_>>(),
        }));
    }
    lean(json!(list))
}

/// What the delegators say of their channels. Here the node's id is a string.
async fn node_channels(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let mut list = Vec::new();
    for collection in world.collections().values() {
        for (_, name, leader) in led_channels(collection) {
            if world.nodes().get(&leader).is_some_and(SimNode::is_running) {
                list.push(json!({
                    "name": name,
                    "watch_state": "Healthy",
                    "latest_time_tick": world.wall().to_string(),
                    "node_id": leader.0.to_string(),
                    "collection_id": collection.id,
                }));
            }
        }
    }
    lean(json!(list))
}

/// `rw_nodes` is filled from all nodes, read-only and streaming ones included; `ro_nodes` is right.
async fn replicas(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let mut list = Vec::new();
    for collection in world.collections().values().filter(|collection| collection.loaded) {
        for replica in &collection.replicas {
            let exclusive: BTreeMap<&String, Vec<i64>> = collection
                .channels
                .iter()
                .zip(&replica.exclusive)
                .map(|(name, nodes)| (name, nodes.iter().map(|node| node.0).collect()))
                .collect();
            list.push(json!({
                "ID": replica.id,
                "collectionID": collection.id,
                "rw_nodes": replica.all_nodes().iter().map(|node| node.0).collect::<Vec<_>>(),
                "ro_nodes": replica.read_only.iter().map(|node| node.0).collect::<Vec<_>>(),
                "resource_group": replica.resource_group,
                "channel_to_rw_nodes": exclusive,
            }));
        }
    }
    Json(list).into_response()
}

async fn resource_groups(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let mut groups = BTreeMap::<&str, Vec<i64>>::new();
    for node in world.nodes().values() {
        if let Some(group) = &node.resource_group {
            groups.entry(group).or_default().push(node.id.0);
        }
    }
    let list: Vec<Value> =
        groups.into_iter().map(|(name, nodes)| json!({ "name": name, "nodes": nodes })).collect();
    Json(list).into_response()
}

/// Pending moves, and whose they are.
async fn tasks(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let list: Vec<Value> = world
        .pending_tasks()
        .map(|task| {
            let (reason, priority) = match task.source {
                TaskSource::Manual => ("manual balance", "Normal"),
                TaskSource::Balancer => ("segment unbalanced", "Low"),
                TaskSource::Checker => ("lacks of segment", "Normal"),
            };
            json!({
                "task_name": format!("segment task {}", task.segment),
                "collection_id": task.collection,
                "task_type": if task.from.is_some() { "Move" } else { "Grow" },
                "task_status": if task.started { "started" } else { "created" },
                "priority": priority,
                "reason": reason,
            })
        })
        .collect();
    Json(list).into_response()
}

async fn info(State(shared): State<SharedWorld>) -> Response {
    ([(CONTENT_TYPE, "application/json")], shared.lock().system_info()).into_response()
}

/// The settings of the balancer, under the names that the server lists them with.
async fn configs(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let listed: BTreeMap<String, String> =
        world.configs().map(|(name, value)| (name.to_lowercase(), value)).collect();
    Json(listed).into_response()
}
