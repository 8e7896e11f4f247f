//! Metrics of new configurations: how often they came, and whether the last one was taken over.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::{described, registered};

/// What became of a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// It is in force.
    Applied,
    /// It is what was in force.
    Unchanged,
    /// The old one stays.
    Refused,
}

impl ReloadResult {
    const ALL: [ReloadResult; 3] = [ReloadResult::Applied, ReloadResult::Unchanged, ReloadResult::Refused];

    fn code(self) -> &'static str {
        match self {
            ReloadResult::Applied => "applied",
            ReloadResult::Unchanged => "unchanged",
            ReloadResult::Refused => "refused",
        }
    }
}

/// What is published about them.
pub(super) struct ReloadMetrics {
    reloads: IntCounterVec,
    last_successful: IntGauge,
}

impl ReloadMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<ReloadMetrics> {
        let reloads = described("config_reloads_total", "New configurations by what became of them.");
        let last = described(
            "config_last_reload_successful",
            "0 when the last new configuration was refused, so that the old one stays in force; else 1.",
        );
        let metrics = ReloadMetrics {
            reloads: registered(registry, IntCounterVec::new(reloads, &["result"]))?,
            last_successful: registered(registry, IntGauge::with_opts(last))?,
        };
        for result in ReloadResult::ALL {
            metrics.reloads.with_label_values(&[result.code()]);
        }
        metrics.last_successful.set(1);
        Ok(metrics)
    }

    pub(super) fn reloaded(&self, result: ReloadResult) {
        self.reloads.with_label_values(&[result.code()]).inc();
        self.last_successful.set((result != ReloadResult::Refused).into());
    }
}
