//! What `load-balance` prints: each segment with where it went, as seen and not as promised.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::table::{Align, Table};
use crate::execute::manual::{ManualEnd, ManualOutcome, Staying};
use crate::units::{Bytes, NodeId, Rows, SegmentId};

/// The outcome of a segment that went where it was to go.
const MOVED: &str = "moved";

/// A segment that was to be moved by hand, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MovedSegment {
    /// Which.
    #[schema(value_type = String)]
    pub segment: SegmentId,
    /// Its rows, where it was to be moved.
    #[schema(value_type = Option<u64>)]
    pub rows: Option<Rows>,
    /// Its bytes, where it was to be moved.
    #[schema(value_type = Option<u64>)]
    pub bytes: Option<Bytes>,
    /// Where it was.
    #[schema(value_type = Option<String>)]
    pub from: Option<NodeId>,
    /// Where it was to go.
    #[schema(value_type = Option<String>)]
    pub to: Option<NodeId>,
    /// The nodes of its replica that held it when it was last seen.
    #[schema(value_type = Vec<String>)]
    pub seen_on: Vec<NodeId>,
    /// `moved`, `not moved`, `not moved yet` or `left in place`.
    pub outcome: String,
    /// Why it did not move; empty when it did.
    pub why: String,
}

/// One entry for each segment: those that were to move, then those that stay.
pub fn segments(outcomes: &[ManualOutcome], staying: &[(SegmentId, Staying)]) -> Vec<MovedSegment> {
    let mut rows = Vec::new();
    for outcome in outcomes {
        let movement = &outcome.wanted.movement;
        let (result, why) = match &outcome.end {
            ManualEnd::Moved => (MOVED, String::new()),
            ManualEnd::NotMoved { why } => ("not moved", why.clone()),
            ManualEnd::Open { why } => ("not moved yet", why.clone()),
        };
        rows.push(MovedSegment {
            segment: movement.segment,
            rows: Some(movement.rows),
            bytes: Some(movement.bytes),
            from: Some(movement.from),
            to: Some(movement.to),
            seen_on: outcome.seen_on.clone(),
            outcome: result.to_owned(),
            why,
        });
    }
    for (segment, why) in staying {
        rows.push(MovedSegment {
            segment: *segment,
            rows: None,
            bytes: None,
            from: None,
            to: None,
            seen_on: Vec::new(),
            outcome: "left in place".to_owned(),
            why: why.to_string(),
        });
    }
    rows
}

/// For people.
pub fn table(segments: &[MovedSegment]) -> String {
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
    for row in segments {
        let outcome =
            if row.why.is_empty() { row.outcome.clone() } else { format!("{}: {}", row.outcome, row.why) };
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
    let wanted = segments.iter().filter(|segment| segment.to.is_some());
    let moved = wanted.clone().filter(|segment| segment.has_moved()).count();
    format!("{table}\n{moved} of {} segments moved\n", wanted.count())
}

/// For programs: one document.
pub fn json(segments: &[MovedSegment]) -> String {
    super::plan_view::json(&segments)
}

impl MovedSegment {
    /// Whether it was seen on its destination alone.
    pub fn has_moved(&self) -> bool {
        self.outcome == MOVED
    }
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
