//! One daemon a journal: a lock file beside it, which the operating system releases however the daemon ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::open::beside;

/// How often a lock that somebody has is tried again: [`DaemonLock::holder`] takes it for an instant to see
/// whether it is free.
const TRIES: u32 = 100;

/// The longest process id, with room to spare.
const PID_DIGITS: u64 = 20;

/// Held by the daemon for as long as it lives.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
    path: PathBuf,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon works with this journal.
    #[error(
        "a daemon{} already works with this journal (lock file {}): stop it, or give this one its own journal.path",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .path.display()
    )]
    Held {
        /// Its process, where it wrote that down.
        pid: Option<u32>,
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: make its folder writable for this user", .path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl DaemonLock {
    /// Takes the lock beside this journal.
    pub fn acquire(journal: &Path) -> Result<DaemonLock, LockError> {
        let path = lock_path(journal);
        let unusable = |source| LockError::Unusable { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unusable)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    write_pid(&mut file).map_err(unusable)?;
                    return Ok(DaemonLock { _file: file, path });
                }
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
                Err(TryLockError::Error(source)) => return Err(unusable(source)),
            }
        }
        Err(LockError::Held { pid: read_pid(&mut file), path })
    }

    /// The process of the daemon that works with this journal; `None` when there is none.
    pub fn holder(journal: &Path) -> Option<u32> {
        let mut file = File::open(lock_path(journal)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_pid(&mut file).unwrap_or(0)),
            _ => None,
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock_path(journal: &Path) -> PathBuf {
    beside(journal, ".lock")
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    file.sync_all()
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_DIGITS).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
