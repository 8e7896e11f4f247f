//! When a demo is over: the cluster is balanced, somebody else moves segments, or nothing more will come of it.

use std::time::Duration;

use super::report::Outcome;
use crate::control_loop::{LastTurn, LoopState};
use crate::gate::component_name;
use crate::plan::Finding;
use crate::reason::Reason;
use crate::units::{NodeId, Ratio};

/// Turns at rest until it is believed: longer than nodes settle after a move, and than an overload must last.
const TURNS_AT_REST: u64 = 4;

/// Turns at rest after which an unbalanced cluster, of which nothing changes, will stay so.
const TURNS_STUCK: u64 = 15;

/// Follows the turns and says when it is over.
#[derive(Debug, Default)]
pub(super) struct Ending {
    turns_seen: u64,
    turns_at_rest: u64,
    at_rest_since: Duration,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// In which way.
    pub(super) outcome: Outcome,
    /// Since when nothing was left to do.
    pub(super) since: Duration,
}

impl Ending {
    /// Looks at the state of the loop, `at` so long after the start; a verdict when nothing more is to be expected.
    /// `may_change` says whether something other than the daemon changes the cluster.
    pub(super) fn look(
        &mut self,
        state: &LoopState,
        at: Duration,
        enter: Ratio,
        may_change: bool,
    ) -> Option<Verdict> {
        let new_turns = state.turns.saturating_sub(self.turns_seen);
        self.turns_seen = state.turns;
        let turn = state.last.as_ref().filter(|_| state.failure.is_none())?;
        if !is_at_rest(state, turn) {
            self.turns_at_rest = 0;
            return None;
        }
        if self.turns_at_rest == 0 {
            self.at_rest_since = at;
        }
        self.turns_at_rest += new_turns;
        if self.turns_at_rest < TURNS_AT_REST {
            return None;
        }
        let verdict = |outcome| Some(Verdict { outcome, since: self.at_rest_since });
        // Whatever came of it is not the daemon's doing then.
        if somebody_else(turn).is_some() {
            return verdict(Outcome::SomebodyElseMoves);
        }
        if is_balanced(turn, enter) {
            return verdict(Outcome::Balanced);
        }
        if self.turns_at_rest >= TURNS_STUCK && !may_change {
            return verdict(Outcome::NotBalanced);
        }
        None
    }
}

/// Nothing is planned that may be done, and nothing is on its way.
fn is_at_rest(state: &LoopState, turn: &LastTurn) -> bool {
    turn.decision.verdict.admitted.is_empty() && state.open.is_empty() && state.executor.queued == 0
}

/// Whether every node is inside its band, or as close to it as the floor lets it come.
fn is_balanced(turn: &LastTurn, enter: Ratio) -> bool {
    let findings = &turn.decision.findings;
    !findings.is_empty()
        && findings.iter().all(|finding| finding.pressure <= enter.max(floor_of(turn, finding)))
}

/// Below what the pressure of this node's component cannot get.
fn floor_of(turn: &LastTurn, finding: &Finding) -> Ratio {
    let component = component_of(turn, finding.node);
    let proofs = turn.decision.plan.proof.dimensions.iter();
    let own =
        proofs.filter(|proof| proof.dimension == finding.dimension && Some(proof.component) == component);
    own.map(|proof| proof.floor).max().unwrap_or(Ratio::ONE)
}

fn component_of(turn: &LastTurn, node: NodeId) -> Option<NodeId> {
    let snapshot = &turn.decision.snapshot;
    let node = snapshot.node(snapshot.node_index(node)?);
    component_name(snapshot, node.component?)
}

/// Why the daemon holds still, when that is because somebody else moves segments.
pub(super) fn somebody_else(turn: &LastTurn) -> Option<&Reason> {
    let by_another = |reason: &&Reason| matches!(reason, Reason::ForeignMover { .. });
    turn.decision.restrictions.components.values().find(by_another)
}
