//! What is known of a collection's list of segments without looking at it again: whether it is the list of the look
//! before, and how many rows it puts on each node. Most lists stay as they are for most of the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest::Mixer;
use super::exact_bytes::ExactBytes;
use crate::observe::observation::{CollectionReport, SegmentLevel, SegmentReport};
use crate::units::{CollectionId, NodeId};

/// Names a list of segments: 128 bits, so that two lists of one cluster that share a name are not to be expected within
/// the age of the universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64, u64);

/// The list of segments of one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// Rows that it puts on each node, copies included.
    pub rows_by_node: BTreeMap<NodeId, u64>,
}

/// The lists of the look before, by collection.
pub type Listings = BTreeMap<CollectionId, Arc<Listing>>;

/// The lists of this look, in the order of the collections; what has not changed is shared with the look before.
pub fn read_listings(
    before: &mut Listings,
    collections: &[&CollectionReport],
    exact: &ExactBytes,
) -> Vec<Arc<Listing>> {
    let mut known = std::mem::take(before);
    let mut listings = Vec::with_capacity(collections.len());
    for collection in collections {
        let segments = collection.segments.as_deref();
        let fingerprint = fingerprint(segments, exact);
        let listing = match known.remove(&collection.id) {
            Some(listing) if listing.fingerprint == fingerprint => listing,
            _ => Arc::new(Listing { fingerprint, rows_by_node: rows_by_node(segments.unwrap_or_default()) }),
        };
        before.insert(collection.id, Arc::clone(&listing));
        listings.push(listing);
    }
    listings
}

/// Everything of a list that the model looks at, in its order.
fn fingerprint(segments: Option<&[SegmentReport]>, exact: &ExactBytes) -> Fingerprint {
    let (mut first, mut second) = (Mixer::begin(1), Mixer::begin(2));
    for segment in segments.unwrap_or_default() {
        let SegmentReport { id, partition: _, rows, nodes, level } = segment;
        let is_level_0 = u64::from(*level == SegmentLevel::L0);
        let shape = (nodes.len() as u64) << 1 | is_level_0;
        // No segment is that large, so that an unknown size differs from every known one.
        let bytes = exact.of(*id).map_or(u64::MAX, |bytes| bytes.0);
        for word in [id.0.cast_unsigned(), rows.0, shape, bytes] {
            (first, second) = (first.word(word), second.word(word));
        }
        for node in nodes {
            (first, second) = (first.id(node.0), second.id(node.0));
        }
    }
    Fingerprint(first.end(), second.end())
}

fn rows_by_node(segments: &[SegmentReport]) -> BTreeMap<NodeId, u64> {
    let mut rows_by_node: BTreeMap<NodeId, u64> = BTreeMap::new();
    for segment in segments {
        for node in &segment.nodes {
            let rows = rows_by_node.entry(*node).or_default();
            *rows = rows.saturating_add(segment.rows.0);
        }
    }
    rows_by_node
}
