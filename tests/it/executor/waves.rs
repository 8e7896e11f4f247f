//! Waves through the executor: how many moves go out before the last ones have been judged.

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
