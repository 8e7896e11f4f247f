//! What can be wrong with a journal, and what to do about it. A journal that cannot be trusted stops all moves:
//! what was done before must be known.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder is not there.
    #[error(
        "the folder {} of the journal does not exist: create it, writable for this user, or set journal.path",
        .folder.display()
    )]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// It is about another Milvus.
    #[error(
        "the journal {} is about the Milvus at {recorded}, not {asked}: give every Milvus its own journal.path, or \
         move this file away if it is the same cluster under another address",
        .path.display()
    )]
    OtherCluster {
        /// The journal.
        path: PathBuf,
        /// The address in it.
        recorded: String,
        /// The address that is configured now.
        asked: String,
    },
    /// The file is damaged; it was set aside.
    #[error(
        "the journal {} was damaged ({detail}) and is kept as {}: what was moved lately is not known any more. \
         Make sure that no moves are under way, then start again; a new journal will be begun",
        .path.display(), .kept_as.display()
    )]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
        /// Where the damaged file is now.
        kept_as: PathBuf,
    },
    /// The file is damaged and could not even be set aside.
    #[error(
        "the journal {} is damaged ({detail}) and cannot be set aside as {}: move it away by hand",
        .path.display(), .keep_as.display()
    )]
    CorruptInPlace {
        /// The journal.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
        /// Where it should have gone.
        keep_as: PathBuf,
        /// Why that failed.
        #[source]
        source: std::io::Error,
    },
    /// The file was found damaged while it was in use.
    #[error(
        "the journal {} was found damaged while it was in use ({detail}): nothing is moved any more. Restart, and it \
         will be checked and kept aside",
        .path.display()
    )]
    FoundDamaged {
        /// The journal.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// Somebody took the file away from under this process.
    #[error(
        "{} was removed or replaced while it was in use: put it back, or restart; what is written now would be lost",
        .path.display()
    )]
    TakenAway {
        /// The database or the log beside it.
        path: PathBuf,
    },
    /// The file is damaged, and it is not for this process to set it aside.
    #[error(
        "the journal {} is damaged ({detail}), and a daemon (process {pid}) works with it: restart the daemon, \
         which will keep the damaged file aside and say what to do",
        .path.display()
    )]
    CorruptInUse {
        /// The journal.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
        /// The daemon.
        pid: u32,
    },
    /// The file is of an older format, and it is not for this process to change that.
    #[error(
        "a daemon of an earlier version (process {pid}) works with the journal {}: restart the daemon with this \
         version, which will bring the file to format {known} (it is {found})",
        .path.display()
    )]
    OlderDaemon {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this program writes.
        known: i64,
        /// The daemon.
        pid: u32,
    },
    /// The file is something else; it was not touched.
    #[error(
        "{} is not a journal of milvus-rebalancer ({detail}); it was left as it is: set journal.path to another \
         file or move this one away",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        detail: &'static str,
    },
    /// A later version of this program wrote it.
    #[error(
        "the journal {} was written by a newer milvus-rebalancer (format {found}, this one knows {known}): use \
         that version, or set journal.path to another file",
        .path.display()
    )]
    TooNew {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known here.
        known: i64,
    },
    /// The file cannot be opened or read at all.
    #[error("cannot open the journal {}: {advice}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("cannot {doing} in the journal {}: {advice}", .path.display())]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The journal.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The process is shutting down, or the thread that did the work panicked.
    #[error("work on the journal {} was interrupted: restart", .path.display())]
    Interrupted {
        /// The journal.
        path: PathBuf,
    },
}

impl JournalError {
    pub(super) fn sqlite(doing: &'static str, path: &Path, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { doing, path: path.to_owned(), advice: advice(&source), source }
    }
}

/// What a person can do about it.
fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "make room on its disk",
        Some(ErrorCode::ReadOnly) => "make the file and its folder writable for this user",
        Some(ErrorCode::CannotOpen) => "check that its folder exists and is writable for this user",
        Some(ErrorCode::PermissionDenied) => "give this user the right to it",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program keeps it locked; end that one"
        }
        Some(ErrorCode::SystemIoFailure) => "check its disk",
        _ => "see the cause",
    }
}
