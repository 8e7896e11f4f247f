//! The part of a turn in which policy plug-ins have their say: between the look and the record of it, so that what they
//! say is recorded with what they were asked about.

use super::ControlLoop;
use crate::observe::observation::Observation;
use crate::plugin::Asked;

impl ControlLoop {
    /// Asks the policy plug-ins about what was just seen; what they say, or that they do not, becomes a part of it. Their
    /// deadlines bound how long that takes.
    pub(super) async fn hear_plugins(&self, observation: &mut Observation) {
        if self.plugins.is_empty() {
            return;
        }
        for Asked { hearing, took } in self.plugins.ask(&self.thinking.preview(observation)).await {
            self.metrics.plugin_asked(&hearing.plugin, took);
            observation.opinions.push(hearing);
        }
    }
}
