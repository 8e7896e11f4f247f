//! What can be read of the last turn.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Query, id};
use super::paging::{self, Page, Paging};
use super::problem::Problem;
use super::shared::{Shared, blocking};
use super::views::{
    CollectionView, ControlsView, DimensionView, DoubtView, NetZeroView, NodeView, PlanView, SegmentView,
    StatusView, VerdictView,
};
use crate::cli::controls_view::ControlsReport;
use crate::control_loop::{GATE_MEMORY, orders};
use crate::model::{CopyIndex, Snapshot};
use crate::turn::GateMemory;
use crate::units::{CollectionId, NodeId, SegmentId};

type Answer<T> = Result<Json<T>, Problem>;

/// The state of everything in one look.
#[utoipa::path(get, path = "/v1/status", tag = "state",
    responses((status = 200, body = StatusView), (status = "default", body = Problem)))]
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Answer<StatusView> {
    let now = shared.clock.read().wall;
    let orders = orders(&shared.journal, &shared.kill_switch()).await?;
    let pause = orders.pause.filter(|pause| pause.holds_at(now));
    let state = shared.state.borrow();
    let journal = shared.journal.path().display().to_string();
    let status = StatusView::of(&state, shared.mode, pause.as_ref(), &orders.drains);
    Ok(Json(StatusView { journal, ..status }))
}

/// Which nodes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NodeFilter {
    /// Entries at most, from 1 to 1,000; 100 unless it is given.
    limit: Option<usize>,
    /// Go on behind this node.
    after: Option<String>,
    /// Only those in this state in some dimension: `even`, `tolerated`, `overloaded` or `saturated`.
    state: Option<String>,
}

/// Query nodes with their load in each dimension, by id.
#[utoipa::path(get, path = "/v1/nodes", tag = "state", params(NodeFilter),
    responses((status = 200, body = Page<NodeView>), (status = "default", body = Problem)))]
pub(super) async fn nodes(
    State(shared): State<Arc<Shared>>,
    Query(filter): Query<NodeFilter>,
) -> Answer<Page<NodeView>> {
    let limit = paging::limit(filter.limit)?;
    let after: Option<i64> = paging::cursor(filter.after.as_deref())?;
    let state = filter.state.as_deref();
    if let Some(unknown) =
        state.filter(|state| !["even", "tolerated", "overloaded", "saturated"].contains(state))
    {
        return Err(Problem::bad_request(format!(
            "state: {unknown:?} is not even, tolerated, overloaded or saturated"
        )));
    }
    let views = shared.views().await?;
    let first = views.last.decision.snapshot.nodes.partition_point(|node| Some(node.id.0) <= after);
    let wanted = views.nodes[first..].iter().filter(|node| state.is_none_or(|state| node.is_in_state(state)));
    let items = wanted.take(limit + 1).cloned().collect();
    Ok(Json(Page::of(items, limit, |node: &NodeView| node.id.clone())))
}

/// One query node.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "state", params(("node" = String, Path, description = "Its id")),
    responses((status = 200, body = NodeView), (status = "default", body = Problem)))]
pub(super) async fn node(State(shared): State<Arc<Shared>>, Path(node): Path<String>) -> Answer<NodeView> {
    let node: NodeId = id(&node, "a node")?;
    let views = shared.views().await?;
    let index = views.last.decision.snapshot.node_index(node);
    let index = index.ok_or_else(|| Problem::not_found(format!("no query node has the id {node}")))?;
    Ok(Json(views.nodes[index.at()].clone()))
}

/// Loaded collections, by id.
#[utoipa::path(get, path = "/v1/collections", tag = "state", params(Paging),
    responses((status = 200, body = Page<CollectionView>), (status = "default", body = Problem)))]
pub(super) async fn collections(
    State(shared): State<Arc<Shared>>,
    Query(paging): Query<Paging>,
) -> Answer<Page<CollectionView>> {
    let limit = paging::limit(paging.limit)?;
    let after: Option<i64> = paging::cursor(paging.after.as_deref())?;
    let views = shared.views().await?;
    let known = &views.last.decision.snapshot.collections;
    let first = known.partition_point(|collection| Some(collection.id.0) <= after);
    let items = views.collections[first..].iter().take(limit + 1).cloned().collect();
    Ok(Json(Page::of(items, limit, |collection: &CollectionView| collection.id.clone())))
}

