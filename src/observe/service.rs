//! What the users of a cluster feel, as its proxies and query nodes count it: raw counters, of which nothing is
//! smoothed and nothing is judged here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::NodeId;

/// What was read of the counters at one moment. Empty where nobody is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// By the address of the proxy's page; a proxy that could not be read is missing.
    pub proxies: BTreeMap<String, ProxyCounters>,
    /// Read tasks that wait on each query node whose page was read.
    pub waiting: BTreeMap<NodeId, u64>,
}

/// Counters of a proxy, since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyCounters {
    /// Searches that were answered, and how long they took.
    pub searches: LatencyCounters,
    /// Searches that were asked for.
    pub asked: u64,
    /// Of these, how many failed.
    pub failed: u64,
}

/// A latency histogram, since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyCounters {
    /// How many.
    pub count: u64,
    /// How long they took together, in microseconds.
    pub sum_micros: u64,
    /// (Edge in microseconds, how many took no longer), by edge. Milvus' edges are powers of two milliseconds.
    pub buckets: Vec<(u64, u64)>,
}
