//! Metrics of the guard: what users feel, what is usual, and whether that holds us. Each unit has its own metric.

use prometheus::{GaugeVec, IntGauge, Registry};

use super::{described, registered};
use crate::model::GuardView;
use crate::model::guard::{Reading, Signal};
use crate::reason::Reason;

/// Of a metric that is there or not, and has nothing to tell apart.
const NO_LABELS: &[&str] = &[];

/// What is published of the guard.
pub(super) struct GuardMetrics {
    held: IntGauge,
    now: Readings,
    usual: Readings,
}

/// The signals at one time.
struct Readings {
    latency: GaugeVec,
    shares: GaugeVec,
    waiting: GaugeVec,
}

impl Readings {
    /// `name` is added to the names of the metrics.
    fn register(registry: &Registry, name: &str, when: &str) -> prometheus::Result<Readings> {
        let gauge = |unit: &str, help: &str, labels: &[&str]| {
            let help = format!("{help}, {when}; missing where unknown.");
            registered(registry, GaugeVec::new(described(&format!("guard{name}_{unit}"), &help), labels))
        };
        Ok(Readings {
            latency: gauge("search_latency_seconds", "Mean latency of searches", &[])?,
            shares: gauge(
                "ratio",
                "Shares of searches and of memory that users feel, or soon would",
                &["signal"],
            )?,
            waiting: gauge("waiting_tasks", "Read tasks that wait on all query nodes", &[])?,
        })
    }

    fn forget(&self) {
        for gauges in [&self.latency, &self.shares, &self.waiting] {
            gauges.reset();
        }
    }

    fn show(&self, signal: Signal, value: u64) {
        let value = signal.base_unit(value);
        match signal {
            Signal::SearchLatency => self.latency.with_label_values(NO_LABELS).set(value),
            Signal::WaitingTasks => self.waiting.with_label_values(NO_LABELS).set(value),
            Signal::FailedSearches | Signal::SlowSearches | Signal::DestinationMemory => {
                self.shares.with_label_values(&[signal.code()]).set(value);
            }
        }
    }
}

impl GuardMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<GuardMetrics> {
        let held = described("guard_held", "1 while no more is moved because of what users feel.");
        Ok(GuardMetrics {
            held: registered(registry, IntGauge::with_opts(held))?,
            now: Readings::register(registry, "", "between the last two looks")?,
            usual: Readings::register(
                registry,
                "_usual",
                "while nothing is moved, or the most that there may be",
            )?,
        })
    }

    pub(super) fn looked(&self, view: &GuardView) {
        self.held.set(matches!(view.hold, Some(Reason::UsersSlowed { .. })).into());
        self.now.forget();
        self.usual.forget();
        for Reading { signal, now, usual } in &view.readings {
            for (readings, value) in [(&self.now, now), (&self.usual, usual)] {
                if let Some(value) = value {
                    readings.show(*signal, *value);
                }
            }
        }
    }
}
