//! Nodes and collections that are in the middle of something are left alone, and only they.

use std::collections::BTreeSet;

use super::{Restrictions, component_name};
use crate::model::{ComponentIndex, PlanningInput};
use crate::reason::Reason;

/// Keeps unfit nodes out, loading collections still, and components that are being upgraded untouched.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let snapshot = &input.snapshot;
    for node in &snapshot.nodes {
        if !node.standing.is_usable() {
            let reason = Reason::NodeUnfit { node: node.id, standing: node.standing };
            restrictions.sources.entry(node.id).or_insert(reason.clone());
            restrictions.destinations.entry(node.id).or_insert(reason);
        }
    }
    for collection in &snapshot.collections {
        if collection.load_percentage < 100 {
            let reason = Reason::CollectionUnready { collection: collection.id };
            restrictions.collections.entry(collection.id).or_insert(reason);
        }
    }
    for (position, component) in snapshot.components.iter().enumerate() {
        let versions: BTreeSet<&str> = component
            .nodes
            .iter()
            .map(|node| snapshot.node(*node).version.as_str())
            .filter(|version| !version.is_empty())
            .collect();
        let name = component_name(snapshot, ComponentIndex::from_position(position));
        if let (true, Some(name)) = (versions.len() > 1, name) {
            restrictions.components.entry(name).or_insert(Reason::MixedVersions);
        }
    }
}
