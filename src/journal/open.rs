//! Opening a journal: whatever lies at its path is looked at before it is trusted, and nothing that is not ours
//! is touched.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::begin::{begin, tidy};
use super::recordings::Recorder;
use super::settings::state_directory;
use super::trust::Trust;
use super::{DaemonLock, Journal, JournalError, JournalSettings, formats};

/// How long a write waits for another process, which never holds the file for longer than one transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The first bytes of every SQLite file.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// The least that is kept: the daily budget looks back that far.
const KEEP_AT_LEAST: Duration = Duration::from_secs(24 * 60 * 60);

impl Journal {
    /// Opens the journal or begins a new one. A damaged file is set aside and reported as
    /// [`JournalError::Corrupt`]; only the next opening begins anew, so that nobody goes on without knowing.
    ///
    /// Blocks while it reads the whole file once; `now` names a file that is set aside.
    pub fn open(settings: &JournalSettings, now: Timestamp) -> Result<Journal, JournalError> {
        let path = settings.path.as_path();
        check_folder(path)?;
        let exists = look_at_header(path, now)?;
        let fresh_after_corruption = if exists { None } else { newest_kept_aside(path) };
        if exists {
            tidy(path);
        } else if let Err(error) = begin(path, open_checked) {
            // Opening it in place says why it cannot be, by its own name.
            tracing::debug!(%error, "the journal cannot be made beside its place");
        }
        let connection = match open_checked(path) {
            Err(Failure::Damaged(detail)) => return Err(set_aside(path, detail, now)),
            Err(Failure::Other(error)) => {
                if !exists {
                    remove_if_empty(path);
                }
                return Err(error);
            }
            Ok(connection) => connection,
        };
        Ok(Journal {
            connection: Arc::new(Mutex::new(connection)),
            path: Arc::from(path),
            keep: settings.keep.max(KEEP_AT_LEAST),
            fresh_after_corruption,
            recorder: Recorder::new(path, &settings.observations),
            trust: Arc::new(Trust::in_files_of(path)),
        })
    }
}

/// A full disk has room for the file's name and for nothing in it. The next start must not take that for a journal
/// that was lost.
fn remove_if_empty(path: &Path) {
    let is_empty = path.metadata().is_ok_and(|metadata| metadata.len() == 0);
    if is_empty && let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "an empty file stays");
    }
}

enum Failure {
    Damaged(String),
    Other(JournalError),
}

/// The folder must be there; only the one that systemd announced is made here.
fn check_folder(path: &Path) -> Result<(), JournalError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => return Ok(()),
    };
    if folder.is_dir() {
        return Ok(());
    }
    if state_directory().is_some_and(|state| state == folder) && std::fs::create_dir_all(folder).is_ok() {
        return Ok(());
    }
    Err(JournalError::NoFolder { folder: folder.to_owned() })
}

/// Whether there is a file that may be a journal. SQLite would take an empty file for a new database and forget
/// in silence; whatever is no SQLite file is somebody else's.
fn look_at_header(path: &Path, now: Timestamp) -> Result<bool, JournalError> {
    let unreadable = |advice, source| Err(JournalError::Unreadable { path: path.to_owned(), advice, source });
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return unreadable("give this user the right to it", error),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(JournalError::Foreign { path: path.to_owned(), detail: "it is no plain file" }),
        Err(error) => return unreadable("check its disk", error),
    }
    let mut header = Vec::new();
    if let Err(error) = file.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut header) {
        return unreadable("check its disk", error);
    }
    if header.is_empty() {
        return Err(set_aside(path, "it is empty".to_owned(), now));
    }
    if header != SQLITE_MAGIC {
        return Err(JournalError::Foreign { path: path.to_owned(), detail: "it is no SQLite database" });
    }
    Ok(true)
}

fn open_checked(path: &Path) -> Result<Connection, Failure> {
    let sqlite = |doing: &'static str| move |error: rusqlite::Error| sort(doing, path, error);
    let mut connection = Connection::open(path).map_err(sqlite("open tables"))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite("set limits"))?;
    if let Some(damage) = find_damage(&connection).map_err(sqlite("check tables"))? {
        return Err(Failure::Damaged(damage));
    }
    check_owner(path, &connection)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite("switch to WAL"))?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite("set limits"))?;
    connection.pragma_update(None, "foreign_keys", true).map_err(sqlite("set limits"))?;
    // A transaction that reads before it writes would fail at once when another process writes in between.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    formats::migrate(&mut connection).map_err(sqlite("create tables"))?;
    Ok(connection)
}

