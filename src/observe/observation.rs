//! What one poll saw: raw facts, each with where it came from and when. Nothing is decided or smoothed here;
//! what could not be read is listed as a [`Gap`], not hidden.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::management::ManagementReport;
use super::opinion::Hearing;
use super::prometheus::ServerReport;
use super::service::ServiceReport;
use super::signals::SignalReport;
use crate::units::{Bytes, CollectionId, NodeId, PartitionId, ReplicaId, Rows, SegmentId};

/// Everything one poll learnt about the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When the poll began.
    pub started_at: Timestamp,
    /// How long it took; the coordinator was busy for about as long.
    pub took: Duration,
    /// Which Milvus answered.
    pub server: ServerVersion,
    /// All nodes that `GetMetrics` listed, of every role.
    pub nodes: Vec<NodeReport>,
    /// Resource groups; `None` where they could not be listed.
    pub resource_groups: Option<Vec<ResourceGroupReport>>,
    /// Every loaded collection of every database that could be seen.
    pub collections: Vec<CollectionReport>,
    /// What users feel, where proxies and nodes were asked.
    #[serde(default)]
    pub service: ServiceReport,
    /// What Milvus' own HTTP pages say, where they were asked.
    #[serde(default)]
    pub management: Option<ManagementReport>,
    /// What query nodes and proxies count about themselves, where they were asked.
    #[serde(default)]
    pub signals: SignalReport,
    /// What Milvus itself says is wrong with it (`CheckHealth`), in order; empty when it says that it is well, or
    /// nothing.
    #[serde(default)]
    pub complaints: Vec<String>,
    /// What a Prometheus server says, where one is asked.
    #[serde(default)]
    pub prometheus: ServerReport,
    /// What policy plug-ins said about it, by their names; empty without any.
    #[serde(default)]
    pub opinions: Vec<Hearing>,
    /// What this poll could not read.
    pub gaps: Vec<Gap>,
}

/// The version that the server reports, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerVersion {
    /// As reported, for example `v2.3.5` or `2.6.20-dev`.
    pub text: String,
    /// Major, minor and patch where the text has them.
    pub number: Option<(u32, u32, u32)>,
}

impl ServerVersion {
    /// Reads the numbers out of a version text such as `v2.4.13-hotfix`; keeps the text in any case.
    pub fn parse(text: &str) -> ServerVersion {
        let bare = text.trim().trim_start_matches(['v', 'V']);
        let mut parts = bare.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
        let number = match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor)) => Some((major, minor, parts.next().flatten().unwrap_or(0))),
            _ => None,
        };
        ServerVersion { text: text.trim().to_owned(), number }
    }

    /// Whether the server is known to be at least this version; unknown versions are not.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.number.is_some_and(|(own_major, own_minor, _)| (own_major, own_minor) >= (major, minor))
    }

    /// 2.2 and older: readable, but failures look like successes to a reader of `code`, and an empty segment
    /// list moves everything. We read it and refuse to act on it.
    pub fn is_too_old_to_act_on(&self) -> bool {
        !self.at_least(2, 3)
    }

    /// Whether `DescribeResourceGroup` names the group's nodes (since 2.4), which is what tells read-write
    /// nodes from read-only ones.
    pub fn lists_group_nodes(&self) -> bool {
        self.at_least(2, 4)
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "of unknown version" } else { &self.text })
    }
}

/// What a node is for, as `GetMetrics` names it (`type`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Holds sealed segments and answers searches.
    QueryNode,
    /// Owns channels (2.6+); never a home for sealed segments.
    StreamingNode,
    /// Any other role, by its name.
    Other(String),
}

