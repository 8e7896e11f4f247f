//! The `disk` policy: bytes that segments take on the local disks of the nodes, where segments are memory-mapped or
//! searched from disk. Milvus tells only the sum of each node.

use super::{Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Policy, Scope};
use crate::model::{PlanningInput, Snapshot};
use crate::units::{Load, Ratio};

/// Milvus does not tell which segments are on disk: that all are alike is half a guess.
const CONFIDENCE: Ratio = Ratio(500_000);

/// A disk index takes a few times the memory of its segment; more is something else's.
const MOST_PER_BYTE: Ratio = Ratio(8_000_000);

/// Keeps bytes on disk even.
pub struct DiskPolicy {
    settings: DimensionSettings,
}

impl DiskPolicy {
    /// With these settings.
    pub fn new(settings: DimensionSettings) -> DiskPolicy {
        DiskPolicy { settings }
    }
}

impl Policy for DiskPolicy {
    fn name(&self) -> &str {
        "disk"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let Some(per_byte) = disk_per_byte(snapshot) else { return Assessment::default() };
        let dimension = Dimension {
            name: self.name().to_owned(),
            unit: LoadUnit::Bytes,
            scope: Scope::Node,
            copy_load: snapshot.copies.bytes.iter().map(|bytes| Load(per_byte.share_of(bytes.0))).collect(),
            // What else is on the disk is not told apart from segments.
            base_load: vec![Load::ZERO; snapshot.nodes.len()],
            base_parts: Vec::new(),
            measured_load: used(snapshot),
            capacity: Capacity::Physical(capacity(snapshot)),
            settings: self.settings.clone(),
            confidence: CONFIDENCE,
        };
        Assessment { dimensions: vec![dimension], ..Assessment::default() }
    }
}

fn used(snapshot: &Snapshot) -> Vec<Option<Load>> {
    let used =
        |node: &crate::model::signals::NodeSignals| node.disk_used.as_ref().map(|used| Load(used.value.0));
    snapshot.signals.nodes.iter().map(used).collect()
}

fn capacity(snapshot: &Snapshot) -> Vec<Load> {
    let size = |node: &crate::model::signals::NodeSignals| {
        node.capacity.disk.as_ref().map_or(Load::ZERO, |size| Load(size.value.0))
    };
    snapshot.signals.nodes.iter().map(size).collect()
}

/// Bytes on disk for a byte of a segment, over all nodes that tell theirs; `None` where nothing is on any disk.
fn disk_per_byte(snapshot: &Snapshot) -> Option<Ratio> {
    let (mut on_disk, mut in_segments) = (0_u64, 0_u64);
    for (used, bytes) in used(snapshot).into_iter().zip(snapshot.bytes_by_node()) {
        if let Some(used) = used {
            on_disk = on_disk.saturating_add(used.0);
            in_segments = in_segments.saturating_add(bytes.0);
        }
    }
    let per_byte = Ratio::of(on_disk, in_segments).min(MOST_PER_BYTE);
    (per_byte > Ratio::ZERO && in_segments > 0).then_some(per_byte)
}
