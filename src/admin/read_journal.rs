//! What can be read of the past: operations, waves, turns, requests. Newest first, by number.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{Query, id};
use super::paging::{self, Page, Paging};
use super::problem::Problem;
use super::shared::Shared;
use super::views::{AuditView, OperationView, TurnView, WaveView};
use crate::units::SegmentId;

type Answer<T> = Result<Json<Page<T>>, Problem>;

/// Limit and number to begin under.
fn part(limit: Option<usize>, after: Option<&str>) -> Result<(usize, i64), Problem> {
    Ok((paging::limit(limit)?, paging::cursor(after)?.unwrap_or(i64::MAX)))
}

/// Which operations.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OperationFilter {
    /// Entries at most, from 1 to 1,000; 100 unless it is given.
    limit: Option<usize>,
    /// Go on behind this entry, which is older.
    after: Option<String>,
    /// Only those of this segment.
    segment: Option<String>,
    /// Only those whose end is not known.
    #[serde(default)]
    open: bool,
}

/// Moves that were sent, of the daemon and of people, newest first.
#[utoipa::path(get, path = "/v1/operations", tag = "past", params(OperationFilter),
    responses((status = 200, body = Page<OperationView>), (status = "default", body = Problem)))]
pub(super) async fn operations(
    State(shared): State<Arc<Shared>>,
    Query(filter): Query<OperationFilter>,
) -> Answer<OperationView> {
    let (limit, before) = part(filter.limit, filter.after.as_deref())?;
    let segment: Option<SegmentId> =
        filter.segment.as_deref().map(|text| id(text, "a segment")).transpose()?;
    let found = if filter.open {
        let mut open = shared.journal.open_operations().await?;
        open.retain(|operation| {
            let is_wanted = segment.is_none_or(|segment| operation.movement.segment == segment);
            is_wanted && operation.id.0 < before
        });
        open.reverse();
        open.truncate(limit + 1);
        open
    } else {
        shared.journal.operations_before(before, segment.map(|segment| segment.0), limit + 1).await?
    };
    let items = found.iter().map(OperationView::from).collect();
    Ok(Json(Page::of(items, limit, |operation: &OperationView| operation.id.clone())))
}

/// Waves with the relief that was predicted and that was seen, newest first.
#[utoipa::path(get, path = "/v1/waves", tag = "past", params(Paging),
    responses((status = 200, body = Page<WaveView>), (status = "default", body = Problem)))]
pub(super) async fn waves(
    State(shared): State<Arc<Shared>>,
    Query(paging): Query<Paging>,
) -> Answer<WaveView> {
    let (limit, before) = part(paging.limit, paging.after.as_deref())?;
    let found = shared.journal.waves_before(before, limit + 1).await?;
    let items = found.into_iter().map(WaveView::from).collect();
    Ok(Json(Page::of(items, limit, |wave: &WaveView| wave.id.clone().unwrap_or_default())))
}

/// Turns of the control loop, newest first.
#[utoipa::path(get, path = "/v1/history", tag = "past", params(Paging),
    responses((status = 200, body = Page<TurnView>), (status = "default", body = Problem)))]
pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    Query(paging): Query<Paging>,
) -> Answer<TurnView> {
    let (limit, before) = part(paging.limit, paging.after.as_deref())?;
    let found = shared.journal.turns_before(before, limit + 1).await?;
    let items = found.into_iter().map(TurnView::from).collect();
    Ok(Json(Page::of(items, limit, |turn: &TurnView| turn.id.clone())))
}

/// Who asked for which change, and from where, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "past", params(Paging),
    responses((status = 200, body = Page<AuditView>), (status = "default", body = Problem)))]
pub(super) async fn audit(
    State(shared): State<Arc<Shared>>,
    Query(paging): Query<Paging>,
) -> Answer<AuditView> {
    let (limit, before) = part(paging.limit, paging.after.as_deref())?;
    let found = shared.journal.audit_before(before, limit + 1).await?;
    let items = found.into_iter().map(AuditView::from).collect();
    Ok(Json(Page::of(items, limit, |entry: &AuditView| entry.id.clone())))
}
