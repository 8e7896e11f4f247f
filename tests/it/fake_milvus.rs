//! A Milvus whose every answer is scripted: a real gRPC server on a port of its own, for answers that no real
//! Milvus gives on demand.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use milvus_rebalancer::milvus::wire::common::{NodeInfo, Status as MilvusStatus};
use milvus_rebalancer::milvus::wire::milvus::milvus_service_server::{MilvusService, MilvusServiceServer};
use milvus_rebalancer::milvus::wire::milvus::*;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What one call answers.
#[derive(Default)]
pub enum Script<Q, A> {
    /// As a server answers that does not know the call.
    #[default]
    Missing,
    /// Never.
    Silence,
    /// Whatever the function says.
    Says(Box<dyn Fn(Request<Q>) -> Result<A, Status> + Send + Sync>),
}

impl<Q, A: Clone + Send + Sync + 'static> Script<Q, A> {
    /// The same answer to every question.
    pub fn always(answer: A) -> Script<Q, A> {
        Script::Says(Box::new(move |_| Ok(answer.clone())))
    }

    /// The same gRPC status to every question.
    pub fn fails(status: Status) -> Script<Q, A> {
        Script::Says(Box::new(move |_| Err(Status::new(status.code(), status.message()))))
    }

    /// An answer that depends on the question.
    pub fn says(answer: impl Fn(Request<Q>) -> Result<A, Status> + Send + Sync + 'static) -> Script<Q, A> {
        Script::Says(Box::new(answer))
    }

    async fn answer(&self, request: Request<Q>) -> Result<Response<A>, Status> {
        match self {
            Script::Missing => Err(Status::unimplemented("unknown method")),
            Script::Silence => pending().await,
            Script::Says(answer) => answer(request).map(Response::new),
        }
    }
}

macro_rules! fake {
    ($($call:ident: $Query:ty => $Answer:ty),+ $(,)?) => {
        /// One script for each call; without one the call does not exist.
        #[derive(Default)]
        pub struct FakeMilvus {
            $(pub $call: Script<$Query, $Answer>,)+
        }

        #[tonic::async_trait]
        impl MilvusService for FakeMilvus {
            $(
                async fn $call(&self, request: Request<$Query>) -> Result<Response<$Answer>, Status> {
                    self.$call.answer(request).await
                }
            )+
        }
    };
}

fake!(
    list_databases: ListDatabasesRequest => ListDatabasesResponse,
    show_collections: ShowCollectionsRequest => ShowCollectionsResponse,
    describe_collection: DescribeCollectionRequest => DescribeCollectionResponse,
    describe_index: DescribeIndexRequest => DescribeIndexResponse,
    get_load_state: GetLoadStateRequest => GetLoadStateResponse,
    get_replicas: GetReplicasRequest => GetReplicasResponse,
    get_query_segment_info: GetQuerySegmentInfoRequest => GetQuerySegmentInfoResponse,
    get_metrics: GetMetricsRequest => GetMetricsResponse,
    list_resource_groups: ListResourceGroupsRequest => ListResourceGroupsResponse,
    describe_resource_group: DescribeResourceGroupRequest => DescribeResourceGroupResponse,
    get_version: GetVersionRequest => GetVersionResponse,
    check_health: CheckHealthRequest => CheckHealthResponse,
    load_balance: LoadBalanceRequest => MilvusStatus,
);

/// The id of the collection that [`FakeMilvus::small_cluster`] has loaded.
pub const COLLECTION: i64 = 449;

/// `system_info` with two query nodes.
pub const SYSTEM_INFO: &str = r#"{"nodes_info": [
    {"identifier": 1, "connected": null, "infos": {"has_error": false, "type": "querynode", "id": 1,
     "hardware_infos": {"ip": "127.0.0.1:11", "memory": 8000, "memory_usage": 1000},
     "system_info": {"build_version": "v2.4.13"}}},
    {"identifier": 2, "connected": null, "infos": {"has_error": false, "type": "querynode", "id": 2,
     "hardware_infos": {"ip": "127.0.0.1:12", "memory": 8000, "memory_usage": 2000},
     "system_info": {"build_version": "v2.4.13"}}}
]}"#;

