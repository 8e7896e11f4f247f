//! What query nodes and proxies count about themselves, as read: raw counters and gauges, each with when it was read and
//! from where. Nothing is smoothed, compared or shared out here; that is the model's work.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, CollectionId, Moment, NodeId};

/// What was read of the counters at one poll. Empty where nobody is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignalReport {
    /// Query nodes whose own page was read.
    pub nodes: BTreeMap<NodeId, NodeCounters>,
    /// Proxies by the address of their page; one that could not be read is missing.
    pub proxies: BTreeMap<String, DemandCounters>,
    /// How the vectors of each collection are searched, where its indexes could be read.
    pub indexes: BTreeMap<CollectionId, IndexKind>,
}

/// How a search finds its way through the vectors of a segment; of several vector fields, the dearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// From neighbour to neighbour: its cost hardly grows with the rows.
    Graph,
    /// Through some of many lists.
    Lists,
    /// One after the other.
    Scan,
}

/// One query node's own /metrics. What the page does not hold is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCounters {
    /// When the page was had, by our clocks.
    pub read_at: Moment,
    /// Address of the page.
    pub source: String,
    /// When the process says that it started (`process_start_time_seconds`): another value is another process.
    pub started_at: Option<Timestamp>,
    /// CPU time since then, in microseconds (`process_cpu_seconds_total`).
    pub cpu_micros: Option<u64>,
    /// Searches as a worker: one for each delegator that asks (`sq_req_count{scope="FromLeader"}`, 2.3+).
    pub as_worker: Option<SearchCounters>,
    /// Searches as a delegator: one for each search of a user and channel (`scope="OnLeader"`). Never to be added to
    /// the former.
    pub as_delegator: Option<SearchCounters>,
    /// Bytes of growing segments (`entity_size{segment_state="Growing"}`, 2.3+).
    pub growing: Option<Bytes>,
    /// Resident memory (`process_resident_memory_bytes`), shared pages included, which GetMetrics leaves out.
    pub resident_memory: Option<Bytes>,
    /// Bytes on the node's local disk (`disk_used_size`, 2.3+). Nodes that share a disk count each other's.
    pub disk_used: Option<Bytes>,
    /// Reads of segments from the object storage that failed (`internal_storage_op_count{…get,status="fail"}`, 2.3+).
    pub load_failures: Option<u64>,
    /// What on the page cannot be true, by metric, each once.
    pub oddities: Vec<Oddity>,
}

/// Searches since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchCounters {
    /// How many, failed ones included.
    pub count: u64,
    /// How long the answered ones took together, in microseconds.
    pub micros: u64,
    /// The count by collection; empty before 2.4, whose nodes do not tell them apart.
    pub by_collection: BTreeMap<CollectionId, u64>,
}

/// One proxy's counts of searches by collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemandCounters {
    /// When the page was had, by our clocks.
    pub read_at: Moment,
    /// When the process says that it started.
    pub started_at: Option<Timestamp>,
    /// In the order of database and name.
    pub collections: Vec<CollectionDemand>,
    /// What on the page cannot be true.
    pub oddities: Vec<Oddity>,
}

/// How often one collection was searched through one proxy since that started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CollectionDemand {
    /// Its database; `None` where the page does not tell (before 2.4).
    pub database: Option<String>,
    /// Its name.
    pub name: String,
    /// Searches that were answered (`collection_sq_latency`).
    pub searches: u64,
    /// Vectors that were searched for (`received_nq`).
    pub vectors: u64,
    /// How long the answered searches took together, in microseconds.
    pub micros: u64,
}

/// Something on a page that cannot be true, or that we do not take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "metric")]
pub enum Oddity {
    /// The value is no amount: negative, infinite, or not a number.
    NoAmount(String),
    /// A label is longer than any name in Milvus may be; the sample was passed over.
    HugeLabel(String),
    /// The page ends in the middle of a line: it was cut off, and more may be missing.
    CutOff,
}

impl std::fmt::Display for Oddity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Oddity::NoAmount(metric) => {
                write!(f, "{metric} is negative, infinite or not a number, and was not taken")
            }
            Oddity::HugeLabel(metric) => {
                write!(f, "{metric} has a label of absurd length, and was not taken")
            }
            Oddity::CutOff => f.write_str("its page ends in the middle of a line: more may be missing"),
        }
    }
}
