//! The same options give the same plans.

use milvus_rebalancer::journal::{Pause, RecordedSettings, RecordingSettings};
use milvus_rebalancer::replay::Replay;
use milvus_rebalancer::turn::{Decision, ThinkingSettings};
use milvus_rebalancer::units::{Bytes, Ratio};

use super::world::{Daemon, busy, files, recorded, somebody_moves, uneven};
use crate::process::{Options, on_one_node};

/// What must come out again. The guard is left out: no plan follows from it.
fn essence(decision: &Decision) -> String {
    let Decision {
        input,
        snapshot_digest,
        findings,
        drains,
        restrictions,
        plan,
        verdict,
        foreign_moves,
        net_zero,
        ..
    } = decision;
    format!(
        "{snapshot_digest:?}{:?}{findings:?}{drains:?}{restrictions:?}{plan:?}{verdict:?}{foreign_moves:?}{net_zero:?}",
        input.history
    )
}

#[tokio::test(start_paused = true)]
async fn every_recorded_plan_comes_out_again_over_restarts_orders_and_other_peoples_moves() {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let settings = ThinkingSettings::default();
    let mut decided = Vec::new();

    let mut first = Daemon::start(&world, folder.path(), busy(&settings));
    decided.extend(first.turns(12).await);
    first.kill().await;

    let mut second = Daemon::start(&world, folder.path(), busy(&settings));
    let now = world.clock().read().wall;
    let pause = Pause { from: now, until: None, reason: "a test".into(), by: "me".into() };
    second.journal.pause(pause).await.unwrap();
    decided.extend(second.turns(4).await);
    second.journal.resume(world.clock().read().wall, "me".into()).await.unwrap();
    somebody_moves(&world);
    decided.extend(second.turns(8).await);
    second.stop().await;

    // Small files, so that one ends in the middle of a process.
    let small = RecordingSettings { max_bytes: Bytes(80_000), ..RecordingSettings::default() };
    let mut changed = settings.clone();
    changed.policies.memory.enter = Ratio(1_100_000);
    let mut third = Daemon::start(&world, folder.path(), Options { observations: small, ..busy(&changed) });
    decided.extend(third.turns(3).await);
    somebody_moves(&world);
    decided.extend(third.turns(12).await);
    third.kill().await;

    let recorded = recorded(folder.path());
    let moving = decided.iter().filter(|turn| !turn.decision.plan.steps.is_empty()).count();
    assert!(moving > 3, "{moving} turns had a plan: that would be no test");
    let mut replay = Replay::new(None);
    for (position, (turn, decided)) in recorded.iter().zip(&decided).enumerate() {
        let decision = replay.turn(turn).unwrap();
        assert_eq!(essence(&decision), essence(&decided.decision), "turn {position}");
    }
    assert_eq!(recorded.len(), decided.len());
    assert!(decided.iter().any(|turn| !turn.decision.foreign_moves.is_empty()), "somebody was noticed");
    let memories = recorded.iter().filter(|turn| turn.turn.as_ref().unwrap().memory.is_some()).count();
    let sizes: Vec<u64> = files(folder.path()).iter().map(|file| file.metadata().unwrap().len()).collect();
    println!("files of {sizes:?} bytes");
    assert!(memories > 3, "each process begins with what it remembers, and a file in the middle of one, too");
    let report = replay.finish().unwrap();
    assert_eq!((report.turns, report.reproduced), (decided.len(), decided.len()));
    assert_eq!(report.first_deviation, None);
    assert!(report.happened.calls > 0 && report.happened.landed.moves > 0, "{:?}", report.happened);
    assert!(report.old.calls > 0 && report.old.asked.moves > 0);
    assert!(!report.old.observed.is_zero());
}

/// Whether some node is above the enter value of its options.
fn is_out(decision: &Decision) -> bool {
    decision.input.history.out_of_band.is_out() == Some(true)
}

#[tokio::test(start_paused = true)]
async fn the_time_out_of_band_ends_where_the_cluster_gets_even() {
    let (world, folder) = (on_one_node(30, 0.0), tempfile::tempdir().unwrap());
    let settings = ThinkingSettings::default();
    let mut daemon = Daemon::start(&world, folder.path(), busy(&settings));
    let mut turns = daemon.turns(1).await;
    while is_out(&turns.last().unwrap().decision) {
        assert!(turns.len() < 600, "it does not get even");
        turns.extend(daemon.turns(turns.len() as u64 + 1).await);
    }
    let out = turns.len() - 1;
    turns.extend(daemon.turns(turns.len() as u64 + 20).await);
    daemon.kill().await;
    assert!(turns[out..].iter().all(|turn| !is_out(&turn.decision)), "it stays even");

    // Nobody is out of a band that is wider than everything.
    let mut wide = settings.clone();
    wide.policies.memory.enter = Ratio(100_000_000);
    let mut replay = Replay::new(Some(RecordedSettings { thinking: wide, ..RecordedSettings::default() }));
    let recorded = recorded(folder.path());
    for turn in &recorded {
        replay.turn(turn).unwrap();
    }
    let report = replay.finish().unwrap();
    assert_eq!((report.turns, report.reproduced), (turns.len(), turns.len()));
    let new = report.new.unwrap();
    let [begin, even] = [0, out].map(|turn| recorded[turn].turn.as_ref().unwrap().now.monotonic);
    let until_even = even.checked_sub(begin).unwrap();
    println!("{out} of {} turns, {:?} of {:?}", turns.len(), report.old.out_of_band, report.old.observed);
    assert_eq!(report.old.out_of_band, until_even);
    assert!(report.old.observed > report.old.out_of_band);
    assert_eq!((new.observed, new.out_of_band.is_zero()), (report.old.observed, true));
}