impl FakeMilvus {
    /// A 2.4 with two query nodes and the collection `vectors`, one replica, two segments.
    pub fn small_cluster() -> FakeMilvus {
        let replica = ReplicaInfo {
            replica_id: 77,
            collection_id: COLLECTION,
            node_ids: vec![2, 1],
            resource_group_name: "group".to_owned(),
            ..ReplicaInfo::default()
        };
        let segment = |id, node| QuerySegmentInfo {
            segment_id: id,
            collection_id: COLLECTION,
            num_rows: 1000,
            node_ids: vec![node],
            level: 2,
            ..QuerySegmentInfo::default()
        };
        let member = |id: i64| NodeInfo {
            node_id: id,
            address: format!("127.0.0.1:1{id}"),
            hostname: format!("pod-{id}"),
        };
        let group = ResourceGroup {
            name: "group".to_owned(),
            nodes: vec![member(1), member(2)],
            ..ResourceGroup::default()
        };
        FakeMilvus {
            list_databases: Script::always(ListDatabasesResponse {
                db_names: vec!["default".to_owned()],
                ..ListDatabasesResponse::default()
            }),
            show_collections: Script::always(loaded(&[("vectors", COLLECTION)])),
            describe_collection: Script::always(DescribeCollectionResponse {
                schema: Some(Default::default()),
                ..DescribeCollectionResponse::default()
            }),
            describe_index: Script::always(DescribeIndexResponse::default()),
            get_replicas: Script::always(GetReplicasResponse {
                replicas: vec![replica],
                ..GetReplicasResponse::default()
            }),
            get_query_segment_info: Script::always(GetQuerySegmentInfoResponse {
                infos: vec![segment(6, 2), segment(5, 1)],
                ..GetQuerySegmentInfoResponse::default()
            }),
            get_metrics: Script::always(GetMetricsResponse {
                response: SYSTEM_INFO.to_owned(),
                ..GetMetricsResponse::default()
            }),
            list_resource_groups: Script::always(ListResourceGroupsResponse {
                resource_groups: vec!["group".to_owned()],
                ..ListResourceGroupsResponse::default()
            }),
            describe_resource_group: Script::always(DescribeResourceGroupResponse {
                resource_group: Some(group),
                ..DescribeResourceGroupResponse::default()
            }),
            get_version: Script::always(GetVersionResponse {
                version: "v2.4.13".to_owned(),
                ..GetVersionResponse::default()
            }),
            check_health: Script::always(CheckHealthResponse {
                is_healthy: true,
                ..CheckHealthResponse::default()
            }),
            load_balance: Script::always(MilvusStatus::default()),
            ..FakeMilvus::default()
        }
    }

    /// Serves it in the clear.
    pub async fn start(self) -> Serving {
        serve(Server::builder(), self, any_port()).await
    }

    /// Serves it in the clear at this address.
    pub async fn start_at(self, address: SocketAddr) -> Serving {
        serve(Server::builder(), self, address).await
    }

    /// Serves it over TLS with this certificate and key.
    pub async fn start_with_tls(self, certificate: &str, key: &str) -> Serving {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        serve(Server::builder().tls_config(tls).unwrap(), self, any_port()).await
    }
}

/// An answer of `ShowCollections`: fully loaded collections.
pub fn loaded(collections: &[(&str, i64)]) -> ShowCollectionsResponse {
    ShowCollectionsResponse {
        collection_names: collections.iter().map(|(name, _)| (*name).to_owned()).collect(),
        collection_ids: collections.iter().map(|(_, id)| *id).collect(),
        in_memory_percentages: vec![100; collections.len()],
        ..ShowCollectionsResponse::default()
    }
}

/// A status as 2.3 and later send it.
pub fn refusal(code: i32, reason: &str) -> Option<MilvusStatus> {
    Some(MilvusStatus { code, error_code: 1, reason: reason.to_owned(), retriable: false })
}

/// A status as 2.2 sends it: the code that counts today is always 0.
pub fn old_refusal(error_code: i32, reason: &str) -> Option<MilvusStatus> {
    Some(MilvusStatus { code: 0, error_code, reason: reason.to_owned(), retriable: false })
}

/// A running server; it ends with its test.
pub struct Serving {
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl Serving {
    /// Where it is, in the clear.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn serve(mut server: Server, fake: FakeMilvus, address: SocketAddr) -> Serving {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = MilvusServiceServer::from_arc(Arc::new(fake)).max_encoding_message_size(usize::MAX);
    let router = server.add_service(service);
    let server = tokio::spawn(async move {
        router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
    Serving { address, server }
}