/// One node as `GetMetrics(system_info)` reports it. Every number may be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The id, or a made-up one when `error` is set.
    pub id: NodeId,
    /// `host:port` of the node's gRPC server; the node's identity over restarts.
    pub address: String,
    /// Its role.
    pub role: NodeRole,
    /// What the node said instead of an answer (`has_error`).
    pub error: Option<String>,
    /// Memory that the node believes to have.
    pub memory_capacity: Option<Bytes>,
    /// Resident memory without shared pages; mapped files are not in it.
    pub memory_used: Option<Bytes>,
    /// Bytes of growing segments (2.3+).
    pub growing: Option<Bytes>,
    /// Collections that the node says it serves (`quota_metrics.Effect.CollectionIDs`, 2.3+). Digits beyond
    /// 2^53 are wrong in 2.6+ (see [`NodeReport::collections_are_exact`]).
    pub collections: Option<Vec<CollectionId>>,
    /// Rows per collection on this node (`collection_metrics.CollectionRows`, 2.4+); the ids are exact.
    pub collection_rows: Option<BTreeMap<CollectionId, Rows>>,
    /// Bytes of sealed segments per collection (`entity_size` of the node's own /metrics), where it was read.
    pub sealed_bytes: Option<BTreeMap<CollectionId, Bytes>>,
    /// What the node says of its machine.
    #[serde(default)]
    pub hardware: HardwareReport,
    /// The node's build version; mixed versions mean that an upgrade is under way.
    pub version: String,
}

/// What a node says of its machine (`hardware_infos` of `GetMetrics`), as far as it can be believed: `cpu_core_usage` is
/// the whole host's and is not kept, nor are the constants that versions before 2.5 give for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HardwareReport {
    /// GOMAXPROCS: the machine's cores, whatever the quota of a container is.
    pub cpu_cores: Option<u64>,
    /// Size of the file system with the local storage (2.5+), shared with whatever else is on it.
    pub disk_capacity: Option<Bytes>,
    /// What is used of it, by whomever (2.5+).
    pub disk_used: Option<Bytes>,
}

impl NodeReport {
    /// Whether the ids in `collections` can be compared digit by digit: the proxy of 2.6+ passes them through
    /// floating point.
    pub fn collections_are_exact(server: &ServerVersion) -> bool {
        !server.at_least(2, 6)
    }
}

/// One resource group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceGroupReport {
    /// Its name.
    pub name: String,
    /// Its member nodes (2.4+); `None` where the server does not list them. Stopping, suspended and streaming
    /// nodes are not in it.
    pub nodes: Option<Vec<GroupNode>>,
}

/// A node as its resource group lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNode {
    /// The node.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
    /// The machine's or the pod's name.
    pub hostname: String,
}

/// A loaded collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionReport {
    /// Database it lives in; empty before 2.3, which had none.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: CollectionId,
    /// 0 … 100; below 100 `LoadBalance` is refused.
    pub load_percentage: u8,
    /// When replicas and segments were read.
    pub read_at: Timestamp,
    /// `None` where they could not be read.
    pub replicas: Option<Vec<ReplicaReport>>,
    /// `None` where they could not be read.
    pub segments: Option<Vec<SegmentReport>>,
    /// Estimated bytes of a row in memory, from schema and indexes; `None` where they could not be read.
    pub estimated_row_bytes: Option<u64>,
}

/// A replica: the nodes on which one copy of the collection lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Its id.
    pub id: ReplicaId,
    /// All its nodes, read-only and streaming ones included.
    pub nodes: Vec<NodeId>,
    /// Its resource group.
    pub resource_group: String,
    /// Its shards and who leads them.
    pub shards: Vec<ShardReport>,
    /// Number of its read-only nodes that sit in other resource groups.
    pub outbound_nodes: u32,
}

/// A shard of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardReport {
    /// The delegator.
    pub leader: NodeId,
    /// Its address.
    pub leader_address: String,
    /// The channel it owns.
    pub channel: String,
}

/// Milvus' segment level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentLevel {
    /// Not said (before 2.4) or of the old kind.
    Legacy,
    /// Deletes only; must stay with the delegator.
    L0,
    /// Ordinary.
    L1,
    /// Clustered.
    L2,
}

/// One segment of the current target, and every node that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentReport {
    /// Its id.
    pub id: SegmentId,
    /// Its partition.
    pub partition: PartitionId,
    /// Its rows, deletes not subtracted.
    pub rows: Rows,
    /// One node for each replica, and a second one while it moves.
    pub nodes: Vec<NodeId>,
    /// Its level.
    pub level: SegmentLevel,
}

/// Something that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing.
    pub subject: GapSubject,
    /// The error, with its causes, in one line.
    pub cause: String,
}

