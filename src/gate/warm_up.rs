//! A new node gets its load slowly: what is wrong with it shows in its first minutes, and its caches are cold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Restrictions, elapsed};
use crate::model::{Node, NodeIndex, PlanningInput};
use crate::reason::Reason;
use crate::units::{Bytes, Ratio};

/// What a new node may still take for being new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmingUp {
    /// Bytes that may still arrive, everything in flight already counted.
    pub room: Bytes,
    /// Why not more.
    pub reason: Reason,
}

/// Limits what new nodes may take to a share of their fair share of bytes that grows with the time.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let settings = &input.gate.warm_up;
    for (position, node) in input.snapshot.nodes.iter().enumerate() {
        let Some(since) = input.history.nodes_seen.new_since(node) else { continue };
        let known_for = elapsed(since, input.now.wall);
        let Some(remaining) = settings.time.checked_sub(known_for).filter(|left| !left.is_zero()) else {
            continue;
        };
        let first = settings.first_share.min(Ratio::ONE);
        let gone = Ratio::of(milliseconds(known_for), milliseconds(settings.time));
        let share = Ratio(first.0 + gone.share_of(Ratio::ONE.0 - first.0));
        let may_have = Bytes(share.share_of(fair_bytes(input, node)));
        let room = may_have.saturating_sub(bytes_on(input, NodeIndex::from_position(position)));
        let reason = Reason::WarmingUp { node: node.id, share, remaining };
        restrictions.warming_up.insert(node.id, WarmingUp { room, reason });
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A node's share of the segment bytes on its component, by memory.
fn fair_bytes(input: &PlanningInput, node: &Node) -> u64 {
    let snapshot = &input.snapshot;
    let capacity = |node: &Node| u128::from(node.memory_capacity.unwrap_or_default().0);
    let members = || snapshot.nodes.iter().filter(|other| other.component == node.component);
    let total: u128 = members().map(capacity).sum();
    let copies = snapshot.copies.indices();
    let bytes: u128 = copies
        .filter(|copy| snapshot.node(snapshot.copies.node[copy.at()]).component == node.component)
        .map(|copy| u128::from(snapshot.copies.bytes[copy.at()].0))
        .sum();
    u64::try_from(bytes * capacity(node) / total.max(1)).unwrap_or(u64::MAX)
}

/// Bytes of segments on a node and on their way to it.
fn bytes_on(input: &PlanningInput, node: NodeIndex) -> Bytes {
    let copies = &input.snapshot.copies;
    let here: Bytes = copies
        .indices()
        .filter(|copy| copies.node[copy.at()] == node)
        .map(|copy| copies.bytes[copy.at()])
        .sum();
    let id = input.snapshot.node(node).id;
    let arriving: Bytes =
        input.in_flight.iter().filter(|flight| flight.to == id).map(|flight| flight.bytes).sum();
    here.saturating_add(arriving)
}
