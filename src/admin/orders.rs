//! What can be ordered. Each order is written down with who gave it, and then goes into the journal as the command
//! line's do; the control loop reads it there with its next turn, which is made to come soon.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Caller;
use super::body::{Body, id};
use super::problem::Problem;
use super::read::controls_now;
use super::shared::Shared;
use super::views::ControlsView;
use crate::app::AppError;
use crate::cli::move_view::{self, MovedSegment};
use crate::execute::manual::ManualRequest;
use crate::journal::{AuditRecord, Drain, Pause};
use crate::plan::PlanDigest;
use crate::telemetry::{self, Chain};
use crate::units::{NodeId, SegmentId};

/// The longest reason that is kept.
const LONGEST_REASON: usize = 1_000;

type Answer<T> = Result<Json<T>, Problem>;

/// Writes an order down; without that, it is not carried out.
async fn audit(
    shared: &Shared,
    caller: &Caller,
    action: &str,
    detail: &impl Serialize,
) -> Result<Timestamp, Problem> {
    let at = shared.clock.read().wall;
    let detail = serde_json::to_string(detail).unwrap_or_default();
    tracing::info!(who = caller.who, origin = caller.origin, action, detail, "ordered by the admin API");
    let record = AuditRecord {
        at,
        who: caller.who.clone(),
        origin: caller.origin.clone(),
        action: action.to_owned(),
        detail,
    };
    shared.journal.record_audit(record).await?;
    Ok(at)
}

/// Carried out: the loop should see it soon. What is in force then.
async fn done(shared: &Shared) -> Answer<ControlsView> {
    shared.wake.notify_one();
    Ok(Json(controls_now(shared).await?))
}

fn reason(text: String) -> Result<String, Problem> {
    if text.chars().count() > LONGEST_REASON {
        return Err(Problem::bad_request(format!("reason: {LONGEST_REASON} characters at most")));
    }
    Ok(text)
}

/// For how long nothing is to be moved.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PauseOrder {
    /// End by itself after this time, such as `30m` or `2h`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    /// End by itself at this time, such as `2026-12-24T18:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why: it is shown wherever the pause is.
    pub reason: String,
}

impl PauseOrder {
    /// When it ends by itself, if it does.
    pub(super) fn end(&self, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let until = match (&self.length, self.until) {
            (Some(_), Some(_)) => return Err(Problem::bad_request("give `for` or `until`, not both")),
            (Some(text), None) => Some(after(now, text)?),
            (None, until) => until,
        };
        match until {
            Some(until) if until <= now => Err(Problem::unprocessable(format!(
                "{until} is over already: a pause must end later than now"
            ))),
            until => Ok(until),
        }
    }
}

fn after(now: Timestamp, text: &str) -> Result<Timestamp, Problem> {
    let length = crate::config::duration::parse(text).filter(|length| !length.is_zero());
    let length = length.and_then(|length| SignedDuration::try_from(length).ok());
    let length = length.ok_or_else(|| {
        Problem::bad_request(format!(
            "for: {text:?} is no time: write a number above zero with its unit, such as 2h"
        ))
    })?;
    now.checked_add(length).map_err(|_| Problem::unprocessable("for: no calendar goes that far"))
}

/// Stops the daemon from moving anything, for a while or until somebody ends that. It goes on watching and planning.
#[utoipa::path(post, path = "/v1/pause", tag = "orders", request_body = PauseOrder,
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Body(order): Body<PauseOrder>,
) -> Answer<ControlsView> {
    let until = order.end(shared.clock.read().wall)?;
    let reason = reason(order.reason.clone())?;
    let from = audit(&shared, &caller, "pause", &order).await?;
    shared.journal.pause(Pause { from, until, reason, by: caller.who }).await?;
    done(&shared).await
}

/// An order that needs no words.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlainOrder {}

/// Ends the pause.
#[utoipa::path(post, path = "/v1/resume", tag = "orders", request_body = PlainOrder,
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Body(order): Body<PlainOrder>,
) -> Answer<ControlsView> {
    let at = audit(&shared, &caller, "resume", &order).await?;
    shared.journal.resume(at, caller.who).await?;
    done(&shared).await
}

/// Why a node is to be emptied.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrainOrder {
    /// Why: it is shown wherever the order is.
    pub reason: String,
}

/// A node with the rest of an order, for the record.
#[derive(Serialize)]
struct OfNode<'a, T> {
    node: NodeId,
    #[serde(flatten)]
    order: &'a T,
}

/// Orders a node to be emptied of everything that can move, within the limits, until somebody takes that back.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "orders", request_body = DrainOrder,
    params(("node" = String, Path, description = "Its id")),
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn drain(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(node): Path<String>,
    Body(order): Body<DrainOrder>,
) -> Answer<ControlsView> {
    let node: NodeId = id(&node, "a node")?;
    let reason = reason(order.reason.clone())?;
    let last = shared.last()?;
    let index = last.decision.snapshot.node_index(node);
    let index = index.ok_or_else(|| Problem::not_found(format!("no query node has the id {node}")))?;
    let address = last.decision.snapshot.node(index).address.clone();
    let from = audit(&shared, &caller, "drain", &OfNode { node, order: &order }).await?;
    shared.journal.drain(Drain { node, address, from, reason, by: caller.who }).await?;
    done(&shared).await
}

