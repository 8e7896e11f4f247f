//! Why, and why not: questions about one segment, one node or one move, answered by the planner's own rules.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Query, id};
use super::problem::Problem;
use super::shared::{Shared, blocking};
use super::views::ExplanationView;
use crate::plan::explain::Explainer;
use crate::turn::Decision;
use crate::units::{NodeId, SegmentId};

type Answer = Result<Json<ExplanationsView>, Problem>;

/// Answers: one for a node, one for each copy of a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationsView {
    /// In the order of replicas.
    pub answers: Vec<ExplanationView>,
}

fn explainer(decision: &Decision) -> Explainer<'_> {
    Explainer {
        input: &decision.input,
        assessment: &decision.assessment,
        findings: &decision.findings,
        restrictions: &decision.restrictions,
        plan: &decision.plan,
    }
}

/// The answers to "why is this segment where it is".
pub fn why_segment(decision: &Decision, segment: SegmentId) -> ExplanationsView {
    ExplanationsView { answers: ExplanationView::of_segment(&explainer(decision).segment(segment)) }
}

/// The answers to "why does this segment not go there".
pub fn why_not(decision: &Decision, segment: SegmentId, to: NodeId) -> ExplanationsView {
    ExplanationsView { answers: ExplanationView::of_move(&explainer(decision).why_not(segment, to), to) }
}

/// The answer to "why is this node as it is"; none when there is no such node.
pub fn why_node(decision: &Decision, node: NodeId) -> ExplanationsView {
    let about = explainer(decision).node(node);
    let answers = about.iter().map(|about| ExplanationView::of_node(about, &decision.assessment)).collect();
    ExplanationsView { answers }
}

/// Asks about the last turn, beside everything else: it goes over all segments.
async fn ask(
    shared: &Shared,
    what: String,
    question: impl FnOnce(&Decision) -> ExplanationsView + Send + 'static,
) -> Answer {
    let last = shared.last()?;
    let found = blocking(move || question(&last.decision)).await?;
    if found.answers.is_empty() {
        return Err(Problem::not_found(format!("{what} was not seen with the last look")));
    }
    Ok(Json(found))
}

/// Why a segment is where it is: what holds it, where it could go, and what that would bring.
#[utoipa::path(get, path = "/v1/why/segments/{segment}", tag = "plan",
    params(("segment" = String, Path, description = "Its id")),
    responses((status = 200, body = ExplanationsView), (status = "default", body = Problem)))]
pub(super) async fn segment(State(shared): State<Arc<Shared>>, Path(segment): Path<String>) -> Answer {
    let segment: SegmentId = id(&segment, "a segment")?;
    ask(&shared, format!("segment {segment}"), move |decision| why_segment(decision, segment)).await
}

/// Why a node is as it is: its loads, what of them cannot move, and why it gives and takes, or not.
#[utoipa::path(get, path = "/v1/why/nodes/{node}", tag = "plan",
    params(("node" = String, Path, description = "Its id")),
    responses((status = 200, body = ExplanationsView), (status = "default", body = Problem)))]
pub(super) async fn node(State(shared): State<Arc<Shared>>, Path(node): Path<String>) -> Answer {
    let node: NodeId = id(&node, "a node")?;
    ask(&shared, format!("node {node}"), move |decision| why_node(decision, node)).await
}

/// Which move.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MoveQuestion {
    /// The segment.
    segment: String,
    /// The node to which it does not go.
    to: String,
}

/// Why a segment does not go to a node: the first thing that speaks against it, or what it would gain against its price.
#[utoipa::path(get, path = "/v1/why-not", tag = "plan", params(MoveQuestion),
    responses((status = 200, body = ExplanationsView), (status = "default", body = Problem)))]
pub(super) async fn movement(
    State(shared): State<Arc<Shared>>,
    Query(question): Query<MoveQuestion>,
) -> Answer {
    let segment: SegmentId = id(&question.segment, "a segment")?;
    let to: NodeId = id(&question.to, "a node")?;
    let last = shared.last()?;
    if last.decision.snapshot.node_index(to).is_none() {
        return Err(Problem::not_found(format!("no query node has the id {to}")));
    }
    ask(&shared, format!("segment {segment}"), move |decision| why_not(decision, segment, to)).await
}
