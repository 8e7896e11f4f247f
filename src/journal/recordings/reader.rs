//! Reads recordings back: the very observations that were recorded, one after the other.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::RecordingError;
use super::following::{Following, Frames};
use super::frame::{self, Frame};
use super::turns::RecordedTurn;
use crate::observe::observation::Observation;

/// What the names of recordings end with.
pub(super) const EXTENSION: &str = ".jsonl.zst";

/// A turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What the calendar said when it began.
    pub at: Timestamp,
    /// What was seen.
    pub observation: Arc<Observation>,
    /// What else the pure half took, and what it made of it; not in recordings of versions that left it out.
    pub turn: Option<RecordedTurn>,
}

/// Reads one file. After an error it is at its end.
pub struct RecordingReader {
    turns: Following<OwnFile>,
}

/// A file of the daemon.
struct OwnFile {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the last frame begins.
    at_byte: u64,
}

/// The recordings in a folder, in the order in which they were begun. A folder that is not there has none.
pub fn recordings(folder: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let unusable = |source| RecordingError::Unusable {
        doing: "list the recordings in",
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unusable)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unusable)?.path();
        if begun_at(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// When a recording was begun, by its name; `None` for other files.
pub fn begun_at(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
    name.parse().ok()
}

/// The name of a recording that begins now. Names are in the order of their times.
pub(super) fn name(begun_at: Timestamp) -> String {
    begun_at.strftime(&format!("%Y%m%dT%H%M%S.%9fZ{EXTENSION}")).to_string()
}

impl RecordingReader {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<RecordingReader, RecordingError> {
        let file = File::open(path).map_err(|source| RecordingError::Unusable {
            doing: "open the recording",
            path: path.to_owned(),
            source,
        })?;
        let file = OwnFile { path: path.to_owned(), file: BufReader::new(file), at_byte: 0 };
        Ok(RecordingReader { turns: Following::new(file) })
    }
}

impl Frames for OwnFile {
    fn next_frame(&mut self) -> Result<Option<Frame<Observation>>, String> {
        self.at_byte = self.file.stream_position().map_err(|error| error.to_string())?;
        if self.file.fill_buf().map_err(|error| error.to_string())?.is_empty() {
            return Ok(None);
        }
        frame::decode(&mut self.file).map(Some)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn lost(&self, detail: String, whole: usize) -> RecordingError {
        RecordingError::TailLost { path: self.path.clone(), at_byte: self.at_byte, detail, whole }
    }
}

impl Iterator for RecordingReader {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.turns.next()
    }
}
