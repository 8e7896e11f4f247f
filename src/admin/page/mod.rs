//! The page at `/`: what the API knows, as people would rather look at it. It is made here, works without its script,
//! and the script only exchanges what has changed and sends what people order.

mod answers;
mod bars;
mod curve;
mod figures;
mod heat;
mod ledger;
mod render;
mod tables;
mod timeline;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;

use super::access::Caller;
use super::body::{Query, id};
use super::explain::{why_node, why_not, why_segment};
use super::problem::Problem;
use super::read::controls_now;
use super::shared::{Shared, blocking};
use super::views::{ControlsView, ExplanationView};
use crate::control_loop::LastTurn;
use crate::execute::operation::Operation;
use crate::journal::WaveRecord;
use crate::units::{NodeId, SegmentId};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Ended moves that the timeline looks back on.
const MOVES_SHOWN: usize = 500;

/// The same for waves.
const WAVES_SHOWN: usize = 100;

/// The page and what belongs to it.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(page))
        .route("/page.css", get(async || typed("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(async || typed("text/javascript; charset=utf-8", SCRIPT)))
}

fn typed(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// What somebody wants explained; forms send what was left open as empty texts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Question {
    node: String,
    segment: String,
    to: String,
}

/// A question and its answer.
#[derive(Clone, Debug, Default)]
struct Asked {
    question: Question,
    answers: Vec<ExplanationView>,
    /// Why there is no answer.
    problem: Option<String>,
}

/// What the journal knows, which the page can do without.
#[derive(Clone, Debug, Default)]
struct Recorded {
    controls: Option<ControlsView>,
    operations: Vec<Operation>,
    waves: Vec<WaveRecord>,
    /// Why it knows nothing.
    problem: Option<String>,
}

async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Query(question): Query<Question>,
) -> Result<Html<String>, Problem> {
    let recorded = match recorded(&shared).await {
        Ok(recorded) => recorded,
        Err(problem) => Recorded { problem: Some(problem.detail), ..Recorded::default() },
    };
    // A large cluster takes some milliseconds, which others need not wait for.
    blocking(move || render::page(&shared, caller.role, question, &recorded)).await?.map(Html)
}

async fn recorded(shared: &Arc<Shared>) -> Result<Recorded, Problem> {
    Ok(Recorded {
        controls: Some(controls_now(shared).await?),
        operations: shared.journal.operations_before(i64::MAX, None, MOVES_SHOWN).await?,
        waves: shared.journal.waves_before(i64::MAX, WAVES_SHOWN).await?,
        problem: None,
    })
}

/// The answer to a question, by the same rules as the API's; nothing when nothing was asked.
fn answer(last: Option<&LastTurn>, question: Question) -> Option<Asked> {
    let texts = [&question.node, &question.segment, &question.to];
    if texts.iter().all(|text| text.trim().is_empty()) {
        return None;
    }
    let found = explain(last, &question);
    let (answers, problem) = match found {
        Ok(answers) if answers.is_empty() => (answers, Some("it was not seen with the last look".to_owned())),
        Ok(answers) => (answers, None),
        Err(problem) => (Vec::new(), Some(problem.detail)),
    };
    Some(Asked { question, answers, problem })
}

fn explain(last: Option<&LastTurn>, question: &Question) -> Result<Vec<ExplanationView>, Problem> {
    let decision = &last.ok_or_else(|| Problem::nothing_seen(None))?.decision;
    let [node, segment, to] = [&question.node, &question.segment, &question.to].map(|text| text.trim());
    let explanations = if segment.is_empty() {
        let node: NodeId = id(if node.is_empty() { to } else { node }, "a node")?;
        if decision.snapshot.node_index(node).is_none() {
            return Err(Problem::not_found(format!("no query node has the id {node}")));
        }
        why_node(decision, node)
    } else {
        let segment: SegmentId = id(segment, "a segment")?;
        if to.is_empty() {
            why_segment(decision, segment)
        } else {
            why_not(decision, segment, id(to, "a node")?)
        }
    };
    Ok(explanations.answers)
}
