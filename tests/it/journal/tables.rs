//! What each table gives back, after a restart and to another process, and what of it is forgotten when.

use std::time::Duration;

use milvus_rebalancer::journal::{
    Approval, ConfigurationChange, Controls, Journal, Pause, StartComparison, TurnRecord, VerdictRecord,
    WaveRecord,
};
use milvus_rebalancer::model::ForeignMove;
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, ReplicaId, SegmentId};

use super::{at, open};

const DAY: i64 = 86_400;

fn fresh() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("it.db")).unwrap();
    (folder, journal)
}

fn number(journal: &Journal, query: &str) -> i64 {
    let client = rusqlite::Connection::open(journal.path()).unwrap();
    client.query_row(query, [], |row| row.get(0)).unwrap()
}

fn wave(seconds: i64) -> WaveRecord {
    WaveRecord {
        id: None,
        started_at: at(seconds),
        ended_at: None,
        size: 1,
        sent: 1,
        landed: 0,
        failed: 0,
        bytes: Bytes(u64::MAX),
        predicted_relief: Some(0.25),
        realised_relief: None,
        outcome: "running".into(),
        detail: String::new(),
    }
}

#[tokio::test]
async fn a_wave_is_written_when_it_begins_and_again_when_its_result_is_known() {
    let (_folder, journal) = fresh();
    let first = journal.record_wave(wave(0)).await.unwrap();
    let second = journal.record_wave(wave(10)).await.unwrap();
    let ended = WaveRecord {
        id: Some(first),
        ended_at: Some(at(60)),
        landed: 1,
        realised_relief: Some(-0.125),
        outcome: "bad".into(),
        detail: "it's worse; --".into(),
        ..wave(0)
    };
    assert_eq!(journal.record_wave(ended.clone()).await.unwrap(), first);
    // SQLite's integers have a sign; amounts are capped, not wrapped.
    let bytes = Bytes(i64::MAX.unsigned_abs());
    let running = WaveRecord { id: Some(second), bytes, ..wave(10) };
    let ended = WaveRecord { bytes, ..ended };
    let again = open(journal.path()).unwrap();
    assert_eq!(again.last_waves(10).await.unwrap(), [running.clone(), ended]);
    assert_eq!(again.last_waves(1).await.unwrap(), [running]);
    assert_eq!(again.last_waves(0).await.unwrap(), []);
    let unknown = WaveRecord { id: Some(milvus_rebalancer::journal::WaveId(99)), ..wave(0) };
    journal.record_wave(unknown).await.unwrap_err();
    assert_eq!(number(&journal, "SELECT count(*) FROM waves"), 2);
}

#[tokio::test]
async fn a_relief_that_is_no_number_is_kept_as_unknown() {
    let (_folder, journal) = fresh();
    journal.record_wave(WaveRecord { realised_relief: Some(f64::NAN), ..wave(0) }).await.unwrap();
    assert_eq!(journal.last_waves(1).await.unwrap()[0].realised_relief, None);
}

#[tokio::test]
async fn foreign_moves_come_back_in_order_from_a_time_on() {
    let (_folder, journal) = fresh();
    let foreign = |segment, seconds| ForeignMove {
        segment: SegmentId(segment),
        collection: CollectionId(i64::MAX),
        replica: ReplicaId(2),
        from: NodeId(3),
        to: NodeId(-4),
        bytes: Bytes(5),
        at: at(seconds),
    };
    journal.record_foreign_moves(Vec::new()).await.unwrap();
    journal.record_foreign_moves(vec![foreign(1, 10), foreign(2, 10), foreign(3, 5)]).await.unwrap();
    let known = open(journal.path()).unwrap().foreign_moves_since(at(5)).await.unwrap();
    assert_eq!(known, [foreign(3, 5), foreign(1, 10), foreign(2, 10)]);
    assert_eq!(journal.foreign_moves_since(at(6)).await.unwrap(), known[1..]);
}

async fn start(journal: &Journal, digest: &str, version: &str) -> StartComparison {
    let text = format!("mode = \"{digest}\"");
    journal.record_configuration(text, digest.into(), version.into(), at(0)).await.unwrap()
}

