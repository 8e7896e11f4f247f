//! Recordings: every observation, in compressed files beside the journal, so that what the daemon saw can be looked
//! at, and thought through again, long after.
//!
//! A file covers an hour at most. It is a row of zstd frames, each of one line of JSON: first an observation as a
//! whole, then what is different in each later one. `zstdcat` prints it.

mod difference;
mod error;
mod frame;
mod reader;
mod recorder;
mod settings;

pub use error::RecordingError;
pub use reader::{Recorded, RecordingReader, recordings};
pub(super) use recorder::Recorder;
pub use settings::RecordingSettings;

use std::path::{Path, PathBuf};

/// The folder of the recordings that belong to a journal.
pub fn folder(journal: &Path) -> PathBuf {
    super::open::beside(journal, ".observations")
}
