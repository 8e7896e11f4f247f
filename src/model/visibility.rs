//! Compares what nodes say they serve with what we were shown. A role without rights sees fewer collections than
//! there are, and a plan made on half the load makes things worse.

use super::doubt::{Doubt, DoubtKind, Subject};
use super::snapshot::Collection;
use crate::observe::observation::{NodeReport, NodeRole, Observation};
use crate::units::CollectionId;

/// Adds a doubt for every collection that a query node serves and that was not listed.
pub fn find_hidden(observation: &Observation, listed: &[Collection], doubts: &mut Vec<Doubt>) {
    let exact = NodeReport::collections_are_exact(&observation.server);
    for node in &observation.nodes {
        if node.error.is_some() || node.role != NodeRole::QueryNode {
            continue;
        }
        for collection in node.collections.iter().flatten() {
            if !is_listed(*collection, listed, exact) {
                doubts.push(hidden(node, *collection));
            }
        }
        for (collection, rows) in node.collection_rows.iter().flatten() {
            if rows.0 > 0 && !is_listed(*collection, listed, true) {
                doubts.push(hidden(node, *collection));
            }
        }
    }
}

fn hidden(node: &NodeReport, collection: CollectionId) -> Doubt {
    Doubt { subject: Subject::Node(node.id), kind: DoubtKind::HiddenCollection { collection } }
}

fn is_listed(collection: CollectionId, listed: &[Collection], exact: bool) -> bool {
    if listed.binary_search_by_key(&collection, |known| known.id).is_ok() {
        return true;
    }
    if exact {
        return false;
    }
    // The proxy of 2.6+ passes these ids through floating point: equal there means equal as f64. Rounding keeps
    // the order, so what is sorted by id is sorted by that too.
    #[allow(clippy::cast_precision_loss)]
    let rounded = |id: CollectionId| id.0 as f64;
    let first = listed.partition_point(|known| rounded(known.id) < rounded(collection));
    #[allow(clippy::float_cmp)] // both are whole numbers
    listed.get(first).is_some_and(|known| rounded(known.id) == rounded(collection))
}
