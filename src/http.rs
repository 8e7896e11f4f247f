//! The listener for `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::telemetry::Chain;

mod health;

pub use health::Health;

/// How long open connections may keep a stopping process; their answers take milliseconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Why nobody can ask for metrics and health.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none.
    #[error(
        "http.listen is {listen:?}, which is no address with a port: write something like \"127.0.0.1:9095\""
    )]
    Address {
        /// What is configured.
        listen: String,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: stop what uses that port, or set http.listen to another address")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener stopped by itself.
    #[error("the listener on {address} failed")]
    Serve {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A listener that has its port and waits to be run.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    socket: TcpListener,
}

/// What the handlers look at.
#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Listener {
    /// Takes the port, so that a port in use is known before anything else starts.
    pub async fn bind(listen: &str) -> Result<Listener, HttpError> {
        let address: SocketAddr =
            listen.parse().map_err(|_| HttpError::Address { listen: listen.to_owned() })?;
        let failed = |source| HttpError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        // Port 0 becomes a real one.
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { address, socket })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is told to stop; answers under way are finished.
    pub async fn serve(
        self,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> Result<(), HttpError> {
        let Listener { address, socket } = self;
        let router = Router::new()
            .route("/metrics", get(show_metrics))
            .route("/healthz", get(show_health))
            .route("/readyz", get(show_readiness))
            .fallback(unknown_path)
            .method_not_allowed_fallback(only_get)
            .with_state(Shared { metrics, health });
        let stopped = stop.clone();
        let server =
            axum::serve(socket, router).with_graceful_shutdown(async move { stopped.cancelled().await });
        let drained = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN_LIMIT).await;
        };
        tokio::select! {
            served = server => served.map_err(|source| HttpError::Serve { address, source }),
            () = drained => Ok(()),
        }
    }
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.exposition() {
        Ok((text, content_type)) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "metrics cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written; see the log\n").into_response()
        }
    }
}

async fn show_health(State(shared): State<Shared>) -> Response {
    answer(shared.health.alive())
}

async fn show_readiness(State(shared): State<Shared>) -> Response {
    answer(shared.health.ready())
}

/// One sentence either way; only the status differs.
fn answer(state: Result<String, String>) -> Response {
    match state {
        Ok(sentence) => (StatusCode::OK, format!("{sentence}\n")).into_response(),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")).into_response(),
    }
}

async fn unknown_path() -> Response {
    (StatusCode::NOT_FOUND, "nothing is here; there are /metrics, /healthz and /readyz\n").into_response()
}

async fn only_get() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n").into_response()
}

#[cfg(test)]
mod tests;
