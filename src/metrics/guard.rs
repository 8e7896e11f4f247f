//! Metrics of the guard: what users feel, what is usual, and whether that holds us.

use prometheus::{GaugeVec, IntGauge, Registry};

use super::{described, registered};
use crate::model::GuardView;
use crate::model::guard::Reading;
use crate::reason::Reason;

/// What is published of the guard.
pub(super) struct GuardMetrics {
    held: IntGauge,
    now: GaugeVec,
    usual: GaugeVec,
}

impl GuardMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<GuardMetrics> {
        let signals = |name, help| registered(registry, GaugeVec::new(described(name, help), &["signal"]));
        let held = described("guard_held", "1 while no more is moved because of what users feel.");
        Ok(GuardMetrics {
            held: registered(registry, IntGauge::with_opts(held))?,
            now: signals(
                "guard_signal",
                "What users feel, between the last two looks: seconds, shares, numbers; missing where unknown.",
            )?,
            usual: signals("guard_usual", "The same while nothing is moved, or the most that there may be.")?,
        })
    }

    pub(super) fn looked(&self, view: &GuardView) {
        self.held.set(matches!(view.hold, Some(Reason::UsersSlowed { .. })).into());
        for gauges in [&self.now, &self.usual] {
            gauges.reset();
        }
        for Reading { signal, now, usual } in &view.readings {
            for (gauges, value) in [(&self.now, now), (&self.usual, usual)] {
                if let Some(value) = value {
                    gauges.with_label_values(&[signal.code()]).set(signal.base_unit(*value));
                }
            }
        }
    }
}
