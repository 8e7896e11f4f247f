//! What can be wrong with a recording. None of it stops the daemon: a recording is for people and for replays.

use std::path::PathBuf;

/// Why a recording could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file or the folder could not be used.
    #[error("cannot {doing} {}", .path.display())]
    Unusable {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The observation could not be written as JSON.
    #[error("cannot write an observation as JSON")]
    Unwritable {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file breaks off, or what follows is damaged.
    #[error(
        "{} cannot be read from byte {at_byte} on ({detail}): the {whole} observations before that are whole, the \
         rest of this file is lost",
        .path.display()
    )]
    TailLost {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        at_byte: u64,
        /// What is wrong there.
        detail: String,
        /// How many observations could be read.
        whole: usize,
    },
    /// An exported file breaks off, or a line of it is damaged.
    #[error(
        "{} cannot be read from line {line} on ({detail}); the {whole} turns before that are whole",
        .path.display()
    )]
    LineLost {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        detail: String,
        /// How many turns could be read.
        whole: usize,
    },
    /// The file is something else.
    #[error("{} is no recording: {detail}", .path.display())]
    NoRecording {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        detail: String,
    },
    /// A later version of this program wrote it.
    #[error(
        "{} was recorded by a newer milvus-rebalancer (format {found}, this one knows {known}): read it with that \
         version",
        .path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
}
