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
    let mut between: BTreeMap<(CollectionId, NodeId, NodeId), Vec<&Departure>> = BTreeMap::new();
    for departure in &input.history.departures {
        for from in ids_of(input, departure) {
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

/// The node that a segment left, by its id and by whatever id its address has now: ids die with their process.
fn ids_of(input: &PlanningInput, departure: &Departure) -> Vec<NodeId> {
    let mut ids: Vec<NodeId> = input
        .snapshot
        .nodes
        .iter()
        .filter(|node| {
            let is_there = !departure.from_address.is_empty() && node.address == departure.from_address;
            node.id == departure.from || is_there
        })
        .map(|node| node.id)
        .collect();
    ids.dedup();
    ids
}
