//! Signals out of a Prometheus server: configured queries, asked at every look, whose answers are recorded as they came
//! (as whole numbers, with the labels by which they are matched later). What the server does not say, or says wrongly, is
//! a gap; nothing of it ever fails a look.

mod answer;
mod client;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use client::{Prometheus, PrometheusError, read};
pub use settings::{PrometheusSettings, QuerySettings};

/// For fuzzing: an answer to a query.
pub(crate) fn read_anything(bytes: &[u8]) {
    let (query, settings) = (QuerySettings::default(), PrometheusSettings::default());
    drop(answer::read(bytes, &query, &settings, jiff::Timestamp::UNIX_EPOCH));
}

/// What the answers to all queries were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerReport {
    /// By the name of the query; one without a usable answer is missing.
    pub readings: BTreeMap<String, ServerReading>,
}

/// The answer to one query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReading {
    /// What the values are.
    pub signal: ServerSignal,
    /// So far back the query looks.
    #[serde(default)]
    pub window: Duration,
    /// In the order of their labels.
    pub samples: Vec<ServerSample>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerSample {
    /// The value of the label that names the node.
    pub node: String,
    /// The value of the label that names the collection, where the signal is told by collection.
    pub collection: Option<String>,
    /// In the unit of the signal.
    pub value: u64,
}

/// What the values of a query are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerSignal {
    /// CPU that a node uses, in cores.
    CpuUsed,
    /// CPU that a node may use, in cores: its quota.
    CpuCapacity,
    /// Memory that a node may use, in bytes.
    MemoryCapacity,
    /// Local storage in use, in bytes.
    DiskUsed,
    /// Local storage there is, in bytes.
    DiskCapacity,
    /// CPU of the searches on a node's segments of a collection, in cores.
    SearchLoad,
    /// Points of a scale of its own, of a node or of a node's segments of a collection.
    Points,
}

impl ServerSignal {
    /// How many units are in one of what the server says: cores are told as such and kept in thousandths.
    fn units(self) -> f64 {
        match self {
            ServerSignal::CpuUsed | ServerSignal::CpuCapacity | ServerSignal::SearchLoad => 1_000.0,
            ServerSignal::MemoryCapacity
            | ServerSignal::DiskUsed
            | ServerSignal::DiskCapacity
            | ServerSignal::Points => 1.0,
        }
    }

    /// Whether each series must name a collection. Points may.
    fn needs_collection(self) -> bool {
        self == ServerSignal::SearchLoad
    }

    /// Whether a series may name a collection.
    fn may_have_collection(self) -> bool {
        matches!(self, ServerSignal::SearchLoad | ServerSignal::Points)
    }
}
