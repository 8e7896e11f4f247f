//! The `rows` policy: rows of sealed segments. It is what Milvus itself balances; useful where Milvus' balancer is
//! off, or as a second opinion.

use super::{Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Policy, Scope};
use crate::model::{PlanningInput, Snapshot};
use crate::units::{Load, Ratio};

/// Keeps rows even, in proportion to the memory of the nodes.
pub struct RowsPolicy {
    settings: DimensionSettings,
}

impl RowsPolicy {
    /// With these settings.
    pub fn new(settings: DimensionSettings) -> RowsPolicy {
        RowsPolicy { settings }
    }
}

impl Policy for RowsPolicy {
    fn name(&self) -> &str {
        "rows"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let dimension = Dimension {
            name: self.name().to_owned(),
            unit: LoadUnit::Rows,
            scope: Scope::Node,
            copy_load: snapshot.copies.rows.iter().map(|rows| Load(rows.0)).collect(),
            base_load: vec![Load::ZERO; snapshot.nodes.len()],
            measured_load: Vec::new(),
            capacity: Capacity::Weights(weights(snapshot)),
            settings: self.settings.clone(),
            confidence: Ratio::ONE,
        };
        Assessment { dimensions: vec![dimension], directives: Vec::new() }
    }
}

/// Memory as weight when every usable node tells its own; otherwise all weigh the same, as Milvus does it too.
pub(super) fn weights(snapshot: &Snapshot) -> Vec<Load> {
    let usable = || snapshot.nodes.iter().filter(|node| node.standing.is_usable());
    if usable().any(|node| node.memory_capacity.is_none()) {
        return vec![Load(1); snapshot.nodes.len()];
    }
    snapshot.nodes.iter().map(|node| Load(node.memory_capacity.unwrap_or_default().0)).collect()
}
