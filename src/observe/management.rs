//! What Milvus' own HTTP pages on port 9091 say beyond gRPC: bytes and channels of segments, read-only nodes, the nodes
//! that channels own, pending tasks, state and settings of the balancer. Read only, all of it optional.

mod client;
mod lenient;
mod settings;

pub(super) use client::Management;
pub use client::ManagementError;
pub use settings::ManagementSettings;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

/// What those pages said. What is `None` was not asked, is not served by this version, or is named in a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagementReport {
    /// When they were read.
    pub read_at: Timestamp,
    /// Address of the process that answered.
    pub source: String,
    /// Whether the balancer is suspended (2.4.23 and later). A restart of the coordinator forgets a suspension.
    #[serde(default)]
    pub is_suspended: Option<bool>,
    /// Settings below `queryCoord`, by name without case and separators (2.5 and later).
    #[serde(default)]
    pub settings: Option<BTreeMap<String, String>>,
    /// Copies of segments as the nodes themselves list them, growing ones too (2.5 and later).
    #[serde(default)]
    pub segments: Option<Vec<SegmentDetail>>,
    /// Replicas (2.5 and later).
    #[serde(default)]
    pub replicas: Option<Vec<ReplicaDetail>>,
    /// Nodes and what the coordinator calls them (2.4 and later).
    #[serde(default)]
    pub nodes: Option<BTreeMap<NodeId, NodeState>>,
    /// Pending and recent tasks of the coordinator (2.5 and later).
    #[serde(default)]
    pub tasks: Option<Vec<TaskReport>>,
}

/// A copy of a segment on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentDetail {
    /// The segment.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// The node that lists it.
    pub node: NodeId,
    /// Its channel; empty where it is not said.
    pub channel: String,
    /// Its rows.
    pub rows: Rows,
    /// Its bytes in memory; 0 where it is not said.
    pub bytes: Bytes,
    /// Whether it still grows.
    pub is_growing: bool,
}

/// What gRPC does not say of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaDetail {
    /// The replica.
    pub replica: ReplicaId,
    /// Its read-only nodes.
    pub read_only: Vec<NodeId>,
    /// The nodes that each channel owns, in channel-exclusive mode; empty sets outside of it.
    pub exclusive: BTreeMap<String, Vec<NodeId>>,
}

/// What the coordinator calls a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// In order.
    Active,
    /// On its way out.
    Stopping,
    /// In no resource group (2.6 and later): suspended, or a streaming node.
    Suspended,
    /// A word that we do not know.
    Other,
}

/// A task of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Its collection.
    pub collection: Option<CollectionId>,
    /// `Move`, `Grow`, `Reduce`, `Update`.
    pub kind: String,
    /// `created`, `started`, `succeeded`, `canceled`, `failed`.
    pub status: String,
    /// Why it was made, in Milvus' words: "segment unbalanced" is the balancer's.
    pub reason: String,
}

impl TaskReport {
    /// Whether it is a move by Milvus' own balancer that has not ended.
    pub fn is_balancing(&self) -> bool {
        let is_pending = matches!(self.status.as_str(), "created" | "started");
        is_pending && self.kind == "Move" && self.reason.contains("unbalanced")
    }
}
