//! Moves that somebody has ordered: what is nominated, what must be kept apart, what is on nodes that are to be emptied.
//! They need not pay, so they come before everything that only levels, and in this order.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::search::Search;
use crate::gate::Restrictions;
use crate::model::{CopyIndex, NodeIndex, Snapshot};
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

/// Carries the orders out in the search's picture: what moves, in order, and what cannot be done.
pub(super) fn follow(
    search: &mut Search<'_>,
    restrictions: &Restrictions,
) -> (Vec<CopyIndex>, Vec<UnmetOrder>) {
    let snapshot = &search.input.snapshot;
    let mut done = Vec::new();
    let mut stuck = Vec::new();
    for copy in nominated(search, snapshot, restrictions) {
        stuck.extend(send_away(search, copy, &mut done));
    }
    let is_too_close = |search: &Search<'_>, copy: CopyIndex| {
        search.rules.apart.is_crowded(snapshot, copy, search.field.node_of[copy.at()])
    };
    let mut too_close = Vec::new();
    for copy in members_of_sets(snapshot, restrictions) {
        // The one that stays does not go, and may be any of them.
        if is_too_close(search, copy) {
            too_close.extend(send_away(search, copy, &mut done));
        }
    }
    // One that cannot go is well placed all the same when the other one went.
    too_close.retain(|(copy, _)| is_too_close(search, *copy));
    stuck.append(&mut too_close);
    for copy in on_evacuated_nodes(search, snapshot, restrictions) {
        stuck.extend(send_away(search, copy, &mut done));
    }
    let mut unmet: Vec<UnmetOrder> =
        stuck.into_iter().map(|(copy, reason)| unmet_order(snapshot, copy, reason)).collect();
    unmet.sort_by_key(|order| (order.node, order.segment, order.replica));
    unmet.dedup_by_key(|order| (order.segment, order.replica));
    (done, unmet)
}

/// Puts a copy that must go where it does least harm; or the reason why it stays. One that has gone already stays
/// where it is.
fn send_away(
    search: &mut Search<'_>,
    copy: CopyIndex,
    done: &mut Vec<CopyIndex>,
) -> Option<(CopyIndex, Reason)> {
    if search.rules.is_bound(copy) {
        return None;
    }
    match search.best_place(copy) {
        Ok(to) => {
            search.put(copy, to);
            search.rules.bind(copy);
            done.push(copy);
            None
        }
        Err(reason) => Some((copy, reason)),
    }
}

/// Nodes that are nominated without naming segments.
pub(super) fn nominated_nodes(
    snapshot: &Snapshot,
    restrictions: &Restrictions,
) -> impl Iterator<Item = NodeIndex> {
    let whole =
        restrictions.nominated.iter().filter(|(_, list)| list.iter().any(|one| one.segments.is_empty()));
    whole.filter_map(|(node, _)| snapshot.node_index(*node))
}

/// Copies of named segments on the nodes that they should leave, the highest priority first.
fn nominated(search: &mut Search<'_>, snapshot: &Snapshot, restrictions: &Restrictions) -> Vec<CopyIndex> {
    let mut wanted: Vec<(Reverse<u32>, NodeIndex, SegmentId, CopyIndex)> = Vec::new();
    for (source, nominations) in &restrictions.nominated {
        let Some(node) = snapshot.node_index(*source) else { continue };
        for nomination in nominations.iter().filter(|nomination| !nomination.segments.is_empty()) {
            for copy in search.copies_on(node) {
                let segment = snapshot.copies.segment[copy.at()];
                if nomination.segments.contains(&segment) {
                    wanted.push((Reverse(nomination.priority), node, segment, copy));
                }
            }
        }
    }
    wanted.sort_unstable();
    // A second mention of a copy finds it gone.
    wanted.into_iter().map(|(.., copy)| copy).collect()
}

/// The copies of all segments that are to be kept apart, by id.
fn members_of_sets(snapshot: &Snapshot, restrictions: &Restrictions) -> Vec<CopyIndex> {
    let mut copies: Vec<CopyIndex> = Vec::new();
    for segment in restrictions.apart.iter().flatten() {
        let first = snapshot.copies.segment.partition_point(|other| other < segment);
        let rows = (first..snapshot.copies.len()).take_while(|row| snapshot.copies.segment[*row] == *segment);
        copies.extend(rows.map(CopyIndex::from_position));
    }
    copies.sort_unstable();
    copies.dedup();
    copies
}

/// Everything on nodes that are to be emptied, the largest first: it is the hardest to place.
fn on_evacuated_nodes(
    search: &mut Search<'_>,
    snapshot: &Snapshot,
    restrictions: &Restrictions,
) -> Vec<CopyIndex> {
    let mut copies = Vec::new();
    for node in restrictions.evacuated.iter().filter_map(|node| snapshot.node_index(*node)) {
        if snapshot.node(node).component.is_some() {
            copies.append(&mut search.copies_on(node));
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
