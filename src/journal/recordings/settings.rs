//! How much of what was seen is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// Settings of the recordings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingSettings {
    /// Whether observations are recorded at all.
    pub enabled: bool,
    /// The most that all files together may take; the oldest go first.
    #[serde(with = "crate::config::bytes")]
    pub max_bytes: Bytes,
    /// For how long a file is kept.
    #[serde(with = "crate::config::duration")]
    pub keep: Duration,
}

impl Default for RecordingSettings {
    fn default() -> Self {
        RecordingSettings {
            enabled: true,
            // A week of a cluster of ten thousand segments is a tenth of that; disks have room for it.
            max_bytes: Bytes(1 << 30),
            // Whoever asks what happened asks within a week.
            keep: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}
