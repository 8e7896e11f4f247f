//! Whether the journal may still be believed while it is in use. A file that was found damaged, or that is not the one
//! that was opened, must neither be read nor written: what it says may be wrong, and what is written may be lost.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::JournalError;
use super::open::{beside, damage_in};

/// What a file is to the system, whatever its name: device and number.
type Identity = (u64, u64);

/// The files that were opened, and the damage that was found in them since.
#[derive(Debug)]
pub(super) struct Trust {
    files: Vec<(PathBuf, Identity)>,
    damage: OnceLock<String>,
}

impl Trust {
    /// In the database and the log beside it, which is there for as long as somebody uses the database.
    pub(super) fn in_files_of(journal: &Path) -> Trust {
        let paths = [journal.to_owned(), beside(journal, "-wal")];
        let known = |path: PathBuf| {
            let identity = identity(&path).ok()??;
            Some((path, identity))
        };
        let files = paths.into_iter().filter_map(known).collect();
        Trust { files, damage: OnceLock::new() }
    }

    /// Why the journal cannot be used any more, if so.
    pub(super) fn check(&self, journal: &Path) -> Result<(), JournalError> {
        if let Some(detail) = self.damage.get() {
            return Err(JournalError::FoundDamaged { path: journal.to_owned(), detail: detail.clone() });
        }
        for (path, opened) in &self.files {
            // What cannot be asked for now is not known to be another file.
            if identity(path).is_ok_and(|now| now != Some(*opened)) {
                return Err(JournalError::TakenAway { path: path.clone() });
            }
        }
        Ok(())
    }

    /// The error for what SQLite said. Damage ends the trust.
    pub(super) fn judge(&self, doing: &'static str, journal: &Path, error: rusqlite::Error) -> JournalError {
        match damage_in(&error) {
            Some(detail) => self.lose(journal, detail),
            None => JournalError::sqlite(doing, journal, error),
        }
    }

    /// Ends the trust.
    pub(super) fn lose(&self, journal: &Path, detail: String) -> JournalError {
        let detail = self.damage.get_or_init(|| detail).clone();
        JournalError::FoundDamaged { path: journal.to_owned(), detail }
    }
}

fn identity(path: &Path) -> std::io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
