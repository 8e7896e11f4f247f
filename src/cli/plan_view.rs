//! What `plan` prints: the nodes and how loaded they are, the steps and their reasons, how good the plan is, and
//! everything that was left alone with its reason.

use serde::Serialize;

use super::net_zero_view;
use super::table::{Align, Table};
use crate::model::own_balancer::{KnownSetting, Origin};
use crate::plan::{DimensionProof, Drain, Finding, FindingState, ImmovablePart, Step};
use crate::report::PlanReport;
use crate::units::{NodeId, Ratio};

/// Characters of a pressure bar that stand for the fair share; the bar goes on to four times that.
const FAIR_SHARE_WIDTH: u64 = 8;

/// So many steps are printed one by one; the rest are counted. Nobody reads a thousand lines, and JSON has them.
const STEPS_SHOWN: usize = 40;

/// One JSON document, with a line end.
pub fn json(document: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text.push('\n');
    text
}

/// The whole report for people.
pub fn tables(report: &PlanReport) -> String {
    let mut text = String::new();
    headline(report, &mut text);
    nodes(report, &mut text);
    steps(report, &mut text);
    proof(report, &mut text);
    left_alone(report, &mut text);
    list("Nodes that are being emptied:", report.drains.iter().flat_map(Drain::lines).collect(), &mut text);
    list("Refused by the gates:", refusals(report), &mut text);
    list("Remarks:", report.remarks.clone(), &mut text);
    list("Doubts:", report.doubts.clone(), &mut text);
    list("Milvus' own balancer:", own_balancer(report), &mut text);
    let last_day = report.net_zero.as_ref().map(net_zero_view::lines).unwrap_or_default();
    list("In the last 24 hours:", last_day, &mut text);
    text
}

/// Appends a line.
macro_rules! line {
    ($text:expr, $($format:tt)+) => {{
        $text.push_str(&format!($($format)+));
        $text.push('\n');
    }};
}

/// What mode `within` keeps to, one line for each setting that is not Milvus' own word.
fn own_balancer(report: &PlanReport) -> Vec<String> {
    let balancer = &report.own_balancer;
    if !balancer.is_binding {
        return Vec::new();
    }
    let mut lines = vec![balancer.state.to_string()];
    lines
        .extend(balancer.pending_moves.map(|moves| format!("{} of its own pending", counted(moves, "move"))));
    let told = balancer.settings.iter().filter(|setting| setting.origin != Origin::Read);
    lines.extend(told.map(KnownSetting::to_string));
    let read = balancer.settings.iter().filter(|setting| setting.origin == Origin::Read).count();
    if read > 0 {
        lines.push(format!("{} read from Milvus", counted(read, "setting")));
    }
    lines
}

fn headline(report: &PlanReport, text: &mut String) {
    line!(
        text,
        "Milvus {}: {}, {}, {} (snapshot {})",
        report.server,
        counted(report.nodes.len(), "query node"),
        counted(report.collections.len(), "loaded collection"),
        counted(report.segments, "sealed segment"),
        report.snapshot_digest
    );
}

