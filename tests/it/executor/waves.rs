//! Waves through the executor: how many moves go out before the last ones have been judged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use milvus_rebalancer::execute::waves::{JudgedWave, WaveVerdict};
use milvus_rebalancer::execute::{ExecuteSettings, Executor, WaveSettings};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::observe::observation::{NodeReport, NodeRole};
use milvus_rebalancer::plan::{Move, PlanSettings};
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::turn::{OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, NodeId};
use tokio::time::sleep;

use super::fake::*;

fn node(id: i64) -> NodeReport {
    NodeReport {
        id: NodeId(id),
        address: format!("host-{id}:1"),
        role: NodeRole::QueryNode,
        error: None,
        memory_capacity: Some(Bytes(10_000)),
        memory_used: None,
        growing: None,
        collections: None,
        collection_rows: None,
        sealed_bytes: None,
        hardware: milvus_rebalancer::observe::observation::HardwareReport::default(),
        version: "2.3.5".into(),
    }
}

/// Looks at the cluster, and judges by what is seen.
fn look(executor: &mut Executor, fake: &Fake, moves: &[Move]) -> Option<JudgedWave> {
    let mut policies = PolicySettings::default();
    policies.memory.enabled = false;
    policies.rows.0.enabled = true;
    let mut thinking = Thinking::for_one_look(&policies, PlanSettings::default(), GateSettings::default());
    let mut observation = fake.observation();
    observation.nodes = NODES.into_iter().map(node).collect();
    let own = OwnMoves { wave: moves.to_vec(), ..OwnMoves::default() };
    let decision = thinking.turn(&observation, own, fake.clock.read());
    executor.judge_wave(decision.loads, Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn waves_grow_while_it_goes_well_and_shrink_when_it_does_not() {
    let fake = Fake::new(1, 20);
    let waves = WaveSettings { enabled: true, first: 1, largest: 64, ..WaveSettings::default() };
    let mut executor = fake.executor(ExecuteSettings { waves, ..unlimited() });
    fake.state().fates.insert(104, Fate::GoesTo(3));
    let offer: Vec<_> = (101..=112).map(|segment| admitted(segment, 2)).collect();
    let moves: Vec<Move> = offer.iter().map(|admitted| admitted.movement.clone()).collect();
    assert_eq!(look(&mut executor, &fake, &moves), None, "nothing was sent yet");
    executor.offer(offer, Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    assert_eq!(executor.limited_by(), Some(Reason::WaveFull { size: 1 }));
    let mut verdicts = Vec::new();
    while executor.status().queued > 0 || executor.status().open_operations > 0 {
        drive(&mut executor, |executor| {
            let is_over = matches!(executor.limited_by(), None | Some(Reason::WaveUnjudged { .. }));
            executor.status().open_operations == 0 && is_over
        })
        .await;
        verdicts.push(look(&mut executor, &fake, &moves).expect("a wave is over").verdict);
        assert_eq!(executor.wave_moves(), []);
        if executor.status().queued > 0 {
            let sent = executor.status().calls_sent;
            drive(&mut executor, |executor| executor.status().calls_sent > sent).await;
        }
    }
    let sizes: Vec<usize> = fake.calls().iter().map(|(_, _, segments)| segments.len()).collect();
    assert_eq!(sizes, [1, 2, 4, 2, 3], "104 was in the third, which went wrong");
    use WaveVerdict::{Good, Poor, ProvesNothing};
    // The last one makes node 2 what node 1 was, which nobody would have predicted to be a relief.
    assert_eq!(verdicts, [Good, Good, Poor, Good, ProvesNothing]);
}

#[tokio::test(start_paused = true)]
async fn without_a_judgement_there_is_no_second_wave() {
    let fake = Fake::new(1, 5);
    let waves = WaveSettings { enabled: true, first: 2, ..WaveSettings::default() };
    let mut executor = fake.executor(ExecuteSettings { waves, ..unlimited() });
    executor.offer((101..=105).map(|segment| admitted(segment, 2)).collect(), Bytes(1_000));
    let_pass(&mut executor, Duration::from_secs(24 * 3_600)).await;
    let sizes: Vec<usize> = fake.calls().iter().map(|(_, _, segments)| segments.len()).collect();
    assert_eq!(sizes, [2]);
    assert_eq!(executor.limited_by(), Some(Reason::WaveUnjudged { moves: 2 }));
}

/// A wave of this size, and nothing else that limits.
fn waves_of(first: u32) -> ExecuteSettings {
    let waves = WaveSettings { enabled: true, first, ..WaveSettings::default() };
    ExecuteSettings { waves, ..unlimited() }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_nobody_can_see_holds_up_no_wave_for_ever() {
    let fake = Fake::new(2, 1);
    fake.state().reads_fail = true;
    let settings = waves_of(1);
    let patience = settings.settle_timeout;
    let mut executor = fake.executor(settings);
    executor.offer(vec![admitted(101, 2), admitted(201, 2)], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    let mut blind = fake.observation();
    blind.collections.iter_mut().for_each(|collection| collection.segments = None);
    let_pass(&mut executor, patience).await;
    executor.settle(&blind).await;
    assert_eq!(executor.limited_by(), Some(Reason::WaveFull { size: 1 }), "not before its time");
    let_pass(&mut executor, Duration::from_secs(1)).await;
    executor.settle(&blind).await;
    assert_eq!(executor.limited_by(), Some(Reason::WaveUnjudged { moves: 1 }));
    assert_eq!(executor.open_operations().count(), 1, "it stays locked");
    let judged = look(&mut executor, &fake, &[]).expect("it is over");
    assert_eq!((judged.verdict, executor.status().wave_size), (WaveVerdict::ProvesNothing, Some(1)));
    drive(&mut executor, |executor| executor.status().calls_sent == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_keeps_no_wave_from_its_judgement() {
    for seconds in [-86_400, 86_400] {
        let fake = Fake::new(1, 2);
        let mut executor = fake.executor(waves_of(1));
        executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
        let is_over = |executor: &Executor| executor.limited_by() == Some(Reason::WaveUnjudged { moves: 1 });
        drive(&mut executor, is_over).await;
        fake.stepped.fetch_add(seconds, Ordering::Relaxed);
        assert!(look(&mut executor, &fake, &[]).is_some(), "after a step of {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_of_a_wave_begins_no_new_one() {
    let fake = Fake::new(1, 6);
    let offer = || (103..=106).map(|segment| admitted(segment, 2)).collect();
    let mut executor = fake.executor(waves_of(2));
    executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
    drive(&mut executor, |_| fake.calls().len() == 1).await;
    drop(executor);

    let mut executor = fake.executor(waves_of(2));
    executor.recover().await.unwrap();
    executor.offer(offer(), Bytes(1_000));
    assert_eq!(executor.limited_by(), Some(Reason::WaveFull { size: 2 }));
    executor.settle(&fake.observation()).await;
    assert_eq!(executor.limited_by(), Some(Reason::WaveUnjudged { moves: 2 }));
    sleep(Duration::from_secs(30)).await;
    drop(executor);

    let mut executor = fake.executor(waves_of(2));
    executor.recover().await.unwrap();
    executor.offer(offer(), Bytes(1_000));
    assert_eq!(executor.limited_by(), Some(Reason::WaveUnjudged { moves: 2 }), "ended and not judged");
    let judged = look(&mut executor, &fake, &[]).expect("it is over");
    assert_eq!((judged.sent, judged.landed, judged.verdict), (2, 2, WaveVerdict::ProvesNothing));
    assert_eq!(executor.status().wave_size, Some(2));
    fake.journal().record_wave(judged.record()).await.unwrap();
    drop(executor);

    let mut executor = fake.executor(waves_of(2));
    executor.recover().await.unwrap();
    executor.offer(offer(), Bytes(1_000));
    assert_eq!(executor.limited_by(), None, "what was judged counts no more");
}
