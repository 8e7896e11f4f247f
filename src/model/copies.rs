//! Turns the list of segments into rows of copies, one for each replica that holds the segment, and says which of
//! them must stay where they are. Work follows what changed: a collection of which nothing is new keeps its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::digest::{Ids, hash_of_copy};
use super::doubt::{Doubt, DoubtKind, Subject};
use super::exact_bytes::ExactBytes;
use super::fold::RowBytes;
use super::listing::{Fingerprint, Listing};
use super::snapshot::{
    BytesSource, CollectionIndex, CopyRow, Held, Node, NodeIndex, Replica, ReplicaIndex, SegmentCopies,
    Snapshot, Standing,
};
use crate::observe::observation::{CollectionReport, SegmentLevel, SegmentReport};
use crate::units::{CollectionId, NodeId, ReplicaId, Rows};

/// The most rows that a segment is believed to have; real ones have a few million. Sums of larger figures could
/// overflow.
pub(super) const MOST_ROWS: Rows = Rows(1 << 40);

/// What is remembered of the copies of the look before. Without it, all rows are made anew; the result is the same to
/// the bit.
#[derive(Clone, Debug, Default)]
pub struct CopiesMemory {
    collections: BTreeMap<CollectionId, KnownCollection>,
    /// The sum of the hashes of all rows.
    sum: u64,
}

impl CopiesMemory {
    /// The part of the snapshot's digest that is about copies.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }
}

/// A collection whose rows are in the snapshot before.
#[derive(Clone, Debug)]
struct KnownCollection {
    /// `None` for one that is listed so strangely that its rows are made anew each time.
    origin: Option<Origin>,
    doubts: Vec<Doubt>,
}

/// All that the rows of a collection follow from. Ids, not indices: those shift when a node joins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    listing: Fingerprint,
    homes: Vec<(NodeId, ReplicaId, Standing)>,
    row_bytes: RowBytes,
    unready: bool,
}

/// What the copies are made from. All tables are in the order of their ids.
pub struct Tables<'a> {
    /// The collections as they were read.
    pub collections: &'a [&'a CollectionReport],
    /// Their lists of segments.
    pub listings: &'a [Arc<Listing>],
    /// The nodes of this snapshot.
    pub nodes: &'a [Node],
    /// The replicas of this snapshot.
    pub replicas: &'a [Replica],
    /// Bytes of a row, by collection.
    pub row_bytes: &'a [(RowBytes, BytesSource)],
    /// Bytes of single segments, where they are known.
    pub exact: &'a ExactBytes,
}

/// All copies of all collections, by (segment, replica), and by replica whether its rows may differ from those of the
/// snapshot before. Rows of collections of which nothing has changed are taken over from there.
pub fn collect_copies(
    memory: &mut CopiesMemory,
    previous: Option<&Snapshot>,
    tables: &Tables<'_>,
    doubts: &mut Vec<Doubt>,
) -> (Arc<SegmentCopies>, Vec<bool>) {
    let mut known = std::mem::take(&mut memory.collections);
    // Rows without the memory of where they come from are of no use.
    let previous = previous.filter(|_| !known.is_empty());
    if previous.is_none() {
        known.clear();
    }
    let mut fresh: Vec<CopyRow> = Vec::new();
    let mut is_kept = vec![false; tables.collections.len()];
    let homes = homes_by_collection(tables.collections.len(), tables.replicas);
    for (position, collection) in tables.collections.iter().enumerate() {
        let place = Place {
            nodes: tables.nodes,
            homes: &homes[position],
            row_bytes: tables.row_bytes[position].0,
            exact: tables.exact,
            unready: collection.load_percentage < 100 || collection.replicas.is_none(),
        };
        let origin = origin_of(tables, position, &place);
        let entry = match known.remove(&collection.id) {
            Some(before) if origin.is_some() && before.origin == origin => {
                is_kept[position] = true;
                doubts.extend(before.doubts.iter().cloned());
                before
            }
            _ => {
                let first_doubt = doubts.len();
                for segment in collection.segments.iter().flatten() {
                    place_segment(segment, &place, &mut fresh, doubts);
                }
                KnownCollection { origin, doubts: doubts[first_doubt..].to_vec() }
            }
        };
        memory.collections.insert(collection.id, entry);
    }
    fresh.sort_by_key(CopyRow::key);
    fresh.dedup_by_key(|row| row.key());

    let made_anew = tables.replicas.iter().map(|replica| !is_kept[replica.collection.at()]).collect();
    let copies = match previous {
        None => {
            memory.sum = 0;
            Arc::new(merge(&SegmentCopies::default(), |_| None, fresh, tables, &mut memory.sum))
        }
        Some(previous) => take_over(previous, &is_kept, fresh, tables, &mut memory.sum),
    };
    (copies, made_anew)
}