fn nodes(report: &PlanReport, text: &mut String) {
    if report.nodes.is_empty() {
        line!(text, "\nThere are no query nodes.");
        return;
    }
    let columns = [
        ("node", Align::Right),
        ("address", Align::Left),
        ("memory", Align::Right),
        ("dimension", Align::Left),
        ("load", Align::Right),
        ("fair share", Align::Right),
        ("pressure", Align::Right),
        ("", Align::Left),
        ("state", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for node in &report.nodes {
        let memory = match (node.memory_used, node.memory_capacity) {
            (Some(used), Some(capacity)) => format!("{used} of {capacity}"),
            _ => "unknown".to_owned(),
        };
        let head = |dimension: &str| {
            [node.id.to_string(), node.address.clone(), memory.clone(), dimension.to_owned()]
        };
        let findings: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.node == node.id).collect();
        if findings.is_empty() {
            let is_drained = report.drains.iter().any(|drain| drain.node == node.id);
            let state = if !node.standing.is_usable() {
                node.standing.to_string()
            } else if is_drained {
                "being emptied".to_owned()
            } else {
                "has no share".to_owned()
            };
            table.row(head("-").into_iter().chain(["-", "-", "-", ""].map(str::to_owned)).chain([state]));
        }
        for finding in findings {
            let figures = [
                finding.unit.display(finding.load),
                finding.unit.display(finding.fair),
                finding.pressure.to_string(),
                bar(finding.pressure),
                state(finding),
            ];
            table.row(head(&finding.dimension).into_iter().chain(figures));
        }
    }
    line!(text, "\n{table}");
}

/// "1 node", "3 nodes".
fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A bar whose `|` is the fair share.
pub fn bar(pressure: Ratio) -> String {
    let filled = pressure.0.saturating_mul(FAIR_SHARE_WIDTH).saturating_add(500_000) / Ratio::ONE.0;
    let longest = FAIR_SHARE_WIDTH * 4;
    let mut bar = String::new();
    for position in 0..filled.min(longest).max(FAIR_SHARE_WIDTH + 1) {
        bar.push(match (position == FAIR_SHARE_WIDTH, position < filled) {
            (true, _) => '|',
            (false, true) => '█',
            (false, false) => '·',
        });
    }
    if filled > longest {
        bar.push('→');
    }
    bar
}

fn state(finding: &Finding) -> String {
    match &finding.state {
        FindingState::Even => "even".to_owned(),
        FindingState::Saturated(reason) => format!("even, but full: {reason}"),
        FindingState::Tolerated(reason) => format!("uneven, tolerated: {reason}{}", immovable(finding)),
        FindingState::Overloaded => format!("overloaded{}", immovable(finding)),
    }
}

/// What of a node's load cannot be moved, and why.
fn immovable(finding: &Finding) -> String {
    if finding.immovable_parts.is_empty() {
        return String::new();
    }
    let share = |part: &ImmovablePart| {
        format!("{} is {}", Ratio::of(part.load.0, finding.load.0).percent(), part.cause)
    };
    let parts: Vec<String> = finding.immovable_parts.iter().map(share).collect();
    format!(" (cannot be moved: {})", parts.join(", "))
}

fn steps(report: &PlanReport, text: &mut String) {
    if report.steps.is_empty() {
        line!(text, "Nothing to move.");
        return;
    }
    let moves: usize = report.steps.iter().map(|step| step.moves.len()).sum();
    line!(text, "Plan: {}, {}, best first:", counted(moves, "move"), report.proof.bytes_moved);
    let columns = [
        ("", Align::Right),
        ("segment", Align::Right),
        ("collection", Align::Left),
        ("rows", Align::Right),
        ("size", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
        ("why", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for (position, step) in report.steps.iter().take(STEPS_SHOWN).enumerate() {
        for movement in &step.moves {
            let collection = report.collections.iter().find(|known| known.id == movement.collection);
            table.row([
                (position + 1).to_string(),
                movement.segment.to_string(),
                collection.map(|collection| collection.name.clone()).unwrap_or_default(),
                movement.rows.to_string(),
                movement.bytes.to_string(),
                movement.from.to_string(),
                movement.to.to_string(),
                why(step, movement.from, movement.to),
            ]);
        }
    }
    line!(text, "{table}");
    if report.steps.len() > STEPS_SHOWN {
        line!(text, "… and {} more steps (--format json has them all)", report.steps.len() - STEPS_SHOWN);
    }
}

fn why(step: &Step, from: NodeId, to: NodeId) -> String {
    format!(
        "{}: node {from} {} → {}, node {to} {} → {}",
        step.dimension,
        step.source_before,
        step.source_after,
        step.destination_before,
        step.destination_after
    )
}

fn proof(report: &PlanReport, text: &mut String) {
    let uneven = |proof: &&DimensionProof| proof.before > Ratio::ONE;
    for proof in report.proof.dimensions.iter().filter(uneven) {
        line!(
            text,
            "{}, nodes linked with node {}: worst pressure {} now, {} after, {} at best ({})",
            proof.dimension,
            proof.component,
            proof.before,
            proof.after,
            proof.floor,
            proof.floor_cause
        );
    }
}

fn left_alone(report: &PlanReport, text: &mut String) {
    let mut lines = Vec::new();
    for left in &report.proof.left_alone {
        let candidate = match &left.best_candidate {
            Some(best) => format!(" (closest: segment {} to node {})", best.segment, best.to),
            None => String::new(),
        };
        lines.push(format!(
            "node {} stays at {} {}: {}{candidate}",
            left.node, left.dimension, left.pressure, left.reason
        ));
    }
    list("Left alone:", lines, text);
}

fn refusals(report: &PlanReport) -> Vec<String> {
    report
        .refusals
        .iter()
        .map(|refusal| format!("{}: {}", refusal.subject, refusal.reason.sentence))
        .collect()
}

fn list(title: &str, lines: Vec<String>, text: &mut String) {
    if lines.is_empty() {
        return;
    }
    line!(text, "\n{title}");
    for entry in lines {
        line!(text, "  {}", crate::telemetry::shown(&entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_marks_the_fair_share_and_does_not_run_off_the_screen() {
        assert_eq!(bar(Ratio::ZERO), "········|");
        assert_eq!(bar(Ratio::ONE), "████████|");
        assert_eq!(bar(Ratio(1_500_000)), "████████|███");
        assert!(bar(Ratio::MAX).ends_with('→'));
        assert!(bar(Ratio::MAX).chars().count() < 40);
    }
}
