//! The simulated Milvus over real gRPC and HTTP, on loopback: for the daemon as it is shipped, and for `demo`.
//!
//! The proxy gets two ports, one for gRPC and one for /metrics and the management endpoints, the coordinator one for
//! its own management endpoints. Every query node has a /metrics page of its own: on a port of its own, or, for
//! worlds of a thousand nodes, under a path of the proxy's.

mod coordinator;
mod definitions;
mod grpc;
mod http;
mod management;
pub(super) mod metrics_page;
mod web_ui;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::seams::SharedWorld;
use crate::milvus::wire::milvus::milvus_service_server::MilvusServiceServer;
use crate::units::NodeId;

/// Beyond so many nodes none gets a port of its own: a thousand listeners are no help to anybody.
const NODES_WITH_PORTS: usize = 64;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No port to be had.
    #[error("cannot listen on {address}: choose another port or free this one")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A running server. It ends when it is dropped.
pub struct SimServer {
    grpc: SocketAddr,
    http: SocketAddr,
    coordinator: SocketAddr,
    node_pages: BTreeMap<String, String>,
    tasks: Vec<JoinHandle<()>>,
}

impl SimServer {
    /// Serves a world on free ports of the loopback interface.
    pub async fn start(shared: SharedWorld) -> Result<SimServer, ServeError> {
        SimServer::start_at(shared, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Serves a world with gRPC at this address; port 0 is any free one.
    pub async fn start_at(shared: SharedWorld, address: SocketAddr) -> Result<SimServer, ServeError> {
        let (grpc_listener, grpc) = listen(address).await?;
        let (http_listener, http) = listen(SocketAddr::new(address.ip(), 0)).await?;
        let (coordinator_listener, coordinator) = listen(SocketAddr::new(address.ip(), 0)).await?;
        let mut server =
            SimServer { grpc, http, coordinator, node_pages: BTreeMap::new(), tasks: Vec::new() };
        // As large as the proxy's own limit would allow is not worth a setting here.
        let service = MilvusServiceServer::new(grpc::SimMilvus::new(shared.clone()))
            .max_encoding_message_size(usize::MAX);
        let router = Server::builder().add_service(service);
        server.tasks.push(tokio::spawn(async move {
            // As Milvus' own server does it: an answer is several writes, of which the later ones would wait for
            // the client to acknowledge the first, 40 ms each.
            let incoming = TcpIncoming::from(grpc_listener).with_nodelay(Some(true));
            // It ends with its listener; there is nobody to tell.
            if let Err(error) = router.serve_with_incoming(incoming).await {
                tracing::warn!(%error, "the simulated gRPC server ended");
            }
        }));
        server.serve_http(http_listener, http::proxy(shared.clone()));
        server.serve_http(coordinator_listener, http::coordinator(shared.clone()));
        server.serve_pages(&shared).await?;
        Ok(server)
    }

    /// The pages of the nodes. They are found by address, so a machine that comes back is found again.
    async fn serve_pages(&mut self, shared: &SharedWorld) -> Result<(), ServeError> {
        let addresses: Vec<String> =
            shared.lock().nodes().values().map(|node| node.address.clone()).collect();
        let own_ports = addresses.len() <= NODES_WITH_PORTS;
        for address in addresses {
            let page = if own_ports {
                let (listener, at) = listen(SocketAddr::new(self.http.ip(), 0)).await?;
                self.serve_http(listener, http::node(shared.clone(), address.clone()));
                format!("http://{at}/metrics")
            } else {
                format!("http://{}/nodes/{address}/metrics", self.http)
            };
            self.node_pages.insert(address, page);
        }
        Ok(())
    }

    fn serve_http(&mut self, listener: TcpListener, routes: axum::Router) {
        self.tasks.push(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%error, "a simulated HTTP server ended");
            }
        }));
    }

    /// Where the proxy's gRPC is.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// The endpoint for a client's settings.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Where the proxy's /metrics and management endpoints are.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the coordinator's management endpoints are (2.6+).
    pub fn coordinator_address(&self) -> SocketAddr {
        self.coordinator
    }

    /// Address of each node's /metrics page, by the node's gRPC address as `GetMetrics` reports it.
    pub fn node_pages(&self) -> &BTreeMap<String, String> {
        &self.node_pages
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The session that lives at an address now: the newest that runs, else the newest.
fn node_at(world: &super::world::World, address: &str) -> Option<NodeId> {
    let at = || world.nodes().values().rev().filter(|node| node.address == address);
    at().find(|node| node.is_running()).or_else(|| at().next()).map(|node| node.id)
}
