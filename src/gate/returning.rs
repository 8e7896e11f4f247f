//! Compaction replaces segments, and with them their ids: what was moved yesterday has another name today. So bytes are
//! remembered as well: those of a collection that went from one node to another do not go back for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cool_down::doubled;
use super::{Restrictions, elapsed};
use crate::model::{Departure, PlanningInput};
use crate::reason::Reason;
use crate::units::{Bytes, CollectionId, NodeId};

/// A move that is this many times as large as what came is mostly something else, and no return. Less than twice would
/// let a segment return once compaction has merged it with a smaller one.
const MOSTLY_ELSE: u64 = 2;

/// Bytes that must not go back for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// So many came.
    pub bytes: Bytes,
    /// Why what is about as large does not go back.
    pub reason: Reason,
}

impl Returning {
    /// Whether moving this many bytes back would, for the greater part, bring back what came.
    pub fn holds(&self, bytes: Bytes) -> bool {
        bytes.0 / MOSTLY_ELSE < self.bytes.0
    }
}

/// Keeps bytes of a collection from going back to the node that they left; for twice as long with every time that they
/// have gone to and fro.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    if input.gate.cool_down.is_zero() {
        return;
    }
    let mut ids_at: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for node in &input.snapshot.nodes {
        ids_at.entry(&node.address).or_default().push(node.id);
    }
    let mut between: BTreeMap<(CollectionId, NodeId, NodeId), Vec<&Departure>> = BTreeMap::new();
    for departure in &input.history.departures {
        for from in ids_of(input, departure, &ids_at) {
            let pair = (from.min(departure.to), from.max(departure.to));
            between.entry((departure.collection, pair.0, pair.1)).or_default().push(departure);
        }
    }
    for ((collection, one, other), departures) in between {
        let returns = departures.windows(2).filter(|pair| pair[0].to != pair[1].to).count();
        let length = doubled(input.gate.cool_down, 1 + returns, input.gate.cool_down_limit);
        for (left, holder) in [(one, other), (other, one)] {
            let mut bytes = Bytes::ZERO;
            let mut longest = Duration::ZERO;
            for departure in departures.iter().filter(|departure| departure.to == holder) {
                let remaining = length.saturating_sub(elapsed(departure.at, input.now.wall));
                if !remaining.is_zero() {
                    bytes = bytes.saturating_add(departure.bytes);
                    longest = longest.max(remaining);
                }
            }
            if bytes > Bytes::ZERO {
                let reason = Reason::BytesReturnTooSoon { node: left, bytes, remaining: longest };
                restrictions.returning.insert((collection, holder, left), Returning { bytes, reason });
            }
        }
    }
}

/// The node that a segment left, by its id if it is there still, and by whatever id its address has now: ids die with
/// their process. An empty address is unknown.
fn ids_of(input: &PlanningInput, departure: &Departure, ids_at: &BTreeMap<&str, Vec<NodeId>>) -> Vec<NodeId> {
    let same_id = input.snapshot.node_index(departure.from).map(|_| departure.from);
    let there = ids_at.get(departure.from_address.as_str()).filter(|_| !departure.from_address.is_empty());
    let mut ids: Vec<NodeId> = there.into_iter().flatten().copied().chain(same_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
