//! Fills the page with what the last turn, the executor and the journal know.

use std::sync::Arc;

use askama::Template;
use jiff::Timestamp;

use super::answers::{Answers, Known, Waiting};
use super::bars::{Bars, bars};
use super::curve::CurvePicture;
use super::figures::{bytes, clock, times};
use super::heat::Heat;
use super::ledger::Ledger;
use super::tables::{self, MoveRow, Reasons, StepRow};
use super::timeline::{Past, Timeline};
use super::{Asked, Question, Recorded, answer};
use crate::admin::access::Role;
use crate::admin::problem::Problem;
use crate::admin::shared::{Shared, TurnViews};
use crate::admin::views::{ControlsView, DimensionView, DoubtView, OperationView, PlanView, StatusView};
use crate::config::Mode;
use crate::execute::LimitUse;
use crate::model::Pause;

/// Moves that were lately ended and are listed.
const ENDED_SHOWN: usize = 8;

/// Doubts that are listed.
const DOUBTS_SHOWN: usize = 10;

/// Nodes that a field offers by name; of more, the number is typed.
const NODES_OFFERED: usize = 200;

/// A dimension's proof: now, after the plan, at best.
pub(super) struct ProofRow {
    pub(super) dimension: String,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) floor: String,
    pub(super) cause: String,
}

/// A limit and how much of it is used.
pub(super) struct LimitRow {
    pub(super) name: String,
    pub(super) used: String,
    pub(super) limit: String,
    pub(super) per_cent: u64,
}

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    answers: Answers,
    /// Planned moves that are not under way.
    waiting: usize,
    status: &'a StatusView,
    seen_at: Option<Timestamp>,
    seen_clock: String,
    is_acting: bool,
    may_operate: bool,
    controls: Option<&'a ControlsView>,
    is_paused: bool,
    problem: Option<&'a str>,
    heat: Heat,
    bars: Vec<Bars>,
    moving: Vec<MoveRow>,
    ended: Vec<MoveRow>,
    timeline: Option<Timeline>,
    proof: Vec<ProofRow>,
    plan: Option<PlanView>,
    plan_bytes: String,
    bytes_floor: String,
    steps: Vec<StepRow>,
    more_steps: usize,
    reasons: Reasons,
    ledger: Option<Ledger>,
    curve: Option<CurvePicture>,
    limits: Vec<LimitRow>,
    doubts: Vec<DoubtView>,
    more_doubts: usize,
    asked: Option<Asked>,
    question: Question,
    node_ids: Vec<String>,
}

/// The page.
pub(super) fn page(
    shared: &Arc<Shared>,
    role: Role,
    question: Question,
    recorded: &Recorded,
) -> Result<String, Problem> {
    let now = shared.clock.read().wall;
    // Copied, so that a slow page never holds up the loop.
    let state = shared.state.borrow().clone();
    let views = state.last.clone().map(|last| shared.views.of(last));
    let controls = recorded.controls.as_ref();
    let pause = controls.and_then(|controls| controls.pause.as_ref()).map(|pause| Pause {
        from: pause.from,
        until: pause.until,
        reason: pause.reason.clone(),
        by: pause.by.clone(),
    });
    let mut status = StatusView::of(&state, shared.mode, pause.as_ref(), &[]);
    status.drains = controls.map(|controls| controls.drains.clone()).unwrap_or_default();
    let open: Vec<OperationView> = state.open.iter().map(OperationView::from).collect();
    let last = state.last.as_deref();
    let answers =
        Answers::of(&Known { status: &status, last, open: &open, controls, mode: shared.mode, role });
    let seen = views.as_deref().map(Seen::of).unwrap_or_default();
    let timeline = Timeline::of(&Past {
        points: state.trail.points().collect(),
        operations: &recorded.operations,
        waves: &recorded.waves,
        enter: seen.enter,
        now: status.taken_at.unwrap_or(now),
    });
    let ended = recorded.operations.iter().filter(|operation| operation.state.is_ended());
    let template = PageTemplate {
        answers,
        waiting: Waiting::of(last, &open).moves,
        seen_at: status.taken_at,
        seen_clock: status.taken_at.map(clock).unwrap_or_default(),
        is_acting: shared.mode != Mode::Advise,
        may_operate: role == Role::Operate,
        controls,
        is_paused: pause.is_some(),
        problem: recorded.problem.as_deref(),
        moving: open.iter().map(MoveRow::from).collect(),
        ended: ended
            .take(ENDED_SHOWN)
            .map(|operation| MoveRow::from(&OperationView::from(operation)))
            .collect(),
        timeline,
        limits: state.executor.limits.iter().filter_map(limit).collect(),
        asked: answer(last, question.clone()),
        question,
        heat: seen.heat,
        bars: seen.bars,
        proof: status.dimensions.iter().map(proof).collect(),
        steps: seen.plan.as_ref().map(tables::steps).unwrap_or_default(),
        more_steps: seen.more_steps,
        plan_bytes: bytes(status.plan.bytes),
        plan: seen.plan,
        bytes_floor: seen.bytes_floor,
        reasons: seen.reasons,
        ledger: seen.ledger,
        curve: seen.curve,
        doubts: seen.doubts,
        more_doubts: seen.more_doubts,
        node_ids: seen.node_ids,
        status: &status,
    };
    template.render().map_err(|error| {
        tracing::error!(%error, "the page cannot be made");
        Problem::unavailable("the page cannot be made; the log says more")
    })
}

