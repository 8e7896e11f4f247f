//! Where the copies of one collection are: the answers of two calls, read together because either alone cannot
//! tell a collection without segments from one that is no longer there.

use crate::milvus::wire::milvus::{QuerySegmentInfo, ReplicaInfo};
use crate::milvus::{Failure, MilvusClient, MilvusError};
use crate::units::CollectionId;

/// What the two calls about one collection said.
pub struct Distribution {
    /// `GetReplicas`, by id.
    pub replicas: Result<Vec<ReplicaInfo>, MilvusError>,
    /// `GetQuerySegmentInfo`, by name.
    pub segments: Result<Vec<QuerySegmentInfo>, MilvusError>,
}

impl Distribution {
    /// Asks both at once.
    pub async fn read(client: &MilvusClient, database: &str, name: &str, id: CollectionId) -> Distribution {
        let (replicas, segments) = futures::join!(client.replicas(id), client.query_segments(database, name));
        Distribution { replicas, segments }
    }

    /// Whether the collection of this id is not loaded any more: the server says so, or says nothing about it
    /// in either answer, or speaks of another collection of the same name.
    pub fn is_gone(&self, id: CollectionId) -> bool {
        let without_segments = match &self.segments {
            Err(error) => return error.collection_is_gone(),
            Ok(segments) if segments.iter().any(|segment| segment.collection_id != id.0) => return true,
            Ok(segments) => segments.is_empty(),
        };
        match &self.replicas {
            Ok(replicas) => without_segments && replicas.is_empty(),
            Err(MilvusError { failure: Failure::Refused(refusal), .. }) => {
                refusal.collection_is_gone() || (without_segments && refusal.replica_is_missing())
            }
            Err(_) => false,
        }
    }
}