/// Which segments.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SegmentFilter {
    /// Entries at most, from 1 to 1,000; 100 unless it is given.
    limit: Option<usize>,
    /// Go on behind this entry: the `next` of the page before.
    after: Option<String>,
    /// Only those on this node.
    node: Option<String>,
    /// Only those of this collection.
    collection: Option<String>,
}

/// Copies of sealed segments, by segment and replica.
#[utoipa::path(get, path = "/v1/segments", tag = "state", params(SegmentFilter),
    responses((status = 200, body = Page<SegmentView>), (status = "default", body = Problem)))]
pub(super) async fn segments(
    State(shared): State<Arc<Shared>>,
    Query(filter): Query<SegmentFilter>,
) -> Answer<Page<SegmentView>> {
    let limit = paging::limit(filter.limit)?;
    let after = filter.after.as_deref().map(copy_cursor).transpose()?;
    let node: Option<NodeId> = filter.node.as_deref().map(|text| id(text, "a node")).transpose()?;
    let collection: Option<CollectionId> =
        filter.collection.as_deref().map(|text| id(text, "a collection")).transpose()?;
    let last = shared.last()?;
    let page = blocking(move || {
        let snapshot = &last.decision.snapshot;
        let items = copies_after(snapshot, after, node, collection, limit + 1);
        Page::of(items, limit, |copy: &SegmentView| format!("{}.{}", copy.id, copy.replica))
    });
    Ok(Json(page.await?))
}

/// A segment and one of its replicas, as `next` writes them.
fn copy_cursor(text: &str) -> Result<(SegmentId, i64), Problem> {
    let parsed = text
        .split_once('.')
        .and_then(|(segment, replica)| Some((segment.parse().ok()?, replica.parse().ok()?)));
    parsed.ok_or_else(|| Problem::bad_request(format!("after: {text:?} is no `next` of this list")))
}

fn copies_after(
    snapshot: &Snapshot,
    after: Option<(SegmentId, i64)>,
    node: Option<NodeId>,
    collection: Option<CollectionId>,
    most: usize,
) -> Vec<SegmentView> {
    let copies = &snapshot.copies;
    let node = match node.map(|node| snapshot.node_index(node)) {
        Some(None) => return Vec::new(),
        other => other.flatten(),
    };
    let collection = match collection.map(|collection| snapshot.collection_index(collection)) {
        Some(None) => return Vec::new(),
        other => other.flatten(),
    };
    let first = after.map_or(0, |(segment, _)| copies.segment.partition_point(|known| *known < segment));
    let is_wanted = |copy: &CopyIndex| {
        let replica = copies.replica[copy.at()];
        let is_behind = after.is_none_or(|(segment, shown)| {
            copies.segment[copy.at()] > segment || snapshot.replica(replica).id.0 > shown
        });
        is_behind
            && node.is_none_or(|node| copies.node[copy.at()] == node)
            && collection.is_none_or(|collection| snapshot.replica(replica).collection == collection)
    };
    let found = (first..copies.len()).map(CopyIndex::from_position).filter(is_wanted);
    found.take(most).map(|copy| SegmentView::of(snapshot, copy)).collect()
}

/// Which steps.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StepFilter {
    /// Steps at most, from 1 to 1,000; 100 unless it is given.
    limit: Option<usize>,
    /// Go on behind the step with this position.
    after: Option<String>,
}

/// The plan of the last turn, with its proof; its steps page by page.
#[utoipa::path(get, path = "/v1/plan", tag = "plan", params(StepFilter),
    responses((status = 200, body = PlanView), (status = "default", body = Problem)))]
pub(super) async fn plan(
    State(shared): State<Arc<Shared>>,
    Query(filter): Query<StepFilter>,
) -> Answer<PlanView> {
    let limit = paging::limit(filter.limit)?;
    let after: Option<usize> = paging::cursor(filter.after.as_deref())?;
    let first = after.map_or(0, |position| position.saturating_add(1));
    Ok(Json(PlanView::of(&*shared.last()?, first, limit)))
}

/// Page through a list that has no names: by position.
fn by_position<T, V>(all: &[T], paging: &Paging, view: impl Fn(&T) -> V) -> Result<Page<V>, Problem> {
    let limit = paging::limit(paging.limit)?;
    let first: usize = paging::cursor(paging.after.as_deref())?.unwrap_or(0);
    let items: Vec<V> = all.iter().skip(first).take(limit).map(view).collect();
    let end = first.saturating_add(items.len());
    let next = (end < all.len()).then(|| end.to_string());
    Ok(Page { items, next })
}