#[tokio::test]
async fn a_changed_configuration_or_version_is_noticed_and_unproven_until_a_wave_landed() {
    let (_folder, journal) = fresh();
    let unproven = |change| StartComparison { change, is_proven: false };
    assert_eq!(start(&journal, "a", "1").await, unproven(Some(ConfigurationChange::FirstStart)));
    assert_eq!(start(&journal, "a", "1").await, unproven(None), "a crash before the canary changes nothing");
    let id = journal.record_wave(wave(0)).await.unwrap();
    assert_eq!(start(&journal, "a", "1").await, unproven(None), "the wave has not ended");
    let done = WaveRecord { id: Some(id), ended_at: Some(at(9)), landed: 1, ..wave(0) };
    journal.record_wave(done).await.unwrap();
    assert_eq!(start(&journal, "a", "1").await, StartComparison { change: None, is_proven: true });

    assert_eq!(start(&journal, "b", "1").await, unproven(Some(ConfigurationChange::Options)));
    let upgraded = ConfigurationChange::Version { from: "1".into() };
    assert_eq!(start(&journal, "b", "2").await, unproven(Some(upgraded)));
    let nothing_landed = WaveRecord { ended_at: Some(at(9)), ..wave(5) };
    journal.record_wave(nothing_landed).await.unwrap();
    assert_eq!(start(&journal, "b", "2").await, unproven(None));
    assert_eq!(number(&journal, "SELECT count(*) FROM configurations"), 3, "one for each change");
}

fn pause(seconds: i64, until: Option<i64>, by: &str) -> Pause {
    Pause { from: at(seconds), until: until.map(at), reason: "it's a holiday".into(), by: by.into() }
}

#[tokio::test]
async fn another_process_pauses_resumes_and_approves_while_the_daemon_works() {
    let (_folder, daemon) = fresh();
    let _lock = milvus_rebalancer::journal::DaemonLock::acquire(daemon.path()).unwrap();
    assert_eq!(daemon.controls().await.unwrap(), Controls::default());

    let other = open(daemon.path()).unwrap();
    other.pause(pause(0, None, "ann")).await.unwrap();
    other.pause(pause(10, Some(20), "bob")).await.unwrap();
    other.approve("d1".into(), at(11), "ann".into()).await.unwrap();
    other.approve("d2".into(), at(12), "bob".into()).await.unwrap();
    let controls = daemon.controls().await.unwrap();
    let held = controls.pause.unwrap();
    assert_eq!(held, pause(10, Some(20), "bob"), "the newest holds");
    assert!(held.holds_at(at(19)) && !held.holds_at(at(20)));
    let approval = |digest: &str, seconds, by: &str| Approval {
        plan_digest: digest.into(),
        at: at(seconds),
        by: by.into(),
    };
    assert_eq!(controls.approvals, [approval("d2", 12, "bob"), approval("d1", 11, "ann")]);

    assert_eq!(other.resume(at(15), "ann".into()).await.unwrap(), Some(held));
    assert_eq!(other.resume(at(16), "ann".into()).await.unwrap(), None);
    assert_eq!(daemon.controls().await.unwrap().pause, None);
    let by_whom = "SELECT count(*) FROM pauses WHERE ended_by = 'bob' AND started_by = 'ann'";
    assert_eq!(number(&daemon, by_whom), 1, "who replaced whose pause is known");
}

