//! What `load-balance` prints: each segment with where it went, as seen and not as promised.

use serde::Serialize;

use super::table::{Align, Table};
use crate::execute::manual::{ManualEnd, ManualOutcome, Staying};
use crate::units::{Bytes, NodeId, Rows, SegmentId};

/// A row of the answer.
#[derive(Serialize)]
struct Row {
    segment: SegmentId,
    rows: Option<Rows>,
    bytes: Option<Bytes>,
    from: Option<NodeId>,
    to: Option<NodeId>,
    seen_on: Vec<NodeId>,
    outcome: &'static str,
    why: String,
}

fn rows(outcomes: &[ManualOutcome], staying: &[(SegmentId, Staying)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for outcome in outcomes {
        let movement = &outcome.wanted.movement;
        let (result, why) = match &outcome.end {
            ManualEnd::Moved => ("moved", String::new()),
            ManualEnd::NotMoved { why } => ("not moved", why.clone()),
            ManualEnd::Open { why } => ("not moved yet", why.clone()),
        };
        rows.push(Row {
            segment: movement.segment,
            rows: Some(movement.rows),
            bytes: Some(movement.bytes),
            from: Some(movement.from),
            to: Some(movement.to),
            seen_on: outcome.seen_on.clone(),
            outcome: result,
            why,
        });
    }
    for (segment, why) in staying {
        rows.push(Row {
            segment: *segment,
            rows: None,
            bytes: None,
            from: None,
            to: None,
            seen_on: Vec::new(),
            outcome: "left in place",
            why: why.to_string(),
        });
    }
    rows
}

/// For people.
pub fn table(outcomes: &[ManualOutcome], staying: &[(SegmentId, Staying)]) -> String {
    let columns = [
        ("segment", Align::Right),
        ("rows", Align::Right),
        ("size", Align::Right),
        ("from", Align::Right),
        ("to", Align::Right),
        ("seen on", Align::Right),
        ("outcome", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for row in rows(outcomes, staying) {
        let outcome =
            if row.why.is_empty() { row.outcome.to_owned() } else { format!("{}: {}", row.outcome, row.why) };
        table.row([
            row.segment.to_string(),
            or_dash(row.rows),
            or_dash(row.bytes),
            or_dash(row.from),
            or_dash(row.to),
            row.seen_on.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" and "),
            outcome,
        ]);
    }
    let moved = outcomes.iter().filter(|outcome| outcome.end == ManualEnd::Moved).count();
    format!("{table}\n{moved} of {} segments moved\n", outcomes.len())
}

/// For programs: one document.
pub fn json(outcomes: &[ManualOutcome], staying: &[(SegmentId, Staying)]) -> String {
    super::plan_view::json(&rows(outcomes, staying))
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
