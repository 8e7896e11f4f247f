//! The journal as other parts and other processes meet it: restarts, damaged and foreign files, the lock.

mod damage;
mod documentation;
mod formats;
mod recordings;
mod tables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::execute::operation::{
    BatchId, Event, Operation, OperationId, OperationState, Origin, Patience,
};
use milvus_rebalancer::execute::sight::{Presence, Sight};
use milvus_rebalancer::execute::steady::Steady;
use milvus_rebalancer::journal::{
    DaemonLock, DaemonStart, Intent, Journal, JournalError, JournalSettings, LockError, PlanRecord,
    TurnRecord,
};
use milvus_rebalancer::plan::Move;
use milvus_rebalancer::units::{Bytes, CollectionId, Moment, NodeId, ReplicaId, Rows, SegmentId};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn settings(path: &Path) -> JournalSettings {
    JournalSettings {
        path: path.to_owned(),
        keep: Duration::from_secs(2 * 24 * 3_600),
        ..JournalSettings::default()
    }
}

fn open(path: &Path) -> Result<Journal, JournalError> {
    Journal::open(&settings(path), at(0))
}

fn intent(origin: Origin, segments: &[i64]) -> Intent {
    let movement = |segment: &i64| Move {
        segment: SegmentId(*segment),
        collection: CollectionId(i64::MAX),
        replica: ReplicaId(3),
        from: NodeId(4),
        to: NodeId(5),
        bytes: Bytes(6),
        rows: Rows(7),
    };
    Intent {
        origin,
        at: at(0),
        database: "default".into(),
        collection_name: "books'; DROP TABLE operations; --".into(),
        from_address: "host:1".into(),
        moves: segments.iter().map(movement).collect(),
        locked_since: Timestamp::MIN,
    }
}

async fn record(journal: &Journal, origin: Origin, segments: &[i64]) -> Vec<Operation> {
    journal.start_intent(intent(origin, segments)).await.unwrap().unwrap()
}

fn moment(seconds: i64) -> Moment {
    Moment { wall: at(seconds), monotonic: Duration::from_secs(seconds.unsigned_abs()) }
}

fn after(operation: &Operation, events: &[Event], seconds: i64) -> Operation {
    let mut now = operation.clone();
    let patience = Patience::of(Duration::from_secs(600));
    for event in events {
        now = now.advance(event, moment(seconds), patience).expect("the event fits");
    }
    now
}

fn landed(operation: &Operation, seconds: i64) -> Operation {
    let presence = Presence::Listed {
        on_source: false,
        on_destination: true,
        elsewhere: Vec::new(),
        source_left: false,
        destination_left: false,
    };
    let sight = Sight { read_at: Steady::of(moment(seconds)), presence, nodes: vec![NodeId(5)] };
    let mut landed = after(operation, &[Event::Send, Event::Answered, Event::Seen(sight)], seconds);
    landed.evidence = Default::default();
    landed
}

#[tokio::test]
async fn operations_come_back_after_a_restart_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    let journal = open(&path).unwrap();
    let operations = record(&journal, Origin::Daemon, &[1, 2]).await;
    let manual = record(&journal, Origin::Manual, &[3]).await;
    assert!(operations[0].batch == operations[1].batch && operations[0].batch != manual[0].batch);
    let done = landed(&operations[0], 10);
    journal.save(vec![done.clone()]).await.unwrap();
    drop(journal);

    let journal = open(&path).unwrap();
    assert_eq!(journal.fresh_after_corruption(), None);
    let open_ones = journal.open_operations().await.unwrap();
    assert_eq!(open_ones, [operations[1].clone(), manual[0].clone()]);
    let changed = journal.operations_since(at(10)).await.unwrap();
    assert_eq!(changed, [done, operations[1].clone(), manual[0].clone()]);
    assert_eq!(journal.manual_operations_since(at(100)).await.unwrap(), manual);
}

