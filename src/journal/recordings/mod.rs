//! Recordings: every turn, in compressed files beside the journal, so that what the daemon saw can be looked at, and
//! thought through again, long after. Of a turn everything is kept that its plan followed from.
//!
//! A file covers an hour at most. It is a row of zstd frames, each of one line of JSON: first a turn as a whole and what
//! was remembered before it, then what is different in each later one. `zstdcat` prints it.

mod difference;
mod error;
mod export;
mod following;
mod frame;
mod reader;
mod recorder;
mod settings;
mod turns;

pub use error::RecordingError;
pub use export::{ExportHeader, ExportReader, ExportWriter};
pub use reader::{Recorded, RecordingReader, begun_at, recordings};
pub use recorder::Pen;
pub(super) use recorder::Recorder;
pub use settings::RecordingSettings;
pub use turns::{Outcome, RecordedSettings, RecordedTurn};

use std::path::{Path, PathBuf};

/// The folder of the recordings that belong to a journal.
pub fn folder(journal: &Path) -> PathBuf {
    super::open::beside(journal, ".observations")
}
