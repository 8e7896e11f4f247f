//! The `points` policy: any load that a Prometheus server can tell, one dimension for each query of the signal `points`.

use super::{Assessment, Capacity, Dimension, DimensionSettings, Directive, LoadUnit, Policy, Scope};
use crate::model::PlanningInput;
use crate::units::{Load, Ratio};

/// That the load of a node is spread over its segments by their rows is half a guess.
const CONFIDENCE: Ratio = Ratio(500_000);

/// Keeps points even, in proportion to the memory of the nodes.
pub struct PointsPolicy {
    settings: DimensionSettings,
}

impl PointsPolicy {
    /// With these settings.
    pub fn new(settings: DimensionSettings) -> PointsPolicy {
        PointsPolicy { settings }
    }
}

impl Policy for PointsPolicy {
    fn name(&self) -> &str {
        "points"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let mut assessment = Assessment::default();
        for (query, points) in &snapshot.points {
            if !points.is_known.contains(&true) {
                continue;
            }
            let base = |load: &Load| if self.settings.base_load { *load } else { Load::ZERO };
            // A node of which nothing is known would look idle: it takes no part, and nothing goes there.
            let weights = super::memory_weights(snapshot).into_iter().zip(&points.is_known);
            let weights = weights.map(|(weight, is_known)| if *is_known { weight } else { Load::ZERO });
            assessment.dimensions.push(Dimension {
                name: format!("points.{query}"),
                unit: LoadUnit::Points,
                scope: Scope::Node,
                copy_load: points.copy_load.clone(),
                base_load: points.base_load.iter().map(base).collect(),
                base_parts: Vec::new(),
                measured_load: Vec::new(),
                capacity: Capacity::Weights(weights.collect()),
                settings: self.settings.clone(),
                confidence: CONFIDENCE,
            });
            let nodes = snapshot.nodes.iter().zip(&points.is_known);
            let unknown = nodes.filter(|(node, is_known)| !**is_known && node.standing.is_usable());
            assessment
                .directives
                .extend(unknown.map(|(node, _)| Directive::NeverDestination { node: node.id }));
        }
        assessment
    }
}
