//! Where the query nodes' own metrics are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How the nodes' own metrics are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeMetricsSettings {
    /// Where a node's metrics are, with `{host}` for its host.
    pub url: Option<String>,
    /// Addresses of single nodes (`host:port` as Milvus gives it) that the pattern does not fit.
    pub targets: BTreeMap<String, String>,
    /// How long to wait for one node.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
    /// Nodes that are read at the same time.
    pub concurrency: u32,
    /// The largest answer that is accepted.
    #[serde(with = "crate::config::bytes")]
    pub max_body: Bytes,
}

impl Default for NodeMetricsSettings {
    fn default() -> Self {
        NodeMetricsSettings {
            url: None,
            targets: BTreeMap::new(),
            timeout: Duration::from_secs(2),
            concurrency: 16,
            max_body: Bytes(16 << 20),
        }
    }
}
