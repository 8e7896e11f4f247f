//! How many bytes may still arrive at a node. A destination holds the whole segment while its source still does,
//! so nothing is credited for what leaves, and all that is on its way counts.

use super::Restrictions;
use super::settling::landed_unseen;
use crate::model::PlanningInput;
use crate::reason::Reason;
use crate::units::Bytes;

/// Works out the room of every usable node; one whose capacity is unknown takes nothing.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let resident = estimated_residents(input);
    let landed = landed_unseen(input);
    for (position, node) in input.snapshot.nodes.iter().enumerate() {
        if !node.standing.is_usable() {
            continue;
        }
        let Some(capacity) = node.memory_capacity else {
            restrictions.destinations.entry(node.id).or_insert(Reason::CapacityUnknown { node: node.id });
            continue;
        };
        let limit = Bytes(input.gate.destination_memory.share_of(capacity.0));
        // Mapped files do not show in resident memory; where the estimate is higher it is the safer truth.
        let unseen = landed.get(&node.id).copied().unwrap_or_default();
        let used = node.memory_used.unwrap_or_default().saturating_add(unseen).max(resident[position]);
        let arriving: Bytes =
            input.in_flight.iter().filter(|flight| flight.to == node.id).map(|flight| flight.bytes).sum();
        restrictions.room.insert(node.id, limit.saturating_sub(used).saturating_sub(arriving));
    }
}

/// Bytes of listed segments and growing data, by node.
fn estimated_residents(input: &PlanningInput) -> Vec<Bytes> {
    let snapshot = &input.snapshot;
    let nodes = snapshot.nodes.iter().zip(snapshot.bytes_by_node());
    nodes.map(|(node, segments)| segments.saturating_add(node.growing.unwrap_or_default())).collect()
}
