//! Approval: where it is required, nothing of a plan is done before a person has agreed to exactly these moves.
//!
//! A plan is carried out in waves, and the plan after a wave is what is left of it: moves that were approved together
//! stay approved as long as nothing else is planned. Whatever else is planned needs an approval of its own, and the old
//! one is void.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::settings::ApprovalRule;
use crate::model::{Approval, HeldPlan, MoveKey, PlanningInput};
use crate::plan::{Move, Plan};
use crate::reason::Reason;

/// How long an approval holds: who gave it looked at a cluster that is an hour old by then.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The plan that needs approval now, in the light of the one before and of what was approved since.
pub fn advance(input: &PlanningInput, plan: &Plan) -> Option<HeldPlan> {
    if input.gate.approval == ApprovalRule::Off {
        return None;
    }
    let now = input.now.wall;
    let mut held = input.history.held_plan.clone();
    if let Some(known) = &mut held
        && known.approval.as_ref().is_some_and(|approval| !is_valid(approval, now))
    {
        // Lapsed: what is left of it is a plan that nobody has approved.
        known.approval = None;
        known.since = Some(now);
    }
    if plan.steps.is_empty() {
        return held;
    }
    let moves: BTreeSet<MoveKey> = plan.moves().map(key).collect();
    if held.as_ref().is_some_and(|known| known.approval.is_some() && moves.is_subset(&known.moves)) {
        return held;
    }
    let digest = plan.digest();
    let since = match held {
        Some(known) if known.digest == digest => known.since,
        Some(_) => Some(now),
        None => None,
    };
    let is_for_this = |approval: &&Approval| {
        approval.digest == digest && is_valid(approval, now) && since.is_none_or(|since| approval.at >= since)
    };
    let approval = input.controls.approvals.iter().filter(is_for_this).max_by_key(|approval| approval.at);
    Some(HeldPlan { digest, since, moves, approval: approval.cloned() })
}

/// Why the plan must wait for somebody.
pub fn stop(input: &PlanningInput, plan: &Plan) -> Option<Reason> {
    let is_required = input.gate.approval == ApprovalRule::Required && !plan.steps.is_empty();
    let is_approved = |held: &HeldPlan| {
        let is_valid = held.approval.as_ref().is_some_and(|approval| is_valid(approval, input.now.wall));
        is_valid && plan.moves().all(|movement| held.moves.contains(&key(movement)))
    };
    let waits = is_required && !input.history.held_plan.as_ref().is_some_and(is_approved);
    waits.then(|| Reason::AwaitingApproval { digest: plan.digest() })
}

/// An approval from the future is none: the clock was set back, and its age is unknown.
fn is_valid(approval: &Approval, now: Timestamp) -> bool {
    let age = now.duration_since(approval.at);
    !age.is_negative() && age < VALID_FOR
}

fn key(movement: &Move) -> MoveKey {
    let Move { segment, replica, from, to, .. } = movement;
    MoveKey { segment: *segment, replica: *replica, from: *from, to: *to }
}
