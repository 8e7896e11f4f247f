//! What `plan --what-if` prints: the cluster as it is beside the cluster as it would be.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::table::{Align, Table};
use super::{live_view, plan_view};
use crate::admin::views::FloorView;
use crate::admin::{SideView, WhatIfView};
use crate::plan::FindingState;
use crate::report::PlanReport;
use crate::situation::what_if::Change;
use crate::units::{Bytes, NodeId, Ratio};

/// Two plans.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What is different, in words.
    pub changes: Vec<Change>,
    /// The cluster as it is.
    pub before: PlanReport,
    /// The cluster with the changes.
    pub after: PlanReport,
}

/// For people.
pub fn tables(comparison: &Comparison) -> String {
    let Comparison { changes, before, after } = comparison;
    let changes: Vec<String> = changes.iter().map(Change::to_string).collect();
    let mut text = format!("What if: {}\n\n", changes.join(", "));
    let mut table = Table::new(&[("", Align::Left), ("as it is", Align::Right), ("what if", Align::Right)]);
    for (name, figure) in figures() {
        table.row([name.to_owned(), figure(before), figure(after)]);
    }
    let (worst_before, worst_after) = (worst(before), worst(after));
    let mut dimensions: Vec<&str> = worst_before.keys().chain(worst_after.keys()).copied().collect();
    dimensions.sort_unstable();
    dimensions.dedup();
    for dimension in dimensions {
        for (when, figure) in [
            ("now", (|worst| worst.before) as fn(&Worst) -> Ratio),
            ("after the plan", |worst| worst.after),
            ("at best", |worst| worst.floor),
        ] {
            let shown = |all: &BTreeMap<&str, Worst>| {
                all.get(dimension).map_or("-".to_owned(), |w| figure(w).to_string())
            };
            let name = format!("worst {dimension} pressure {when}");
            table.row([name, shown(&worst_before), shown(&worst_after)]);
        }
    }
    text.push_str(&format!("{table}\n\n"));
    nodes(before, after, &mut text);
    text.push_str("\nWith these changes:\n\n");
    text.push_str(&plan_view::tables(after));
    text
}

/// What the daemon answers, for people.
pub fn sides(answer: &WhatIfView) -> String {
    let WhatIfView { taken_at, changes, before, after } = answer;
    let mut text = format!("What if, on the cluster as seen at {taken_at}: {}\n\n", changes.join(", "));
    let mut table = Table::new(&[("", Align::Left), ("as it is", Align::Right), ("what if", Align::Right)]);
    for (name, figure) in side_figures() {
        table.row([name.to_owned(), figure(before), figure(after)]);
    }
    let dimensions = [before, after].into_iter().flat_map(|side| &side.plan.proof);
    let dimensions: BTreeSet<&str> = dimensions.map(|proof| proof.dimension.as_str()).collect();
    for dimension in dimensions {
        for (when, figure) in [
            ("now", (|proof| proof.before) as fn(&FloorView) -> f64),
            ("after the plan", |proof| proof.after),
            ("at best", |proof| proof.floor),
        ] {
            let worst = |side: &SideView| {
                let proofs = side.plan.proof.iter().filter(|proof| proof.dimension == dimension);
                proofs.map(figure).reduce(f64::max).map_or("-".to_owned(), |worst| format!("{worst:.3}"))
            };
            table.row([format!("worst {dimension} pressure {when}"), worst(before), worst(after)]);
        }
    }
    text.push_str(&format!("{table}\n\nWith these changes:\n\n"));
    text.push_str(&live_view::plan(&after.plan));
    let hidden = after.plan.steps.next.is_some();
    if hidden {
        text.push_str(&format!("… and more steps; {} moves in all\n", after.plan.moves));
    }
    text
}

type SideFigure = fn(&SideView) -> String;

fn side_figures() -> [(&'static str, SideFigure); 5] {
    [
        ("query nodes", |side| side.nodes.to_string()),
        ("overloaded nodes", |side| side.overloaded.to_string()),
        ("moves", |side| side.plan.moves.to_string()),
        ("bytes to move", |side| Bytes(side.plan.bytes).to_string()),
        ("nodes left above their band", |side| side.plan.left_alone.len().to_string()),
    ]
}

type Figure = fn(&PlanReport) -> String;

fn figures() -> [(&'static str, Figure); 5] {
    [
        ("query nodes", |report| report.nodes.len().to_string()),
        ("overloaded nodes", |report| {
            let overloaded =
                report.findings.iter().filter(|finding| finding.state == FindingState::Overloaded);
            let mut nodes: Vec<NodeId> = overloaded.map(|finding| finding.node).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes.len().to_string()
        }),
        ("moves", |report| report.steps.iter().map(|step| step.moves.len()).sum::<usize>().to_string()),
        ("bytes to move", |report| report.proof.bytes_moved.to_string()),
        ("nodes left above their band", |report| report.proof.left_alone.len().to_string()),
    ]
}

/// The worst component of a dimension.
struct Worst {
    before: Ratio,
    after: Ratio,
    floor: Ratio,
}

fn worst(report: &PlanReport) -> BTreeMap<&str, Worst> {
    let mut all: BTreeMap<&str, Worst> = BTreeMap::new();
    for proof in &report.proof.dimensions {
        let none = Worst { before: Ratio::ZERO, after: Ratio::ZERO, floor: Ratio::ZERO };
        let worst = all.entry(&proof.dimension).or_insert(none);
        worst.before = worst.before.max(proof.before);
        worst.after = worst.after.max(proof.after);
        worst.floor = worst.floor.max(proof.floor);
    }
    all
}

/// So many nodes are compared one by one; JSON has them all.
const NODES_SHOWN: usize = 30;

/// The nodes whose pressure would be another, the most different first.
fn nodes(before: &PlanReport, after: &PlanReport, text: &mut String) {
    let pressures = |report: &PlanReport| -> BTreeMap<(NodeId, String), Ratio> {
        report.findings.iter().map(|f| ((f.node, f.dimension.clone()), f.pressure)).collect()
    };
    let (before, after) = (pressures(before), pressures(after));
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut rows: Vec<_> = keys.into_iter().map(|key| (key, before.get(key), after.get(key))).collect();
    rows.retain(|(_, before, after)| before != after);
    let far = |before: Option<&Ratio>, after: Option<&Ratio>| match (before, after) {
        (Some(before), Some(after)) => before.0.abs_diff(after.0),
        _ => u64::MAX,
    };
    rows.sort_by_key(|(key, before, after)| (std::cmp::Reverse(far(*before, *after)), *key));
    if rows.is_empty() {
        return;
    }
    let columns = [
        ("node", Align::Right),
        ("dimension", Align::Left),
        ("pressure as it is", Align::Right),
        ("what if, before the plan", Align::Right),
    ];
    let mut table = Table::new(&columns);
    let shown = |ratio: Option<&Ratio>| ratio.map_or("-".to_owned(), Ratio::to_string);
    for ((node, dimension), before, after) in rows.iter().take(NODES_SHOWN) {
        table.row([node.to_string(), dimension.clone(), shown(*before), shown(*after)]);
    }
    text.push_str(&format!("{table}\n"));
    if rows.len() > NODES_SHOWN {
        text.push_str(&format!("… and {} more (--format json has them all)\n", rows.len() - NODES_SHOWN));
    }
}
