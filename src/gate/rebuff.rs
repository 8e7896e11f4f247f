//! A node that refused a segment, or never took it, has a reason that we may not see: its own memory guard, a stop
//! that this version does not show, a fault. Asking again every turn would make it no better, and asking for ever
//! for the same segment, which has no room there whatever our figures say, would never end.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::cool_down::doubled;
use super::{Restrictions, elapsed};
use crate::model::PlanningInput;
use crate::reason::Reason;
use crate::units::{NodeId, SegmentId};

/// Leaves nodes alone as destinations for a while after a move to them failed, and for the same segment twice as
/// long with every further failure.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let mut failures: BTreeMap<(SegmentId, NodeId), (usize, Timestamp)> = BTreeMap::new();
    for rebuff in &input.history.rebuffs {
        let remaining = input.gate.rebuff_rest.saturating_sub(elapsed(rebuff.at, input.now.wall));
        if !remaining.is_zero() {
            let reason = Reason::Rebuffed { node: rebuff.to, remaining };
            restrictions.destinations.entry(rebuff.to).or_insert(reason);
        }
        let (times, last) = failures.entry((rebuff.segment, rebuff.to)).or_insert((0, rebuff.at));
        *times += 1;
        *last = rebuff.at.max(*last);
    }
    for ((segment, node), (times, last)) in failures {
        let length = pause(input, times);
        let remaining = length.saturating_sub(elapsed(last, input.now.wall));
        if times > 1 && !remaining.is_zero() {
            let reason = Reason::FailedBefore { node, times, remaining };
            restrictions.returns.entry((segment, node)).or_insert(reason);
            restrictions.named_segments.insert(segment);
        }
    }
}

/// How long a move that failed so often is not tried again.
fn pause(input: &PlanningInput, times: usize) -> Duration {
    if input.gate.rebuff_rest.is_zero() {
        return Duration::ZERO;
    }
    doubled(input.gate.rebuff_rest, times, input.gate.cool_down_limit.max(input.gate.rebuff_rest))
}
