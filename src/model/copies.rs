//! Turns the list of segments into rows of copies, one for each replica that holds the segment, and says which of
//! them must stay where they are.

use super::doubt::{Doubt, DoubtKind, Subject};
use super::fold::RowBytes;
use super::snapshot::{BytesSource, Held, Node, NodeIndex, Replica, ReplicaIndex, SegmentCopies, Standing};
use crate::observe::observation::{CollectionReport, SegmentLevel, SegmentReport};
use crate::units::{Bytes, Rows, SegmentId};

/// The most rows that a segment is believed to have; real ones have a few million. Sums of larger figures could
/// overflow.
const MOST_ROWS: Rows = Rows(1 << 40);

/// One row before it goes into the columns.
struct CopyRow {
    segment: SegmentId,
    replica: ReplicaIndex,
    node: NodeIndex,
    rows: Rows,
    bytes: Bytes,
    held: Option<Held>,
}

/// All copies of all collections, by (segment, replica).
pub fn collect_copies(
    collections: &[&CollectionReport],
    nodes: &[Node],
    replicas: &[Replica],
    row_bytes: &[(RowBytes, BytesSource)],
    doubts: &mut Vec<Doubt>,
) -> SegmentCopies {
    let mut rows: Vec<CopyRow> = Vec::new();
    let homes = homes_by_collection(collections.len(), replicas);
    for (position, collection) in collections.iter().enumerate() {
        let unready = collection.load_percentage < 100 || collection.replicas.is_none();
        for segment in collection.segments.iter().flatten() {
            let place = Place { nodes, homes: &homes[position], row_bytes: row_bytes[position].0, unready };
            place_segment(segment, &place, &mut rows, doubts);
        }
    }
    rows.sort_by_key(|row| (row.segment, row.replica));
    rows.dedup_by_key(|row| (row.segment, row.replica));

    let mut copies = SegmentCopies::default();
    for row in rows {
        copies.segment.push(row.segment);
        copies.replica.push(row.replica);
        copies.node.push(row.node);
        copies.rows.push(row.rows);
        copies.bytes.push(row.bytes);
        copies.held.push(row.held);
    }
    copies
}

/// Which replica of one collection each node belongs to (a node is in one at most), by node.
type Homes = Vec<(NodeIndex, ReplicaIndex, Standing)>;

/// The homes of every collection, by its position.
fn homes_by_collection(collections: usize, replicas: &[Replica]) -> Vec<Homes> {
    let mut homes = vec![Homes::new(); collections];
    for (position, replica) in replicas.iter().enumerate() {
        let homes = &mut homes[replica.collection.at()];
        for member in &replica.members {
            homes.push((member.node, ReplicaIndex::from_position(position), member.standing));
        }
    }
    for homes in &mut homes {
        homes.sort_by_key(|(node, replica, _)| (*node, *replica));
    }
    homes
}

/// The home of a node, in the first of its replicas should it be in several.
fn home_of(node: NodeIndex, homes: &Homes) -> Option<&(NodeIndex, ReplicaIndex, Standing)> {
    let first = homes.partition_point(|(member, ..)| *member < node);
    homes.get(first).filter(|(member, ..)| *member == node)
}

struct Place<'a> {
    nodes: &'a [Node],
    homes: &'a Homes,
    row_bytes: RowBytes,
    unready: bool,
}

fn place_segment(
    segment: &SegmentReport,
    place: &Place<'_>,
    rows: &mut Vec<CopyRow>,
    doubts: &mut Vec<Doubt>,
) {
    let mut held_by: Vec<(ReplicaIndex, NodeIndex, Standing)> = Vec::new();
    for id in &segment.nodes {
        let node = place.nodes.binary_search_by_key(id, |node| node.id).ok().map(NodeIndex::from_position);
        let home = node.and_then(|node| home_of(node, place.homes));
        match home {
            Some((node, replica, standing)) => held_by.push((*replica, *node, *standing)),
            None => doubts.push(Doubt {
                subject: Subject::Segment(segment.id),
                kind: DoubtKind::OutsideReplicas { node: *id },
            }),
        }
    }
    held_by.sort_by_key(|(replica, node, _)| (*replica, *node));
    held_by.dedup_by_key(|(replica, node, _)| (*replica, *node));
    for (position, (replica, node, standing)) in held_by.iter().enumerate() {
        let is_first = position == 0 || held_by[position - 1].0 != *replica;
        if !is_first {
            continue;
        }
        let on_two_nodes = held_by.get(position + 1).is_some_and(|next| next.0 == *replica);
        rows.push(CopyRow {
            segment: segment.id,
            replica: *replica,
            node: *node,
            rows: segment.rows.min(MOST_ROWS),
            bytes: place.row_bytes.of_rows(segment.rows.min(MOST_ROWS).0),
            held: why_held(segment, *standing, on_two_nodes, place.unready),
        });
    }
}

fn why_held(segment: &SegmentReport, standing: Standing, on_two_nodes: bool, unready: bool) -> Option<Held> {
    if segment.level == SegmentLevel::L0 {
        return Some(Held::Level0);
    }
    if segment.rows.0 == 0 {
        return Some(Held::NoRows);
    }
    if on_two_nodes {
        return Some(Held::OnTwoNodes);
    }
    if !standing.is_usable() {
        return Some(Held::NodeUnfit);
    }
    unready.then_some(Held::CollectionUnready)
}
