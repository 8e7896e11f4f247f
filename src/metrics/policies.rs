//! What policies find and order, as metrics: load that no move can change, and how far the emptying of nodes has come.

use prometheus::{GaugeVec, IntGaugeVec, Registry};

use super::{count, decimal, described, registered};
use crate::units::{NodeId, Ratio};

/// A share of a node's load that moves cannot change.
#[derive(Clone, Debug)]
pub struct ImmovableShare {
    /// The dimension.
    pub dimension: String,
    /// The node.
    pub node: NodeId,
    /// Why, by its stable name.
    pub cause: &'static str,
    /// The share of the node's load.
    pub share: Ratio,
}

/// Segments of a node that is being emptied.
#[derive(Clone, Copy, Debug)]
pub struct DrainSegments {
    /// The node.
    pub node: NodeId,
    /// Planned to leave.
    pub to_go: usize,
    /// On their way.
    pub under_way: usize,
    /// Those that stay, for now or for good.
    pub staying: usize,
}

/// The gauges.
pub(super) struct PolicyMetrics {
    node_immovable: GaugeVec,
    drain_segments: IntGaugeVec,
}

impl PolicyMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<PolicyMetrics> {
        let immovable = described(
            "node_immovable_ratio",
            "Share of the load of a node that moves cannot change, by cause.",
        );
        let drain = described(
            "drain_segments",
            "Sealed segments on nodes that are being emptied: to_go, under_way, staying.",
        );
        Ok(PolicyMetrics {
            node_immovable: registered(registry, GaugeVec::new(immovable, &["dimension", "node", "cause"]))?,
            drain_segments: registered(registry, IntGaugeVec::new(drain, &["node", "state"]))?,
        })
    }

    /// Replaces both by what this turn found.
    pub(super) fn observe(&self, immovable: &[ImmovableShare], drains: &[DrainSegments]) {
        self.node_immovable.reset();
        for ImmovableShare { dimension, node, cause, share } in immovable {
            let labels = [dimension.as_str(), &node.to_string(), cause];
            self.node_immovable.with_label_values(&labels).set(decimal(*share));
        }
        self.drain_segments.reset();
        for DrainSegments { node, to_go, under_way, staying } in drains {
            for (state, number) in [("to_go", to_go), ("under_way", under_way), ("staying", staying)] {
                self.drain_segments
                    .with_label_values(&[node.to_string().as_str(), state])
                    .set(count(*number));
            }
        }
    }
}
