//! Milvus' gRPC service, answered by the simulated world.

use tonic::{Request, Response, Status};

use crate::milvus::INSTANCE_HEADER;
use crate::milvus::wire::common;
use crate::milvus::wire::milvus as rpc;
use crate::milvus::wire::milvus::milvus_service_server::MilvusService;
use crate::sim::answers::Unanswered;
use crate::sim::calls::BalanceRequest;
use crate::sim::seams::SharedWorld;
use crate::units::{NodeId, SegmentId};

/// The service.
pub struct SimMilvus {
    shared: SharedWorld,
}

impl SimMilvus {
    pub(super) fn new(shared: SharedWorld) -> SimMilvus {
        SimMilvus { shared }
    }
}

type Answered<A> = Result<Response<A>, Status>;

fn respond<A>(answer: Result<A, Unanswered>) -> Answered<A> {
    match answer {
        Ok(answer) => Ok(Response::new(answer)),
        Err(Unanswered::Unavailable) => Err(Status::unavailable("the simulated proxy is away")),
        Err(Unanswered::Unimplemented) => Err(Status::unimplemented("unknown method")),
    }
}

#[tonic::async_trait]
impl MilvusService for SimMilvus {
    async fn list_databases(
        &self,
        _: Request<rpc::ListDatabasesRequest>,
    ) -> Answered<rpc::ListDatabasesResponse> {
        respond(self.shared.lock().list_databases())
    }

    async fn show_collections(
        &self,
        request: Request<rpc::ShowCollectionsRequest>,
    ) -> Answered<rpc::ShowCollectionsResponse> {
        respond(self.shared.lock().show_collections(request.get_ref()))
    }

    async fn describe_collection(
        &self,
        request: Request<rpc::DescribeCollectionRequest>,
    ) -> Answered<rpc::DescribeCollectionResponse> {
        respond(self.shared.lock().describe_collection(request.get_ref()))
    }

    async fn describe_index(
        &self,
        request: Request<rpc::DescribeIndexRequest>,
    ) -> Answered<rpc::DescribeIndexResponse> {
        respond(self.shared.lock().describe_index(request.get_ref()))
    }

    async fn get_load_state(
        &self,
        request: Request<rpc::GetLoadStateRequest>,
    ) -> Answered<rpc::GetLoadStateResponse> {
        respond(self.shared.lock().get_load_state(request.get_ref()))
    }

    async fn get_replicas(
        &self,
        request: Request<rpc::GetReplicasRequest>,
    ) -> Answered<rpc::GetReplicasResponse> {
        respond(self.shared.lock().get_replicas(request.get_ref()))
    }

    async fn get_query_segment_info(
        &self,
        request: Request<rpc::GetQuerySegmentInfoRequest>,
    ) -> Answered<rpc::GetQuerySegmentInfoResponse> {
        respond(self.shared.lock().get_query_segment_info(request.get_ref()))
    }

    async fn get_metrics(
        &self,
        request: Request<rpc::GetMetricsRequest>,
    ) -> Answered<rpc::GetMetricsResponse> {
        let delay = self.shared.lock().metrics_delay();
        if !delay.is_zero() {
            tokio::time::sleep(self.shared.real(delay)).await;
        }
        respond(self.shared.lock().get_metrics(request.get_ref()))
    }

    async fn list_resource_groups(
        &self,
        _: Request<rpc::ListResourceGroupsRequest>,
    ) -> Answered<rpc::ListResourceGroupsResponse> {
        respond(self.shared.lock().list_resource_groups())
    }

    async fn describe_resource_group(
        &self,
        request: Request<rpc::DescribeResourceGroupRequest>,
    ) -> Answered<rpc::DescribeResourceGroupResponse> {
        respond(self.shared.lock().describe_resource_group(request.get_ref()))
    }

    async fn get_version(&self, _: Request<rpc::GetVersionRequest>) -> Answered<rpc::GetVersionResponse> {
        respond(self.shared.lock().get_version())
    }

    async fn check_health(&self, _: Request<rpc::CheckHealthRequest>) -> Answered<rpc::CheckHealthResponse> {
        respond(self.shared.lock().check_health())
    }

    async fn load_balance(&self, request: Request<rpc::LoadBalanceRequest>) -> Answered<common::Status> {
        if self.shared.lock().proxy_is_away() {
            return respond(Err(Unanswered::Unavailable));
        }
        let caller = request.metadata().get(INSTANCE_HEADER).and_then(|value| value.to_str().ok());
        let caller = caller.unwrap_or_default().to_owned();
        let request = request.into_inner();
        let request = BalanceRequest {
            caller,
            database: request.db_name,
            collection: request.collection_name,
            from: NodeId(request.src_node_id),
            to: request.dst_node_i_ds.into_iter().map(NodeId).collect(),
            segments: request.sealed_segment_i_ds.into_iter().map(SegmentId).collect(),
        };
        match self.shared.balance(request).await {
            Some(answer) => {
                let status = self.shared.lock().balance_status(&answer);
                Ok(Response::new(status))
            }
            None => Err(Status::unavailable("connection reset")),
        }
    }
}
