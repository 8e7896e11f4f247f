//! `/management/querycoord/*` of the proxy (2.4+): no authentication, any method, failures as 500 with a text.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::sim::calls::Refusal;
use crate::sim::cluster::{NodeState, SimNode};
use crate::sim::operator::Transfer;
use crate::sim::profile::Line;
use crate::sim::seams::SharedWorld;
use crate::sim::world::World;
use crate::units::{NodeId, SegmentId};

type Parameters = Query<BTreeMap<String, String>>;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/management/querycoord/balance/suspend", any(suspend_balance))
        .route("/management/querycoord/balance/resume", any(resume_balance))
        .route("/management/querycoord/balance/status", any(balance_status))
        .route("/management/querycoord/node/list", any(list_nodes))
        .route("/management/querycoord/node/suspend", any(suspend_node))
        .route("/management/querycoord/node/resume", any(resume_node))
        .route("/management/querycoord/transfer/segment", any(transfer_segment))
        .route("/management/querycoord/transfer/channel", any(transfer_channel))
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

fn list_node(world: &World, node: &SimNode) -> Value {
    json!({ "ID": node.id.0, "address": node.address, "state": state_of(world, node) })
}

pub(super) async fn list_nodes(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let nodes: Vec<Value> = world.nodes().values().map(|node| list_node(&world, node)).collect();
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

async fn resume_node(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    match node_in(&parameters, "node_id") {
        Err(response) => *response,
        Ok(node) if !shared.lock().nodes().contains_key(&node) => {
            failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("node not found[node={node}]"))
        }
        Ok(node) => {
            shared.lock().resume(node);
            ok()
        }
    }
}

fn answered(outcome: Result<(), Refusal>) -> Response {
    match outcome {
        Ok(()) => ok(),
        Err(refusal) => failed(StatusCode::INTERNAL_SERVER_ERROR, &refusal.reason),
    }
}

/// A parameter that may be left out, or be empty.
fn optional<'a>(parameters: &'a Parameters, key: &str) -> Option<&'a str> {
    parameters.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

fn transfer_in(parameters: &Parameters) -> Result<Transfer, Box<Response>> {
    let to = match optional(parameters, "target_node_id") {
        Some(_) => Some(node_in(parameters, "target_node_id")?),
        None => None,
    };
    let segment = match optional(parameters, "segment_id").map(str::parse::<SegmentId>) {
        None => None,
        Some(Ok(segment)) => Some(segment),
        Some(Err(_)) => return Err(Box::new(failed(StatusCode::BAD_REQUEST, "invalid segment_id"))),
    };
    Ok(Transfer {
        from: node_in(parameters, "source_node_id")?,
        to,
        segment,
        // The trap of this call: without the parameter it copies.
        copy: optional(parameters, "copy_mode") != Some("false"),
    })
}

async fn transfer_segment(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    match transfer_in(&parameters) {
        Err(response) => *response,
        Ok(transfer) => answered(shared.lock().transfer_segments(&transfer)),
    }
}

async fn transfer_channel(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let nodes = node_in(&parameters, "source_node_id")
        .and_then(|from| Ok((from, node_in(&parameters, "target_node_id")?)));
    match nodes {
        Err(response) => *response,
        Ok((from, to)) => {
            let channel = optional(&parameters, "channel_name");
            answered(shared.lock().transfer_channels(from, Some(to), channel))
        }
    }
}

/// Segments that the coordinator believes to be on a node, of all collections.
pub(super) fn held(world: &World, node: NodeId) -> Vec<String> {
    let on_node = |segment: &&crate::sim::cluster::SimSegment| {
        segment.copies.iter().any(|copy| copy.node == node && copy.state.is_listed())
    };
    world.segments().values().filter(on_node).map(|segment| segment.id.to_string()).collect()
}

/// The channels that a node leads, of all collections.
pub(super) fn led(world: &World, node: NodeId) -> Vec<String> {
    let mut channels = Vec::new();
    for collection in world.collections().values() {
        for replica in &collection.replicas {
            let led = replica.leaders.iter().zip(&collection.channels);
            channels.extend(led.filter(|(leader, _)| **leader == Some(node)).map(|(_, name)| name.clone()));
        }
    }
    channels
}

async fn distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    match node_in(&parameters, "node_id") {
        Ok(node) => {
            let world = shared.lock();
            let held = held(&world, node);
            Json(json!({ "channel_names": led(&world, node), "sealed_segmentIDs": held })).into_response()
        }
        Err(response) => *response,
    }
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