#[tokio::test]
async fn a_landing_is_never_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("it.db")).unwrap();
    let operation = record(&journal, Origin::Manual, &[1]).await.remove(0);
    journal.save(vec![landed(&operation, 10)]).await.unwrap();
    journal.save(vec![after(&operation, &[Event::Send], 20)]).await.unwrap();
    let known = journal.operations_since(at(0)).await.unwrap();
    assert_eq!(known[0].state, OperationState::Landed);
}

#[tokio::test]
async fn turns_and_plans_are_readable_with_any_client_and_old_rows_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    let journal = open(&path).unwrap();
    let start = DaemonStart { started_at: at(0), version: "0.1.0".into(), mode: "act".into() };
    journal.record_start(start).await.unwrap();
    let plan = || PlanRecord {
        digest: Some("abc".into()),
        snapshot_digest: None,
        moves: 2,
        bytes: Bytes(9),
        steps: "[]".into(),
        proof: "{}".into(),
    };
    for day in [0, 3] {
        let turn = TurnRecord {
            started_at: at(day * 86_400),
            took: Duration::from_millis(1_500),
            result: "planned".into(),
            detail: String::new(),
            limited_by: Some("wave_full".into()),
            nodes: 3,
            collections: 1,
            copies: 12,
            overloaded: 1,
            moves_planned: 8,
            moves_admitted: 6,
        };
        journal.record_turn(turn, Some(plan()), None).await.unwrap();
    }
    let old = record(&journal, Origin::Daemon, &[1, 2]).await;
    journal.save(vec![landed(&old[0], 10)]).await.unwrap();

    let client = rusqlite::Connection::open(&path).unwrap();
    let count = |query: &str| client.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM plans JOIN turns ON turns.id = turn WHERE took_ms = 1500"), 2);
    let text = |query: &str| client.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT started_at FROM daemon_starts"), "2023-11-14T22:13:20.000000000Z");
    let documented = text("SELECT sql FROM sqlite_schema WHERE name = 'operations'");
    assert!(documented.contains("-- why it ended so"), "the comments are in the file: {documented}");

    assert_eq!(journal.prune(at(3 * 86_400)).await.unwrap(), 3, "a turn, the start and the landed operation");
    assert_eq!(count("SELECT count(*) FROM turns"), 1);
    assert_eq!(count("SELECT count(*) FROM plans"), 1, "plans go with their turns");
    assert_eq!(count("SELECT count(*) FROM operations"), 1, "what is open is never forgotten");
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A journal with an operation, overwritten from the given byte on.
async fn damaged(folder: &Path, from: u64) -> PathBuf {
    use std::io::{Seek, SeekFrom, Write};
    let path = folder.join("it.db");
    let journal = open(&path).unwrap();
    record(&journal, Origin::Daemon, &(0..200).collect::<Vec<_>>()).await;
    drop(journal);
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(&[0xa5; 20_000]).unwrap();
    path
}

#[tokio::test]
async fn a_damaged_journal_is_set_aside_and_reported_before_a_new_one_begins() {
    for from in [16, 100, 5_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = damaged(folder.path(), from).await;
        let bytes = std::fs::read(&path).unwrap();
        let Err(JournalError::Corrupt { kept_as, .. }) = open(&path) else {
            panic!("damage from byte {from} on was not found");
        };
        assert_eq!(kept_as.file_name().unwrap(), "it.db.corrupt-20231114T221320Z");
        assert_eq!(std::fs::read(&kept_as).unwrap(), bytes, "nothing of it is lost");
        assert!(!path.exists());

        let journal = open(&path).unwrap();
        assert_eq!(journal.fresh_after_corruption(), Some(kept_as.as_path()));
        assert!(journal.open_operations().await.unwrap().is_empty());
        drop(journal);
        assert_eq!(open(&path).unwrap().fresh_after_corruption(), None, "said once");
    }
}

