//! The state of everything in one look, in numbers and in one sentence.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FloorView, ReasonView};
use crate::cli::controls_view::ControlsReport;
use crate::config::Mode;
use crate::control_loop::{LastTurn, LoopState};
use crate::model::{Doubt, Drain, Pause};
use crate::plan::{FindingState, Proof};
use crate::units::NodeId;

/// Everything in one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Whether the cluster is balanced, and if not, what is done about it.
    pub verdict: String,
    /// One word for the same: `unknown`, `unreachable`, `balanced`, `uneven` or `overloaded`.
    pub state: String,
    /// Version of milvus-rebalancer.
    pub version: String,
    /// `advise`, or `within` or `act` when it may move segments.
    pub mode: String,
    /// The journal that the daemon works with: its file on its own machine.
    #[serde(default)]
    pub journal: String,
    /// The Milvus, by its own account.
    pub server: Option<String>,
    /// Turns since the start.
    pub turns: u64,
    /// When the cluster was last seen.
    pub taken_at: Option<Timestamp>,
    /// Why the last look failed.
    pub failure: Option<String>,
    /// Query nodes; streaming nodes, which hold no sealed segments, are not among them.
    pub nodes: usize,
    /// Overloaded nodes.
    pub overloaded: usize,
    /// Loaded collections.
    pub collections: usize,
    /// Copies of sealed segments.
    pub segments: usize,
    /// Things that are uncertain.
    pub doubts: usize,
    /// The worst pressure in each dimension, with what it could be at best.
    pub dimensions: Vec<FloorView>,
    /// The plan in numbers.
    pub plan: PlanSummary,
    /// What holds us back.
    pub limited_by: Option<ReasonView>,
    /// Moves on their way.
    pub open_operations: usize,
    /// The pause that is in force.
    pub pause: Option<PauseView>,
    /// Nodes that were ordered to be emptied.
    pub drains: Vec<DrainView>,
}

/// The plan in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanSummary {
    /// Its name, when it moves anything.
    pub digest: Option<String>,
    /// Moves.
    pub moves: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Steps that the gates let through.
    pub admitted: usize,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseView {
    /// Since when.
    pub from: Timestamp,
    /// Until when; `None` until somebody ends it.
    pub until: Option<Timestamp>,
    /// Why; empty when nobody said.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> PauseView {
        let Pause { from, until, reason, by } = pause.clone();
        PauseView { from, until, reason, by }
    }
}

/// A node that is to be emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainView {
    /// Which.
    pub node: String,
    /// Its address when that was ordered.
    pub address: String,
    /// Since when.
    pub from: Timestamp,
    /// Why; empty when nobody said.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

impl From<&Drain> for DrainView {
    fn from(drain: &Drain) -> DrainView {
        let Drain { node, address, from, reason, by } = drain.clone();
        DrainView { node: node.to_string(), address, from, reason, by }
    }
}

/// Everything that people ordered, and what of it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ControlsView {
    /// The pause that is in force.
    pub pause: Option<PauseView>,
    /// Nodes that were ordered to be emptied.
    pub drains: Vec<DrainView>,
    /// Whether the kill switch stops everything.
    pub kill_switch: bool,
    /// Whether maintenance windows let moves through now.
    pub windows_are_open: bool,
    /// When they close, or open next.
    pub windows_change_at: Option<Timestamp>,
    /// Whether plans need approval.
    pub approval_required: bool,
    /// The plan that waits for approval.
    pub waiting_plan: Option<String>,
    /// The plan that is approved.
    pub approved_plan: Option<String>,
    /// The same in words, a line each.
    pub lines: Vec<String>,
}

impl ControlsView {
    /// Of what the command line shows.
    pub fn of(report: &ControlsReport, drains: &[Drain]) -> ControlsView {
        ControlsView {
            pause: report.pause.as_ref().map(PauseView::from),
            drains: drains.iter().map(DrainView::from).collect(),
            kill_switch: report.kill_switch.is_some(),
            windows_are_open: report.windows_are_open,
            windows_change_at: report.windows_change_at,
            approval_required: report.approval == crate::gate::ApprovalRule::Required,
            waiting_plan: report.waiting_plan.map(|digest| digest.to_string()),
            approved_plan: report.approved.as_ref().map(|approval| approval.digest.to_string()),
            lines: crate::cli::controls_view::lines(report).lines().map(str::to_owned).collect(),
        }
    }
}

/// Something that is uncertain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoubtView {
    /// Its stable name.
    pub code: String,
    /// What it is about, in words.
    pub subject: String,
    /// One sentence.
    pub sentence: String,
}

impl From<&Doubt> for DoubtView {
    fn from(doubt: &Doubt) -> DoubtView {
        DoubtView {
            code: doubt.kind.code().to_owned(),
            subject: doubt.subject.to_string(),
            sentence: doubt.to_string(),
        }
    }
}

