//! The `spread` policy: the segments of a collection over all nodes of its replicas. A collection that everybody
//! searches is slow when a few nodes hold it, however even those nodes are otherwise.

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, Patterns};
use super::{
    Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Policy, Remark, Scope, memory_weights,
};
use crate::model::{CollectionIndex, PlanningInput, Snapshot};
use crate::units::{Load, Ratio};

/// The most collections that are spread at once: each is a dimension of its own, as large as the list of segments.
pub const MOST_COLLECTIONS: usize = 16;

/// Options of the `spread` policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "SpreadOptions", into = "SpreadOptions")]
pub struct SpreadSettings {
    /// Band, weight and the like, of every collection's dimension.
    pub dimension: DimensionSettings,
    /// Which collections: by name, `database.name` or id, with `*` and `?`.
    pub collections: Patterns,
}

impl Default for SpreadSettings {
    fn default() -> Self {
        let dimension = DimensionSettings {
            // It does nothing until collections are named.
            enabled: true,
            // A handful of segments over a handful of nodes is never even.
            enter: Ratio(1_500_000),
            leave: Ratio(1_200_000),
            // Unevenness of one collection on an idle node is what this policy is for.
            matters_above: Ratio::ZERO,
            ..DimensionSettings::default()
        };
        SpreadSettings { dimension, collections: Patterns::default() }
    }
}

/// The same as one flat table, which is how the configuration has it.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpreadOptions {
    enabled: bool,
    collections: Patterns,
    enter: Ratio,
    leave: Ratio,
    turns: u32,
    matters_above: Ratio,
    weight: Ratio,
    limit: Option<Ratio>,
    base_load: bool,
}

impl Default for SpreadOptions {
    fn default() -> Self {
        SpreadSettings::default().into()
    }
}

impl From<SpreadOptions> for SpreadSettings {
    fn from(options: SpreadOptions) -> SpreadSettings {
        let SpreadOptions {
            enabled,
            collections,
            enter,
            leave,
            turns,
            matters_above,
            weight,
            limit,
            base_load,
        } = options;
        let dimension =
            DimensionSettings { enabled, enter, leave, turns, matters_above, weight, limit, base_load };
        SpreadSettings { dimension, collections }
    }
}

impl From<SpreadSettings> for SpreadOptions {
    fn from(settings: SpreadSettings) -> SpreadOptions {
        let SpreadSettings { dimension, collections } = settings;
        let DimensionSettings { enabled, enter, leave, turns, matters_above, weight, limit, base_load } =
            dimension;
        SpreadOptions { enabled, collections, enter, leave, turns, matters_above, weight, limit, base_load }
    }
}

/// Spreads collections.
pub struct SpreadPolicy {
    settings: SpreadSettings,
}

impl SpreadPolicy {
    /// With these settings.
    pub fn new(settings: SpreadSettings) -> SpreadPolicy {
        SpreadPolicy { settings }
    }

    fn dimension(&self, snapshot: &Snapshot, collection: CollectionIndex, weights: &[Load]) -> Dimension {
        let copies = &snapshot.copies;
        let rows_of = |row: usize| {
            let is_its_own = snapshot.replica(copies.replica[row]).collection == collection;
            if is_its_own { Load(copies.rows[row].0) } else { Load::ZERO }
        };
        Dimension {
            name: format!("spread {}", snapshot.collections[collection.at()].full_name()),
            unit: LoadUnit::Rows,
            scope: Scope::NodeInGroup(collection),
            copy_load: (0..copies.len()).map(rows_of).collect(),
            base_load: vec![Load::ZERO; snapshot.nodes.len()],
            base_parts: Vec::new(),
            measured_load: Vec::new(),
            capacity: Capacity::Weights(weights.to_vec()),
            settings: self.settings.dimension.clone(),
            confidence: Ratio::ONE,
        }
    }
}

impl Policy for SpreadPolicy {
    fn name(&self) -> &str {
        "spread"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let weights = memory_weights(snapshot);
        let mut answer = Assessment::default();
        let is_named = |position: &usize| {
            let collection = &snapshot.collections[*position];
            self.settings.collections.any(|pattern: &Pattern| pattern.matches_collection(collection))
        };
        let named: Vec<usize> = (0..snapshot.collections.len()).filter(is_named).collect();
        for position in named.iter().take(MOST_COLLECTIONS) {
            let collection = CollectionIndex::from_position(*position);
            answer.dimensions.push(self.dimension(snapshot, collection, &weights));
        }
        if named.len() > MOST_COLLECTIONS {
            answer.remarks.push(Remark::TooMany {
                option: "policies.spread.collections".to_owned(),
                found: named.len(),
                limit: MOST_COLLECTIONS,
            });
        }
        for pattern in &self.settings.collections.0 {
            if !snapshot.collections.iter().any(|collection| pattern.matches_collection(collection)) {
                answer.remarks.push(Remark::no_match("policies.spread.collections", pattern));
            }
        }
        answer
    }
}
