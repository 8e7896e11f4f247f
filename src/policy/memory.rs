//! The `memory` policy: bytes of sealed segments, weighed against the memory of each node. What a node uses
//! beyond its sealed segments (growing data, delegator, the process itself) is base load: moves cannot change it.

use super::{
    Assessment, BaseCause, BasePart, Capacity, Dimension, DimensionSettings, LoadUnit, Policy, Scope,
};
use crate::model::{BytesSource, Node, PlanningInput, Snapshot};
use crate::units::{Load, Ratio};

/// Keeps bytes in memory even.
pub struct MemoryPolicy {
    settings: DimensionSettings,
}

impl MemoryPolicy {
    /// With these settings.
    pub fn new(settings: DimensionSettings) -> MemoryPolicy {
        MemoryPolicy { settings }
    }
}

impl Policy for MemoryPolicy {
    fn name(&self) -> &str {
        "memory"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let capacity =
            snapshot.nodes.iter().map(|node| Load(node.memory_capacity.unwrap_or_default().0)).collect();
        let dimension = Dimension {
            name: self.name().to_owned(),
            unit: LoadUnit::Bytes,
            scope: Scope::Node,
            copy_load: snapshot.copies.bytes.iter().map(|bytes| Load(bytes.0)).collect(),
            base_load: if self.settings.base_load { base_load(snapshot) } else { no_load(snapshot) },
            base_parts: if self.settings.base_load { vec![growing(snapshot)] } else { Vec::new() },
            measured_load: measured_load(snapshot),
            capacity: Capacity::Physical(capacity),
            settings: self.settings.clone(),
            confidence: confidence(snapshot),
        };
        Assessment { dimensions: vec![dimension], ..Assessment::default() }
    }
}

fn no_load(snapshot: &Snapshot) -> Vec<Load> {
    vec![Load::ZERO; snapshot.nodes.len()]
}

/// Memory in use that the listed segments do not explain, and at least the growing data.
fn base_load(snapshot: &Snapshot) -> Vec<Load> {
    let base = |node: &Node| {
        Load(node.unexplained_memory.unwrap_or_default().max(node.growing.unwrap_or_default()).0)
    };
    snapshot.nodes.iter().map(base).collect()
}

/// The part of it that is known to be growing data.
fn growing(snapshot: &Snapshot) -> BasePart {
    let growing = snapshot.nodes.iter().map(|node| Load(node.growing.unwrap_or_default().0));
    BasePart { cause: BaseCause::GrowingData, load: growing.collect() }
}

/// What nodes report of their sealed segments. Their memory in use is no measure of it: an allocator gives memory
/// back minutes late.
fn measured_load(snapshot: &Snapshot) -> Vec<Option<Load>> {
    snapshot.nodes.iter().map(|node| node.reported_sealed.map(|bytes| Load(bytes.0))).collect()
}

/// Bytes that were guessed are not worth moving production data for at full price.
fn confidence(snapshot: &Snapshot) -> Ratio {
    let worst = snapshot.collections.iter().map(|collection| collection.bytes_source).max();
    match worst {
        None | Some(BytesSource::Exact | BytesSource::Reported) => Ratio::ONE,
        Some(BytesSource::Schema) => Ratio(800_000),
        Some(BytesSource::Guessed) => Ratio(500_000),
    }
}
