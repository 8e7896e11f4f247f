//! Moves that somebody has ordered: what is nominated, what must be kept apart, what is on nodes that are to be emptied.
//! They need not pay, so they come before everything that only levels, and in this order.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::search::{Candidate, Outcome, Search};
use crate::gate::Restrictions;
use crate::model::{ComponentIndex, CopyIndex, NodeIndex, Snapshot};
use crate::reason::Reason;
use crate::units::{NodeId, ReplicaId, SegmentId};

/// A segment that was ordered to leave its node and is not planned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmetOrder {
    /// The segment.
    pub segment: SegmentId,
    /// The replica whose copy it is.
    pub replica: ReplicaId,
    /// Where it stays.
    pub node: NodeId,
    /// Why.
    pub reason: Reason,
}

/// Carries the orders of one component out in the search's picture: the moves, and what cannot be done.
pub(super) fn follow(
    search: &mut Search<'_>,
    snapshot: &Snapshot,
    restrictions: &Restrictions,
    component: ComponentIndex,
    mut take: impl FnMut(&mut Search<'_>, &Candidate),
) -> Vec<UnmetOrder> {
    let mut send_away = |search: &mut Search<'_>, copy: CopyIndex| match search.best_place(copy) {
        Outcome::Found(candidate) => {
            take(search, &candidate);
            None
        }
        Outcome::Stuck { reason, .. } => Some((copy, reason)),
    };
    let mut stuck = Vec::new();
    for copy in nominated(search, snapshot, restrictions, component) {
        stuck.extend(send_away(search, copy));
    }
    let mut too_close = Vec::new();
    for copy in members_of_sets(snapshot, restrictions, component) {
        // The one that stays does not go, and may be any of them.
        if search.is_too_close(copy) {
            too_close.extend(send_away(search, copy));
        }
    }
    // One that cannot go is well placed all the same when the other one went.
    too_close.retain(|(copy, _)| search.is_too_close(*copy));
    stuck.append(&mut too_close);
    for copy in on_evacuated_nodes(search, snapshot, restrictions, component) {
        stuck.extend(send_away(search, copy));
    }
    let mut unmet: Vec<UnmetOrder> =
        stuck.into_iter().map(|(copy, reason)| unmet_order(snapshot, copy, reason)).collect();
    unmet.sort_by_key(|order| (order.node, order.segment, order.replica));
    unmet.dedup_by_key(|order| (order.segment, order.replica));
    unmet
}

/// Nodes that are nominated without naming segments.
pub(super) fn nominated_nodes(
    snapshot: &Snapshot,
    restrictions: &Restrictions,
    component: ComponentIndex,
) -> Vec<NodeIndex> {
    let whole =
        restrictions.nominated.iter().filter(|(_, list)| list.iter().any(|one| one.segments.is_empty()));
    let nodes = whole.filter_map(|(node, _)| snapshot.node_index(*node));
    nodes.filter(|node| snapshot.node(*node).component == Some(component)).collect()
}

/// Copies of named segments on the nodes that they should leave, the highest priority first.
fn nominated(
    search: &Search<'_>,
    snapshot: &Snapshot,
    restrictions: &Restrictions,
    component: ComponentIndex,
) -> Vec<CopyIndex> {
    let mut wanted: Vec<(Reverse<u32>, NodeIndex, SegmentId, CopyIndex)> = Vec::new();
    for (source, nominations) in &restrictions.nominated {
        let Some(node) = snapshot.node_index(*source) else { continue };
        if snapshot.node(node).component != Some(component) {
            continue;
        }
        for nomination in nominations {
            let is_named =
                |copy: &&CopyIndex| nomination.segments.contains(&snapshot.copies.segment[copy.at()]);
            let named = search.copies_on(node).iter().filter(is_named);
            wanted.extend(
                named.map(|copy| {
                    (Reverse(nomination.priority), node, snapshot.copies.segment[copy.at()], *copy)
                }),
            );
        }
    }
    wanted.sort_unstable();
    let mut copies: Vec<CopyIndex> = Vec::with_capacity(wanted.len());
    for (.., copy) in wanted {
        if !copies.contains(&copy) {
            copies.push(copy);
        }
    }
    copies
}

/// The copies of all segments that are to be kept apart, by id.
fn members_of_sets(
    snapshot: &Snapshot,
    restrictions: &Restrictions,
    component: ComponentIndex,
) -> Vec<CopyIndex> {
    let mut copies: Vec<CopyIndex> = Vec::new();
    for segment in restrictions.apart.iter().flatten() {
        let first = snapshot.copies.segment.partition_point(|other| other < segment);
        let rows = (first..snapshot.copies.len()).take_while(|row| snapshot.copies.segment[*row] == *segment);
        let own = rows.filter(|row| {
            let replica = snapshot.replica(snapshot.copies.replica[*row]);
            replica.component == Some(component)
        });
        copies.extend(own.map(CopyIndex::from_position));
    }
    copies.sort_unstable();
    copies.dedup();
    copies
}

/// Everything on nodes that are to be emptied, the largest first: it is the hardest to place.
fn on_evacuated_nodes(
    search: &Search<'_>,
    snapshot: &Snapshot,
    restrictions: &Restrictions,
    component: ComponentIndex,
) -> Vec<CopyIndex> {
    let mut copies = Vec::new();
    for node in restrictions.evacuated.iter().filter_map(|node| snapshot.node_index(*node)) {
        if snapshot.node(node).component == Some(component) {
            copies.extend_from_slice(search.copies_on(node));
        }
    }
    copies.sort_unstable_by_key(|copy| (Reverse(snapshot.copies.bytes[copy.at()]), *copy));
    copies
}

fn unmet_order(snapshot: &Snapshot, copy: CopyIndex, reason: Reason) -> UnmetOrder {
    UnmetOrder {
        segment: snapshot.copies.segment[copy.at()],
        replica: snapshot.replica(snapshot.copies.replica[copy.at()]).id,
        node: snapshot.node(snapshot.copies.node[copy.at()]).id,
        reason,
    }
}
