//! After a move has landed, the figures of its nodes are those of before for a few seconds. What is small beside the
//! node is reckoned with: the bytes count on their destination at once. Of what is large nobody knows what it did to its
//! nodes before their figures show it, and planning meanwhile would move the same load twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Restrictions, elapsed};
use crate::model::PlanningInput;
use crate::reason::Reason;
use crate::units::{Bytes, NodeId};

/// Lets nodes rest from which, or to which, a large part of their load was moved a moment ago.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let mut landed: BTreeMap<NodeId, (Bytes, Duration)> = BTreeMap::new();
    for departure in &input.history.departures {
        let Some(remaining) = remaining(input, departure.at) else { continue };
        for node in [departure.from, departure.to] {
            let (bytes, longest) = landed.entry(node).or_default();
            *bytes = bytes.saturating_add(departure.bytes);
            *longest = remaining.max(*longest);
        }
    }
    if landed.is_empty() {
        return;
    }
    let on_node = input.snapshot.bytes_by_node();
    for (node, (bytes, remaining)) in landed {
        let Some(index) = input.snapshot.node_index(node) else { continue };
        // Its segments, or all of its memory in use where that is more.
        let load = on_node[index.at()].max(input.snapshot.node(index).memory_used.unwrap_or_default());
        if bytes.0 <= input.gate.settle_above.share_of(load.0) {
            continue;
        }
        let reason = Reason::Settling { node, remaining };
        restrictions.sources.entry(node).or_insert(reason.clone());
        restrictions.destinations.entry(node).or_insert(reason);
    }
}

/// Bytes that have landed on nodes so lately that their own figures may not show them yet.
pub(super) fn landed_unseen(input: &PlanningInput) -> BTreeMap<NodeId, Bytes> {
    let mut landed: BTreeMap<NodeId, Bytes> = BTreeMap::new();
    for departure in &input.history.departures {
        if remaining(input, departure.at).is_some() {
            let bytes = landed.entry(departure.to).or_default();
            *bytes = bytes.saturating_add(departure.bytes);
        }
    }
    landed
}

/// For how much longer figures may be older than what happened at that time.
fn remaining(input: &PlanningInput, at: jiff::Timestamp) -> Option<Duration> {
    let passed = elapsed(at, input.now.wall);
    input.gate.settle_time.checked_sub(passed).filter(|left: &Duration| !left.is_zero())
}
