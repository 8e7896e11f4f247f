//! The `memory` policy.

use super::{Assessment, DimensionSettings, Policy};
use crate::model::PlanningInput;

/// Keeps memory even.
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

    fn assess(&self, _input: &PlanningInput) -> Assessment {
        let _ = &self.settings;
        Assessment::default()
    }
}
