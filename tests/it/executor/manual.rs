//! The manual operation beside a daemon: both write to one journal.

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::execute::manual::{ManualEnd, ManualOutcome, ManualPlan, execute};
use milvus_rebalancer::execute::{AdmittedMove, ExecuteSettings};
use milvus_rebalancer::kill_switch::KillSwitch;
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::units::{Bytes, NodeId};
use tokio::time::{Instant, sleep};

use super::fake::{Answer, Fake, Fate, admitted, unlimited};

async fn carry_out(
    fake: &Arc<Fake>,
    moves: &[AdmittedMove],
    timeout: Option<Duration>,
    settings: ExecuteSettings,
) -> Vec<ManualOutcome> {
    carry_out_beside(fake, moves, timeout, settings, KillSwitch::default()).await
}

async fn carry_out_beside(
    fake: &Arc<Fake>,
    moves: &[AdmittedMove],
    timeout: Option<Duration>,
    settings: ExecuteSettings,
    kill_switch: KillSwitch,
) -> Vec<ManualOutcome> {
    let plan = ManualPlan { moves: moves.to_vec(), staying: Vec::new() };
    execute(plan, timeout, &settings, fake.tools(kill_switch)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_holds_for_people_before_each_call() {
    let fake = Fake::new(1, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stop");
    std::fs::write(&path, "").unwrap();
    let moves = [admitted(101, 2), admitted(102, 3)];
    let switch = KillSwitch::at(Some(path));
    let outcomes = carry_out_beside(&fake, &moves, None, unlimited(), switch).await;
    assert_eq!(fake.state().calls.len(), 0);
    for outcome in outcomes {
        let ManualEnd::NotMoved { why } = &outcome.end else { panic!("{outcome:?}") };
        assert!(why.contains("kill switch"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn segments_are_told_where_they_were_seen() {
    let fake = Fake::new(1, 5);
    fake.state().fates.extend([(102, Fate::LandsAfter(3)), (103, Fate::GoesTo(4)), (104, Fate::Stays)]);
    let moves = [admitted(101, 2), admitted(102, 3), admitted(103, 2), admitted(104, 3)];
    // The daemon's strictest limits do not hold a person up.
    let outcomes = carry_out(&fake, &moves, None, ExecuteSettings::default()).await;
    let sentences: Vec<String> = outcomes.iter().map(ManualOutcome::sentence).collect();
    assert_eq!(
        sentences,
        [
            "segment 101: moved from node 1 to node 2",
            "segment 102: moved from node 1 to node 3",
            "segment 103: not moved: contradicted: it is on node 4; last seen on node 4",
            "segment 104: not moved: it is still on its source alone; last seen on node 1",
        ]
    );
    assert_eq!(fake.calls(), [(1, 2, vec![101, 103]), (1, 3, vec![102, 104])], "one destination a call");
    assert_eq!(fake.journalled()[&104], "expired");
    assert_eq!(fake.state().violations, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_passed_on() {
    let fake = Fake::new(1, 1);
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(101, Fate::Stays);
    let outcomes = carry_out(&fake, &[admitted(101, 2)], None, unlimited()).await;
    let sentence = outcomes[0].sentence();
    assert!(sentence.starts_with("segment 101: not moved: refused: ") && sentence.contains("as scripted"));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_wait_and_leaves_the_move_open() {
    let fake = Fake::new(1, 3);
    fake.state().answers.push_back(Answer::Never);
    let began = Instant::now();
    let settings = ExecuteSettings { segments_per_call: 1, ..unlimited() };
    let moves = [admitted(101, 2), admitted(102, 2)];
    let outcomes = carry_out(&fake, &moves, Some(Duration::from_secs(7)), settings).await;
    assert_eq!(began.elapsed().as_secs(), 7);
    assert!(matches!(&outcomes[0].end, ManualEnd::Open { why } if why.contains("not been answered")));
    assert!(
        matches!(&outcomes[1].end, ManualEnd::NotMoved { why } if why.contains("before its call was sent"))
    );
    assert_eq!(fake.journalled()[&101], "sent");
}

#[tokio::test(start_paused = true)]
async fn when_nothing_can_be_read_the_end_is_unknown() {
    let fake = Fake::new(1, 1);
    fake.state().reads_fail = true;
    let outcomes = carry_out(&fake, &[admitted(101, 2)], None, unlimited()).await;
    assert!(matches!(&outcomes[0].end, ManualEnd::Open { why } if why.contains("has not settled")));
    assert_eq!(fake.journalled()[&101], "verifying");
}

#[tokio::test(start_paused = true)]
async fn the_daemon_knows_moves_made_by_hand() {
    let fake = Fake::new(1, 3);
    let mut daemon = fake.executor(unlimited());
    daemon.recover().await.unwrap();
    fake.state().fates.insert(102, Fate::LandsAfter(1_000));
    let half = Some(Duration::from_secs(5));
    carry_out(&fake, &[admitted(101, 2), admitted(102, 2)], half, unlimited()).await;

    daemon.refresh_from_journal().await.unwrap();
    let known: Vec<(i64, NodeId)> =
        daemon.known_moves().iter().map(|known| (known.segment.0, known.to)).collect();
    assert_eq!(known, [(101, NodeId(2)), (102, NodeId(2))]);
    assert_eq!(daemon.departures().len(), 1);
    assert_eq!(daemon.in_flight().len(), 1);
    assert_eq!(daemon.status().bytes_spent, Bytes::ZERO, "outside the daily budget");
    daemon.offer(vec![admitted(102, 3), admitted(103, 2)], Bytes(1_000));
    assert_eq!(daemon.status().queued, 1, "its segments are locked");

    // The person went away; the daemon sees the end and writes it down.
    sleep(Duration::from_secs(1)).await;
    let mut landed = fake.observation();
    landed.collections[0].segments.as_mut().unwrap()[1].nodes = vec![NodeId(2)];
    daemon.settle(&landed).await;
    assert_eq!(fake.journalled()[&102], "landed");
    daemon.refresh_from_journal().await.unwrap();
    assert_eq!((daemon.in_flight().len(), daemon.departures().len()), (0, 2));
}
