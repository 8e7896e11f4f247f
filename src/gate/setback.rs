//! A node that refused a segment, or never took it, has a reason that we may not see: its own memory guard, a stop
//! that this version does not show, a fault. It is left alone for a while. And a move that came to nothing twice will
//! hardly succeed a moment later: the same segment would be offered to the same node for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::cool_down::doubled;
use super::{Restrictions, elapsed};
use crate::model::PlanningInput;
use crate::reason::Reason;
use crate::units::{NodeId, SegmentId};

/// The pause after the second failure; doubles with every further one. The first is free: the server may have been
/// busy with something else.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Lets nodes rest that did not take a segment, and keeps segments off nodes to which they could not be moved twice.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    for setback in &input.history.setbacks {
        let remaining = input.gate.setback_rest.saturating_sub(elapsed(setback.at, input.now.wall));
        if !remaining.is_zero() {
            let reason = Reason::NotTaken { node: setback.to, remaining };
            restrictions.destinations.entry(setback.to).or_insert(reason);
        }
    }
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
        let passed = elapsed(last, input.now.wall);
        let Some(remaining) = length.checked_sub(passed).filter(|left| !left.is_zero()) else { continue };
        let reason = Reason::FailedBefore { node, times, remaining };
        restrictions.returns.entry((segment, node)).or_insert(reason);
        restrictions.named_segments.insert(segment);
    }
}
