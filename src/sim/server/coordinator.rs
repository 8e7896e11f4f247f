//! `/management/*` of the coordinator (2.6+): a process of its own with a port of its own, which knows none of the
//! proxy's paths, nor the proxy of these. Bodies are JSON in which ids are numbers; failures are JSON, too, but are
//! sent as plain text.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::management::{held, led, list_nodes};
use crate::sim::calls::Refusal;
use crate::sim::cluster::SimRole;
use crate::sim::operator::Transfer;
use crate::sim::profile::Profile;
use crate::sim::seams::SharedWorld;
use crate::units::{NodeId, SegmentId};

type Parameters = Query<BTreeMap<String, String>>;

/// What of it a version has.
pub(super) fn routes(profile: &Profile) -> Router<SharedWorld> {
    let mut routes = Router::new();
    if profile.has_coordinator_management {
        routes = routes
            .route("/management/batch/balance/status", any(batch_balance))
            .route("/management/batch/nodes", any(list_nodes))
            .route("/management/batch/nodes/status", any(batch_node_status))
            .route("/management/batch/nodes/distribution", any(batch_distribution))
            .route("/management/batch/transfer", any(transfer_segments))
            .route("/management/streaming/balance/status", any(streaming_balance))
            .route("/management/streaming/nodes", any(streaming_nodes))
            .route("/management/streaming/nodes/status", any(streaming_node_status))
            .route("/management/streaming/nodes/distribution", any(streaming_distribution))
            .route("/management/streaming/transfer", any(transfer_channels));
    }
    if profile.has_config_management {
        routes = routes
            .route("/management/config/alter", any(alter_configs))
            .route("/management/config/get", any(get_configs));
    }
    routes
}

fn ok() -> Response {
    Json(json!({ "msg": "OK" })).into_response()
}

/// The text is put into the JSON as it is.
fn failed(status: StatusCode, text: &str) -> Response {
    (status, format!("{{\"msg\": \"{text}\"}}\n")).into_response()
}

fn bad(text: &str) -> Response {
    failed(StatusCode::BAD_REQUEST, text)
}

fn not_allowed() -> Response {
    failed(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
}

fn read<B: DeserializeOwned>(body: &Bytes) -> Result<B, Box<Response>> {
    serde_json::from_slice(body).map_err(|_| Box::new(bad("Invalid request body")))
}

fn answered(what: &str, outcome: Result<(), Refusal>) -> Response {
    match outcome {
        Ok(()) => ok(),
        Err(refusal) => {
            failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("failed to {what}, {}", refusal.reason))
        }
    }
}

#[derive(Deserialize)]
struct StatusBody {
    #[serde(default)]
    status: String,
    #[serde(default)]
    node_id: i64,
}

const STATUSES: &str = "Invalid status value. Use 'suspended', 'resumed' or 'active'.";

/// Whether to suspend, by the body of a request.
fn wish(status: &str) -> Result<bool, Box<Response>> {
    match status {
        "suspended" => Ok(true),
        "resumed" | "active" => Ok(false),
        _ => Err(Box::new(bad(STATUSES))),
    }
}

async fn batch_balance(State(shared): State<SharedWorld>, method: Method, body: Bytes) -> Response {
    if method == Method::GET {
        let status = if shared.lock().own_balancer_is_suspended() { "suspended" } else { "active" };
        return Json(json!({ "msg": "OK", "status": status })).into_response();
    }
    if method != Method::PUT {
        return not_allowed();
    }
    match read::<StatusBody>(&body).and_then(|body| wish(&body.status)) {
        Err(response) => *response,
        Ok(suspended) => {
            shared.lock().suspend_own_balancer(suspended);
            ok()
        }
    }
}

/// Channels are balanced as long as the balancer of either kind is at work, and that is called `activate`.
async fn streaming_balance(State(shared): State<SharedWorld>, method: Method, body: Bytes) -> Response {
    if method == Method::GET {
        let is_suspended = shared.lock().channel_balance_is_suspended();
        let status = if is_suspended { "suspended" } else { "activate" };
        return Json(json!({ "msg": "OK", "status": status })).into_response();
    }
    if method != Method::PUT {
        return not_allowed();
    }
    match read::<StatusBody>(&body).and_then(|body| wish(&body.status)) {
        Err(response) => *response,
        Ok(suspended) => {
            shared.lock().suspend_channel_balance(suspended);
            ok()
        }
    }
}

