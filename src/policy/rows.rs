//! The `rows` policy.

use super::{Assessment, DimensionSettings, Policy};
use crate::model::PlanningInput;

/// Keeps rows even.
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

    fn assess(&self, _input: &PlanningInput) -> Assessment {
        let _ = &self.settings;
        Assessment::default()
    }
}
