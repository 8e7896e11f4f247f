//! The control loop is killed and started anew on a simulated cluster: what it had learnt of the cluster and of
//! others who move segments holds on.

use std::time::Duration;

use milvus_rebalancer::control_loop::LastTurn;
use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::journal::{Drain, Journal, JournalSettings};
use milvus_rebalancer::plan::FindingState;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::SharedWorld;
use milvus_rebalancer::sim::operator::Transfer;
use milvus_rebalancer::units::{Bytes, NodeId, Ratio};

use super::process::{Daemon, on_one_node};

/// Four nodes, of which the first holds everything, and nobody writes.
fn uneven() -> SharedWorld {
    on_one_node(24, 0.0)
}

/// The first node's count of turns above its band, and what follows from it.
fn first_node(turn: &LastTurn) -> (u32, FindingState) {
    let finding = turn.decision.findings.iter().find(|finding| finding.node == NodeId(1)).unwrap();
    (finding.turns_over, finding.state.clone())
}

fn is_stopped_by_somebody_else(turn: &LastTurn) -> bool {
    let reasons = turn.decision.restrictions.components.values();
    reasons.into_iter().any(|reason| matches!(reason, Reason::ForeignMover { moves: 3.., .. }))
}

/// Somebody moves a segment off the first node, by Milvus' own interface, and it gets there.
async fn move_one(world: &SharedWorld) {
    {
        let mut locked = world.lock();
        let held = locked
            .segments()
            .values()
            .find(|segment| !segment.level0 && segment.copies.iter().any(|copy| copy.node == NodeId(1)));
        let segment = held.unwrap().id;
        let transfer = Transfer { from: NodeId(1), to: Some(NodeId(2)), segment: Some(segment), copy: false };
        locked.transfer_segments(&transfer).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(35)).await;
}

#[tokio::test(start_paused = true)]
async fn three_turns_in_a_row_may_have_a_restart_among_them() {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let mut first = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    let turn = first.turn(2).await;
    let waits = FindingState::Tolerated(Reason::NotLongEnough { turns: 2, required: 3 });
    assert_eq!(first_node(&turn), (2, waits));
    first.kill().await;

    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut second = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    let turn = second.turn(1).await;
    assert_eq!(first_node(&turn), (3, FindingState::Overloaded));
    assert!(turn.decision.net_zero.band.observed >= Duration::from_secs(30), "the first process' time");
    second.kill().await;

    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let mut third = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    assert_eq!(first_node(&*third.turn(1).await).0, 1, "nobody knows what was in that hour");
    third.kill().await;
}

