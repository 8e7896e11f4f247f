//! `/api/v1/_db/*` and `_collection/*` of the proxy (2.5+): what there is, whoever asks: roles that see less over gRPC
//! see all of it here.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::web_ui::lean;
use crate::sim::DEFAULT_DATABASE;
use crate::sim::cluster::SimCollection;
use crate::sim::seams::SharedWorld;
use crate::sim::world::World;

type Parameters = Query<BTreeMap<String, String>>;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/api/v1/_db/list", get(list_databases))
        .route("/api/v1/_db/desc", get(describe_database))
        .route("/api/v1/_collection/list", get(list_collections))
        .route("/api/v1/_collection/desc", get(describe_collection))
}

fn failed(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

/// Databases with their ids, which the simulator does not know otherwise: the default one is 1.
fn databases(world: &World) -> Vec<(String, usize)> {
    let others: BTreeSet<&str> =
        world.collections().values().map(|collection| collection.database.as_str()).collect();
    let others = others.into_iter().filter(|name| *name != DEFAULT_DATABASE);
    std::iter::once(DEFAULT_DATABASE).chain(others).map(str::to_owned).zip(1..).collect()
}

async fn list_databases(State(shared): State<SharedWorld>) -> Response {
    let world = shared.lock();
    let created = world.settings().begins_at.to_string();
    let (mut names, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for (name, id) in databases(&world) {
        names.push(name);
        ids.push(id.to_string());
        times.push(created.clone());
    }
    Json(json!({ "db_names": names, "db_ids": ids, "created_timestamps": times })).into_response()
}

async fn describe_database(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let Some(wanted) = parameters.get("db_name").filter(|name| !name.is_empty()) else {
        return failed(StatusCode::BAD_REQUEST, "db_name is required");
    };
    let world = shared.lock();
    match databases(&world).into_iter().find(|(name, _)| name == wanted) {
        None => {
            let text = format!("database not found[database={wanted}]");
            failed(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
        Some((name, id)) => {
            let created = world.settings().begins_at.to_string();
            Json(json!({ "db_name": name, "dbID": id.to_string(), "created_timestamp": created }))
                .into_response()
        }
    }
}

fn database_in(parameters: &Parameters) -> &str {
    parameters.get("db_name").map(String::as_str).filter(|name| !name.is_empty()).unwrap_or(DEFAULT_DATABASE)
}

/// Lists of one entry for each collection. What is not loaded has no percentage: `unknown`.
async fn list_collections(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let world = shared.lock();
    let wanted = database_in(&parameters);
    if !databases(&world).iter().any(|(name, _)| name == wanted) {
        let text = format!("database not found[database={wanted}]");
        return failed(StatusCode::INTERNAL_SERVER_ERROR, &text);
    }
    let (mut names, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut percentages, mut available) = (Vec::new(), Vec::new());
    for collection in world.collections().values().filter(|collection| collection.database == wanted) {
        names.push(&collection.name);
        ids.push(collection.id);
        times.push(world.settings().begins_at.to_string());
        percentages.push(match collection.loaded {
            true => collection.load_percentage.to_string(),
            false => "unknown".to_owned(),
        });
        available.push(collection.is_available());
    }
    lean(json!({
        "collection_names": names,
        "collection_ids": ids,
        "created_utc_timestamps": times,
        "inMemory_percentages": percentages,
        "query_service_available": available,
    }))
}

async fn describe_collection(State(shared): State<SharedWorld>, parameters: Parameters) -> Response {
    let Some(name) = parameters.get("collection_name").filter(|name| !name.is_empty()) else {
        return failed(StatusCode::BAD_REQUEST, "collection_name is required");
    };
    let world = shared.lock();
    match world.resolve(database_in(&parameters), name) {
        Err(refusal) => failed(StatusCode::INTERNAL_SERVER_ERROR, &refusal.reason),
        Ok(id) => described(&world, &world.collections()[&id]),
    }
}

fn described(world: &World, collection: &SimCollection) -> Response {
    let created = world.settings().begins_at.to_string();
    let physical: Vec<&str> = collection
        .channels
        .iter()
        .map(|name| name.rsplit_once('_').map_or(name.as_str(), |(physical, _)| physical))
        .collect();
    lean(json!({
        "collection_id": collection.id,
        "collection_name": collection.name,
        "created_time": created,
        "shards_num": collection.channels.len(),
        "consistency_level": "Bounded",
        "db_name": collection.database,
        "num_partitions": "1",
        "virtual_channel_names": collection.channels,
        "physical_channel_names": physical,
        "partition_infos": [{
            "partition_name": "_default",
            "partition_id": collection.partition,
            "created_utc_timestamp": created,
        }],
        "fields": [
            { "field_id": "100", "name": "id", "is_primary_key": true, "data_type": "Int64" },
            {
                "field_id": "101",
                "name": "vector",
                "data_type": "FloatVector",
                "type_params": { "dim": collection.dimension.to_string() },
            },
        ],
    }))
}
