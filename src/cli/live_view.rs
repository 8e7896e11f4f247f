//! What the commands print that ask a running daemon.

use super::plan_view::bar;
use super::table::{Align, Table};
use crate::admin::ExplanationsView;
use crate::admin::views::{AuditView, NodeView, OperationView, PlanView, StatusView, TurnView, WaveView};
use crate::telemetry::shown;
use crate::units::{Bytes, Ratio};

/// A time without fractions of a second, which nobody reads.
fn time(at: jiff::Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}

fn maybe<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn figure(value: f64) -> String {
    format!("{value:.2}")
}

/// The state in one look.
pub fn status(status: &StatusView) -> String {
    let mut lines = vec![status.verdict.clone()];
    let server = status.server.clone().unwrap_or_else(|| "unknown".to_owned());
    lines.push(format!(
        "mode {}, Milvus {server}: {} query nodes, {} loaded collections, {} sealed segments, {} doubts",
        status.mode, status.nodes, status.collections, status.segments, status.doubts
    ));
    if let Some(at) = status.taken_at {
        lines.push(format!("looked at {}, turn {}", time(at), status.turns));
    }
    for dimension in &status.dimensions {
        lines.push(format!(
            "{}: worst pressure {} now, {} after the plan, {} at best ({})",
            dimension.dimension,
            figure(dimension.before),
            figure(dimension.after),
            figure(dimension.floor),
            dimension.floor_cause
        ));
    }
    let plan = &status.plan;
    if let Some(digest) = &plan.digest {
        let (moves, bytes, admitted) = (plan.moves, Bytes(plan.bytes), plan.admitted);
        lines.push(format!("plan {digest}: {moves} moves, {bytes}; {admitted} steps may be taken"));
    }
    if status.open_operations > 0 {
        lines.push(format!("{} moves are on their way", status.open_operations));
    }
    if let Some(reason) = &status.limited_by {
        lines.push(format!("held back ({}): {}", reason.code, reason.sentence));
    }
    if let Some(pause) = &status.pause {
        let until = pause.until.map_or("somebody ends it".to_owned(), time);
        lines.push(format!("paused by {} until {until}: {}", pause.by, pause.reason));
    }
    for drain in &status.drains {
        lines
            .push(format!("node {} is to be emptied, ordered by {}: {}", drain.node, drain.by, drain.reason));
    }
    lines.iter().map(|line| format!("{}\n", shown(line))).collect()
}

