//! A gRPC proxy in front of Milvus that passes everything on and notes who asked for moves: instances name themselves in a
//! header of their `LoadBalance` calls.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use milvus_rebalancer::milvus::INSTANCE_HEADER;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Server};

/// A running proxy. Dropping it ends it.
pub struct CallRecorder {
    address: String,
    callers: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Passing {
    milvus: Channel,
    callers: Arc<Mutex<Vec<String>>>,
}

impl CallRecorder {
    /// In front of this `host:port`.
    pub fn start(milvus: &str) -> CallRecorder {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let callers = Arc::new(Mutex::new(Vec::new()));
        let guard = runtime.enter();
        let milvus = Endpoint::from_shared(format!("http://{milvus}")).unwrap().connect_lazy();
        drop(guard);
        let passing = Passing { milvus, callers: Arc::clone(&callers) };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Free again in an instant, and nobody else asks for it.
        drop(listener);
        let router = Router::new().fallback(pass).with_state(passing);
        runtime.spawn(Server::builder().add_routes(tonic::service::Routes::from(router)).serve(address));
        CallRecorder { address: format!("http://{address}"), callers, _runtime: runtime }
    }

    /// Where clients find it.
    pub fn url(&self) -> &str {
        &self.address
    }

    /// Who asked for moves so far, call by call.
    pub fn callers(&self) -> Vec<String> {
        self.callers.lock().unwrap().clone()
    }

    /// How many calls this instance made.
    pub fn calls_of(&self, instance: &str) -> usize {
        self.callers().iter().filter(|caller| *caller == instance).count()
    }
}

async fn pass(State(passing): State<Passing>, request: Request) -> Response {
    let Passing { mut milvus, callers } = passing;
    if request.uri().path().ends_with("/LoadBalance") {
        let name = request.headers().get(INSTANCE_HEADER);
        let name = name.map_or("nobody", |name| name.to_str().unwrap_or("unreadable"));
        callers.lock().unwrap().push(name.to_owned());
    }
    let request = request.map(Body::new);
    let answer = match std::future::poll_fn(|context| milvus.poll_ready(context)).await {
        Ok(()) => milvus.call(request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => answer.map(axum::body::Body::new),
        Err(error) => {
            tonic::Status::unavailable(error.to_string()).into_http::<axum::body::Body>().into_response()
        }
    }
}
