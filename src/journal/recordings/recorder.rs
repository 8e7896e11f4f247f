//! Writes recordings beside the control loop, which never waits for them: a turn that comes while the one before is
//! still being written is left out, and counted.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::frame::{self, Frame};
use super::reader::{Recorded, begun_at, name, recordings};
use super::turns::RecordedTurn;
use super::{RecordingError, RecordingSettings, folder};
use crate::observe::observation::Observation;
use crate::telemetry::Chain;

/// What one file covers at most: what is lost with a damaged file, and with the oldest one, is an hour.
const LONGEST_FILE: SignedDuration = SignedDuration::from_hours(1);

/// A file grows to this part of the budget at most, so that making room takes away little at a time.
const PARTS_OF_THE_BUDGET: u64 = 8;

/// Records what the control loop sees. Clones write to the same file.
#[derive(Clone, Debug)]
pub(in crate::journal) struct Recorder {
    is_enabled: bool,
    writer: Arc<Mutex<Writer>>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// Nothing is touched before the first observation comes.
    pub(in crate::journal) fn new(journal: &Path, settings: &RecordingSettings) -> Recorder {
        let writer = Writer {
            folder: folder(journal),
            settings: settings.clone(),
            current: None,
            failure: None,
            dropped_before: 0,
        };
        Recorder {
            is_enabled: settings.enabled,
            writer: Arc::new(Mutex::new(writer)),
            dropped: Arc::default(),
        }
    }

    /// Takes up the pen for the turn that begins now; `None` where nothing is recorded, or where the turn before is
    /// still being written and this one must be left out.
    pub(in crate::journal) fn begin(&self, at: Timestamp) -> Option<Pen> {
        if !self.is_enabled {
            return None;
        }
        let Ok(writer) = Arc::clone(&self.writer).try_lock_owned() else {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(dropped, "the disk is too slow to record every turn; this one is left out");
            return None;
        };
        let has_gap = writer.dropped_before != self.dropped.load(Ordering::Relaxed);
        let needs_memory = has_gap || !writer.goes_on_at(at);
        Some(Pen { writer, at, needs_memory, dropped: Arc::clone(&self.dropped) })
    }

    /// Waits until the turn that is being written is.
    pub(in crate::journal) async fn finish(&self) {
        drop(self.writer.lock().await);
    }

    /// How many turns were left out because the disk was too slow.
    pub(in crate::journal) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The right to record one turn.
pub struct Pen {
    writer: OwnedMutexGuard<Writer>,
    at: Timestamp,
    needs_memory: bool,
    dropped: Arc<AtomicU64>,
}

impl Pen {
    /// Whether what was remembered when the turn began must be recorded with it, because a reader does not have the turn
    /// before it.
    pub fn needs_memory(&self) -> bool {
        self.needs_memory
    }

    /// Records the turn beside everything else. What goes wrong is logged.
    pub fn record(self, observation: Arc<Observation>, turn: Option<RecordedTurn>) {
        let Pen { mut writer, at, needs_memory: _, dropped } = self;
        writer.dropped_before = dropped.load(Ordering::Relaxed);
        tokio::task::spawn_blocking(move || writer.write(Recorded { at, observation, turn }));
    }
}

#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    settings: RecordingSettings,
    current: Option<Current>,
    /// What was said last about a failure, so that it is said once.
    failure: Option<String>,
    /// Turns that had been left out when the last one was written.
    dropped_before: u64,
}

/// The file that is written to. Nobody else ever writes to it, and it is never opened again.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    begun_at: Timestamp,
    bytes: u64,
    last: Recorded,
}

impl Writer {
    /// Whether a turn of this time goes on with the file, or begins another.
    fn goes_on_at(&self, at: Timestamp) -> bool {
        let largest = self.settings.max_bytes.0 / PARTS_OF_THE_BUDGET;
        self.current.as_ref().is_some_and(|current| current.bytes < largest && current.covers(at))
    }

    /// Writes a turn; what goes wrong is said, and the next one begins a new file.
    fn write(&mut self, recorded: Recorded) {
        match self.try_write(recorded) {
            Ok(()) => {
                if self.failure.take().is_some() {
                    tracing::info!("turns are recorded again");
                }
            }
            Err(error) => {
                self.current = None;
                let sentence = Chain(&error).to_string();
                if self.failure.as_ref() != Some(&sentence) {
                    tracing::error!(error = sentence, "turns are not recorded; all else goes on");
                }
                self.failure = Some(sentence);
            }
        }
    }

    fn try_write(&mut self, recorded: Recorded) -> Result<(), RecordingError> {
        let at = recorded.at;
        let goes_on = self.goes_on_at(at);
        match self.current.as_mut().filter(|_| goes_on) {
            Some(current) => {
                let bytes = frame::encode(&Frame::between(Some(&current.last), &recorded))?;
                current.append(&bytes)?;
                current.last = recorded;
            }
            None => {
                let bytes = frame::encode(&Frame::between(None, &recorded))?;
                // The one before is complete; it may be the one that has to go.
                self.current = None;
                let mut current = begin(&self.folder, recorded)?;
                if let Err(error) = current.append(&bytes) {
                    // A full disk must not fill with the beginnings of files.
                    remove(&current.path)?;
                    return Err(error);
                }
                self.current = Some(current);
            }
        }
        self.make_room(at)
    }

    /// Removes the oldest files until the rest is within its age and within its size.
    fn make_room(&self, now: Timestamp) -> Result<(), RecordingError> {
        let age = SignedDuration::try_from(self.settings.keep).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let mut files = Vec::new();
        for path in recordings(&self.folder)? {
            if self.current.as_ref().is_none_or(|current| current.path != path) {
                let bytes = path.metadata().map_or(0, |metadata| metadata.len());
                files.push((path, bytes));
            }
        }
        let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        total += self.current.as_ref().map_or(0, |current| current.bytes);
        for (path, bytes) in files {
            let is_old = begun_at(&path).is_some_and(|begun_at| begun_at < oldest);
            if is_old || total > self.settings.max_bytes.0 {
                remove(&path)?;
                total -= bytes;
            }
        }
        Ok(())
    }
}

impl Current {
    /// Whether an observation of this time belongs to it; not when the clock was set back.
    fn covers(&self, at: Timestamp) -> bool {
        let age = at.duration_since(self.begun_at);
        !age.is_negative() && age < LONGEST_FILE
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        self.file.write_all(bytes).map_err(unusable("write to the recording", &self.path))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Begins a new file. A file that has the name already (a clock that was set back) is left alone.
fn begin(folder: &Path, first: Recorded) -> Result<Current, RecordingError> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(unusable("make the folder of recordings", folder)(error));
        }
        _ => {}
    }
    let at = first.at;
    let mut named = at;
    loop {
        let path = folder.join(name(named));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok(Current { file, path, begun_at: at, bytes: 0, last: first }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                named = named.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
            }
            Err(error) => return Err(unusable("begin the recording", &path)(error)),
        }
    }
}

fn remove(path: &Path) -> Result<(), RecordingError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(unusable("remove the old recording", path)(error))
        }
        _ => Ok(()),
    }
}

fn unusable(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> RecordingError {
    let path = path.to_owned();
    move |source| RecordingError::Unusable { doing, path: path.clone(), source }
}
