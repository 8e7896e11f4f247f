//! All routes, each registered together with its description, and the layers that every request goes through.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Description;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::LARGEST_BODY;
use super::problem::Problem;
use super::shared::Shared;
use super::{access, answer, events, explain, orders, page, read, read_journal};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "milvus-rebalancer",
        description = "What the daemon knows, and what people may order. Ids are texts: they exceed 2^53.",
        license(name = "Apache-2.0")
    ),
    tags(
        (name = "state", description = "What is."),
        (name = "plan", description = "What would be done, and why not."),
        (name = "past", description = "What was done."),
        (name = "orders", description = "What is to be done; needs the role `operate`."),
    ),
    components(schemas(events::TurnEvent, super::views::OperationView, super::views::WaveView))
)]
struct Documentation;

fn described() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Documentation::openapi())
        .routes(routes!(read::status))
        .routes(routes!(read::nodes))
        .routes(routes!(read::node))
        .routes(routes!(read::collections))
        .routes(routes!(read::segments))
        .routes(routes!(read::policies))
        .routes(routes!(read::doubts))
        .routes(routes!(read::plan))
        .routes(routes!(read::verdicts))
        .routes(routes!(explain::segment))
        .routes(routes!(explain::node))
        .routes(routes!(explain::movement))
        .routes(routes!(read::controls))
        .routes(routes!(read::net_zero))
        .routes(routes!(read::configuration))
        .routes(routes!(read_journal::operations))
        .routes(routes!(read_journal::waves))
        .routes(routes!(read_journal::history))
        .routes(routes!(read_journal::audit))
        .routes(routes!(events::events))
        .routes(routes!(orders::pause))
        .routes(routes!(orders::resume))
        .routes(routes!(orders::drain))
        .routes(routes!(orders::undrain))
        .routes(routes!(orders::approve))
        .routes(routes!(orders::load_balance))
        .routes(routes!(orders::turn))
        .routes(routes!(orders::log_level))
}

/// The description of the API.
pub fn documentation() -> Description {
    described().into_openapi()
}

/// Everything that is answered.
pub fn router(shared: Arc<Shared>) -> Router {
    let (router, description) = described().split_for_parts();
    let description = Arc::new(description);
    let show = move || async move { Json(Arc::clone(&description)).into_response() };
    router
        .route("/v1/openapi.json", get(show))
        .merge(page::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(answer::tag))
        // Nothing that is answered is secret and chosen by others at once, so its length tells nobody anything.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(Arc::clone(&shared.access), access::check))
        .layer(from_fn(answer::harden))
        .with_state(shared)
}

async fn unknown_path() -> Response {
    Problem::not_found("nothing is here; /v1/openapi.json lists what there is").into_response()
}

async fn unknown_method() -> Response {
    Problem::method_not_allowed().into_response()
}
