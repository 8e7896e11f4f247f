//! Writes recordings beside the control loop, which never waits for them: an observation that comes while the one
//! before is still being written is dropped, and counted.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::difference::Difference;
use super::frame::{self, Content, FORMAT, Frame};
use super::reader::{begun_at, name, recordings};
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
        let writer =
            Writer { folder: folder(journal), settings: settings.clone(), current: None, failure: None };
        Recorder {
            is_enabled: settings.enabled,
            writer: Arc::new(Mutex::new(writer)),
            dropped: Arc::default(),
        }
    }

    /// Records an observation, or drops it.
    pub(in crate::journal) fn record(&self, at: Timestamp, observation: Arc<Observation>) {
        if !self.is_enabled {
            return;
        }
        let Ok(mut writer) = Arc::clone(&self.writer).try_lock_owned() else {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(dropped, "the disk is too slow to record every observation; this one is left out");
            return;
        };
        tokio::task::spawn_blocking(move || writer.write(at, observation));
    }

    /// Waits until the observation that is being written is.
    pub(in crate::journal) async fn finish(&self) {
        drop(self.writer.lock().await);
    }

    /// How many observations were left out because the disk was too slow.
    pub(in crate::journal) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    settings: RecordingSettings,
    current: Option<Current>,
    /// What was said last about a failure, so that it is said once.
    failure: Option<String>,
}

/// The file that is written to. Nobody else ever writes to it, and it is never opened again.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    begun_at: Timestamp,
    bytes: u64,
    last: Arc<Observation>,
}

impl Writer {
    /// Writes an observation; what goes wrong is said, and the next one begins a new file.
    fn write(&mut self, at: Timestamp, observation: Arc<Observation>) {
        match self.try_write(at, observation) {
            Ok(()) => {
                if self.failure.take().is_some() {
                    tracing::info!("observations are recorded again");
                }
            }
            Err(error) => {
                self.current = None;
                let sentence = Chain(&error).to_string();
                if self.failure.as_ref() != Some(&sentence) {
                    tracing::error!(error = sentence, "observations are not recorded; all else goes on");
                }
                self.failure = Some(sentence);
            }
        }
    }

    fn try_write(&mut self, at: Timestamp, observation: Arc<Observation>) -> Result<(), RecordingError> {
        let unwritable = |source| RecordingError::Unwritable { source };
        let largest = self.settings.max_bytes.0 / PARTS_OF_THE_BUDGET;
        match &mut self.current {
            Some(current) if current.bytes < largest && current.covers(at) => {
                let content = Content::Difference(Difference::between(&current.last, &observation));
                let bytes = frame::encode(&Frame { format: FORMAT, at, content }).map_err(unwritable)?;
                current.append(&bytes)?;
                current.last = observation;
            }
            _ => {
                let content = Content::Whole(&*observation);
                let bytes = frame::encode(&Frame { format: FORMAT, at, content }).map_err(unwritable)?;
                // The one before is complete; it may be the one that has to go.
                self.current = None;
                let mut current = begin(&self.folder, at, observation)?;
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
fn begin(folder: &Path, at: Timestamp, first: Arc<Observation>) -> Result<Current, RecordingError> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(unusable("make the folder of recordings", folder)(error));
        }
        _ => {}
    }
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
