//! Journals of earlier versions: each is brought to the newest format with all its rows, or stays as it was.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use milvus_rebalancer::execute::operation::OperationState;
use milvus_rebalancer::journal::{Journal, JournalError};
use milvus_rebalancer::units::SegmentId;

use super::{at, open};

/// A journal as format 1 left it.
const FORMAT_1: &str = include_str!("../../fixtures/journal/format-1.sql");

fn of_format_1(path: &Path) {
    rusqlite::Connection::open(path).unwrap().execute_batch(FORMAT_1).unwrap();
}

fn schema(path: &Path) -> Vec<String> {
    let client = rusqlite::Connection::open(path).unwrap();
    let mut statement = client
        .prepare("SELECT coalesce(sql, name) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

async fn has_all_rows_of_format_1(journal: &Journal) {
    let operations = journal.operations_since(at(0)).await.unwrap();
    assert_eq!(operations.len(), 2);
    assert_eq!(operations[0].movement.segment, SegmentId(9_007_199_254_740_993));
    assert_eq!(operations[0].state, OperationState::Landed);
    assert_eq!(journal.open_operations().await.unwrap(), operations[1..]);
    journal.belongs_to("http://127.0.0.1:19530").await.unwrap();

    let client = rusqlite::Connection::open(journal.path()).unwrap();
    let number = |query: &str| client.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("PRAGMA user_version"), 3);
    assert_eq!(number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

#[tokio::test]
async fn a_journal_of_format_1_keeps_its_rows_and_gets_the_newest_tables() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.db");
    of_format_1(&old);
    has_all_rows_of_format_1(&open(&old).unwrap()).await;

    let client = rusqlite::Connection::open(&old).unwrap();
    let text = |query: &str| client.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT version FROM daemon_starts WHERE pid = 4711"), "0.1.0");
    assert_eq!(text("SELECT limited_by FROM turns WHERE id = 1"), "wave_full");
    assert_eq!(text("SELECT steps FROM plans WHERE turn = 1"), r#"[{"moves":[],"dimension":"memory"}]"#);
    assert_eq!(text("SELECT proof FROM plans WHERE turn = 1"), r#"{"bytes_moved":900}"#);
    assert_eq!(text("SELECT proof FROM plans WHERE turn = 2 AND steps = '[]'"), "not JSON at all");
    assert_eq!(text("SELECT snapshot_digest FROM plans WHERE turn = 2"), "0123");

    let new = folder.path().join("new.db");
    drop(open(&new).unwrap());
    assert_eq!(schema(&old), schema(&new), "an old file and a new one end up the same");
}

#[test]
fn a_daemon_of_an_earlier_version_is_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    of_format_1(&path);
    let before = schema(&path);
    let mut daemon = lock_holder(&folder.path().join("it.db.lock"));
    let error = open(&path).unwrap_err();
    assert!(matches!(error, JournalError::OlderDaemon { found: 1, known: 3, pid: 4711, .. }), "{error}");
    assert_eq!(schema(&path), before);

    daemon.end();
    open(&path).unwrap();
}

/// Another process that has the daemon's lock.
pub struct LockHolder {
    process: Child,
}

pub fn lock_holder(lock: &Path) -> LockHolder {
    std::fs::write(lock, "4711\n").unwrap();
    let mut process = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(lock)
        .args(["sh", "-c", "echo held; read ended"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    LockHolder { process }
}

impl LockHolder {
    pub fn end(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}
