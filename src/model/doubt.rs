//! Doubts: what the observation leaves uncertain, about what, and in a sentence. Gates turn them into caution
//! exactly there and nowhere else.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::snapshot::Standing;
use crate::observe::observation::GapSubject;
use crate::observe::signals::Oddity;
use crate::units::{CollectionId, Millicores, NodeId, ReplicaId, SegmentId};

/// What a doubt, a refusal or a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Subject {
    /// Everything.
    Cluster,
    /// The nodes linked by common replicas with this one.
    Component(NodeId),
    /// A collection.
    Collection(CollectionId),
    /// A replica.
    Replica(ReplicaId),
    /// A node.
    Node(NodeId),
    /// A segment.
    Segment(SegmentId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Cluster => f.write_str("the cluster"),
            Subject::Component(node) => write!(f, "the nodes linked with node {node}"),
            Subject::Collection(id) => write!(f, "collection {id}"),
            Subject::Replica(id) => write!(f, "replica {id}"),
            Subject::Node(id) => write!(f, "node {id}"),
            Subject::Segment(id) => write!(f, "segment {id}"),
        }
    }
}

/// One uncertainty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Doubt {
    /// What it is about.
    pub subject: Subject,
    /// What is uncertain.
    #[schemars(with = "super::input::Options")]
    pub kind: DoubtKind,
}

/// What can be uncertain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum DoubtKind {
    /// Something could not be read.
    Unread {
        /// What.
        gap: GapSubject,
        /// Why.
        cause: String,
    },
    /// The node is no live read-write member.
    NodeStanding {
        /// What it is instead.
        standing: Standing,
    },
    /// The node's memory capacity is not known.
    CapacityUnknown,
    /// The node serves a collection that we were not shown.
    HiddenCollection {
        /// The collection that the node names.
        collection: CollectionId,
    },
    /// The collection is not fully loaded.
    NotFullyLoaded {
        /// Its load percentage.
        percentage: u8,
    },
    /// A segment is listed on a node that belongs to none of its collection's replicas.
    OutsideReplicas {
        /// That node.
        node: NodeId,
    },
    /// Query nodes of different versions: an upgrade is under way.
    MixedVersions,
    /// Two nodes give the same address.
    SharedAddress {
        /// The address.
        address: String,
    },
    /// A replica has read-only nodes in other resource groups, and this server does not say which nodes they are.
    OutboundNodes {
        /// How many.
        count: u32,
    },
    /// The server is too old to be acted on, or its version is unknown.
    ServerTooOld,
    /// Something on a page of metrics cannot be true; it was left out, and the rest was read.
    OddFigure {
        /// The page.
        page: String,
        /// What.
        oddity: Oddity,
    },
    /// A counter fell though the process is the same: nothing is made of this stretch of time.
    CounterWentBack {
        /// The page.
        page: String,
    },
    /// The wall clock and the monotonic one passed by different amounts between two polls; rates go by the latter.
    ClocksDisagree {
        /// By so many seconds.
        seconds: u64,
    },
    /// More CPU time passed than the machine has cores: not believed.
    ImplausibleCpu {
        /// What the counters say.
        cpu: Millicores,
        /// What the node says it has.
        cores: Millicores,
    },
    /// Another node's figures come from the same page; neither is believed.
    SharedPage {
        /// The page.
        page: String,
    },
    /// Proxies count searches by a name that several loaded collections have; they are taken to be searched alike.
    AmbiguousDemand {
        /// The name.
        name: String,
    },
    /// Milvus says that it is not well. Only shown: what matters for a move is read in detail.
    Unhealthy {
        /// In its own words.
        complaints: Vec<String>,
    },
}

impl DoubtKind {
    /// The stable name, for metrics and JSON.
    pub fn code(&self) -> &'static str {
        match self {
            DoubtKind::Unread { .. } => "unread",
            DoubtKind::NodeStanding { .. } => "node_standing",
            DoubtKind::CapacityUnknown => "capacity_unknown",
            DoubtKind::HiddenCollection { .. } => "hidden_collection",
            DoubtKind::NotFullyLoaded { .. } => "not_fully_loaded",
            DoubtKind::OutsideReplicas { .. } => "outside_replicas",
            DoubtKind::MixedVersions => "mixed_versions",
            DoubtKind::SharedAddress { .. } => "shared_address",
            DoubtKind::OutboundNodes { .. } => "outbound_nodes",
            DoubtKind::ServerTooOld => "server_too_old",
            DoubtKind::OddFigure { .. } => "odd_figure",
            DoubtKind::CounterWentBack { .. } => "counter_went_back",
            DoubtKind::ClocksDisagree { .. } => "clocks_disagree",
            DoubtKind::ImplausibleCpu { .. } => "implausible_cpu",
            DoubtKind::SharedPage { .. } => "shared_page",
            DoubtKind::AmbiguousDemand { .. } => "ambiguous_demand",
            DoubtKind::Unhealthy { .. } => "unhealthy",
        }
    }
}

impl fmt::Display for DoubtKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoubtKind::Unread { gap, cause } => write!(f, "could not read {gap}: {cause}"),
            DoubtKind::NodeStanding { standing } => write!(f, "the node is {standing}"),
            DoubtKind::CapacityUnknown => f.write_str("its memory capacity is not known"),
            DoubtKind::HiddenCollection { collection } => {
                write!(
                    f,
                    "it serves collection {collection}, which was not shown to us (does our role see every database?)"
                )
            }
            DoubtKind::NotFullyLoaded { percentage } => write!(f, "it is loaded to {percentage} % only"),
            DoubtKind::OutsideReplicas { node } => {
                write!(f, "it is listed on node {node}, which belongs to none of its replicas")
            }
            DoubtKind::MixedVersions => {
                f.write_str("its query nodes run different versions: an upgrade is under way")
            }
            DoubtKind::SharedAddress { address } => {
                write!(f, "another node gives the same address {address}")
            }
            DoubtKind::OutboundNodes { count } => {
                write!(f, "{count} of its nodes are read-only, and this server does not say which")
            }
            DoubtKind::ServerTooOld => f.write_str(
                "this Milvus is older than 2.3 or of unknown version: it is read but never acted on",
            ),
            DoubtKind::OddFigure { page, oddity } => write!(f, "{page}: {oddity}"),
            DoubtKind::CounterWentBack { page } => {
                write!(f, "a counter on {page} fell while its process went on: this stretch is left out")
            }
            DoubtKind::ClocksDisagree { seconds } => {
                write!(f, "the wall clock was off by {seconds} s between two polls (does somebody set it?)")
            }
            DoubtKind::ImplausibleCpu { cpu, cores } => {
                write!(f, "its counters say {cpu} in use, and it has {cores}: not believed")
            }
            DoubtKind::SharedPage { page } => {
                write!(
                    f,
                    "another node's figures come from {page} too: correct node_metrics; neither is believed"
                )
            }
            DoubtKind::AmbiguousDemand { name } => {
                write!(f, "several loaded collections are called {name:?}, and proxies count them together")
            }
            DoubtKind::Unhealthy { complaints } => {
                write!(f, "Milvus says that it is not well: {}", complaints.join("; "))
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.kind)
    }
}