/// What the gates refuse, and why.
#[utoipa::path(get, path = "/v1/verdicts", tag = "plan", params(Paging),
    responses((status = 200, body = Page<VerdictView>), (status = "default", body = Problem)))]
pub(super) async fn verdicts(
    State(shared): State<Arc<Shared>>,
    Query(paging): Query<Paging>,
) -> Answer<Page<VerdictView>> {
    let last = shared.last()?;
    Ok(Json(by_position(&last.decision.verdict.refusals, &paging, |refusal| VerdictView::from(refusal))?))
}

/// What is uncertain.
#[utoipa::path(get, path = "/v1/doubts", tag = "state", params(Paging),
    responses((status = 200, body = Page<DoubtView>), (status = "default", body = Problem)))]
pub(super) async fn doubts(
    State(shared): State<Arc<Shared>>,
    Query(paging): Query<Paging>,
) -> Answer<Page<DoubtView>> {
    let last = shared.last()?;
    Ok(Json(by_position(&last.decision.snapshot.doubts, &paging, |doubt| DoubtView::from(doubt))?))
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoliciesView {
    /// Kinds of load that are kept even, with the settings in force.
    pub dimensions: Vec<DimensionView>,
    /// Nodes that must be emptied.
    pub evacuated: Vec<String>,
    /// Nodes that nothing may enter, with the reason.
    pub never_destination: Vec<VerdictView>,
    /// Segments that must stay.
    pub pinned: usize,
}

/// Policies in force: what is load, and what must or must not be.
#[utoipa::path(get, path = "/v1/policies", tag = "state",
    responses((status = 200, body = PoliciesView), (status = "default", body = Problem)))]
pub(super) async fn policies(State(shared): State<Arc<Shared>>) -> Answer<PoliciesView> {
    let last = shared.last()?;
    let decision = &last.decision;
    let dimensions = decision.assessment.dimensions.iter();
    let refused = decision.restrictions.destinations.iter().map(|(node, reason)| VerdictView {
        subject: crate::model::Subject::Node(*node).to_string(),
        reason: reason.into(),
    });
    Ok(Json(PoliciesView {
        dimensions: dimensions.map(|dimension| DimensionView::of(dimension, &decision.snapshot)).collect(),
        evacuated: decision.restrictions.evacuated.iter().map(NodeId::to_string).collect(),
        never_destination: refused.collect(),
        pinned: decision.restrictions.pinned.len(),
    }))
}

/// What the moves of the last 24 hours came to: how much was for nothing, by who made them.
#[utoipa::path(get, path = "/v1/net-zero", tag = "past",
    responses((status = 200, body = NetZeroView), (status = "default", body = Problem)))]
pub(super) async fn net_zero(State(shared): State<Arc<Shared>>) -> Answer<NetZeroView> {
    Ok(Json(NetZeroView::from(&shared.last()?.decision.net_zero)))
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationView {
    /// As TOML, an option a line; of secrets only that they are set.
    pub toml: String,
}

/// The options in force; of secrets only that they are set.
#[utoipa::path(get, path = "/v1/configuration", tag = "state",
    responses((status = 200, body = ConfigurationView), (status = "default", body = Problem)))]
pub(super) async fn configuration(State(shared): State<Arc<Shared>>) -> Answer<ConfigurationView> {
    Ok(Json(ConfigurationView { toml: shared.configuration() }))
}

/// What people ordered, and what of it is in force: pause, drains, kill switch, windows, approvals.
#[utoipa::path(get, path = "/v1/controls", tag = "orders",
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn controls(State(shared): State<Arc<Shared>>) -> Answer<ControlsView> {
    Ok(Json(controls_now(&shared).await?))
}

/// The same, for the answers to orders.
pub(super) async fn controls_now(shared: &Shared) -> Result<ControlsView, Problem> {
    let orders = orders(&shared.journal, &shared.kill_switch()).await?;
    let memory = shared.journal.load_state(GATE_MEMORY).await?;
    let memory: GateMemory = memory.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let now = shared.clock.read().wall;
    let report = ControlsReport::new(&shared.gate(), &orders, memory.held_plan.as_ref(), now);
    Ok(ControlsView::of(&report, &orders.drains))
}
