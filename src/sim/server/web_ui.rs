//! `/api/v1/*` of the proxy (2.5+), the part that says more than gRPC does: bytes of segments, read-only nodes,
//! tasks and whose they are, settings.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::sim::cluster::{SimCopy, SimSegment};
use crate::sim::seams::SharedWorld;
use crate::sim::tasks::TaskSource;
use crate::sim::world::World;

type Parameters = Query<BTreeMap<String, String>>;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/api/v1/_qc/segments", get(coordinator_segments))
        .route("/api/v1/_qn/segments", get(node_segments))
        .route("/api/v1/_qc/dist", get(distribution))
        .route("/api/v1/_qc/replica", get(replicas))
        .route("/api/v1/_qc/resource_group", get(resource_groups))
        .route("/api/v1/_qc/tasks", get(tasks))
        .route("/api/v1/_cluster/info", get(info))
        .route("/api/v1/_cluster/configs", get(configs))
}

/// Ids are strings here, except those of nodes.
fn segment(world: &World, segment: &SimSegment, copy: &SimCopy, from_node: bool) -> Value {
    let channel = world
        .collections()
        .get(&segment.collection)
        .and_then(|collection| collection.channels.get(segment.shard))
        .cloned()
        .unwrap_or_default();
    let mut entry = json!({
        "segment_id": segment.id,
        "collection_id": segment.collection,
        "channel": channel,
        "num_of_rows": segment.rows.to_string(),
        "state": "Sealed",
        "level": if segment.level0 { "L0" } else { "L1" },
        "node_id": copy.node.0,
        "resource_group": crate::sim::DEFAULT_RESOURCE_GROUP,
    });
    if from_node {
        entry["mem_size"] = json!(segment.bytes.to_string());
    }
    entry
}

fn segments(world: &World, parameters: &Parameters, from_nodes: bool) -> Vec<Value> {
    let wanted = parameters.get("collection_id").filter(|id| !id.is_empty() && !from_nodes);
    let mut list = Vec::new();
    for found in world.segments().values() {
        if wanted.is_some_and(|id| *id != found.collection.to_string()) {
            continue;
        }
        let is_known = |copy: &&SimCopy| match from_nodes {
            true => {
                copy.state.is_resident()
                    && world.nodes().get(&copy.node).is_some_and(|node| node.is_running())
            }
            false => copy.state.is_listed(),
        };
        list.extend(found.copies.iter().filter(is_known).map(|copy| segment(world, found, copy, from_nodes)));
    }
    list
}

async fn coordinator_segments(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    Json(segments(&shared.lock(), &parameters, false)).into_response()
}

async fn node_segments(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    Json(segments(&shared.lock(), &parameters, true)).into_response()
}

/// Segments with their channels, and the delegators with their growing rows.
async fn distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let world = shared.lock();
    let mut leaders = Vec::new();
    for collection in world.collections().values().filter(|collection| collection.loaded) {
        for replica in &collection.replicas {
            let shards = replica.leaders.iter().zip(&collection.channels).zip(&collection.growing_rows);
            for ((leader, channel), growing) in shards {
                let Some(leader) = leader else { continue };
                leaders.push(json!({
                    "leader_id": leader.0,
                    "collection_id": collection.id,
                    "channel": channel,
                    "num_of_growing_rows": growing.floor().to_string(),
                }));
            }
        }
    }
    Json(json!({ "segments": segments(&world, &parameters, false), "leader_views": leaders })).into_response()
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
    let score = world.own_balancer_settings();
    let is_on = world.settings().own_balancer && score.auto_balance;
    Json(json!({
        "querycoord.autobalance": is_on.to_string(),
        "querycoord.globalrowcountfactor": score.global_row_count_factor.to_string(),
        "querycoord.scoreunbalancetolerationfactor": score.score_unbalance_toleration_factor.to_string(),
        "querycoord.reverseunbalancetolerationfactor": score.reverse_unbalance_toleration_factor.to_string(),
        "querycoord.delegatormemoryoverloadfactor": score.delegator_memory_overload_factor.to_string(),
        "querycoord.channelexclusivenodefactor": score.channel_exclusive_node_factor.to_string(),
        "querycoord.autobalanceinterval": score.auto_balance_interval.as_millis().to_string(),
    }))
    .into_response()
}