/// What can be missing from an observation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum GapSubject {
    /// The list of databases; only the default one was read.
    Databases,
    /// The loaded collections of a database.
    Collections {
        /// The database.
        database: String,
    },
    /// The replicas of a collection.
    Replicas {
        /// The collection.
        collection: CollectionId,
    },
    /// The segments of a collection.
    Segments {
        /// The collection.
        collection: CollectionId,
    },
    /// Schema or indexes of a collection.
    Schema {
        /// The collection.
        collection: CollectionId,
    },
    /// `GetMetrics(system_info)`.
    SystemInfo,
    /// The list of resource groups.
    ResourceGroups,
    /// One resource group.
    ResourceGroup {
        /// Its name.
        name: String,
    },
    /// A node's own /metrics.
    NodeMetrics {
        /// The node's address.
        address: String,
    },
    /// A proxy's own /metrics.
    ProxyMetrics {
        /// The address of the page.
        target: String,
    },
    /// The answer of a Prometheus server, or a part of it.
    PrometheusQuery {
        /// The name of the query.
        query: String,
    },
    /// What Milvus says of its own health.
    Health,
    /// Something that only Milvus' own HTTP pages tell.
    Management {
        /// What.
        part: ManagementPart,
    },
}

/// What Milvus' own HTTP pages tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagementPart {
    /// All of it.
    Everything,
    /// What the WebUI shows: all but the state of the balancer and of nodes.
    WebUi,
    /// Whether the balancer is suspended.
    BalancerState,
    /// The balancer's settings.
    Settings,
    /// What the coordinator calls the nodes.
    Nodes,
    /// Read-only nodes of replicas and the nodes that channels own.
    Replicas,
    /// Bytes, channels and growing rows of segments.
    Segments,
    /// Pending tasks.
    Tasks,
}

impl fmt::Display for ManagementPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ManagementPart::Everything => "Milvus' management pages",
            ManagementPart::WebUi => "what Milvus' WebUI shows",
            ManagementPart::BalancerState => "whether Milvus' own balancer is suspended",
            ManagementPart::Settings => "the settings of Milvus' own balancer",
            ManagementPart::Nodes => "what Milvus' coordinator calls its nodes",
            ManagementPart::Replicas => "the read-only nodes of replicas and the nodes that channels own",
            ManagementPart::Segments => "bytes, channels and growing rows of segments",
            ManagementPart::Tasks => "the pending tasks of Milvus' coordinator",
        })
    }
}

impl fmt::Display for GapSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GapSubject::Databases => f.write_str("the list of databases"),
            GapSubject::Collections { database } => {
                write!(f, "the loaded collections of database {database:?}")
            }
            GapSubject::Replicas { collection } => write!(f, "the replicas of collection {collection}"),
            GapSubject::Segments { collection } => write!(f, "the segments of collection {collection}"),
            GapSubject::Schema { collection } => write!(f, "schema and indexes of collection {collection}"),
            GapSubject::SystemInfo => f.write_str("the nodes (GetMetrics system_info)"),
            GapSubject::ResourceGroups => f.write_str("the list of resource groups"),
            GapSubject::ResourceGroup { name } => write!(f, "resource group {name:?}"),
            GapSubject::ProxyMetrics { target } => write!(f, "what users feel ({target})"),
            GapSubject::NodeMetrics { address } => write!(f, "the /metrics of node {address}"),
            GapSubject::PrometheusQuery { query } => write!(f, "the Prometheus query {query}"),
            GapSubject::Management { part } => part.fmt(f),
            GapSubject::Health => f.write_str("how Milvus says it is (CheckHealth)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_write_them() {
        assert_eq!(ServerVersion::parse("v2.3.5").number, Some((2, 3, 5)));
        assert_eq!(ServerVersion::parse("2.6.20-dev").number, Some((2, 6, 20)));
        assert_eq!(ServerVersion::parse("2.4").number, Some((2, 4, 0)));
        assert_eq!(ServerVersion::parse("master-20260820").number, None);
        assert!(ServerVersion::parse("2.2.16").is_too_old_to_act_on());
        assert!(ServerVersion::parse("").is_too_old_to_act_on(), "unknown is not trusted");
        assert!(!ServerVersion::parse("v3.0.0").is_too_old_to_act_on());
    }
}
