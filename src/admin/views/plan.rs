//! The plan in force, its proof and its verdicts as the API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReasonView;
use crate::admin::paging::Page;
use crate::control_loop::LastTurn;
use crate::gate::Refusal;
use crate::model::Snapshot;
use crate::plan::{DimensionProof, LeftAlone, Move, Step};

/// One segment's way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MoveView {
    /// What moves.
    pub segment: String,
    /// Its collection.
    pub collection: String,
    /// Database and name of the collection.
    pub collection_name: String,
    /// The replica inside which it moves.
    pub replica: String,
    /// Where it is.
    pub from: String,
    /// Where it is to be.
    pub to: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
}

impl MoveView {
    /// Of a move, with the name that the snapshot knows.
    pub fn of(movement: &Move, snapshot: &Snapshot) -> MoveView {
        let index = snapshot.collection_index(movement.collection);
        let name = index.map(|index| snapshot.collections[index.at()].full_name());
        MoveView {
            segment: movement.segment.to_string(),
            collection: movement.collection.to_string(),
            collection_name: name.unwrap_or_default(),
            replica: movement.replica.to_string(),
            from: movement.from.to_string(),
            to: movement.to.to_string(),
            bytes: movement.bytes.0,
            rows: movement.rows.0,
        }
    }
}

/// Moves that belong together: all of them or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its place in the plan, from 0.
    pub position: usize,
    /// Its moves.
    pub moves: Vec<MoveView>,
    /// The dimension that it relieves.
    pub dimension: String,
    /// Pressure of the source before.
    pub source_before: f64,
    /// The same after it.
    pub source_after: f64,
    /// Pressure of the destination before.
    pub destination_before: f64,
    /// The same after it.
    pub destination_after: f64,
    /// Whether the gates let it through.
    pub admitted: bool,
}

impl StepView {
    fn of(position: usize, step: &Step, last: &LastTurn) -> StepView {
        let snapshot = &last.decision.snapshot;
        StepView {
            position,
            moves: step.moves.iter().map(|movement| MoveView::of(movement, snapshot)).collect(),
            dimension: step.dimension.clone(),
            source_before: step.source_before.decimal(),
            source_after: step.source_after.decimal(),
            destination_before: step.destination_before.decimal(),
            destination_after: step.destination_after.decimal(),
            admitted: last.decision.verdict.admitted.contains(&position),
        }
    }
}

/// The worst pressure of some nodes in a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FloorView {
    /// The dimension.
    pub dimension: String,
    /// The nodes, named by the first of those that common replicas link.
    pub component: String,
    /// Worst pressure now.
    pub before: f64,
    /// Worst pressure after the plan.
    pub after: f64,
    /// Below this it cannot get, whatever is moved.
    pub floor: f64,
    /// What makes that floor, in words.
    pub floor_cause: String,
}

impl From<&DimensionProof> for FloorView {
    fn from(proof: &DimensionProof) -> FloorView {
        FloorView {
            dimension: proof.dimension.clone(),
            component: proof.component.to_string(),
            before: proof.before.decimal(),
            after: proof.after.decimal(),
            floor: proof.floor.decimal(),
            floor_cause: proof.floor_cause.to_string(),
        }
    }
}

/// An overloaded node that the plan leaves above its band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LeftAloneView {
    /// The node.
    pub node: String,
    /// The dimension.
    pub dimension: String,
    /// Its pressure after the plan.
    pub pressure: f64,
    /// The move that came closest.
    pub best_candidate: Option<MoveView>,
    /// Why it is not made.
    pub reason: ReasonView,
}

impl LeftAloneView {
    fn of(left: &LeftAlone, snapshot: &Snapshot) -> LeftAloneView {
        LeftAloneView {
            node: left.node.to_string(),
            dimension: left.dimension.clone(),
            pressure: left.pressure.decimal(),
            best_candidate: left.best_candidate.as_ref().map(|best| MoveView::of(best, snapshot)),
            reason: ReasonView::from(&left.reason),
        }
    }
}

/// Something that the gates refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// What is refused, in words.
    pub subject: String,
    /// Why.
    pub reason: ReasonView,
}

impl From<&Refusal> for VerdictView {
    fn from(refusal: &Refusal) -> VerdictView {
        VerdictView { subject: refusal.subject.to_string(), reason: ReasonView::from(&refusal.reason) }
    }
}

/// What would be good to do, and how good that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// When the cluster was looked at.
    pub taken_at: Timestamp,
    /// The name of these moves, by which they are approved; `None` when there are none.
    pub digest: Option<String>,
    /// Moves in all steps.
    pub moves: usize,
    /// Bytes that they move.
    pub bytes: u64,
    /// Steps that the gates let through.
    pub admitted: usize,
    /// Candidate moves that were evaluated.
    pub effort_used: u64,
    /// Worst pressures now, after the plan, and at best.
    pub proof: Vec<FloorView>,
    /// Overloaded nodes that stay above their band, with the reason.
    pub left_alone: Vec<LeftAloneView>,
    /// What holds the plan back, if anything does.
    pub limited_by: Option<ReasonView>,
    /// The steps, in the order in which they are to be taken.
    pub steps: Page<StepView>,
}

impl PlanView {
    /// Of a turn; of its steps those from `first` on, at most so many.
    pub fn of(last: &LastTurn, first: usize, limit: usize) -> PlanView {
        let decision = &last.decision;
        let (plan, snapshot) = (&decision.plan, &decision.snapshot);
        let steps = plan.steps.iter().enumerate().skip(first).take(limit.saturating_add(1));
        let steps = steps.map(|(position, step)| StepView::of(position, step, last)).collect();
        PlanView {
            taken_at: snapshot.taken_at,
            digest: (!plan.steps.is_empty()).then(|| plan.digest().to_string()),
            moves: plan.moves().count(),
            bytes: plan.proof.bytes_moved.0,
            admitted: decision.verdict.admitted.len(),
            effort_used: plan.proof.effort_used,
            proof: plan.proof.dimensions.iter().map(FloorView::from).collect(),
            left_alone: plan.proof.left_alone.iter().map(|left| LeftAloneView::of(left, snapshot)).collect(),
            limited_by: last.limited_by.as_ref().map(ReasonView::from),
            steps: Page::of(steps, limit, |step: &StepView| step.position.to_string()),
        }
    }
}