/// What there is to show of a turn that saw the cluster.
#[derive(Default)]
struct Seen {
    heat: Heat,
    bars: Vec<Bars>,
    enter: Option<f64>,
    plan: Option<PlanView>,
    more_steps: usize,
    bytes_floor: String,
    reasons: Reasons,
    ledger: Option<Ledger>,
    curve: Option<CurvePicture>,
    doubts: Vec<DoubtView>,
    more_doubts: usize,
    node_ids: Vec<String>,
}

impl Seen {
    fn of(views: &TurnViews) -> Seen {
        let decision = &views.last.decision;
        let (snapshot, plan) = (&decision.snapshot, &decision.plan);
        let dimensions: Vec<DimensionView> = decision
            .assessment
            .dimensions
            .iter()
            .map(|dimension| DimensionView::of(dimension, snapshot))
            .collect();
        let floors: Vec<_> = plan.proof.dimensions.iter().map(Into::into).collect();
        let floor = plan.proof.dimensions.iter().map(|proof| proof.floor).max();
        let doubts = &snapshot.doubts;
        let node_ids = views.nodes.iter().map(|node| node.id.clone());
        Seen {
            heat: Heat::of(&views.nodes, &dimensions),
            bars: bars(&views.nodes, &dimensions, &floors),
            enter: dimensions.iter().map(|dimension| dimension.enter).min_by(f64::total_cmp),
            plan: Some(PlanView::of(&views.last, 0, tables::STEPS_SHOWN)),
            more_steps: plan.steps.len().saturating_sub(tables::STEPS_SHOWN),
            bytes_floor: bytes(plan.proof.bytes_floor.0),
            reasons: tables::reasons(decision),
            ledger: Some(Ledger::of(&decision.net_zero)),
            curve: CurvePicture::of(views.curve(), floor.map(crate::units::Ratio::decimal)),
            doubts: doubts.iter().take(DOUBTS_SHOWN).map(DoubtView::from).collect(),
            more_doubts: doubts.len().saturating_sub(DOUBTS_SHOWN),
            node_ids: if views.nodes.len() <= NODES_OFFERED { node_ids.collect() } else { Vec::new() },
        }
    }
}

fn proof(floor: &crate::admin::views::FloorView) -> ProofRow {
    ProofRow {
        dimension: floor.dimension.clone(),
        before: times(floor.before),
        after: times(floor.after),
        floor: times(floor.floor),
        cause: floor.floor_cause.clone(),
    }
}

/// Only what is limited.
fn limit(entry: &LimitUse) -> Option<LimitRow> {
    if entry.limit == 0 {
        return None;
    }
    let shown =
        |amount: u64| if entry.name.starts_with("bytes") { bytes(amount) } else { amount.to_string() };
    Some(LimitRow {
        name: entry.name.replace('_', " "),
        used: shown(entry.used),
        limit: shown(entry.limit),
        per_cent: (entry.used.saturating_mul(100) / entry.limit).min(100),
    })
}