/// All nodes with their loads.
pub fn nodes(nodes: &[NodeView]) -> String {
    let columns = [
        ("node", Align::Right),
        ("address", Align::Left),
        ("memory", Align::Right),
        ("segments", Align::Right),
        ("dimension", Align::Left),
        ("load", Align::Right),
        ("pressure", Align::Right),
        ("", Align::Left),
        ("state", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for node in nodes {
        let memory = match (node.memory_used, node.memory_capacity) {
            (Some(used), Some(capacity)) => format!("{} of {}", Bytes(used), Bytes(capacity)),
            _ => "unknown".to_owned(),
        };
        let head = [node.id.clone(), node.address.clone(), memory, node.segments.to_string()];
        let order = if node.drained { ", being emptied" } else { "" };
        if node.pressures.is_empty() {
            let rest = ["-", "-", "-", ""].map(str::to_owned);
            table.row(head.clone().into_iter().chain(rest).chain([format!("{}{order}", node.standing)]));
        }
        for load in &node.pressures {
            let pressure = Ratio::from_decimal(load.pressure).unwrap_or(Ratio::MAX);
            let why = load.reason.as_ref().map(|reason| format!(": {}", reason.sentence)).unwrap_or_default();
            table.row(head.clone().into_iter().chain([
                load.dimension.clone(),
                load.load_text.clone(),
                pressure.to_string(),
                bar(pressure),
                format!("{}{order}{why}", load.state),
            ]));
        }
    }
    if table.is_empty() { "There are no query nodes.\n".to_owned() } else { table.to_string() }
}

/// The daemon's own plan.
pub fn plan(plan: &PlanView) -> String {
    let mut text = match &plan.digest {
        Some(digest) => format!(
            "Plan {digest} of {}: {} moves, {}; {} steps may be taken.\n",
            time(plan.taken_at),
            plan.moves,
            Bytes(plan.bytes),
            plan.admitted
        ),
        None => format!("Nothing to move, as of {}.\n", time(plan.taken_at)),
    };
    let columns = [
        ("", Align::Right),
        ("segment", Align::Right),
        ("collection", Align::Left),
        ("size", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
        ("why", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for step in &plan.steps.items {
        for movement in &step.moves {
            table.row([
                (step.position + 1).to_string(),
                movement.segment.clone(),
                movement.collection_name.clone(),
                Bytes(movement.bytes).to_string(),
                movement.from.clone(),
                movement.to.clone(),
                format!(
                    "{}: node {} {} → {}, node {} {} → {}",
                    step.dimension,
                    movement.from,
                    figure(step.source_before),
                    figure(step.source_after),
                    movement.to,
                    figure(step.destination_before),
                    figure(step.destination_after)
                ),
            ]);
        }
    }
    if !table.is_empty() {
        text.push_str(&format!("\n{table}"));
    }
    for left in &plan.left_alone {
        let (node, dimension, pressure) = (&left.node, &left.dimension, figure(left.pressure));
        let line = format!("node {node} stays at {dimension} {pressure}: {}", left.reason.sentence);
        text.push_str(&format!("{}\n", shown(&line)));
    }
    if let Some(reason) = &plan.limited_by {
        text.push_str(&format!("held back ({}): {}\n", reason.code, shown(&reason.sentence)));
    }
    text
}

/// Turns, newest first.
pub fn turns(turns: &[TurnView]) -> String {
    let columns = [
        ("turn", Align::Right),
        ("at", Align::Left),
        ("took", Align::Right),
        ("result", Align::Left),
        ("overloaded", Align::Right),
        ("moves", Align::Right),
        ("admitted", Align::Right),
        ("held back", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for turn in turns {
        table.row([
            turn.id.clone(),
            time(turn.started_at),
            format!("{} ms", turn.took_ms),
            turn.result.clone(),
            turn.overloaded.to_string(),
            turn.moves_planned.to_string(),
            turn.moves_admitted.to_string(),
            turn.detail.clone(),
        ]);
    }
    table.to_string()
}

/// Moves, newest first.
pub fn operations(operations: &[OperationView]) -> String {
    let columns = [
        ("move", Align::Right),
        ("at", Align::Left),
        ("by", Align::Left),
        ("segment", Align::Right),
        ("collection", Align::Left),
        ("size", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
        ("state", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for operation in operations {
        let detail =
            if operation.detail.is_empty() { String::new() } else { format!(": {}", operation.detail) };
        table.row([
            operation.id.clone(),
            time(operation.changed_at),
            operation.origin.clone(),
            operation.segment.clone(),
            operation.collection_name.clone(),
            Bytes(operation.bytes).to_string(),
            operation.from.clone(),
            operation.to.clone(),
            format!("{}{detail}", operation.state),
        ]);
    }
    table.to_string()
}

/// Waves, newest first.
pub fn waves(waves: &[WaveView]) -> String {
    let columns = [
        ("wave", Align::Right),
        ("at", Align::Left),
        ("moves", Align::Right),
        ("landed", Align::Right),
        ("size", Align::Right),
        ("relief predicted", Align::Right),
        ("seen", Align::Right),
        ("outcome", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for wave in waves {
        let detail = if wave.detail.is_empty() { String::new() } else { format!(": {}", wave.detail) };
        table.row([
            maybe(wave.id.as_ref()),
            time(wave.started_at),
            wave.sent.to_string(),
            wave.landed.to_string(),
            Bytes(wave.bytes).to_string(),
            maybe(wave.predicted_relief.map(figure)),
            maybe(wave.realised_relief.map(figure)),
            format!("{}{detail}", wave.outcome),
        ]);
    }
    table.to_string()
}

/// Requests, newest first.
pub fn audit(entries: &[AuditView]) -> String {
    let columns = [
        ("", Align::Right),
        ("at", Align::Left),
        ("who", Align::Left),
        ("from", Align::Left),
        ("what", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for entry in entries {
        table.row([
            entry.id.clone(),
            time(entry.at),
            entry.who.clone(),
            entry.origin.clone(),
            format!("{} {}", entry.action, entry.detail),
        ]);
    }
    table.to_string()
}

/// Answers to why and why not.
pub fn explanations(explanations: &ExplanationsView) -> String {
    let mut text = String::new();
    for answer in &explanations.answers {
        text.push_str(&format!("{}\n", shown(&answer.subject)));
        for line in &answer.lines {
            text.push_str(&format!("  {}\n", shown(line)));
        }
    }
    text
}

/// An event in one line.
pub fn event(name: &str, data: &serde_json::Value) -> String {
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    match name {
        "turn" => format!("turn {}: {}", data["turn"], text("verdict")),
        "operation" => {
            let (segment, from, to) = (text("segment"), text("from"), text("to"));
            let (collection, state, detail) = (text("collection_name"), text("state"), text("detail"));
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            format!("segment {segment} of {collection}, node {from} to node {to}: {state}{detail}")
        }
        "wave" => format!("wave: {}, {} of {} moves landed", text("outcome"), data["landed"], data["sent"]),
        other => format!("{other}: {data}"),
    }
}
