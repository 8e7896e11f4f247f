//! The `segments` policy: how many sealed segments a node holds. A search visits every segment, whatever its size, so
//! many small ones cost more than their bytes and rows show.

use super::{Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Policy, Scope, memory_weights};
use crate::model::PlanningInput;
use crate::units::{Load, Ratio};

/// Keeps the number of segments even, in proportion to the memory of the nodes.
pub struct SegmentsPolicy {
    settings: DimensionSettings,
}

impl SegmentsPolicy {
    /// With these settings.
    pub fn new(settings: DimensionSettings) -> SegmentsPolicy {
        SegmentsPolicy { settings }
    }
}

impl Policy for SegmentsPolicy {
    fn name(&self) -> &str {
        "segments"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let dimension = Dimension {
            name: self.name().to_owned(),
            unit: LoadUnit::Segments,
            scope: Scope::Node,
            copy_load: vec![Load(1); snapshot.copies.len()],
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