fn origin_of(tables: &Tables<'_>, position: usize, place: &Place<'_>) -> Option<Origin> {
    let mut seen = BTreeSet::new();
    let mut replicas = tables.collections[position].replicas.iter().flatten();
    // Two replicas of one id cannot be told apart by it.
    if !replicas.all(|replica| seen.insert(replica.id)) {
        return None;
    }
    let by_id = |(node, replica, standing): &(NodeIndex, ReplicaIndex, Standing)| {
        (tables.nodes[node.at()].id, tables.replicas[replica.at()].id, *standing)
    };
    Some(Origin {
        listing: tables.listings[position].fingerprint,
        homes: place.homes.iter().map(by_id).collect(),
        row_bytes: place.row_bytes,
        unready: place.unready,
    })
}

/// The rows of the snapshot before, as far as their collections are kept, and the fresh ones between them.
fn take_over(
    previous: &Snapshot,
    is_kept: &[bool],
    fresh: Vec<CopyRow>,
    tables: &Tables<'_>,
    sum: &mut u64,
) -> Arc<SegmentCopies> {
    let nodes: Vec<Option<NodeIndex>> = previous
        .nodes
        .iter()
        .map(|node| tables.nodes.binary_search_by_key(&node.id, |now| now.id).ok())
        .map(|position| position.map(NodeIndex::from_position))
        .collect();
    let replicas: Vec<Option<ReplicaIndex>> =
        previous.replicas.iter().map(|replica| kept_replica(previous, replica, is_kept, tables)).collect();

    let stay = |index: usize, now: Option<usize>| now == Some(index);
    let is_same = fresh.is_empty()
        && nodes.iter().enumerate().all(|(index, now)| stay(index, now.map(NodeIndex::at)))
        && replicas.iter().enumerate().all(|(index, now)| stay(index, now.map(ReplicaIndex::at)));
    if is_same {
        return Arc::clone(&previous.copies);
    }

    let ids = Ids { nodes: &previous.nodes, replicas: &previous.replicas };
    let mut gone: u64 = 0;
    let moved = |row: CopyRow| {
        let indices = replicas[row.replica.at()].zip(nodes[row.node.at()]);
        if indices.is_none() {
            gone = gone.wrapping_add(hash_of_copy(&row, ids));
        }
        indices.map(|(replica, node)| CopyRow { replica, node, ..row })
    };
    let copies = merge(&previous.copies, moved, fresh, tables, sum);
    *sum = sum.wrapping_sub(gone);
    Arc::new(copies)
}

/// Where a replica of the snapshot before is now, if its collection is kept.
fn kept_replica(
    previous: &Snapshot,
    replica: &Replica,
    is_kept: &[bool],
    tables: &Tables<'_>,
) -> Option<ReplicaIndex> {
    let collection = previous.collections[replica.collection.at()].id;
    let collection = tables.collections.binary_search_by_key(&collection, |report| report.id).ok()?;
    if !is_kept[collection] {
        return None;
    }
    let key = (replica.id, CollectionIndex::from_position(collection));
    let position = tables.replicas.binary_search_by_key(&key, |now| (now.id, now.collection)).ok()?;
    Some(ReplicaIndex::from_position(position))
}

/// Merges what stays of the old rows with the fresh ones. Both are in order, and indices of both tables are in the order
/// of the same ids, so what stays remains in order.
fn merge(
    before: &SegmentCopies,
    mut stays: impl FnMut(CopyRow) -> Option<CopyRow>,
    fresh: Vec<CopyRow>,
    tables: &Tables<'_>,
    sum: &mut u64,
) -> SegmentCopies {
    let ids = Ids { nodes: tables.nodes, replicas: tables.replicas };
    for row in &fresh {
        *sum = sum.wrapping_add(hash_of_copy(row, ids));
    }
    let mut copies = SegmentCopies::with_capacity(before.len() + fresh.len());
    let mut fresh = fresh.into_iter().peekable();
    for row in before.indices().filter_map(|copy| stays(before.row(copy))) {
        while let Some(new) = fresh.next_if(|new| new.key() < row.key()) {
            copies.push(new);
        }
        copies.push(row);
    }
    fresh.for_each(|new| copies.push(new));
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
    exact: &'a ExactBytes,
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
    let bytes = place.exact.of(segment.id);
    let bytes = bytes.unwrap_or_else(|| place.row_bytes.of_rows(segment.rows.min(MOST_ROWS).0));
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
            bytes,
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
