//! The client: one method per call, each with a deadline, all under one bound on how many run at once. It
//! connects when it is first used, so that a daemon can start before its Milvus.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response};

use super::answers::{Answer, Health, LoadedCollection, loaded_collections};
use super::classify;
use super::error::{Call, Failure, MilvusError, Target};
use super::link::{Link, Parts};
use super::settings::{ConnectionSettings, SettingsError};
use super::wire::common::{LoadState, Status};
use super::wire::milvus::milvus_service_client::MilvusServiceClient;
use super::wire::milvus::{
    CheckHealthRequest, DescribeCollectionRequest, DescribeIndexRequest, DescribeResourceGroupRequest,
    GetLoadStateRequest, GetMetricsRequest, GetQuerySegmentInfoRequest, GetReplicasRequest,
    GetVersionRequest, IndexDescription, ListDatabasesRequest, ListResourceGroupsRequest, LoadBalanceRequest,
    QuerySegmentInfo, ReplicaInfo, ResourceGroup, ShowCollectionsRequest, ShowType,
};
use super::wire::schema::CollectionSchema;
use crate::execute::MoveCall;
use crate::units::{Bytes, CollectionId};

/// The only request of `GetMetrics` that a proxy answers.
const SYSTEM_INFO_REQUEST: &str = r#"{"metric_type":"system_info"}"#;

/// Header by which instances tell each other's calls apart; Milvus itself ignores it.
pub const INSTANCE_HEADER: &str = "milvus-rebalancer-instance";

/// What a call of the generated client answers.
type Answered<A> = Result<Response<A>, tonic::Status>;

/// A connection to one Milvus. Clones share it.
#[derive(Clone)]
pub struct MilvusClient {
    shared: Arc<Shared>,
    /// What this instance calls itself in its moves.
    instance: Option<MetadataValue<Ascii>>,
}

struct Shared {
    link: Link,
    target: Arc<Target>,
    database: Option<String>,
    concurrency: usize,
    reading: Semaphore,
    request_timeout: Duration,
    max_response: Bytes,
}

impl MilvusClient {
    /// A client for the connection of this name. It does not connect yet; only the settings can fail.
    pub fn new(connection: &str, settings: &ConnectionSettings) -> Result<MilvusClient, SettingsError> {
        // Nothing at a time would be never.
        let concurrency = (settings.concurrency as usize).max(1);
        let target = Target { connection: connection.to_owned(), endpoint: settings.shown_endpoint() };
        Ok(MilvusClient {
            instance: None,
            shared: Arc::new(Shared {
                link: Link::new(connection, settings)?,
                target: Arc::new(target),
                database: settings.database.clone(),
                concurrency,
                reading: Semaphore::new(concurrency),
                request_timeout: settings.request_timeout,
                max_response: settings.max_response,
            }),
        })
    }

    /// The same for moves that bear the name of the instance that sends them, as far as a header can carry that.
    pub fn named(self, instance: &str) -> MilvusClient {
        MilvusClient { instance: instance.parse().ok(), ..self }
    }

    /// Whom it talks to.
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// How many reading calls run at a time.
    pub fn concurrency(&self) -> usize {
        self.shared.concurrency
    }

    /// The database that is meant where a call names none, instead of the server's own default.
    pub fn default_database(&self) -> Option<&str> {
        self.shared.database.as_deref()
    }

    /// Names of the databases that the user can see. Before 2.2.9 there is no such call.
    pub async fn list_databases(&self) -> Result<Vec<String>, MilvusError> {
        let answer = self
            .read(Call::ListDatabases, ListDatabasesRequest {}, |mut rpc, request| async move {
                rpc.list_databases(request).await
            })
            .await?;
        Ok(answer.db_names)
    }

