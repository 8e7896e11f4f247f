//! Lists of the page: steps of the plan, moves under way and lately ended, what is refused and why.

use super::figures::{bytes, clock, times};
use crate::admin::views::{MoveView, OperationView, PlanView, StepView};
use crate::turn::Decision;

/// Steps of the plan that are listed; the API has all.
pub(super) const STEPS_SHOWN: usize = 12;

/// Refusals and other reasons that are listed.
const REASONS_SHOWN: usize = 20;

/// Reasons that are told apart; a cluster of a thousand nodes can have thousands.
const LONGEST_LIST: usize = 200;

/// Nodes, segments and the like that are named for a reason; the rest is counted.
const SUBJECTS_SHOWN: usize = 3;

/// A step of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepRow {
    pub(super) number: usize,
    pub(super) moves: Vec<StepMove>,
    /// What it is for: a kind of load, and what becomes of it where the step takes and where it gives.
    pub(super) dimension: String,
    pub(super) relieved: String,
    pub(super) loaded: String,
    pub(super) admitted: bool,
}

/// A move of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepMove {
    pub(super) what: String,
    pub(super) bytes: String,
    pub(super) from: String,
    pub(super) to: String,
}

impl From<&StepView> for StepRow {
    fn from(step: &StepView) -> StepRow {
        let change = |node: Option<&str>, before, after| {
            format!("node {}: {} → {}", node.unwrap_or_default(), times(before), times(after))
        };
        let first = step.moves.first();
        let from = first.map(|movement| movement.from.as_str());
        let to = first.map(|movement| movement.to.as_str());
        StepRow {
            number: step.position + 1,
            moves: step.moves.iter().map(StepMove::from).collect(),
            dimension: step.dimension.clone(),
            relieved: change(from, step.source_before, step.source_after),
            loaded: change(to, step.destination_before, step.destination_after),
            admitted: step.admitted,
        }
    }
}

impl From<&MoveView> for StepMove {
    fn from(movement: &MoveView) -> StepMove {
        StepMove {
            what: format!("segment {} of {}", movement.segment, movement.collection_name),
            bytes: bytes(movement.bytes),
            from: movement.from.clone(),
            to: movement.to.clone(),
        }
    }
}

/// The steps that are listed.
pub(super) fn steps(plan: &PlanView) -> Vec<StepRow> {
    plan.steps.items.iter().map(StepRow::from).collect()
}

/// A move that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MoveRow {
    pub(super) what: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) bytes: String,
    pub(super) state: String,
    pub(super) detail: String,
    pub(super) at: String,
    pub(super) origin: &'static str,
}

impl From<&OperationView> for MoveRow {
    fn from(operation: &OperationView) -> MoveRow {
        MoveRow {
            what: format!("segment {} of {}", operation.segment, operation.collection_name),
            from: operation.from.clone(),
            to: operation.to.clone(),
            bytes: bytes(operation.bytes),
            state: operation.state.clone(),
            detail: operation.detail.clone(),
            at: clock(operation.changed_at),
            origin: if operation.origin == "daemon" { "the plan" } else { "by hand" },
        }
    }
}

/// A reason, with everything that it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReasonRow {
    pub(super) subject: String,
    pub(super) code: &'static str,
    pub(super) sentence: String,
}

/// What is refused or left as it is. Equal reasons stand together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons {
    pub(super) rows: Vec<ReasonRow>,
    pub(super) more: usize,
}

/// The reasons of a turn: of refusals by the gates, of nodes that stay above their band, of orders that wait.
pub(super) fn reasons(decision: &Decision) -> Reasons {
    let proof = &decision.plan.proof;
    let refused =
        decision.verdict.refusals.iter().map(|refusal| (refusal.subject.to_string(), &refusal.reason));
    let left = proof
        .left_alone
        .iter()
        .map(|left| (format!("node {} ({})", left.node, left.dimension), &left.reason));
    let tolerated = decision.findings.iter().filter_map(|finding| {
        Some((format!("node {} ({})", finding.node, finding.dimension), finding.state.reason()?))
    });
    let mut grouped: Vec<(ReasonRow, usize)> = Vec::new();
    for (subject, reason) in refused.chain(left).chain(tolerated) {
        let (code, sentence) = (reason.code(), reason.to_string());
        let known = grouped.iter().position(|(row, _)| row.code == code && row.sentence == sentence);
        let Some(known) = known else {
            if grouped.len() < LONGEST_LIST {
                grouped.push((ReasonRow { subject, code, sentence }, 1));
            }
            continue;
        };
        let (row, number) = &mut grouped[known];
        *number += 1;
        if *number <= SUBJECTS_SHOWN && !row.subject.contains(&subject) {
            row.subject = format!("{}, {subject}", row.subject);
        }
    }
    let more = grouped.len().saturating_sub(REASONS_SHOWN);
    let row = |(row, number): (ReasonRow, usize)| match number.saturating_sub(SUBJECTS_SHOWN) {
        0 => row,
        more => ReasonRow { subject: format!("{} and {more} more", row.subject), ..row },
    };
    Reasons { rows: grouped.into_iter().take(REASONS_SHOWN).map(row).collect(), more }
}