fn node_asked_for(parameters: &Parameters) -> Result<NodeId, Box<Response>> {
    let text = parameters.get("node_id").map(String::as_str).unwrap_or_default();
    if text.is_empty() {
        return Err(Box::new(bad("node_id query parameter is required")));
    }
    text.parse().map_err(|_| Box::new(bad("Invalid node_id parameter")))
}

fn node_status(node: NodeId, suspended: bool) -> Response {
    let status = if suspended { "suspended" } else { "active" };
    Json(json!({ "node_id": node.0, "status": status })).into_response()
}

async fn batch_node_status(
    State(shared): State<SharedWorld>,
    method: Method,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    if method == Method::GET {
        let node = match node_asked_for(&parameters) {
            Ok(node) => node,
            Err(response) => return *response,
        };
        return match shared.lock().is_suspended(node) {
            Some(suspended) => node_status(node, suspended),
            None => {
                let text = format!("failed to get node status, node not found[node={node}]");
                failed(StatusCode::INTERNAL_SERVER_ERROR, &text)
            }
        };
    }
    if method != Method::PUT {
        return not_allowed();
    }
    change_node(&shared, &body, false)
}

/// A node that is unknown here may still be one of the query nodes.
async fn streaming_node_status(
    State(shared): State<SharedWorld>,
    method: Method,
    parameters: Parameters,
    body: Bytes,
) -> Response {
    if method == Method::GET {
        let node = match node_asked_for(&parameters) {
            Ok(node) => node,
            Err(response) => return *response,
        };
        let world = shared.lock();
        let is_frozen = world.nodes().get(&node).is_some_and(|node| node.frozen);
        return node_status(node, is_frozen || world.is_suspended(node).unwrap_or(false));
    }
    if method != Method::PUT {
        return not_allowed();
    }
    change_node(&shared, &body, true)
}

/// Of streaming nodes it does not say when one is unknown, and takes `resumed` for a mistake.
fn change_node(shared: &SharedWorld, body: &Bytes, is_streaming: bool) -> Response {
    let body: StatusBody = match read(body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    if body.node_id == 0 {
        return bad("node_id is required");
    }
    if is_streaming && body.status == "resumed" {
        return bad("Invalid status value. Use 'suspended' or 'active'.");
    }
    let suspended = match wish(&body.status) {
        Ok(suspended) => suspended,
        Err(response) => return *response,
    };
    let node = NodeId(body.node_id);
    let mut world = shared.lock();
    if !world.nodes().contains_key(&node) && !is_streaming {
        let text = format!("failed to change node: node not found[node={node}]");
        return failed(StatusCode::INTERNAL_SERVER_ERROR, &text);
    }
    if is_streaming {
        world.freeze(node, suspended);
    }
    match suspended {
        true => world.suspend(node),
        false => world.resume(node),
    }
    ok()
}

async fn batch_distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let node = match node_asked_for(&parameters) {
        Ok(node) => node,
        Err(response) => return *response,
    };
    let world = shared.lock();
    if !world.nodes().contains_key(&node) {
        let text = format!("failed to get query node distribution, node not found[node={node}]");
        return failed(StatusCode::INTERNAL_SERVER_ERROR, &text);
    }
    Json(json!({ "channel_names": led(&world, node), "sealed_segmentIDs": held(&world, node) }))
        .into_response()
}

/// The segments of a node that is known are `null`, those of one that is not are none.
async fn streaming_distribution(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let node = match node_asked_for(&parameters) {
        Ok(node) => node,
        Err(response) => return *response,
    };
    let world = shared.lock();
    let segments = if world.nodes().contains_key(&node) { Value::Null } else { json!([]) };
    Json(json!({ "channel_names": led(&world, node), "sealed_segmentIDs": segments })).into_response()
}

/// Streaming nodes, and query nodes that lead channels.
async fn streaming_nodes(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let mut list = Vec::new();
    for node in world.nodes().values() {
        let is_streaming = node.role == SimRole::Streaming;
        if is_streaming || !led(&world, node.id).is_empty() {
            let state = if node.frozen { "suspended" } else { "active" };
            list.push(json!({ "ID": node.id.0, "address": node.address, "state": state }));
        }
    }
    Json(json!({ "msg": "OK", "nodeInfos": list })).into_response()
}

