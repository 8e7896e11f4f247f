//! A move that came to nothing twice will hardly succeed a moment later: a node that has less room than its figures
//! say refuses the same segment for ever, and would be asked for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Restrictions;
use super::cool_down::doubled;
use crate::model::PlanningInput;
use crate::reason::Reason;
use crate::units::{NodeId, SegmentId};

/// The pause after the second failure; doubles with every further one. The first is free: the server may have been
/// busy with something else.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Keeps segments off nodes to which they could not be moved.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let mut failures: BTreeMap<(SegmentId, NodeId), (usize, Timestamp)> = BTreeMap::new();
    for setback in &input.history.setbacks {
        let (times, last) = failures.entry((setback.segment, setback.to)).or_insert((0, setback.at));
        *times += 1;
        *last = setback.at.max(*last);
    }
    for ((segment, node), (times, last)) in failures {
        if times < 2 {
            continue;
        }
        let length = doubled(FIRST_PAUSE, times - 1, input.gate.cool_down_limit.max(FIRST_PAUSE));
        let passed = input.now.wall.duration_since(last).unsigned_abs();
        let Some(remaining) = length.checked_sub(passed).filter(|left| !left.is_zero()) else { continue };
        let reason = Reason::FailedBefore { node, times, remaining };
        restrictions.returns.entry((segment, node)).or_insert(reason);
        restrictions.named_segments.insert(segment);
    }
}