/// Takes the order to empty a node back.
#[utoipa::path(post, path = "/v1/nodes/{node}/undrain", tag = "orders", request_body = PlainOrder,
    params(("node" = String, Path, description = "Its id")),
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn undrain(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(node): Path<String>,
    Body(order): Body<PlainOrder>,
) -> Answer<ControlsView> {
    let node: NodeId = id(&node, "a node")?;
    let at = audit(&shared, &caller, "undrain", &OfNode { node, order: &order }).await?;
    match shared.journal.undrain(node, at, caller.who).await? {
        Some(_) => done(&shared).await,
        None => Err(Problem::not_found(format!("node {node} was not ordered to be emptied"))),
    }
}

/// Which plan is agreed to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveOrder {
    /// Its digest: 16 digits.
    pub digest: String,
}

/// Agrees to a plan, where `gate.approval = "required"`. It holds for an hour.
#[utoipa::path(post, path = "/v1/plan/approve", tag = "orders", request_body = ApproveOrder,
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn approve(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Body(order): Body<ApproveOrder>,
) -> Answer<ControlsView> {
    let digest: PlanDigest =
        order.digest.parse().map_err(|error| Problem::bad_request(format!("digest: {error}")))?;
    let at = audit(&shared, &caller, "approve", &order).await?;
    shared.journal.approve(digest.to_string(), at, caller.who).await?;
    done(&shared).await
}

/// Looks at the cluster now, as soon as the coordinator's rest after the last look is over.
#[utoipa::path(post, path = "/v1/turn", tag = "orders", request_body = PlainOrder,
    responses((status = 200, body = ControlsView), (status = "default", body = Problem)))]
pub(super) async fn turn(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Body(order): Body<PlainOrder>,
) -> Answer<ControlsView> {
    audit(&shared, &caller, "turn", &order).await?;
    done(&shared).await
}

/// What is logged.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevelOrder {
    /// A level, or a filter such as `info,milvus_rebalancer::plan=debug`.
    pub level: String,
}

/// Changes what is logged, until the process ends.
#[utoipa::path(put, path = "/v1/log-level", tag = "orders", request_body = LogLevelOrder,
    responses((status = 200, body = LogLevelOrder), (status = "default", body = Problem)))]
pub(super) async fn log_level(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Body(order): Body<LogLevelOrder>,
) -> Answer<LogLevelOrder> {
    audit(&shared, &caller, "log-level", &order).await?;
    match telemetry::change_filter(&order.level) {
        Ok(()) => Ok(Json(order)),
        Err(error) => Err(Problem::unprocessable(Chain(&error).to_string())),
    }
}

/// Milvus' own parameters of LoadBalance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalanceOrder {
    /// The collection.
    pub collection: String,
    /// Its database; the connection's unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The node that gives.
    pub src_node: String,
    /// The nodes that take; the others of the replica unless some are given.
    #[serde(default)]
    pub dst_nodes: Vec<String>,
    /// The segments; all of the collection on the source unless some are given.
    #[serde(default)]
    pub segments: Vec<String>,
    /// Give up after this time, such as `5m`; wait as long as segments settle unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

impl LoadBalanceOrder {
    fn request(&self) -> Result<ManualRequest, Problem> {
        let nodes = self.dst_nodes.iter().map(|text| id::<NodeId>(text, "a node"));
        let segments = self.segments.iter().map(|text| id::<SegmentId>(text, "a segment"));
        let timeout = |text: &String| -> Result<Duration, Problem> {
            let parsed = crate::config::duration::parse(text).filter(|timeout| !timeout.is_zero());
            parsed.ok_or_else(|| Problem::bad_request(format!("timeout: {text:?} is no time, such as 5m")))
        };
        Ok(ManualRequest {
            database: self.database.clone().unwrap_or_default(),
            collection: self.collection.clone(),
            src_node: id(&self.src_node, "a node")?,
            dst_nodes: nodes.collect::<Result<_, _>>()?,
            segments: segments.collect::<Result<_, _>>()?,
            timeout: self.timeout.as_ref().map(timeout).transpose()?,
        })
    }
}

/// Where the segments went.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LoadBalanceAnswer {
    /// Every segment that was asked for.
    pub segments: Vec<MovedSegment>,
}

/// Moves segments of a collection by hand, and answers when each was seen to have moved, or not. It goes on when the
/// client hangs up.
#[utoipa::path(post, path = "/v1/load-balance", tag = "orders", request_body = LoadBalanceOrder,
    responses((status = 200, body = LoadBalanceAnswer), (status = "default", body = Problem)))]
pub(super) async fn load_balance(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Body(order): Body<LoadBalanceOrder>,
) -> Answer<LoadBalanceAnswer> {
    let request = order.request()?;
    let busy = || Problem::conflict("another load-balance is under way; see /v1/operations?open=true");
    let turn = Arc::clone(&shared.by_hand).begin().ok_or_else(busy)?;
    audit(&shared, &caller, "load-balance", &order).await?;
    let journal = shared.journal.clone();
    // A task of its own: half of a move helps nobody.
    let moved = tokio::spawn(async move { turn.load_balance(request, journal).await }).await;
    shared.wake.notify_one();
    match moved {
        Ok(Ok((outcomes, staying))) => {
            Ok(Json(LoadBalanceAnswer { segments: move_view::segments(&outcomes, &staying) }))
        }
        Ok(Err(AppError::Journal(error))) => Err(error.into()),
        Ok(Err(AppError::Stopped { reason })) => Err(Problem::held_back(&reason)),
        Ok(Err(error @ AppError::Observe(_))) => Err(Problem::unavailable(Chain(&error).to_string())),
        Ok(Err(error)) => Err(Problem::unprocessable(Chain(&error).to_string())),
        Err(error) => {
            tracing::error!(%error, "a manual load-balance broke off");
            Err(Problem::unavailable("it broke off; /v1/operations says how far it went"))
        }
    }
}
