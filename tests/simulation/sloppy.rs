//! A planner that plans by throwing dice, so that the gate behind it is all that stands between nonsense and the
//! cluster. The real planner asks the same questions as the gate and so hides what the gate would miss.

use jiff::Timestamp;
use milvus_rebalancer::model::{PlanningInput, Replica, Snapshot};
use milvus_rebalancer::plan::{self, Move, Plan, Step};
use milvus_rebalancer::turn::Planner;
use milvus_rebalancer::units::{NodeId, Ratio};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Moves in a plan: more than are admitted at once by most limits.
const MOVES: usize = 24;
/// No node has this id.
const NOBODY: NodeId = NodeId(999_999);
/// One step in so many has a second move.
const PAIR_EVERY: u32 = 4;

/// Throws dice until this time, and plans in earnest from then on: rest can be demanded of it.
pub fn planner(seed: u64, until: Timestamp) -> Planner {
    Box::new(move |input, views, placement, findings, restrictions| {
        let earnest = plan::plan(input, views, placement, findings, restrictions);
        if input.now.wall >= until {
            return earnest;
        }
        // The same look leads to the same plan.
        #[allow(clippy::cast_sign_loss)] // any number will do
        let moment = input.now.wall.as_millisecond() as u64;
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ moment.rotate_left(20));
        Plan { steps: steps(input, &mut dice), ..earnest }
    })
}

fn steps(input: &PlanningInput, dice: &mut ChaCha8Rng) -> Vec<Step> {
    if input.snapshot.copies.is_empty() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    for _ in 0..MOVES {
        let mut moves = vec![movement(&input.snapshot, dice)];
        if dice.random_ratio(1, PAIR_EVERY) {
            moves.push(movement(&input.snapshot, dice));
        }
        steps.push(Step {
            moves,
            dimension: "memory".to_owned(),
            source_before: Ratio::ZERO,
            source_after: Ratio::ZERO,
            destination_before: Ratio::ZERO,
            destination_after: Ratio::ZERO,
        });
    }
    steps
}

/// A copy, as likely as not one that must stay, and a place that may be fit or not.
fn movement(snapshot: &Snapshot, dice: &mut ChaCha8Rng) -> Move {
    let copies = &snapshot.copies;
    let held: Vec<usize> = (0..copies.len()).filter(|at| copies.held[*at].is_some()).collect();
    let at = match held.len() {
        0 => dice.random_range(0..copies.len()),
        _ if dice.random_bool(0.5) => dice.random_range(0..copies.len()),
        count => held[dice.random_range(0..count)],
    };
    let replica = snapshot.replica(copies.replica[at]);
    let from = snapshot.node(copies.node[at]).id;
    Move {
        segment: copies.segment[at],
        collection: snapshot.collection_of(copies.replica[at]).id,
        replica: replica.id,
        from,
        to: destination(snapshot, replica, from, dice),
        bytes: copies.bytes[at],
        rows: copies.rows[at],
    }
}

fn destination(snapshot: &Snapshot, home: &Replica, from: NodeId, dice: &mut ChaCha8Rng) -> NodeId {
    let is_sibling = |replica: &&Replica| replica.collection == home.collection && replica.id != home.id;
    let members = |replica: &Replica| -> Vec<NodeId> {
        replica.members.iter().map(|member| snapshot.node(member.node).id).collect()
    };
    let choice: Vec<NodeId> = match dice.random_range(0..20) {
        0 => vec![from],
        1 => vec![NOBODY],
        2 | 3 => snapshot.nodes.iter().map(|node| node.id).collect(),
        4 | 5 => snapshot.replicas.iter().filter(is_sibling).flat_map(members).collect(),
        _ => members(home),
    };
    if choice.is_empty() { from } else { choice[dice.random_range(0..choice.len())] }
}
