//! Where the journal is and how long it remembers.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// The database file; a lock file lies beside it.
    pub path: PathBuf,
    /// How long ended operations are kept.
    #[serde(with = "crate::config::duration")]
    pub keep: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings {
            path: PathBuf::from("/var/lib/milvus-rebalancer/journal.sqlite"),
            keep: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}
