//! Signals: what nodes and proxies count, turned into rates, smoothed, and shared out over segments. Each figure says how
//! old it is, where it comes from and how far it can be trusted; each that is missing is named.

mod attribution;
mod capacity;
mod demand;
mod nodes;
mod rates;
mod server;
mod state;
mod work;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Millicores, NodeId, Rate, Ratio};

pub use capacity::{Capacities, CapacityFigures, CapacityOverride, CapacitySettings};
pub use server::{ServerFigure, ServerLoads};
pub use state::{SignalInput, SignalState, fold_signals};

/// How counters become rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalSettings {
    /// Time constant of the mean: what is this old counts a third of what is new.
    #[serde(with = "crate::config::duration")]
    pub smoothing: Duration,
    /// For how long a figure stands in for one that cannot be read.
    #[serde(with = "crate::config::duration")]
    pub keep: Duration,
}

impl Default for SignalSettings {
    fn default() -> Self {
        SignalSettings {
            // At a poll every 30 s the last one counts two thirds; at one every 5 s, a quarter.
            smoothing: Duration::from_secs(15),
            // A page that is slow now and then must not change what is planned; one that is gone must.
            keep: Duration::from_secs(2 * 60),
        }
    }
}

/// A figure, and what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading<T> {
    /// The figure.
    pub value: T,
    /// How old it was when the cluster was looked at.
    pub age: Duration,
    /// Where it comes from.
    pub source: SignalSource,
    /// How far it can be trusted: 1 for what was measured just now.
    pub trust: Ratio,
}

/// Where a figure comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum SignalSource {
    /// The node's own /metrics.
    NodePage,
    /// The proxies' own /metrics.
    ProxyPages,
    /// `GetMetrics` over gRPC.
    GetMetrics,
    /// Our configuration.
    Configuration {
        /// The entry's name.
        entry: String,
    },
    /// A Prometheus server.
    Prometheus {
        /// The name of the query.
        query: String,
    },
    /// Worked out from other figures.
    Estimated,
}

impl fmt::Display for SignalSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalSource::NodePage => f.write_str("the node's /metrics"),
            SignalSource::ProxyPages => f.write_str("the proxies' /metrics"),
            SignalSource::GetMetrics => f.write_str("GetMetrics"),
            SignalSource::Configuration { entry } => write!(f, "capacity.{entry} of the configuration"),
            SignalSource::Prometheus { query } => write!(f, "Prometheus ({query})"),
            SignalSource::Estimated => f.write_str("estimated"),
        }
    }
}

/// The signals of one turn, in the order of the snapshot's tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signals {
    /// By [`crate::model::NodeIndex`].
    pub nodes: Vec<NodeSignals>,
    /// Searches of each collection, all replicas together, by [`crate::model::CollectionIndex`].
    pub demand: Vec<Option<Reading<Rate>>>,
    /// CPU that searches on each copy use, by [`crate::model::CopyIndex`]: an estimate, whose sums per node are
    /// measured.
    pub copy_search: Vec<Millicores>,
    /// How far [`Signals::copy_search`] can be trusted.
    pub search_confidence: Ratio,
    /// What is missing, and why.
    pub absent: Vec<AbsentSignal>,
}

/// The signals of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSignals {
    /// CPU in use.
    pub cpu: Option<Reading<Millicores>>,
    /// The part of it that searches on its sealed segments use. `None` where it is not measured.
    pub search_cpu: Option<Millicores>,
    /// How the CPU of its searches is known.
    pub search_load: SearchLoad,
    /// CPU that no move of segments changes: the process itself, delegators, growing data, what is not explained.
    pub base_cpu: Millicores,
    /// The part of that which the node uses for leading channels.
    pub delegator_cpu: Millicores,
    /// Searches that it answers as a worker.
    pub searches: Option<Reading<Rate>>,
    /// Read tasks that wait.
    pub waiting: Option<u64>,
    /// Bytes that its local storage takes.
    pub disk_used: Option<Reading<Bytes>>,
    /// Reads from the object storage that failed.
    pub load_failures: Option<Rate>,
    /// What it has.
    pub capacity: Capacities,
}

/// How it is known what searches cost a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchLoad {
    /// It is not: the node was not measured, or not lately.
    #[default]
    Unknown,
    /// By what was measured before segments came or went.
    Estimated,
    /// By the node's own counters, for what it holds now.
    Measured,
}

/// A kind of signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// CPU that a node uses.
    Cpu,
    /// Searches that a node answers.
    Searches,
    /// Bytes on a node's disk.
    DiskUsed,
    /// How often collections are searched.
    Demand,
    /// Cores that a node has.
    CpuCapacity,
    /// Size of a node's disk.
    DiskCapacity,
}

impl SignalKind {
    /// The stable name: metric label.
    pub fn code(self) -> &'static str {
        match self {
            SignalKind::Cpu => "cpu",
            SignalKind::Searches => "searches",
            SignalKind::DiskUsed => "disk_used",
            SignalKind::Demand => "demand",
            SignalKind::CpuCapacity => "cpu_capacity",
            SignalKind::DiskCapacity => "disk_capacity",
        }
    }
}

/// Why a signal is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Nobody was asked, or nobody could be reached: the doubts say which.
    NotRead,
    /// The page was read and does not hold it.
    NotThere,
    /// A rate needs two readings of the same state, and there is one yet: just started, or a segment came or went.
    NotYet,
    /// It is there and not believed: the doubts say why.
    Doubted,
}

impl Absence {
    /// The stable name: metric label.
    pub fn code(self) -> &'static str {
        match self {
            Absence::NotRead => "not_read",
            Absence::NotThere => "not_there",
            Absence::NotYet => "not_yet",
            Absence::Doubted => "doubted",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Absence::NotRead => "not read",
            Absence::NotThere => "not on the page",
            Absence::NotYet => "not known yet: it takes two looks with the same segments",
            Absence::Doubted => "not believed",
        })
    }
}

/// A signal that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AbsentSignal {
    /// Which.
    pub signal: SignalKind,
    /// Why.
    pub why: Absence,
    /// Of which nodes; empty for what is no node's.
    pub nodes: Vec<NodeId>,
}
