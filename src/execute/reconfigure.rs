//! Other limits for an executor that is at work: what it has spent, sent and learnt stays.

use super::ExecuteSettings;
use super::executor::Executor;
use super::steady::Steady;

impl Executor {
    /// The settings in force.
    pub fn settings(&self) -> &ExecuteSettings {
        &self.settings
    }

    /// From now on, whether each move waits until all before it have landed: where it was found good only on top of them.
    pub fn keep_order(&mut self, is_in_order: bool) {
        self.is_in_order = is_in_order;
    }

    /// Goes on under these settings. The next wave is a first one.
    pub fn reconfigure(&mut self, settings: ExecuteSettings) {
        let now = Steady::of(self.now());
        self.rate.reconfigure(settings.calls_per_minute);
        self.byte_rate = self.byte_rate.reconfigured(settings.bytes_per_second, settings.bytes_per_call, now);
        self.breaker.reconfigure(settings.breaker.clone());
        self.waves.begin_anew(settings.waves.clone());
        self.settings = settings;
    }
}
