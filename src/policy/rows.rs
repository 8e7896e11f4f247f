//! The `rows` policy: rows of sealed segments. It is what Milvus itself balances; useful where Milvus' balancer is
//! off, or as a second opinion.

use super::{Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Policy, Scope, memory_weights};
use crate::model::PlanningInput;
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
            base_parts: Vec::new(),
            measured_load: Vec::new(),
            capacity: Capacity::Weights(memory_weights(snapshot)),
            settings: self.settings.clone(),
            confidence: Ratio::ONE,
        };
        Assessment { dimensions: vec![dimension], ..Assessment::default() }
    }
}
