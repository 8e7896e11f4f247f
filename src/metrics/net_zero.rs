//! The net-zero ledger as metrics: gauges over the last 24 hours, because a share cannot be counted up.

use prometheus::{Gauge, GaugeVec, IntGaugeVec, Registry};

use super::{described, registered};
use crate::model::{BandTime, NetZero, NetZeroShare};

/// Label of the history that everybody's moves make together.
const ALL: &str = "all";

/// The gauges.
pub(super) struct NetZeroMetrics {
    undone_ratio: GaugeVec,
    cancelled_ratio: GaugeVec,
    moves: IntGaugeVec,
    bytes: IntGaugeVec,
    out_of_band: Gauge,
    observed: Gauge,
}

impl NetZeroMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<NetZeroMetrics> {
        let ratios = |name, help| registered(registry, GaugeVec::new(described(name, help), &["origin"]));
        let counts = |name, help| registered(registry, IntGaugeVec::new(described(name, help), &["origin"]));
        let gauge = |name, help| registered(registry, Gauge::with_opts(described(name, help)));
        Ok(NetZeroMetrics {
            undone_ratio: ratios(
                "net_zero_ratio",
                "Share of the bytes moved in the last 24 hours whose segments came back, by who moved them; all \
                 follows each segment through everybody's moves.",
            )?,
            cancelled_ratio: ratios(
                "net_zero_cancelled_ratio",
                "The same from what each node gained and lost of each collection: an upper bound that sees through \
                 compaction.",
            )?,
            moves: counts("net_zero_moves", "Moves that ended in the last 24 hours, by who made them.")?,
            bytes: counts("net_zero_bytes", "Bytes of the moves that ended in the last 24 hours.")?,
            out_of_band: gauge(
                "out_of_band_seconds",
                "For how long in the last 24 hours some node was above its enter value.",
            )?,
            observed: gauge(
                "out_of_band_observed_seconds",
                "Of how much of the last 24 hours that is known.",
            )?,
        })
    }

    pub(super) fn observe(&self, net_zero: &NetZero) {
        let NetZero { daemon, manual, foreign, all, band } = net_zero;
        for (origin, share) in [("daemon", daemon), ("manual", manual), ("foreign", foreign)] {
            self.set_ratios(origin, share);
            // Without a line for all, so that a sum over the label is the sum.
            self.moves.with_label_values(&[origin]).set(gauge_value(share.moves));
            self.bytes.with_label_values(&[origin]).set(gauge_value(share.bytes.0));
        }
        self.set_ratios(ALL, all);
        let BandTime { out_of_band, observed } = band;
        self.out_of_band.set(out_of_band.as_secs_f64());
        self.observed.set(observed.as_secs_f64());
    }

    fn set_ratios(&self, origin: &str, share: &NetZeroShare) {
        self.undone_ratio.with_label_values(&[origin]).set(share.ratio().decimal());
        self.cancelled_ratio.with_label_values(&[origin]).set(share.cancelled_ratio().decimal());
    }
}

fn gauge_value(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
