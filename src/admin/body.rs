//! What requests carry: bodies as JSON, small and in time, and the query of the address. What does not fit becomes a
//! problem that names the field.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::orders;
use super::paging::Paging;
use super::problem::Problem;
use crate::situation::what_if::Change;

/// The largest body: an order with some thousand segments.
pub(super) const LARGEST_BODY: usize = 64 << 10;

/// How long a body of that size may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        // What a form of another site can send is something else.
        if !essence.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::not_json());
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let bytes = read.map_err(|_| Problem::too_slow("the body of the request does not arrive"))?.map_err(
            |rejection| match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(LARGEST_BODY),
                _ => Problem::bad_request("the body of the request breaks off"),
            },
        )?;
        object(&bytes).map(Body)
    }
}

/// A JSON object.
fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A list would be taken for the fields in their order, and an empty one for an order without words.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request("the body of the request is no JSON object"));
    }
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        Problem::bad_request(format!("{place}{}", error.into_inner()))
    })
}

/// For fuzzing: every order that a body can be, and every question that the rest of an address can be.
pub(crate) fn read_anything(bytes: &[u8]) {
    drop(object::<orders::PauseOrder>(bytes).and_then(|order| order.end(jiff::Timestamp::UNIX_EPOCH)));
    drop(object::<orders::DrainOrder>(bytes));
    drop(object::<orders::ApproveOrder>(bytes));
    drop(object::<orders::LogLevelOrder>(bytes));
    drop(object::<orders::LoadBalanceOrder>(bytes));
    let text = String::from_utf8_lossy(bytes);
    for change in text.split(',') {
        drop(change.parse::<Change>());
    }
    let Ok(uri) = format!("/?{text}").parse() else { return };
    drop(axum::extract::Query::<Paging>::try_from_uri(&uri));
}

/// What stands behind the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Query(value)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// An id out of the path.
pub(super) fn id<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::bad_request(format!("{text:?} is no id of {what}: write its number")))
}
