//! The end: when nothing changes and nothing fails any more, the daemon must come to rest, and whoever is still
//! overloaded must have been told why.

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::control_loop::{LastTurn, LoopState};
use milvus_rebalancer::gate::component_name;
use milvus_rebalancer::plan::{Finding, FindingState};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::turn::{Decision, OwnMoves};
use milvus_rebalancer::units::{Moment, Ratio};

use crate::daemon::thinking;
use crate::polls::Polls;
use crate::scenario::Scenario;
use crate::watch::Problem;

/// For how long nothing must happen.
const REST: Duration = Duration::from_secs(10 * 60);

/// How long it may take: small limits on a crowded cluster need hundreds of calls, and what is cooling down moves
/// again half an hour later.
pub const PATIENCE: Duration = Duration::from_secs(8 * 60 * 60);

/// How long it is watched where Milvus' own balancer moves segments, too: by rows where we go by bytes. The two may
/// undo each other's work for ever, however seldom; what must hold is that nothing forbidden happens meanwhile. Then
/// the other one is switched off, and rest is demanded as everywhere.
pub const BESIDE_THE_OTHER: Duration = Duration::from_secs(60 * 60);

/// Watches the daemon come to rest.
#[derive(Default)]
pub struct Rest {
    since: Option<Duration>,
    turns: u64,
}

impl Rest {
    /// Takes a look; whether it has rested for long enough.
    pub fn look(&mut self, state: &LoopState, now: Duration) -> bool {
        if !is_quiet(state) {
            self.since = None;
            return false;
        }
        if self.since.is_none() {
            self.turns = state.turns;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_sub(since) >= REST && state.turns > self.turns + 2
    }
}

/// Whether nothing is on its way and nothing will be, by the last turn.
fn is_quiet(state: &LoopState) -> bool {
    let Some(last) = &state.last else { return false };
    if !state.open.is_empty() || state.failure.is_some() {
        return false;
    }
    let decision = &last.decision;
    if decision.plan.steps.is_empty() {
        return true;
    }
    // The budget is spent: there is more to do, and the reason is known why it is not done now.
    matches!(
        last.limited_by,
        Some(
            Reason::BreakerOpen { .. }
                | Reason::HourlyMoves { .. }
                | Reason::DailyMoves { .. }
                | Reason::HourlyBytes { .. }
                | Reason::DailyBytes { .. }
        )
    )
}

/// Codes of the reasons why nodes are left above their band, and nodes that are left so without any.
pub fn reasons(scenario: &Scenario, last: &LastTurn) -> (BTreeSet<&'static str>, Vec<Problem>) {
    let mut codes = BTreeSet::new();
    let mut problems = Vec::new();
    let decision = &last.decision;
    // What is planned and not done waits for the one thing that holds us back.
    let waits_for = last.limited_by.as_ref().filter(|_| !decision.plan.steps.is_empty());
    for finding in &decision.findings {
        let enter = match finding.dimension.as_str() {
            "memory" => scenario.policies.memory.enter,
            _ => scenario.policies.rows.0.enter,
        };
        if finding.pressure <= enter.max(floor(decision, finding)) {
            continue;
        }
        match reason(decision, finding).or(waits_for) {
            Some(reason) => drop(codes.insert(reason.code())),
            None => problems.push(Problem::new(
                "no reason",
                format!(
                    "node {} is at {} of its {} and nobody says why: {finding:?}",
                    finding.node, finding.pressure, finding.dimension
                ),
            )),
        }
    }
    (codes, problems)
}

/// Below this the node's component cannot get.
fn floor(decision: &Decision, finding: &Finding) -> Ratio {
    let snapshot = &decision.snapshot;
    let component = snapshot.node_index(finding.node).and_then(|node| snapshot.node(node).component);
    let name = component.and_then(|component| component_name(snapshot, component));
    let proofs = decision.plan.proof.dimensions.iter();
    let mut own =
        proofs.filter(|proof| proof.dimension == finding.dimension && Some(proof.component) == name);
    own.next().map_or(Ratio::ZERO, |proof| proof.floor)
}

/// Why a node is left as it is.
fn reason<'a>(decision: &'a Decision, finding: &'a Finding) -> Option<&'a Reason> {
    if let FindingState::Tolerated(reason) = &finding.state {
        return Some(reason);
    }
    let snapshot = &decision.snapshot;
    let component = snapshot.node_index(finding.node).and_then(|node| snapshot.node(node).component);
    let name = component.and_then(|component| component_name(snapshot, component));
    let left_alone = decision.plan.proof.left_alone.iter().find(|left| left.node == finding.node);
    let restrictions = &decision.restrictions;
    left_alone
        .map(|left| &left.reason)
        .or(restrictions.cluster.as_ref())
        .or_else(|| name.and_then(|name| restrictions.components.get(&name)))
        .or_else(|| restrictions.sources.get(&finding.node))
}

/// Thinks twice about what was seen last, each time with an empty memory: the same must come out.
pub fn think_twice(scenario: &Scenario, polls: &Polls) -> Vec<Problem> {
    let (mut first, mut second) = (thinking(scenario), thinking(scenario));
    let mut problems = Vec::new();
    for poll in polls.all() {
        let now = Moment { wall: poll.returned_at, monotonic: Duration::ZERO };
        let one = first.turn(&poll.shown, OwnMoves::default(), now);
        let other = second.turn(&poll.shown, OwnMoves::default(), now);
        let is_same = one.snapshot == other.snapshot
            && one.findings == other.findings
            && one.restrictions == other.restrictions
            && one.plan == other.plan
            && one.verdict == other.verdict;
        if !is_same {
            let text = format!("the look of {} leads to two decisions", poll.returned_at);
            problems.push(Problem::new("undecided", text));
        }
    }
    problems
}
