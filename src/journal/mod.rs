//! Journal: what was decided and done, in one SQLite file. What is about to be done is durable before it is
//! done, so that a crash at any point leaves nothing forgotten.

mod audit;
mod begin;
mod configurations;
mod controls;
mod error;
mod foreign;
mod formats;
mod locate;
mod lock;
mod open;
mod operations;
mod pages;
mod prune;
mod recordings;
mod records;
mod saved_state;
mod settings;
mod trust;
mod waves;

pub use audit::AuditRecord;
pub use configurations::{ConfigurationChange, StartComparison};
pub use controls::{Approval, Controls, Drain, Pause};
pub use error::JournalError;
pub use locate::{Choice, Located};
pub use lock::{DaemonLock, LockError};
pub use operations::Intent;
pub use pages::PastTurn;
pub use recordings::{
    ExportHeader, ExportReader, ExportWriter, Outcome, Pen, Recorded, RecordedSettings, RecordedTurn,
    RecordingError, RecordingReader, RecordingSettings, begun_at as recording_begun_at,
    folder as recordings_folder, recordings,
};
pub use records::{DaemonStart, PlanRecord, TurnId, TurnRecord, VerdictRecord};
pub use settings::JournalSettings;
pub use waves::{WaveId, WaveRecord};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::task::JoinHandle;

use recordings::Recorder;
use trust::Trust;

/// The journal of one Milvus cluster. Clones share one connection, which other processes may use beside it.
#[derive(Clone, Debug)]
pub struct Journal {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
    keep: std::time::Duration,
    fresh_after_corruption: Option<PathBuf>,
    recorder: Recorder,
    trust: Arc<Trust>,
}

impl Journal {
    /// The file behind it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The damaged file that this journal replaces, when this is its first use after that: what was done before
    /// is not remembered.
    pub fn fresh_after_corruption(&self) -> Option<&Path> {
        self.fresh_after_corruption.as_deref()
    }

    /// Begins to record the turn of this time, beside the database. It never waits and never fails: what goes wrong is
    /// logged, and what comes too fast is left out (`None`). Needs the runtime, like everything here.
    pub fn begin_recording(&self, at: Timestamp) -> Option<Pen> {
        self.recorder.begin(at)
    }

    /// Waits until the turn that is being recorded is written.
    pub async fn finish_recording(&self) {
        self.recorder.finish().await;
    }

    /// How many turns were left out because the disk was too slow.
    pub fn turns_left_out(&self) -> u64 {
        self.recorder.dropped()
    }

    /// Does some work on the connection, on a thread that may block. The work is done even when nobody waits.
    fn start<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T, JournalError>> {
        let connection = Arc::clone(&self.connection);
        let path = Arc::clone(&self.path);
        let trust = Arc::clone(&self.trust);
        tokio::task::spawn_blocking(move || {
            // A panic while it was held rolled its transaction back; the connection is as good as before.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            trust.check(&path)?;
            work(&mut connection).map_err(|source| trust.judge(doing, &path, source))
        })
    }

    /// The same, and waits for the result.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.finished(self.start(doing, work).await)
    }

    /// Unpacks what work that was started came to.
    pub(crate) fn finished<T>(
        &self,
        joined: Result<Result<T, JournalError>, tokio::task::JoinError>,
    ) -> Result<T, JournalError> {
        joined.unwrap_or_else(|_| Err(JournalError::Interrupted { path: self.path.to_path_buf() }))
    }
}

/// A time as the journal writes it: RFC 3339 with a fixed number of digits, so that text order is time order.
fn time_text(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// Reads a time that [`time_text`] wrote.
fn read_time(column: usize, text: &str) -> rusqlite::Result<Timestamp> {
    text.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// An amount as SQLite can hold it; more than 2^63 of anything is as good as that.
fn as_integer(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// Reads what [`as_integer`] wrote.
fn amount(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|value: i64| u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::operation::Origin;
    use crate::plan::Move;
    use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

    fn intent(segment: i64) -> Intent {
        let movement = Move {
            segment: SegmentId(segment),
            collection: CollectionId(1),
            replica: ReplicaId(1),
            from: NodeId(1),
            to: NodeId(2),
            bytes: Bytes(u64::MAX),
            rows: Rows(1),
        };
        Intent {
            origin: Origin::Daemon,
            at: Timestamp::UNIX_EPOCH,
            database: "d".repeat(500),
            collection_name: "books".into(),
            from_address: "host:1".into(),
            moves: vec![movement],
            locked_since: Timestamp::MIN,
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_said_and_leaves_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings { path: folder.path().join("full.db"), ..JournalSettings::default() };
        let journal = Journal::open(&settings, Timestamp::UNIX_EPOCH).unwrap();
        {
            // SQLite answers the same when a file may not grow as when the disk is full.
            let connection = journal.connection.lock().unwrap();
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            connection.pragma_update(None, "max_page_count", pages).unwrap();
        }
        let mut written = 0;
        let error = loop {
            match journal.start_intent(intent(written)).await.unwrap() {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 1_000, "it never fills up");
        };
        assert!(error.to_string().contains("make room on its disk"), "{error}");
        let known = journal.open_operations().await.unwrap();
        assert_eq!(known.len(), usize::try_from(written).unwrap());
        assert_eq!(
            known[0].movement.bytes,
            Bytes(i64::MAX.unsigned_abs()),
            "amounts are capped, not wrapped"
        );
    }

    #[tokio::test]
    async fn what_is_promised_of_durability_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings { path: folder.path().join("it.db"), ..JournalSettings::default() };
        let journal = Journal::open(&settings, Timestamp::UNIX_EPOCH).unwrap();
        let connection = journal.connection.lock().unwrap();
        let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap();
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(number("PRAGMA synchronous"), 2, "FULL");
        assert_eq!(number("PRAGMA foreign_keys"), 1);
        assert_eq!(number("PRAGMA busy_timeout"), 5_000);
    }
}
