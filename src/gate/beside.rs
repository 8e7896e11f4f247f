//! Living beside Milvus' own balancer (mode `within`): nothing is planned that it would undo, and where nobody can say what
//! it would undo, plans are shown and not carried out.

use std::sync::Arc;

use super::Restrictions;
use crate::model::milvus_score::Keeper;
use crate::model::{CopyIndex, NodeIndex, PlanningInput, Snapshot};
use crate::plan::{Move, Placement};
use crate::reason::Reason;

/// Hands the planner what it has to ask before each move.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let placement = Placement::projected(&input.snapshot, &input.in_flight);
    restrictions.keeper = input.own_balancer.keeper(&input.snapshot, &placement.node).map(Arc::new);
}

/// Why nothing of a plan may be carried out: the mode is `within`, and how Milvus' balancer decides is not known.
pub fn stop(input: &PlanningInput) -> Option<Reason> {
    let balancer = &input.own_balancer;
    balancer.unknown.clone().filter(|_| balancer.is_binding)
}

/// Asks once more, move by move, about a plan that is finished.
pub struct Recheck {
    keeper: Option<Keeper>,
}

impl Recheck {
    /// Before any move of the plan.
    pub fn of(restrictions: &Restrictions) -> Recheck {
        Recheck { keeper: restrictions.keeper.as_deref().cloned() }
    }

    /// Whether Milvus' balancer would leave a step alone, on top of those admitted before it: each of its moves on top of
    /// the one before, because they land one after the other.
    pub fn allows(&mut self, snapshot: &Snapshot, moves: &[Move]) -> Result<(), Reason> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let mut carried_out = Vec::new();
        let mut answer = Ok(());
        for (copy, from, to) in moves.iter().filter_map(|movement| indices(snapshot, movement)) {
            answer = keeper.allows(copy, to);
            if answer.is_err() || moves.len() == 1 {
                break;
            }
            keeper.apply(copy, to);
            carried_out.push((copy, from));
        }
        for (copy, from) in carried_out.into_iter().rev() {
            keeper.apply(copy, from);
        }
        answer
    }

    /// The step is admitted.
    pub fn admit(&mut self, snapshot: &Snapshot, moves: &[Move]) {
        let Some(keeper) = &mut self.keeper else { return };
        for (copy, _, to) in moves.iter().filter_map(|movement| indices(snapshot, movement)) {
            keeper.apply(copy, to);
        }
    }
}

/// A move in indices; `None` for one that is refused for other reasons.
fn indices(snapshot: &Snapshot, movement: &Move) -> Option<(CopyIndex, NodeIndex, NodeIndex)> {
    let replica = snapshot.replica_index(movement.replica)?;
    let copy = snapshot.copy_index(movement.segment, replica)?;
    Some((copy, snapshot.node_index(movement.from)?, snapshot.node_index(movement.to)?))
}