    /// The loaded collections of a database that the user can see.
    pub async fn loaded_collections(&self, database: &str) -> Result<Vec<LoadedCollection>, MilvusError> {
        let query =
            ShowCollectionsRequest { db_name: database.to_owned(), r#type: ShowType::InMemory.into() };
        let answer = self
            .read(Call::ShowCollections, query, |mut rpc, request| async move {
                rpc.show_collections(request).await
            })
            .await?;
        loaded_collections(answer).map_err(|problem| self.malformed(Call::ShowCollections, problem))
    }

    /// The schema of a collection.
    pub async fn describe_collection(
        &self,
        database: &str,
        collection: &str,
    ) -> Result<CollectionSchema, MilvusError> {
        let query = DescribeCollectionRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        };
        let answer = self
            .read(Call::DescribeCollection, query, |mut rpc, request| async move {
                rpc.describe_collection(request).await
            })
            .await?;
        let problem = || self.malformed(Call::DescribeCollection, "it holds no schema".to_owned());
        answer.schema.ok_or_else(problem)
    }

    /// The indexes of a collection; none is no error.
    pub async fn describe_index(
        &self,
        database: &str,
        collection: &str,
    ) -> Result<Vec<IndexDescription>, MilvusError> {
        let query =
            DescribeIndexRequest { db_name: database.to_owned(), collection_name: collection.to_owned() };
        let answer =
            self.read(Call::DescribeIndex, query, |mut rpc, request| async move {
                rpc.describe_index(request).await
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.index_descriptions),
            Err(MilvusError { failure: Failure::Refused(refusal), .. }) if refusal.index_is_missing() => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a collection is loaded. On 2.3 it asks for the privilege `Load`, which a reader should not have.
    pub async fn load_state(&self, database: &str, collection: &str) -> Result<LoadState, MilvusError> {
        let query =
            GetLoadStateRequest { db_name: database.to_owned(), collection_name: collection.to_owned() };
        let answer =
            self.read(Call::GetLoadState, query, |mut rpc, request| async move {
                rpc.get_load_state(request).await
            })
            .await?;
        Ok(answer.state())
    }

    /// The replicas of a loaded collection, by id: a name may meanwhile stand for another collection.
    pub async fn replicas(&self, collection: CollectionId) -> Result<Vec<ReplicaInfo>, MilvusError> {
        let query = GetReplicasRequest { collection_id: collection.0 };
        let answer = self
            .read(Call::GetReplicas, query, |mut rpc, request| async move { rpc.get_replicas(request).await })
            .await?;
        Ok(answer.replicas)
    }

    /// The segments of a collection's current target that are on query nodes; none when it is not loaded.
    pub async fn query_segments(
        &self,
        database: &str,
        collection: &str,
    ) -> Result<Vec<QuerySegmentInfo>, MilvusError> {
        let query = GetQuerySegmentInfoRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        };
        let answer = self
            .read(Call::GetQuerySegmentInfo, query, |mut rpc, request| async move {
                rpc.get_query_segment_info(request).await
            })
            .await?;
        Ok(answer.infos)
    }

    /// `system_info` as JSON text. Proxies keep it for 5 s, so asking faster is useless.
    pub async fn system_info(&self) -> Result<String, MilvusError> {
        let query = GetMetricsRequest { request: SYSTEM_INFO_REQUEST.to_owned() };
        let answer = self
            .read(Call::GetMetrics, query, |mut rpc, request| async move { rpc.get_metrics(request).await })
            .await?;
        Ok(answer.response)
    }

    /// Names of the resource groups. Before 2.2.3 there is no such call.
    pub async fn list_resource_groups(&self) -> Result<Vec<String>, MilvusError> {
        let answer = self
            .read(Call::ListResourceGroups, ListResourceGroupsRequest {}, |mut rpc, request| async move {
                rpc.list_resource_groups(request).await
            })
            .await?;
        Ok(answer.resource_groups)
    }

    /// One resource group; its nodes since 2.4.
    pub async fn describe_resource_group(&self, name: &str) -> Result<ResourceGroup, MilvusError> {
        let query = DescribeResourceGroupRequest { resource_group: name.to_owned() };
        let answer = self
            .read(Call::DescribeResourceGroup, query, |mut rpc, request| async move {
                rpc.describe_resource_group(request).await
            })
            .await?;
        let problem = || self.malformed(Call::DescribeResourceGroup, "it holds no group".to_owned());
        answer.resource_group.ok_or_else(problem)
    }

    /// The server's version.
    pub async fn version(&self) -> Result<String, MilvusError> {
        let answer = self
            .read(Call::GetVersion, GetVersionRequest {}, |mut rpc, request| async move {
                rpc.get_version(request).await
            })
            .await?;
        Ok(answer.version)
    }

    /// Whether Milvus thinks that it is well.
    pub async fn check_health(&self) -> Result<Health, MilvusError> {
        let answer = self
            .read(Call::CheckHealth, CheckHealthRequest {}, |mut rpc, request| async move {
                rpc.check_health(request).await
            })
            .await?;
        Ok(Health { healthy: answer.is_healthy, reasons: answer.reasons })
    }

    /// The one call that changes the cluster. It waits for the answer for as long as it is told, without limit
    /// for `None`, and outside the bound on reading calls: a move may take minutes, and must not wait behind a
    /// poll. `Ok` proves nothing about the segments.
    pub async fn load_balance(&self, call: &MoveCall, limit: Option<Duration>) -> Result<(), MilvusError> {
        let query = LoadBalanceRequest {
            src_node_id: call.from().0,
            dst_node_i_ds: vec![call.to().0],
            sealed_segment_i_ds: call.segments().iter().map(|segment| segment.0).collect(),
            collection_name: call.collection().to_owned(),
            db_name: call.database().to_owned(),
        };
        self.send(Call::LoadBalance, limit, query, |mut rpc, mut request| async move {
            if let Some(instance) = &self.instance {
                request.metadata_mut().insert(INSTANCE_HEADER, instance.clone());
            }
            rpc.load_balance(request).await
        })
        .await
        .map(|_: Status| ())
    }

    /// A reading call: waits for its turn, then for the answer within the request timeout.
    async fn read<Q, A, F>(
        &self,
        call: Call,
        query: Q,
        ask: impl FnOnce(MilvusServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, MilvusError>
    where
        A: Answer,
        F: Future<Output = Answered<A>>,
    {
        // The semaphore is never closed; were it, there would be no bound, which is no reason to fail.
        let _turn = self.shared.reading.acquire().await.ok();
        self.send(call, Some(self.shared.request_timeout), query, ask).await
    }

    async fn send<Q, A, F>(
        &self,
        call: Call,
        limit: Option<Duration>,
        query: Q,
        ask: impl FnOnce(MilvusServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, MilvusError>
    where
        A: Answer,
        F: Future<Output = Answered<A>>,
    {
        let shared = &self.shared;
        let Parts { rpc, headers } = shared.link.parts();
        let mut request = Request::new(query);
        *request.metadata_mut() = headers;
        let answer = ask(rpc, request);
        let answer = match limit {
            None => answer.await,
            Some(limit) => match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer,
                Err(_) => return Err(self.error(call, Failure::Deadline { after: limit })),
            },
        };
        let answer =
            answer.map_err(|status| self.error(call, classify::failure(&status, shared.max_response)))?;
        let answer = answer.into_inner();
        match answer.refusal() {
            Some(refusal) => Err(self.error(call, Failure::Refused(refusal))),
            None => Ok(answer),
        }
    }

    fn error(&self, call: Call, failure: Failure) -> MilvusError {
        MilvusError { call, target: Arc::clone(&self.shared.target), failure }
    }

    fn malformed(&self, call: Call, problem: String) -> MilvusError {
        self.error(call, Failure::Malformed { problem })
    }
}