#[tokio::test]
async fn two_processes_that_write_at_once_wait_for_each_other() {
    let (_folder, daemon) = fresh();
    let other = open(daemon.path()).unwrap();
    let mut work = tokio::task::JoinSet::new();
    for journal in [daemon.clone(), other] {
        work.spawn(async move {
            for second in 0..100 {
                journal.pause(pause(second, None, "one of two")).await.unwrap();
                journal.resume(at(second), "the other".into()).await.unwrap();
                journal.controls().await.unwrap();
                start(&journal, &second.to_string(), "1").await;
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    assert_eq!(number(&daemon, "SELECT count(*) FROM pauses WHERE ended_at IS NOT NULL"), 200);
}

#[tokio::test]
async fn saved_state_is_replaced_as_a_whole() {
    let (_folder, journal) = fresh();
    assert_eq!(journal.load_state("turns_over").await.unwrap(), None);
    journal.save_state("turns_over", r#"{"memory": {"1": 3}}"#.into()).await.unwrap();
    journal.save_state("other", "[]".into()).await.unwrap();
    journal.save_state("turns_over", "{}".into()).await.unwrap();
    let again = open(journal.path()).unwrap();
    assert_eq!(again.load_state("turns_over").await.unwrap().as_deref(), Some("{}"));
    assert_eq!(again.load_state("other").await.unwrap().as_deref(), Some("[]"));
}

fn turn(seconds: i64) -> TurnRecord {
    TurnRecord {
        started_at: at(seconds),
        took: Duration::from_millis(1),
        result: "quiet".into(),
        detail: String::new(),
        limited_by: None,
        nodes: 1,
        collections: 1,
        copies: 1,
        overloaded: 0,
        moves_planned: 0,
        moves_admitted: 0,
    }
}

fn verdict(subject: &str) -> VerdictRecord {
    VerdictRecord { subject: subject.into(), reason: "stale".into(), sentence: "it is old".into() }
}

#[tokio::test]
async fn every_turn_names_the_turn_whose_verdicts_hold_in_it() {
    let (_folder, journal) = fresh();
    let verdicts = [Some(vec![verdict("the cluster"), verdict("node 7")]), None, Some(Vec::new()), None];
    for (position, verdicts) in verdicts.into_iter().enumerate() {
        let seconds = i64::try_from(position).unwrap() * DAY;
        journal.record_turn(turn(seconds), None, verdicts).await.unwrap();
    }
    let held =
        "SELECT count(*) FROM turns JOIN verdicts ON verdicts.turn = turns.verdicts_of WHERE turns.id = ";
    let counts: Vec<i64> = (1..=4).map(|turn| number(&journal, &format!("{held}{turn}"))).collect();
    assert_eq!(counts, [2, 2, 0, 0]);

    // The journal of these tests keeps two days.
    journal.prune(at(3 * DAY - 1)).await.unwrap();
    assert_eq!(number(&journal, &format!("{held}2")), 2, "the turn that is kept still has its verdicts");
    journal.prune(at(4 * DAY - 1)).await.unwrap();
    assert_eq!(number(&journal, "SELECT count(*) FROM verdicts"), 0);
    assert_eq!(number(&journal, "SELECT count(*) FROM turns"), 2);
}

#[tokio::test]
async fn what_is_old_goes_and_what_still_matters_stays() {
    let (_folder, journal) = fresh();
    let foreign = ForeignMove {
        segment: SegmentId(1),
        collection: CollectionId(1),
        replica: ReplicaId(1),
        from: NodeId(1),
        to: NodeId(2),
        bytes: Bytes(5),
        at: at(0),
    };
    journal.record_foreign_moves(vec![foreign, ForeignMove { at: at(9 * DAY), ..foreign }]).await.unwrap();
    start(&journal, "used by a wave that goes", "1").await;
    journal.record_wave(wave(0)).await.unwrap();
    start(&journal, "used by the last wave", "1").await;
    journal.record_wave(wave(0)).await.unwrap();
    start(&journal, "used by none", "1").await;
    start(&journal, "in force", "1").await;
    journal.pause(pause(0, None, "replaced")).await.unwrap();
    journal.pause(pause(0, Some(9 * DAY), "ends late")).await.unwrap();
    journal.approve("d1".into(), at(0), "ann".into()).await.unwrap();
    journal.save_state("turns_over", "{}".into()).await.unwrap();

    journal.prune(at(10 * DAY)).await.unwrap();
    let left = |table: &str| number(&journal, &format!("SELECT count(*) FROM {table}"));
    assert_eq!(left("foreign_moves"), 1);
    assert_eq!(left("waves"), 1, "the last one, however old");
    let rows = "configurations WHERE digest IN ('used by the last wave', 'in force')";
    assert_eq!((left("configurations"), left(rows)), (2, 2));
    assert_eq!(left("pauses WHERE started_by = 'ends late'"), 1);
    assert_eq!((left("pauses"), left("approvals"), left("state")), (1, 0, 1));

    journal.prune(at(20 * DAY)).await.unwrap();
    assert_eq!(left("pauses"), 0, "it ended by itself long ago");
    journal.pause(pause(0, None, "for ever")).await.unwrap();
    journal.prune(at(1_000 * DAY)).await.unwrap();
    assert_eq!(left("pauses"), 1, "a pause without end never goes");
}
