//! Where the journal lives and for how long it remembers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recordings::RecordingSettings;

/// The folder that systemd made for us (`StateDirectory=`).
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Name of the file where nothing else was configured.
pub(super) const FILE_NAME: &str = "milvus-rebalancer.db";

/// Settings of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// The SQLite file. By default `milvus-rebalancer.db` in `$STATE_DIRECTORY` where systemd set that, else in
    /// the working directory. Commands beside the daemon look for it with [`super::Located`].
    pub path: PathBuf,
    /// For how long turns and ended operations are kept. Never less than a day, which the daily budget needs.
    #[serde(with = "crate::config::duration")]
    pub keep: Duration,
    /// What was seen, in files beside the database.
    pub observations: RecordingSettings,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings {
            path: state_directory().unwrap_or_default().join(FILE_NAME),
            // A month answers "since when?"; at a turn every 30 seconds that is some 30 MB.
            keep: Duration::from_secs(30 * 24 * 60 * 60),
            observations: RecordingSettings::default(),
        }
    }
}

/// The state directory; systemd lists several with colons, of which the first is ours.
pub(super) fn state_directory() -> Option<PathBuf> {
    let folders = std::env::var_os(STATE_DIRECTORY)?;
    let first = std::env::split_paths(&folders).next()?;
    (first != Path::new("")).then_some(first)
}
