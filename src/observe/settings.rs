//! `[node_metrics]`: where the query nodes' own metrics are. Without `url` and `targets` nobody is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How the nodes' own metrics are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeMetricsSettings {
    /// Template of the address, `http://{host}:9091/metrics` as a rule. `{host}` and `{port}` are those of the
    /// node's gRPC address, as `GetMetrics` reports it.
    pub url: Option<String>,
    /// Addresses of single nodes, by the node's `host:port`; they win over the template.
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
            // A page is a few milliseconds' work; the poll should not wait for a node that is going down.
            timeout: Duration::from_secs(2),
            // A thousand nodes in a second or two.
            concurrency: 16,
            // A page of an ordinary node is some hundred KiB, and grows with its collections.
            max_body: Bytes(16 << 20),
        }
    }
}
