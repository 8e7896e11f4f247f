//! A new node gets its load slowly: what is wrong with it shows in its first minutes, and its caches are cold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Restrictions, elapsed};
use crate::model::{Node, PlanningInput};
use crate::reason::Reason;
use crate::units::{Bytes, NodeId, Ratio};

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
    let new: Vec<(usize, Duration)> = new_nodes(input);
    if new.is_empty() {
        return;
    }
    let on_node = input.snapshot.bytes_by_node();
    let settings = &input.gate.warm_up;
    for (position, known_for) in new {
        let node = &input.snapshot.nodes[position];
        let first = settings.first_share.min(Ratio::ONE);
        let gone = Ratio::of(milliseconds(known_for), milliseconds(settings.time));
        let share = Ratio(first.0 + gone.share_of(Ratio::ONE.0 - first.0));
        let may_have = Bytes(share.share_of(fair_bytes(input, node, &on_node)));
        let room = may_have.saturating_sub(on_node[position]).saturating_sub(arriving(input, node.id));
        let remaining = settings.time.saturating_sub(known_for);
        let reason = Reason::WarmingUp { node: node.id, share, remaining };
        restrictions.warming_up.insert(node.id, WarmingUp { room, reason });
    }
}

/// Positions of the nodes that are new, and for how long they have been known.
fn new_nodes(input: &PlanningInput) -> Vec<(usize, Duration)> {
    let nodes = input.snapshot.nodes.iter().enumerate();
    let known = nodes.filter_map(|(position, node)| {
        let since = input.history.nodes_seen.new_since(node)?;
        Some((position, elapsed(since, input.now.wall)))
    });
    known.filter(|(_, known_for)| *known_for < input.gate.warm_up.time).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A node's share of the segment bytes on its component, by memory.
fn fair_bytes(input: &PlanningInput, node: &Node, on_node: &[Bytes]) -> u64 {
    let capacity = |node: &Node| u128::from(node.memory_capacity.unwrap_or_default().0);
    let mut bytes: u128 = 0;
    let mut total: u128 = 0;
    for (other, on_it) in input.snapshot.nodes.iter().zip(on_node) {
        if other.component == node.component {
            bytes += u128::from(on_it.0);
            total += capacity(other);
        }
    }
    u64::try_from(bytes * capacity(node) / total.max(1)).unwrap_or(u64::MAX)
}

/// Bytes of segments on their way to a node.
fn arriving(input: &PlanningInput, node: NodeId) -> Bytes {
    input.in_flight.iter().filter(|flight| flight.to == node).map(|flight| flight.bytes).sum()
}