impl StatusView {
    /// Of the loop's state and of what people ordered.
    pub fn of(state: &LoopState, mode: Mode, pause: Option<&Pause>, drains: &[Drain]) -> StatusView {
        let last = state.last.as_deref();
        let decision = last.map(|last| &last.decision);
        let plan = decision.map(|decision| PlanSummary {
            digest: (!decision.plan.steps.is_empty()).then(|| decision.plan.digest().to_string()),
            moves: decision.plan.moves().count(),
            bytes: decision.plan.proof.bytes_moved.0,
            admitted: decision.verdict.admitted.len(),
        });
        let count = |of: fn(&crate::turn::Decision) -> usize| decision.map(of).unwrap_or_default();
        let (word, verdict) = verdict(state, mode);
        StatusView {
            verdict,
            state: word.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: mode.code().to_owned(),
            journal: String::new(),
            server: decision.map(|decision| decision.snapshot.server.to_string()),
            turns: state.turns,
            taken_at: decision.map(|decision| decision.snapshot.taken_at),
            failure: state.failure.clone(),
            nodes: count(|decision| decision.snapshot.query_nodes()),
            overloaded: last.map(|last| overloaded(last).len()).unwrap_or_default(),
            collections: count(|decision| decision.snapshot.collections.len()),
            segments: count(|decision| decision.snapshot.copies.len()),
            doubts: count(|decision| decision.snapshot.doubts.len()),
            dimensions: decision.map(|decision| worst(&decision.plan.proof)).unwrap_or_default(),
            plan: plan.unwrap_or_default(),
            limited_by: last.and_then(|last| last.limited_by.as_ref()).map(ReasonView::from),
            open_operations: state.open.len(),
            pause: pause.map(PauseView::from),
            drains: drains.iter().map(DrainView::from).collect(),
        }
    }
}

/// The worst component of each dimension.
fn worst(proof: &Proof) -> Vec<FloorView> {
    let mut worst: std::collections::BTreeMap<&str, &crate::plan::DimensionProof> =
        std::collections::BTreeMap::new();
    for entry in &proof.dimensions {
        let known = worst.entry(&entry.dimension).or_insert(entry);
        if entry.before > known.before {
            *known = entry;
        }
    }
    worst.into_values().map(FloorView::from).collect()
}

/// Nodes that are overloaded in any dimension.
fn overloaded(last: &LastTurn) -> Vec<NodeId> {
    let findings = last.decision.findings.iter();
    let mut nodes: Vec<NodeId> = findings
        .filter(|finding| finding.state == FindingState::Overloaded)
        .map(|finding| finding.node)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Whether the cluster is balanced, as a word and as a sentence for somebody who has never seen this program.
fn verdict(state: &LoopState, mode: Mode) -> (&'static str, String) {
    let Some(last) = state.last.as_deref() else {
        return match &state.failure {
            Some(why) => ("unreachable", format!("The cluster cannot be seen: {why}.")),
            None => ("unknown", "The cluster is being looked at for the first time.".to_owned()),
        };
    };
    if let Some(why) = &state.failure {
        return ("unreachable", format!("The cluster cannot be seen any more: {why}."));
    }
    let decision = &last.decision;
    if decision.snapshot.nodes.is_empty() {
        return ("balanced", "There are no query nodes.".to_owned());
    }
    let nodes = overloaded(last);
    if nodes.is_empty() {
        let tolerated = |finding: &&crate::plan::Finding| matches!(finding.state, FindingState::Tolerated(_));
        return match decision.findings.iter().filter(tolerated).max_by_key(|finding| finding.pressure) {
            Some(finding) => {
                let FindingState::Tolerated(reason) = &finding.state else {
                    return ("balanced", String::new());
                };
                let (node, pressure, dimension) = (finding.node, finding.pressure, &finding.dimension);
                let sentence = format!(
                    "Uneven, and nothing to do: node {node} has {pressure} times its fair share of {dimension}: {reason}."
                );
                ("uneven", sentence)
            }
            None => ("balanced", "Balanced: every node is inside its band.".to_owned()),
        };
    }
    let who = match nodes.as_slice() {
        [node] => format!("Not balanced: node {node} is overloaded"),
        nodes => {
            let all = decision.snapshot.query_nodes();
            format!("Not balanced: {} of {all} query nodes are overloaded", nodes.len())
        }
    };
    let moves = decision.plan.moves().count();
    let what = match (moves, mode) {
        (0, _) => "nothing can be done about it at the moment".to_owned(),
        (_, Mode::Within | Mode::Act) => format!("{moves} moves are planned"),
        (_, Mode::Advise) => format!("{moves} moves are proposed, and not made in mode {}", mode.code()),
    };
    let why = last.limited_by.as_ref().filter(|reason| reason.code() != "advise_only");
    let why = why.map(|reason| format!(" Held back: {reason}.")).unwrap_or_default();
    ("overloaded", format!("{who}; {what}.{why}"))
}
