//! What `replay` prints: the recorded options beside others, figure by figure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::table::{Align, Table};
use crate::model::NetZeroShare;
use crate::replay::{Pressures, ReplayReport, SideFigures};
use crate::units::Ratio;

/// For people.
pub fn tables(report: &ReplayReport) -> String {
    let mut text = heading(report);
    let mut columns = vec![("", Align::Left), ("recorded options", Align::Right)];
    if report.new.is_some() {
        columns.push(("other options", Align::Right));
    }
    let mut table = Table::new(&columns);
    for (name, old, new) in rows(report) {
        table.row([Some(name), Some(old), new].into_iter().flatten());
    }
    text.push_str(&format!("{table}\n"));
    text.push_str(&happened(report));
    text.push_str(&refused(report));
    text
}

/// What was thought through, and whether the same came out.
pub fn heading(report: &ReplayReport) -> String {
    let ReplayReport { from, to, turns, reproduced, .. } = report;
    let programs: Vec<&str> = report.programs.iter().map(String::as_str).collect();
    let mut text =
        format!("{turns} turns from {from} to {to}, taken by milvus-rebalancer {}\n", programs.join(", "));
    if reproduced == turns {
        text.push_str("the recorded options give the recorded plans, turn by turn\n");
    } else {
        text.push_str(&format!(
            "the recorded options give the recorded plans in {reproduced} of {turns} turns\n"
        ));
    }
    if let Some(deviation) = &report.first_deviation {
        let (then, now) = (&deviation.recorded, &deviation.replayed);
        text.push_str(&format!(
            "first another plan at {}: {} moves were recorded ({}), {} came out ({})\n",
            deviation.at, then.moves, then.plan, now.moves, now.plan
        ));
    }
    if let Some(different) = report.different_plans {
        text.push_str(&format!("the other options plan other moves in {different} of {turns} turns\n"));
    }
    text.push('\n');
    text
}

/// All figures by name; the last one is there with other options only.
pub fn rows(report: &ReplayReport) -> Vec<(String, String, Option<String>)> {
    let of = |figure: &dyn Fn(&SideFigures) -> String| (figure(&report.old), report.new.as_ref().map(figure));
    let mut rows = Vec::new();
    for (name, figure) in figures() {
        let (old, new) = of(&figure);
        rows.push((name.to_owned(), old, new));
    }
    let sides = [Some(&report.old), report.new.as_ref()];
    let dimensions: BTreeSet<&String> =
        sides.into_iter().flatten().flat_map(|side| side.mean_pressures.keys()).collect();
    for dimension in dimensions {
        for (when, figure) in [
            ("seen", (|pressures| pressures.now) as fn(&Pressures) -> Ratio),
            ("after the plan", |pressures| pressures.planned),
            ("at best", |pressures| pressures.floor),
        ] {
            let shown = |side: &SideFigures| {
                side.mean_pressures
                    .get(dimension)
                    .map_or("-".to_owned(), |pressures| figure(pressures).to_string())
            };
            let (old, new) = of(&shown);
            rows.push((format!("worst {dimension} pressure {when}, mean"), old, new));
        }
    }
    rows
}

type Figure = fn(&SideFigures) -> String;

fn figures() -> [(&'static str, Figure); 7] {
    [
        ("turns with a plan", |side| side.turns_with_plan.to_string()),
        ("moves asked for", |side| side.asked.moves.to_string()),
        ("bytes of these", |side| side.asked.bytes.to_string()),
        ("of these undone (net-zero)", |side| undone(&side.asked)),
        ("calls for these, at least", |side| side.calls.to_string()),
        ("time out of band", |side| format!("{} of {}", shown(side.out_of_band), shown(side.observed))),
        ("most overloaded nodes", |side| {
            side.series.iter().map(|sample| sample.overloaded).max().unwrap_or(0).to_string()
        }),
    ]
}

fn undone(share: &NetZeroShare) -> String {
    format!("{} ({} moves)", share.ratio().percent(), share.undone_moves)
}

/// Seconds are enough, and minutes for what is long.
fn shown(time: Duration) -> String {
    crate::config::duration::display(Duration::from_secs(time.as_secs()))
}

/// What no option of the planner changes any more.
pub fn happened(report: &ReplayReport) -> String {
    let happened = &report.happened;
    format!(
        "what happened meanwhile: {} calls sent, {} moves of ours landed ({}, {} of them undone), {} moves by others\n",
        happened.calls,
        happened.landed.moves,
        happened.landed.bytes,
        happened.landed.ratio().percent(),
        happened.foreign.moves
    )
}

/// In how many turns each reason held something back.
fn refused(report: &ReplayReport) -> String {
    let none = BTreeMap::new();
    let new = report.new.as_ref().map_or(&none, |side| &side.refused);
    let codes: BTreeSet<&str> = report.old.refused.keys().chain(new.keys()).copied().collect();
    if codes.is_empty() {
        return String::new();
    }
    let mut columns = vec![("held back by", Align::Left), ("turns", Align::Right)];
    if report.new.is_some() {
        columns.push(("turns, other options", Align::Right));
    }
    let mut table = Table::new(&columns);
    for code in codes {
        let turns = |refused: &BTreeMap<&str, crate::replay::Refused>| {
            refused.get(code).map_or(0, |refused| refused.turns).to_string()
        };
        let other = report.new.is_some().then(|| turns(new));
        table.row([Some(code.to_owned()), Some(turns(&report.old.refused)), other].into_iter().flatten());
    }
    format!("\n{table}")
}