#[derive(Deserialize)]
struct TransferBody {
    #[serde(default)]
    source_node_id: i64,
    #[serde(default)]
    target_node_id: Option<i64>,
    #[serde(default)]
    segment_id: i64,
    #[serde(default)]
    channel_name: String,
    #[serde(default)]
    copy_mode: Option<bool>,
}

impl TransferBody {
    fn read(body: &Bytes) -> Result<TransferBody, Box<Response>> {
        let body: TransferBody = read(body)?;
        if body.source_node_id == 0 {
            return Err(Box::new(bad("source_node_id is required")));
        }
        Ok(body)
    }
}

/// Other than the proxy's, it moves unless it is told to copy.
async fn transfer_segments(State(shared): State<SharedWorld>, body: Bytes) -> Response {
    let body = match TransferBody::read(&body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let transfer = Transfer {
        from: NodeId(body.source_node_id),
        to: body.target_node_id.filter(|node| *node != 0).map(NodeId),
        segment: Some(SegmentId(body.segment_id)).filter(|segment| segment.0 != 0),
        copy: body.copy_mode.unwrap_or(false),
    };
    answered("transfer segment", shared.lock().transfer_segments(&transfer))
}

async fn transfer_channels(State(shared): State<SharedWorld>, method: Method, body: Bytes) -> Response {
    if method != Method::POST {
        return not_allowed();
    }
    let body = match TransferBody::read(&body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let (from, to) = (NodeId(body.source_node_id), body.target_node_id.map(NodeId));
    let channel = Some(body.channel_name.as_str()).filter(|name| !name.is_empty());
    answered("transfer channel", shared.lock().transfer_channels(from, to, channel))
}

#[derive(Deserialize)]
struct ConfigBody {
    #[serde(default)]
    key: String,
    value: Option<String>,
}

#[derive(Deserialize)]
struct ConfigsBody {
    #[serde(default)]
    configs: Vec<ConfigBody>,
    #[serde(flatten)]
    only: ConfigBody,
}

/// A value that is left out, or `null`, puts the default back.
async fn alter_configs(State(shared): State<SharedWorld>, method: Method, body: Bytes) -> Response {
    // These failures are proper JSON.
    let refused = |status: StatusCode, text: String| (status, Json(json!({ "msg": text }))).into_response();
    let bad = |text: &str| refused(StatusCode::BAD_REQUEST, text.to_owned());
    if method != Method::POST {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed, use POST".to_owned());
    }
    let Ok(mut body) = serde_json::from_slice::<ConfigsBody>(&body) else {
        return bad("Invalid request body");
    };
    if body.configs.is_empty() && !body.only.key.is_empty() {
        body.configs.push(body.only);
    }
    if body.configs.is_empty() {
        return bad("configs array is required and cannot be empty");
    }
    let mut changes: Vec<(String, Option<String>)> = Vec::new();
    for config in body.configs {
        if config.key.is_empty() {
            return bad("all configs must have a non-empty key");
        }
        if changes.iter().any(|(key, _)| *key == config.key) {
            return bad(&format!("duplicate key found: {}", config.key));
        }
        changes.push((config.key, config.value));
    }
    match shared.lock().alter_configs(&changes) {
        Ok(()) => ok(),
        Err(unknown) => {
            let text = "unregistered configuration cannot be set through this endpoint";
            bad(&format!("{text}. Invalid key: {}", unknown.key))
        }
    }
}

async fn get_configs(
    State(shared): State<SharedWorld>,
    method: Method,
    Query(parameters): Parameters,
) -> Response {
    let refused = |status: StatusCode, text: &str| (status, Json(json!({ "msg": text }))).into_response();
    if method != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed, use GET");
    }
    let keys = parameters.get("keys").map(String::as_str).unwrap_or_default();
    if keys.is_empty() {
        return refused(StatusCode::BAD_REQUEST, "query parameter 'keys' is required");
    }
    let world = shared.lock();
    let mut list = Vec::new();
    for key in keys.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        list.push(match world.config(key) {
            Ok((value, source)) => json!({ "key": key, "value": value, "source": source.name() }),
            Err(_) => json!({ "key": key, "error": "access to unregistered config key is denied" }),
        });
    }
    if list.is_empty() {
        return refused(StatusCode::BAD_REQUEST, "no valid keys provided");
    }
    Json(json!({ "configs": list })).into_response()
}