/// Reads the whole file; what is wrong with it, if anything is.
fn find_damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then(|| one_line(&verdict)))
}

/// The same for a file that is in use. It is opened once more: a connection that remembers what it read does not
/// see what became of the disk.
pub(super) fn find_damage_in(path: &Path) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    find_damage(&connection)
}

/// Refuses files that are not ours or too new.
fn check_owner(path: &Path, connection: &Connection) -> Result<(), Failure> {
    let pragma = |name: &str| -> Result<i64, Failure> {
        connection.query_row(name, [], |row| row.get(0)).map_err(|error| sort("read the format", path, error))
    };
    let tables = pragma("SELECT count(*) FROM sqlite_schema")?;
    if tables == 0 {
        return Ok(());
    }
    if pragma("PRAGMA application_id")? != formats::APPLICATION_ID {
        let detail = "it is a SQLite database of another program";
        return Err(Failure::Other(JournalError::Foreign { path: path.to_owned(), detail }));
    }
    let found = pragma("PRAGMA user_version")?;
    let known = formats::newest();
    if found > known {
        return Err(Failure::Other(JournalError::TooNew { path: path.to_owned(), found, known }));
    }
    match other_daemon(path) {
        // Its statements were made for the format that it opened.
        Some(pid) if found < known => {
            Err(Failure::Other(JournalError::OlderDaemon { path: path.to_owned(), found, known, pid }))
        }
        _ => Ok(()),
    }
}

/// The daemon that works with this journal, when it is not this process.
fn other_daemon(path: &Path) -> Option<u32> {
    DaemonLock::holder(path).filter(|pid| *pid != std::process::id())
}

fn sort(doing: &'static str, path: &Path, error: rusqlite::Error) -> Failure {
    match damage_in(&error) {
        Some(damage) => Failure::Damaged(damage),
        None => Failure::Other(JournalError::sqlite(doing, path, error)),
    }
}

/// What is wrong with the file, when it is that which made this error.
pub(super) fn damage_in(error: &rusqlite::Error) -> Option<String> {
    let is_damage =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    is_damage.then(|| one_line(&error.to_string()))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Moves a damaged journal and the files beside it out of the way, losing nothing.
fn set_aside(path: &Path, detail: String, now: Timestamp) -> JournalError {
    if let Some(pid) = other_daemon(path) {
        // It would go on writing to the file that was moved, and others to a new one.
        return JournalError::CorruptInUse { path: path.to_owned(), detail, pid };
    }
    let kept_as = beside(path, &format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    if let Err(source) = std::fs::rename(path, &kept_as) {
        return JournalError::CorruptInPlace { path: path.to_owned(), detail, keep_as: kept_as, source };
    }
    // What SQLite had not merged yet belongs to the damaged file; it would poison the next one.
    for suffix in ["-wal", "-shm"] {
        let from = beside(path, suffix);
        if let Err(source) = std::fs::rename(&from, beside(&kept_as, suffix))
            && source.kind() != ErrorKind::NotFound
        {
            return JournalError::CorruptInPlace { path: from, detail, keep_as: kept_as, source };
        }
    }
    JournalError::Corrupt { path: path.to_owned(), detail, kept_as }
}

/// The damaged predecessor that was set aside last, if there is one.
fn newest_kept_aside(path: &Path) -> Option<PathBuf> {
    let prefix = beside(Path::new(path.file_name()?), ".corrupt-");
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut newest: Option<OsString> = None;
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let is_one = text.starts_with(prefix.to_string_lossy().as_ref())
            && !text.ends_with("-wal")
            && !text.ends_with("-shm");
        if is_one && newest.as_ref().is_none_or(|other| *other < name) {
            newest = Some(name);
        }
    }
    newest.map(|name| folder.join(name))
}

/// A path with something appended to its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
