//! `/management/querycoord/*` of the proxy (2.4+): no authentication, any method, failures as 500 with a text.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::sim::cluster::{NodeState, SimNode};
use crate::sim::profile::Line;
use crate::sim::seams::SharedWorld;
use crate::sim::world::World;
use crate::units::NodeId;

type Parameters = Query<BTreeMap<String, String>>;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/management/querycoord/balance/suspend", any(suspend_balance))
        .route("/management/querycoord/balance/resume", any(resume_balance))
        .route("/management/querycoord/balance/status", any(balance_status))
        .route("/management/querycoord/node/list", any(list_nodes))
        .route("/management/querycoord/node/suspend", any(suspend_node))
        .route("/management/querycoord/distribution/get", any(distribution))
        .route("/management/querycoord/distribution/check", any(check_distribution))
}

fn ok() -> Response {
    Json(json!({ "msg": "OK" })).into_response()
}

fn failed(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "msg": text }))).into_response()
}

fn node_in(parameters: &Parameters, key: &str) -> Result<NodeId, Box<Response>> {
    let text = parameters.get(key).map(String::as_str).unwrap_or_default();
    text.parse().map_err(|_| Box::new(failed(StatusCode::BAD_REQUEST, &format!("invalid {key} {text:?}"))))
}

async fn suspend_balance(State(shared): State<SharedWorld>) -> Response {
    shared.lock().suspend_own_balancer(true);
    ok()
}

async fn resume_balance(State(shared): State<SharedWorld>) -> Response {
    shared.lock().suspend_own_balancer(false);
    ok()
}

async fn balance_status(State(shared): State<SharedWorld>) -> Response {
    let status = if shared.lock().own_balancer_is_suspended() { "suspended" } else { "active" };
    Json(json!({ "msg": "OK", "status": status })).into_response()
}

/// 2.6 and later call every node without a resource group suspended, streaming nodes too.
fn state_of(world: &World, node: &SimNode) -> &'static str {
    match node.state {
        NodeState::Stopping => "stopping",
        _ if world.profile().line >= Line::V2_6 && node.resource_group.is_none() => "suspended",
        _ => "active",
    }
}

async fn list_nodes(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let nodes: Vec<Value> = world
        .nodes()
        .values()
        .map(|node| json!({ "ID": node.id.0, "address": node.address, "state": state_of(&world, node) }))
        .collect();
    Json(json!({ "nodeInfos": nodes })).into_response()
}

async fn suspend_node(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    match node_in(&parameters, "node_id") {
        Err(response) => *response,
        Ok(node) if !shared.lock().nodes().contains_key(&node) => {
            failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("node not found[node={node}]"))
        }
        Ok(node) => {
            shared.lock().suspend(node);
            ok()
        }
    }
}

/// Segments that the coordinator believes to be on a node, of all collections.
fn held(world: &World, node: NodeId) -> Vec<String> {
    let on_node = |segment: &&crate::sim::cluster::SimSegment| {
        segment.copies.iter().any(|copy| copy.node == node && copy.state.is_listed())
    };
    world.segments().values().filter(on_node).map(|segment| segment.id.to_string()).collect()
}

async fn distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let node = match node_in(&parameters, "node_id") {
        Ok(node) => node,
        Err(response) => return *response,
    };
    let world = shared.lock();
    let mut channels = Vec::new();
    for collection in world.collections().values() {
        for replica in &collection.replicas {
            let led = replica.leaders.iter().zip(&collection.channels);
            channels.extend(led.filter(|(leader, _)| **leader == Some(node)).map(|(_, name)| name.clone()));
        }
    }
    Json(json!({ "channel_names": channels, "sealed_segmentIDs": held(&world, node) })).into_response()
}

async fn check_distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let nodes = node_in(&parameters, "source_node_id")
        .and_then(|source| Ok((source, node_in(&parameters, "target_node_id")?)));
    let (source, target) = match nodes {
        Ok(nodes) => nodes,
        Err(response) => return *response,
    };
    let world = shared.lock();
    let there = held(&world, target);
    match held(&world, source).iter().find(|segment| !there.contains(segment)) {
        None => ok(),
        Some(missing) => {
            failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("segment {missing} is not on node {target}"))
        }
    }
}
