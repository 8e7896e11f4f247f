//! Metrics of waves: what was predicted of them and what came true, the honest measure of the whole program.

use prometheus::{Counter, Gauge, IntCounterVec, IntGauge, Opts, Registry};

use super::{described, registered};
use crate::execute::waves::{JudgedWave, WaveVerdict};

/// What is published about waves.
pub(super) struct WaveMetrics {
    waves: IntCounterVec,
    predicted: Gauge,
    realised: Gauge,
    predicted_total: Counter,
    realised_total: Counter,
    size: IntGauge,
    stopped: IntGauge,
}

impl WaveMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<WaveMetrics> {
        let gauge = |name, help| registered(registry, Gauge::with_opts(described(name, help)));
        let counter = |name, help| registered(registry, Counter::with_opts(described(name, help)));
        let number = |name, help| registered(registry, IntGauge::with_opts(described(name, help)));
        let verdicts: Opts = described("waves_total", "Waves of moves by what came of them.");
        let metrics = WaveMetrics {
            waves: registered(registry, IntCounterVec::new(verdicts, &["verdict"]))?,
            predicted: gauge(
                "wave_relief_predicted",
                "Relief that was predicted of the last wave: drop of the squared pressure above the band.",
            )?,
            realised: gauge(
                "wave_relief_realised",
                "Relief that the last wave brought; negative when it made things worse.",
            )?,
            predicted_total: counter(
                "waves_relief_predicted_total",
                "Relief that was predicted of all waves that could be judged.",
            )?,
            realised_total: counter(
                "waves_relief_realised_total",
                "Relief that those waves brought; one that made things worse counts as none.",
            )?,
            size: number("wave_size", "Moves in a full wave now; 0 when waves are off.")?,
            stopped: number(
                "waves_stopped",
                "1 while nothing is moved because several waves in a row brought no relief.",
            )?,
        };
        for verdict in WaveVerdict::ALL {
            metrics.waves.with_label_values(&[verdict.code()]);
        }
        Ok(metrics)
    }

    pub(super) fn judged(&self, wave: &JudgedWave) {
        self.waves.with_label_values(&[wave.verdict.code()]).inc();
        let (predicted, realised) = (wave.relief.predicted.decimal(), wave.relief.realised.decimal());
        self.predicted.set(predicted);
        self.realised.set(realised);
        // Counters do not fall.
        self.predicted_total.inc_by(predicted.max(0.0));
        self.realised_total.inc_by(realised.max(0.0));
    }

    pub(super) fn stand(&self, size: Option<u32>, is_stopped: bool) {
        self.size.set(size.unwrap_or(0).into());
        self.stopped.set(is_stopped.into());
    }
}
