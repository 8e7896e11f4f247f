//! HTTP: pages of the nodes, and what the proxy serves on its metrics port.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{coordinator, definitions, management, metrics_page, node_at, web_ui};
use crate::sim::seams::SharedWorld;

/// Content type of the Prometheus text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The proxy's metrics port.
pub(super) fn proxy(shared: SharedWorld) -> Router {
    let mut routes = Router::new()
        .route("/metrics", get(proxy_page))
        .route("/healthz", get(|| async { "OK" }))
        .route("/nodes/{address}/metrics", get(page_by_path));
    let (has_management, has_web_ui) = {
        let world = shared.lock();
        (world.profile().has_management, world.profile().has_web_ui)
    };
    if has_management {
        routes = routes.merge(management::routes());
    }
    if has_web_ui {
        routes = routes.merge(web_ui::routes()).merge(definitions::routes());
    }
    routes.with_state(shared)
}

/// The coordinator's metrics port.
pub(super) fn coordinator(shared: SharedWorld) -> Router {
    let own = coordinator::routes(shared.lock().profile());
    Router::new().route("/healthz", get(|| async { "OK" })).merge(own).with_state(shared)
}

/// A query node's metrics port.
pub(super) fn node(shared: SharedWorld, address: String) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(move |State(shared): State<SharedWorld>| async move { page(&shared, &address) }),
        )
        .with_state(shared)
}

async fn proxy_page(State(shared): State<SharedWorld>) -> Response {
    ([(CONTENT_TYPE, METRICS_TEXT)], metrics_page::of_proxy(&shared.lock())).into_response()
}

async fn page_by_path(State(shared): State<SharedWorld>, Path(address): Path<String>) -> Response {
    page(&shared, &address)
}

/// A dead node's page does not answer; a port that still listens says so with 503.
fn page(shared: &SharedWorld, address: &str) -> Response {
    let world = shared.lock();
    let node = node_at(&world, address).and_then(|id| world.nodes().get(&id));
    match node.filter(|node| node.is_running()) {
        Some(node) => ([(CONTENT_TYPE, METRICS_TEXT)], metrics_page::of_node(&world, node)).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the simulated node is down").into_response(),
    }
}
