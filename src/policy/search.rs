//! The `search` policy: CPU that searches use, weighed against the cores of each node. Milvus spreads rows; where one
//! collection is searched more than another, even rows are uneven work, which only this policy sees.

use super::{
    Assessment, BaseCause, BasePart, Capacity, Dimension, DimensionSettings, Directive, LoadUnit, Policy,
    Scope,
};
use crate::model::signals::SearchLoad;
use crate::model::{NodeIndex, PlanningInput, Snapshot};
use crate::units::{Load, Millicores};

/// Keeps the work of searches even.
pub struct SearchPolicy {
    settings: DimensionSettings,
}

impl SearchPolicy {
    /// With these settings.
    pub fn new(settings: DimensionSettings) -> SearchPolicy {
        SearchPolicy { settings }
    }
}

impl Policy for SearchPolicy {
    fn name(&self) -> &str {
        "search"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let signals = &snapshot.signals;
        if signals.nodes.iter().all(|node| node.search_load == SearchLoad::Unknown) {
            return Assessment::default();
        }
        let load = |amount: Millicores| Load(amount.0);
        let base = |cpu| if self.settings.base_load { load(cpu) } else { Load::ZERO };
        let dimension = Dimension {
            name: self.name().to_owned(),
            unit: LoadUnit::Millicores,
            scope: Scope::Node,
            copy_load: signals.copy_search.iter().copied().map(load).collect(),
            base_load: signals.nodes.iter().map(|node| base(node.base_cpu)).collect(),
            base_parts: vec![BasePart {
                cause: BaseCause::Delegator,
                load: signals.nodes.iter().map(|node| base(node.delegator_cpu)).collect(),
            }],
            measured_load: signals.nodes.iter().map(|node| node.search_cpu.map(load)).collect(),
            capacity: Capacity::Physical(capacity(snapshot)),
            settings: self.settings.clone(),
            confidence: signals.search_confidence,
        };
        Assessment {
            dimensions: vec![dimension],
            directives: keep_off_unknown(snapshot),
            ..Assessment::default()
        }
    }
}

/// The cores of each node. One whose CPU is not known takes no part: it would look idle.
fn capacity(snapshot: &Snapshot) -> Vec<Load> {
    let cores = |node: &crate::model::signals::NodeSignals| {
        let known = node.capacity.cpu.as_ref().filter(|_| node.search_load != SearchLoad::Unknown);
        known.map_or(Load::ZERO, |cpu| Load(cpu.value.0))
    };
    snapshot.signals.nodes.iter().map(cores).collect()
}

/// Nothing goes where nobody sees what it does.
fn keep_off_unknown(snapshot: &Snapshot) -> Vec<Directive> {
    let capacity = capacity(snapshot);
    let is_unknown = |(position, node): &(usize, &crate::model::Node)| {
        node.component.is_some() && capacity[NodeIndex::from_position(*position).at()] == Load::ZERO
    };
    let unknown = snapshot.nodes.iter().enumerate().filter(is_unknown);
    unknown.map(|(_, node)| Directive::NeverDestination { node: node.id }).collect()
}
