//! Errors as RFC 9457 has them: one document for every "no" of the API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::journal::JournalError;
use crate::reason::Reason;
use crate::telemetry::{Chain, shown};

/// What the type of each problem begins with; the rest is its code.
const TYPES: &str = "urn:milvus-rebalancer:problem:";

/// Why a request was not answered (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and what would be right.
    pub detail: String,
}

impl Problem {
    fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Problem {
        let detail: String = detail.into();
        Problem {
            kind: format!("{TYPES}{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: shown(&detail).into_owned(),
        }
    }

    /// The request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be understood", detail)
    }

    /// The request is understood and cannot be done.
    pub fn unprocessable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-possible", "This cannot be done", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// The path exists and the method does not.
    pub fn method_not_allowed() -> Problem {
        let detail = "the methods of each path are in /v1/openapi.json";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "No such method here", detail)
    }

    /// No token, or a wrong one.
    pub fn unauthorized() -> Problem {
        let detail = "send the token as `Authorization: Bearer TOKEN`";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is required", detail)
    }

    /// The token does not allow it, or the request comes from another site.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed", detail)
    }

    /// The name by which the API was addressed is none of its own.
    pub fn wrong_host(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", "Not by this name", detail)
    }

    /// Something of the kind is under way.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", "Not at the same time", detail)
    }

    /// Something holds it back that also holds the daemon back; the type ends with the reason's code.
    pub fn held_back(reason: &Reason) -> Problem {
        let code = reason.code().replace('_', "-");
        Problem::new(StatusCode::CONFLICT, &code, "Something holds this back", reason.to_string())
    }

    /// The body is too large.
    pub fn too_large(limit: usize) -> Problem {
        let detail = format!("a request has {limit} bytes at most");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail)
    }

    /// The body is no JSON by its own account.
    pub fn not_json() -> Problem {
        let detail = "send JSON with `Content-Type: application/json`";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "JSON is expected", detail)
    }

    /// It took too long.
    pub fn too_slow(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "It took too long", detail)
    }

    /// Requests come faster than they are taken.
    pub fn too_many(wait: std::time::Duration) -> Problem {
        let detail = format!("requests come too fast: the next one is taken in {} ms", wait.as_millis());
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail)
    }

    /// It cannot be answered now.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not at the moment", detail)
    }

    /// No turn has seen the cluster yet.
    pub fn nothing_seen(failure: Option<&str>) -> Problem {
        Problem::unavailable(match failure {
            Some(why) => format!("the cluster has not been seen yet: {why}"),
            None => "the cluster has not been seen yet; the first turn is under way".to_owned(),
        })
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Problem {
        let detail = Chain(&error).to_string();
        tracing::error!(error = detail, "a request needed the journal");
        Problem::unavailable(detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // Browsers ask for user and password by this; the password is the token.
            let ask =
                HeaderValue::from_static("Bearer, Basic realm=\"milvus-rebalancer\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, ask);
        }
        response
    }
}
