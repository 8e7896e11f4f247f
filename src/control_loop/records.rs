//! What the journal keeps of a turn: its numbers, and its plan where that says something new.

use std::time::Duration;

use super::Told;
use crate::journal::{PlanRecord, TurnRecord};
use crate::plan::FindingState;
use crate::reason::Reason;
use crate::turn::Decision;
use crate::units::Moment;

pub(super) fn turn_record(decision: &Decision, limited_by: Option<&Reason>, now: Moment) -> TurnRecord {
    let overloaded =
        decision.findings.iter().filter(|finding| finding.state == FindingState::Overloaded).count();
    TurnRecord {
        started_at: decision.snapshot.taken_at.min(now.wall),
        took: Duration::ZERO,
        result: if decision.plan.steps.is_empty() { "quiet" } else { "planned" }.to_owned(),
        detail: limited_by.map(ToString::to_string).unwrap_or_default(),
        limited_by: limited_by.map(|reason| reason.code().to_owned()),
        nodes: decision.snapshot.query_nodes(),
        collections: decision.snapshot.collections.len(),
        copies: decision.snapshot.copies.len(),
        overloaded,
        moves_planned: decision.plan.moves().count(),
        moves_admitted: decision.verdict.admitted.len(),
    }
}

pub(super) fn failed_turn(started: Moment, took: Duration, sentence: String) -> TurnRecord {
    TurnRecord {
        started_at: started.wall,
        took,
        result: "failed".to_owned(),
        detail: sentence,
        limited_by: None,
        nodes: 0,
        collections: 0,
        copies: 0,
        overloaded: 0,
        moves_planned: 0,
        moves_admitted: 0,
    }
}

/// Where things stand, in one line for `systemctl status`.
pub(super) fn standing(turn: &TurnRecord) -> String {
    let TurnRecord { nodes, copies, overloaded, moves_planned, moves_admitted, .. } = turn;
    let seen = format!("{nodes} nodes, {copies} segments, {overloaded} overloaded; ");
    let held = if turn.detail.is_empty() { String::new() } else { format!("; held back: {}", turn.detail) };
    format!("{seen}{moves_planned} moves planned, {moves_admitted} let through{held}")
}

/// A plan is kept when there is one, or when somebody overloaded is left alone, and once as long as it stays the same.
pub(super) fn plan_record(decision: &Decision, told: &mut Told) -> Option<PlanRecord> {
    let proof = &decision.plan.proof;
    let says_something = !decision.plan.steps.is_empty() || !proof.left_alone.is_empty();
    if !says_something || told.recorded.as_ref() == Some(&decision.plan) {
        return None;
    }
    told.recorded = Some(decision.plan.clone());
    Some(PlanRecord {
        digest: Some(decision.plan.digest().to_string()),
        snapshot_digest: Some(decision.snapshot_digest.to_string()),
        moves: decision.plan.moves().count(),
        bytes: proof.bytes_moved,
        steps: serde_json::to_string(&decision.plan.steps).unwrap_or_default(),
        proof: serde_json::to_string(proof).unwrap_or_default(),
    })
}
