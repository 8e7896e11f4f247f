//! What if: the plan of the last turn beside the plan for a changed cluster, by the planner itself and by the options in
//! force. It is the code of `plan --what-if`; nothing is moved, and nothing is remembered of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Query;
use super::problem::Problem;
use super::shared::{Shared, blocking};
use super::views::PlanView;
use crate::config::{Config, Mode};
use crate::control_loop::LastTurn;
use crate::plan::FindingState;
use crate::report::limiting_reason;
use crate::situation::Situation;
use crate::situation::what_if::Change;
use crate::turn::Decision;

/// Changes in one question: each is a plan's worth of thought for whoever reads the answer.
const MOST_CHANGES: usize = 16;

/// Steps that are shown of each plan.
const STEPS_SHOWN: usize = 100;

/// One of the two clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SideView {
    /// Query nodes.
    pub nodes: usize,
    /// Those that are overloaded; at a single look, from the first turn on.
    pub overloaded: usize,
    /// The plan, with the first 100 of its steps.
    pub plan: PlanView,
}

/// The cluster as it is beside the cluster as it would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhatIfView {
    /// When the cluster was looked at.
    pub taken_at: Timestamp,
    /// What is different, in words.
    pub changes: Vec<String>,
    /// The cluster as it is.
    pub before: SideView,
    /// The cluster with the changes.
    pub after: SideView,
}

/// What is different.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhatIfQuestion {
    /// Changes, separated by commas, that apply in order: `add-node=MEMORY[:CORES]`, `remove-node=ID`, `drain=ID`,
    /// `threshold=PRESSURE`.
    changes: String,
}

/// What would be different with another node, without one, or by another threshold. One question at a time is thought
/// about.
#[utoipa::path(get, path = "/v1/what-if", tag = "plan", params(WhatIfQuestion),
    responses((status = 200, body = WhatIfView), (status = "default", body = Problem)))]
pub(super) async fn what_if(
    State(shared): State<Arc<Shared>>,
    Query(question): Query<WhatIfQuestion>,
) -> Result<Json<WhatIfView>, Problem> {
    let texts: Vec<&str> = question.changes.split(',').collect();
    if texts.len() > MOST_CHANGES {
        return Err(Problem::bad_request(format!("changes: {MOST_CHANGES} at most")));
    }
    let changes: Result<Vec<Change>, _> = texts.into_iter().map(str::parse).collect();
    let changes = changes.map_err(|error| Problem::bad_request(format!("changes: {error}")))?;
    let last = shared.last()?;
    let busy = || Problem::conflict("another what-if is being thought about; ask again when it is answered");
    let turn = Arc::clone(&shared.what_if).try_lock_owned().map_err(|_| busy())?;
    let config = Arc::clone(&shared.in_force.borrow());
    // Who hangs up does not make room for the next one: it is thought about to its end.
    blocking(move || {
        let answer = compare(&last.decision, &config, &changes);
        drop(turn);
        answer
    })
    .await?
    .map(Json)
}

fn compare(decision: &Decision, config: &Config, changes: &[Change]) -> Result<WhatIfView, Problem> {
    let situation = Situation {
        input: (*decision.input).clone(),
        policies: config.policies.clone(),
        directives: Vec::new(),
    };
    let changed = situation.with(changes).map_err(|error| Problem::unprocessable(error.to_string()))?;
    Ok(WhatIfView {
        taken_at: decision.snapshot.taken_at,
        changes: changes.iter().map(Change::to_string).collect(),
        before: side(&situation, config.mode),
        after: side(&changed, config.mode),
    })
}

fn side(situation: &Situation, mode: Mode) -> SideView {
    let decision = situation.decide();
    let limited_by = limiting_reason(mode, &decision, None);
    let overloaded = decision.findings.iter().filter(|finding| finding.state == FindingState::Overloaded);
    let mut nodes: Vec<_> = overloaded.map(|finding| finding.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    SideView {
        nodes: decision.snapshot.query_nodes(),
        overloaded: nodes.len(),
        plan: PlanView::of(&LastTurn { decision, limited_by }, 0, STEPS_SHOWN),
    }
}
