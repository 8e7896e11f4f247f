//! Notices moves that nobody of us made: the sign that Milvus' own balancer, or a person, is at work.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{ForeignMove, KnownMove};
use super::snapshot::{CopyIndex, Held, ReplicaIndex, Snapshot};
use crate::units::{NodeId, ReplicaId, SegmentId};

/// Where segments were that two nodes hold at the moment: such a move is judged once it has ended.
pub type MovingFrom = BTreeMap<(SegmentId, ReplicaId), NodeId>;

/// Segments that are on another node of the same replica than before, although their old node lives and was a
/// read-write member both times, and although we did not move them.
///
/// Not foreign: reloads after a crash (the old node is gone), after a release (the replica is another) and new
/// segments (their ids are new). `made_anew` says of which replicas of `now` rows may differ from those before.
pub fn find_foreign_moves(
    previous: &Snapshot,
    now: &Snapshot,
    made_anew: &[bool],
    known: &[KnownMove],
    moving_from: &mut MovingFrom,
) -> Vec<ForeignMove> {
    let known: BTreeSet<KnownMove> = known.iter().copied().collect();
    let mut found = Vec::new();
    let mut still_moving = MovingFrom::new();
    let mut cursor = 0;
    for at in now.copies.indices() {
        let segment = now.copies.segment[at.at()];
        if !made_anew[now.copies.replica[at.at()].at()] {
            if now.copies.held[at.at()] == Some(Held::OnTwoNodes) {
                let key = (segment, now.replica(now.copies.replica[at.at()]).id);
                let here = now.node(now.copies.node[at.at()]).id;
                still_moving.insert(key, moving_from.get(&key).copied().unwrap_or(here));
            }
            continue;
        }
        while cursor < previous.copies.len() && previous.copies.segment[cursor] < segment {
            cursor += 1;
        }
        let replica = now.replica(now.copies.replica[at.at()]);
        let before = (cursor..previous.copies.len())
            .take_while(|position| previous.copies.segment[*position] == segment)
            .map(CopyIndex::from_position)
            .find(|position| previous.replica(previous.copies.replica[position.at()]).id == replica.id);
        let Some(before) = before else { continue };
        let key = (segment, replica.id);
        let from =
            moving_from.get(&key).copied().unwrap_or(previous.node(previous.copies.node[before.at()]).id);
        if now.copies.held[at.at()] == Some(Held::OnTwoNodes) {
            still_moving.insert(key, from);
            continue;
        }
        let to = now.node(now.copies.node[at.at()]).id;
        if from == to || known.contains(&KnownMove { segment, from, to }) {
            continue;
        }
        let lived_before = is_usable_member(previous, previous.copies.replica[before.at()], from);
        if lived_before && is_usable_member(now, now.copies.replica[at.at()], from) {
            let collection = now.collection_of(now.copies.replica[at.at()]).id;
            found.push(ForeignMove {
                segment,
                collection,
                replica: replica.id,
                from,
                to,
                bytes: now.copies.bytes[at.at()],
                at: now.taken_at,
            });
        }
    }
    *moving_from = still_moving;
    found
}

fn is_usable_member(snapshot: &Snapshot, replica: ReplicaIndex, node: NodeId) -> bool {
    let Some(node) = snapshot.node_index(node) else { return false };
    snapshot.replica(replica).members.iter().any(|member| member.node == node && member.standing.is_usable())
}
