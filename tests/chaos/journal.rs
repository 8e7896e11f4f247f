//! The journal as any SQLite client reads it, without the daemon's own code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

/// States in which the end of a move is not known.
const OPEN: [&str; 3] = ["admitted", "sent", "verifying"];

/// States in which it is.
const ENDED: [&str; 5] = ["landed", "refused", "superseded", "expired", "contradicted"];

/// A move in the journal.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// The call that carries it.
    pub batch: i64,
    /// When the call's intent was written.
    pub created_at: Timestamp,
    /// Name of the collection.
    pub collection: String,
    /// The replica.
    pub replica: i64,
    /// The node that gives.
    pub from: i64,
    /// The node that takes.
    pub to: i64,
    /// What moves.
    pub segment: i64,
    /// Its bytes, as the daemon knows them.
    pub bytes: u64,
    /// Where it stands.
    pub state: String,
    /// When that changed.
    pub changed_at: Timestamp,
}

impl Entry {
    /// Whether its end is not known.
    pub fn is_open(&self) -> bool {
        OPEN.contains(&self.state.as_str())
    }

    /// Whether it has one of the ends that there are.
    pub fn is_ended(&self) -> bool {
        ENDED.contains(&self.state.as_str())
    }
}

/// What the journal says.
pub struct Pages {
    /// All moves, by number.
    pub entries: Vec<Entry>,
    /// Turns that a reason held back, by its code.
    pub limited: BTreeMap<String, u64>,
    /// What held the last turn back.
    pub last_limit: Option<String>,
    /// What SQLite says of the file; `ok` when it is whole.
    pub integrity: String,
}

/// Reads a copy, so that the next daemon finds what the last one left: closing a journal tidies it up. Nobody may
/// write meanwhile.
pub fn read_copy(path: &Path, folder: &Path) -> Result<Pages, String> {
    let copy = folder.join("copy.db");
    for suffix in ["", "-wal"] {
        let (from, to) = (with_suffix(path, suffix), with_suffix(&copy, suffix));
        // The last copy's leftovers belong to another file.
        drop(std::fs::remove_file(&to));
        if from.exists() {
            std::fs::copy(&from, &to).map_err(|error| format!("cannot copy the journal: {error}"))?;
        }
    }
    drop(std::fs::remove_file(with_suffix(&copy, "-shm")));
    read(&copy)
}

/// Reads the journal while a daemon works with it.
pub fn read(path: &Path) -> Result<Pages, String> {
    let pages = || -> rusqlite::Result<Pages> {
        // Never made by us: an empty journal is a damaged one.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Pages {
            entries: entries(&connection)?,
            limited: limited(&connection)?,
            last_limit: last_limit(&connection)?,
            integrity: connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?,
        })
    };
    pages().map_err(|error| format!("cannot read the journal: {error}"))
}

/// Orders a node to be drained, as the admin API writes it down.
pub fn order_drain(path: &Path, node: i64) -> Result<(), String> {
    let order = || -> rusqlite::Result<usize> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute(
            "INSERT INTO drains (node, address, started_at, reason, started_by)
             VALUES (?1, '', '2026-01-01T00:00:00Z', 'test', 'test')",
            [node],
        )
    };
    order().map(|_| ()).map_err(|error| format!("cannot order a drain: {error}"))
}

/// The nodes that are to be drained.
pub fn drained(path: &Path) -> Result<Vec<i64>, String> {
    let read = || -> rusqlite::Result<Vec<i64>> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let mut statement = connection.prepare("SELECT node FROM drains WHERE ended_at IS NULL")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    read().map_err(|error| format!("cannot read the drains: {error}"))
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let query =
        "SELECT operations.id, batch, created_at, collection, replica_id, from_node, to_node, segment_id,
                        bytes, state, changed_at
                 FROM operations JOIN batches ON batches.id = operations.batch ORDER BY operations.id";
    let mut statement = connection.prepare(query)?;
    let time = |text: String| text.parse().unwrap_or(Timestamp::MIN);
    let entry = |row: &rusqlite::Row<'_>| {
        Ok(Entry {
            id: row.get(0)?,
            batch: row.get(1)?,
            created_at: time(row.get(2)?),
            collection: row.get(3)?,
            replica: row.get(4)?,
            from: row.get(5)?,
            to: row.get(6)?,
            segment: row.get(7)?,
            bytes: row.get::<_, i64>(8)?.unsigned_abs(),
            state: row.get(9)?,
            changed_at: time(row.get(10)?),
        })
    };
    statement.query_map([], entry)?.collect()
}

fn limited(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let query = "SELECT limited_by, count(*) FROM turns WHERE limited_by IS NOT NULL GROUP BY limited_by";
    let mut statement = connection.prepare(query)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
    statement.query_map([], row)?.collect()
}

fn last_limit(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let query = "SELECT limited_by FROM turns ORDER BY id DESC LIMIT 1";
    let last: Option<Option<String>> = connection.query_row(query, [], |row| row.get(0)).optional()?;
    Ok(last.flatten())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
