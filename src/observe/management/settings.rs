//! `[management]`: where Milvus' own HTTP pages are. Without addresses nobody is asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How Milvus' own HTTP pages are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagementSettings {
    /// Addresses of proxies' metrics ports, such as `http://10.0.0.5:9091`. One is enough, the next is asked when one does
    /// not answer.
    pub proxies: Vec<String>,
    /// Whether to read what nodes list of each segment: its bytes, its channel, its growing rows.
    pub segments: bool,
    /// How long to wait for one answer.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
    /// The largest answer that is accepted.
    #[serde(with = "crate::config::bytes")]
    pub max_body: Bytes,
}

impl Default for ManagementSettings {
    fn default() -> Self {
        ManagementSettings {
            proxies: Vec::new(),
            // Nothing else tells bytes of single segments.
            segments: true,
            // The proxy asks every query node in turn for its segments.
            timeout: Duration::from_secs(10),
            // A segment is some 600 bytes of JSON; this is a hundred thousand of them.
            max_body: Bytes(64 << 20),
        }
    }
}
