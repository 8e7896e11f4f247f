//! A segment that we moved stays for a while, and does not go back to the node that it left for longer still:
//! there-and-back is what people curse about every rebalancer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Restrictions, elapsed};
use crate::model::{Departure, PlanningInput, ReplicaIndex};
use crate::reason::Reason;
use crate::units::{CollectionId, NodeId, SegmentId};

/// Holds moved segments in place for the cool-down, and keeps them off the nodes they left for its double with
/// every further move.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    if input.gate.cool_down.is_zero() {
        return;
    }
    let mut nodes_at: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for node in &input.snapshot.nodes {
        nodes_at.entry(&node.address).or_default().push(node.id);
    }
    let mut by_segment: BTreeMap<(CollectionId, SegmentId), Vec<&Departure>> = BTreeMap::new();
    for departure in &input.history.departures {
        by_segment.entry((departure.collection, departure.segment)).or_default().push(departure);
    }
    for ((_, segment), departures) in by_segment {
        let length = doubled(input.gate.cool_down, departures.len(), input.gate.cool_down_limit);
        for departure in departures {
            let passed = elapsed(departure.at, input.now.wall);
            let Some(remaining) = length.checked_sub(passed).filter(|left| !left.is_zero()) else { continue };
            hold(input, departure, remaining, restrictions);
            // The node may have restarted since and carry another id at the same address; an empty one is unknown.
            let known = input.snapshot.node_index(departure.from).map(|_| departure.from);
            let address = Some(departure.from_address.as_str()).filter(|address| !address.is_empty());
            let there = address.and_then(|address| nodes_at.get(address));
            for node in known.into_iter().chain(there.into_iter().flatten().copied()) {
                let reason = Reason::ReturnTooSoon { node, remaining };
                restrictions.returns.entry((segment, node)).or_insert(reason);
                restrictions.named_segments.insert(segment);
            }
        }
    }
}

/// Holds the copy in the replica in which it moved; the segment's copies in other replicas are free.
fn hold(input: &PlanningInput, departure: &Departure, remaining: Duration, restrictions: &mut Restrictions) {
    let snapshot = &input.snapshot;
    let first = snapshot.copies.segment.partition_point(|segment| *segment < departure.segment);
    for at in first..snapshot.copies.len() {
        if snapshot.copies.segment[at] != departure.segment {
            break;
        }
        let replica: ReplicaIndex = snapshot.copies.replica[at];
        let moved_here = snapshot.replica(replica).members.iter().any(|member| {
            let id = snapshot.node(member.node).id;
            id == departure.to || id == departure.from
        });
        if moved_here {
            let reason = Reason::CoolingDown { remaining };
            restrictions.segments.entry((departure.segment, replica)).or_insert(reason);
            restrictions.named_segments.insert(departure.segment);
        }
    }
}

/// The cool-down after so many moves of one segment: doubled by each but the first, up to the limit.
pub(super) fn doubled(first: Duration, moves: usize, limit: Duration) -> Duration {
    let mut length = first;
    for _ in 1..moves {
        length = length.saturating_mul(2);
        if length >= limit {
            return limit;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cool_down_doubles_up_to_its_limit() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(doubled(minutes(30), 1, minutes(1440)), minutes(30));
        assert_eq!(doubled(minutes(30), 3, minutes(1440)), minutes(120));
        assert_eq!(doubled(minutes(30), 100_000, minutes(1440)), minutes(1440));
    }
}