#[test]
fn an_empty_file_is_no_memory_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    std::fs::write(&path, "").unwrap();
    // What SQLite had not merged belongs to the old file and would poison the new one.
    std::fs::write(folder.path().join("it.db-wal"), "left over").unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(
        files(folder.path()),
        ["it.db.corrupt-20231114T221320Z", "it.db.corrupt-20231114T221320Z-wal"]
    );
    assert!(matches!(&error, JournalError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("it is empty"), "{error}");
    assert!(open(&path).unwrap().fresh_after_corruption().is_some());
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("config.toml");
    std::fs::write(&text, "[journal]\npath = \"config.toml\"\n").unwrap();
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = files(folder.path());
    for (path, part) in [
        (text, "no SQLite database"),
        (other, "of another program"),
        (folder.path().to_owned(), "no plain file"),
    ] {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    drop(open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("format 99, this one knows 3"), "{error}");
}

#[test]
fn missing_folders_and_unwritable_places_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("missing/it.db")).unwrap_err();
    assert!(error.to_string().contains("missing of the journal does not exist: create it"), "{error}");

    // Nobody can make files here, not even root.
    let error = open(Path::new("/proc/it.db")).unwrap_err();
    assert!(matches!(error, JournalError::Sqlite { .. }), "{error}");
    assert!(error.to_string().contains("writable for this user"), "{error}");
}

#[test]
fn a_read_only_journal_is_found_out_when_it_is_opened() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    drop(open(&path).unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    if std::fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // Root writes whatever the permissions say; there is nothing to find out.
        assert!(open(&path).is_ok());
        return;
    }
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("writable for this user"), "{error}");
}

#[test]
fn one_daemon_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    assert_eq!(DaemonLock::holder(&path), None, "no lock file yet");
    let lock = DaemonLock::acquire(&path).unwrap();
    assert_eq!(DaemonLock::holder(&path), Some(std::process::id()));
    let error = DaemonLock::acquire(&path).unwrap_err();
    assert!(matches!(&error, LockError::Held { pid: Some(pid), .. } if *pid == std::process::id()));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(lock);
    assert_eq!(DaemonLock::holder(&path), None, "the file stays, the lock does not");
    drop(DaemonLock::acquire(&path).unwrap());
    let error = DaemonLock::acquire(Path::new("/proc/it.db")).unwrap_err();
    assert!(matches!(error, LockError::Unusable { .. }), "{error}");
}

#[test]
fn settings_refuse_unknown_keys() {
    let read = |json| serde_json::from_str::<JournalSettings>(json);
    assert_eq!(read(r#"{"keep": "168h"}"#).unwrap().keep, Duration::from_secs(7 * 24 * 3_600));
    assert!(read(r#"{"kept": "7d"}"#).unwrap_err().to_string().contains("unknown field `kept`"));
    assert!(read(r#"{"keep": "soon"}"#).is_err());
}

#[tokio::test]
async fn a_move_that_two_instances_knew_is_one_move() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db")).unwrap();
    let own = record(&journal, Origin::Daemon, &[1]).await.remove(0);
    let sent = Operation { state: OperationState::Sent, sent_at: Some(at(2)), ..own.clone() };
    journal.save(vec![sent]).await.unwrap();
    // A successor knows when it was intended, and not when it was sent; and has numbers of its own.
    let numbers = (OperationId(9), BatchId(9));
    let seen = |intended_at, state| Operation {
        id: numbers.0,
        batch: numbers.1,
        intended_at,
        sent_at: Some(intended_at),
        changed_at: at(30),
        state,
        ..own.clone()
    };
    journal.adopt(vec![seen(at(0), OperationState::Verifying)]).await.unwrap();
    journal.adopt(vec![seen(at(0), OperationState::Landed)]).await.unwrap();
    let known = journal.operations_since(Timestamp::MIN).await.unwrap();
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!((&known[0].state, known[0].id), (&OperationState::Landed, own.id));
    // The same way once more, later.
    journal.adopt(vec![seen(at(40), OperationState::Landed)]).await.unwrap();
    assert_eq!(journal.operations_since(Timestamp::MIN).await.unwrap().len(), 2);
}