#[tokio::test(start_paused = true)]
async fn somebody_else_at_work_is_not_forgotten() {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let unbudgeted = || ExecuteSettings {
        bytes_per_hour: Ratio::ZERO,
        bytes_per_day: Ratio::ZERO,
        ..ExecuteSettings::default()
    };
    let mut first = Daemon::start(&world, folder.path(), unbudgeted());
    first.turn(1).await;
    for _ in 0..3 {
        move_one(&world).await;
    }
    let turn = first.turn(5).await;
    assert!(is_stopped_by_somebody_else(&turn), "{:?}", turn.decision.restrictions);
    assert_eq!(turn.decision.net_zero.foreign.moves, 3);
    let calls = world.lock().calls().len();
    first.kill().await;

    let mut second = Daemon::start(&world, folder.path(), unbudgeted());
    let turn = second.turn(1).await;
    assert!(is_stopped_by_somebody_else(&turn), "{:?}", turn.decision.restrictions);
    assert_eq!(turn.decision.foreign_moves, [], "they are not noticed twice");
    assert_eq!(turn.decision.net_zero.foreign.moves, 3);
    second.turn(40).await;
    assert_eq!(world.lock().calls().len(), calls, "twenty minutes, in which it would have moved a lot");
    second.turn(80).await;
    assert!(world.lock().calls().len() > calls, "after thirty quiet minutes it goes on");
    second.kill().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_of_the_budget_stays_spent() {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let small = || ExecuteSettings { bytes_per_day: Ratio(1_000), ..ExecuteSettings::default() };
    let mut first = Daemon::start(&world, folder.path(), small());
    first.turn(10).await;
    let spent = first.state.borrow().executor.bytes_spent;
    assert!(spent > Bytes::ZERO);
    let calls = world.lock().calls().len();
    first.kill().await;

    let mut second = Daemon::start(&world, folder.path(), small());
    let turn = second.turn(10).await;
    assert!(matches!(turn.limited_by, Some(Reason::DailyBytes { .. })), "{:?}", turn.limited_by);
    assert_eq!(second.state.borrow().executor.bytes_spent, spent);
    assert_eq!(world.lock().calls().len(), calls);
    assert_eq!(turn.decision.net_zero.daemon.moves, 1, "and the ledger knows the move");
    second.kill().await;
}

#[tokio::test(start_paused = true)]
async fn the_lowest_memory_that_segments_do_not_explain_is_kept() {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let mut first = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    first.turn(1).await;
    let kept = first.journal.load_state("unexplained_memory").await.unwrap().unwrap();
    // As if the first process had seen less than the second one will.
    let mut document: serde_json::Value = serde_json::from_str(&kept).unwrap();
    document["value"]["1"]["current"] = 4_321.into();
    first.journal.save_state("unexplained_memory", document.to_string()).await.unwrap();
    first.kill().await;

    let mut second = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    let turn = second.turn(1).await;
    let unexplained: Vec<Option<Bytes>> =
        turn.decision.snapshot.nodes.iter().map(|node| node.unexplained_memory).collect();
    assert_eq!(unexplained[0], Some(Bytes(4_321)));
    assert!(unexplained[1].unwrap() > Bytes(4_321), "{unexplained:?}");
    second.kill().await;
}

#[tokio::test(start_paused = true)]
async fn nonsense_in_the_state_is_passed_over_and_replaced() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for nonsense in [
        "",
        "{",
        "null",
        "[]",
        "\u{0}\u{1b}[31m",
        r#"{"version":1}"#,
        r#"{"version":1,"value":{"slots":{"x":{}},"at":"yesterday","1":{"current":-1}}}"#,
        r#"{"version":1,"value":{"at":"2026-01-01T00:00:00Z","turns_over":{"memory":{"1":-1}}}}"#,
        r#"{"version":2,"value":null}"#,
        r#"{"version":4294967296,"value":null}"#,
        deep.as_str(),
    ] {
        let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
        let path = folder.path().join("it.db");
        let settings = JournalSettings { path, ..JournalSettings::default() };
        let journal = Journal::open(&settings, world.lock().wall()).unwrap();
        for name in ["turns_over", "out_of_band", "unexplained_memory"] {
            journal.save_state(name, nonsense.to_owned()).await.unwrap();
        }
        let mut daemon = Daemon::start(&world, folder.path(), ExecuteSettings::default());
        let turn = daemon.turn(1).await;
        assert_eq!(first_node(&turn).0, 1, "it begins anew: {nonsense:.80}");
        for name in ["turns_over", "out_of_band", "unexplained_memory"] {
            let kept = journal.load_state(name).await.unwrap().unwrap();
            assert!(
                kept.starts_with(r#"{"version":1,"value":"#),
                "{name} is {kept:.80} after {nonsense:.80}"
            );
        }
        daemon.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_being_emptied_stays_so() {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let mut first = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    let drain = Drain {
        node: NodeId(2),
        address: String::new(),
        from: world.clock().read().wall,
        reason: "new disk".to_owned(),
        by: "ann".to_owned(),
    };
    first.journal.drain(drain).await.unwrap();
    let turn = first.turn(2).await;
    assert!(turn.decision.restrictions.evacuated.contains(&NodeId(2)));
    first.kill().await;

    let mut second = Daemon::start(&world, folder.path(), ExecuteSettings::default());
    let turn = second.turn(1).await;
    assert!(turn.decision.restrictions.evacuated.contains(&NodeId(2)), "from the first turn on");
    assert_eq!(turn.decision.input.controls.drains[0].reason, "new disk");
    second.kill().await;
}
