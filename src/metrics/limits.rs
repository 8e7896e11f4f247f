//! Metrics of the executor's limits. Numbers and bytes are metrics of their own, because one metric has one unit.

use prometheus::{IntGaugeVec, Registry};

use super::{described, registered};
use crate::execute::LimitUse;

/// What the options that limit bytes begin with.
const BYTES: &str = "bytes_";

/// The limits and what is used of them.
pub(super) struct LimitMetrics {
    limit: IntGaugeVec,
    used: IntGaugeVec,
    limit_bytes: IntGaugeVec,
    used_bytes: IntGaugeVec,
}

impl LimitMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<LimitMetrics> {
        let gauges = |name, help| registered(registry, IntGaugeVec::new(described(name, help), &["limit"]));
        Ok(LimitMetrics {
            limit: gauges("limit", "Limits of calls and moves by the option that sets them; 0 is no limit.")?,
            used: gauges(
                "limit_used",
                "How many calls or moves of a limit are used; of limits for each node or collection, by the busiest.",
            )?,
            limit_bytes: gauges(
                "limit_bytes",
                "Limits of bytes by the option that sets them; 0 is no limit.",
            )?,
            used_bytes: gauges("limit_used_bytes", "How many bytes of a limit are used.")?,
        })
    }

    pub(super) fn observe(&self, limits: &[LimitUse]) {
        for LimitUse { name, used, limit } in limits {
            let (of_limit, of_used) = match name.starts_with(BYTES) {
                true => (&self.limit_bytes, &self.used_bytes),
                false => (&self.limit, &self.used),
            };
            of_limit.with_label_values(&[name]).set(i64::try_from(*limit).unwrap_or(i64::MAX));
            of_used.with_label_values(&[name]).set(i64::try_from(*used).unwrap_or(i64::MAX));
        }
    }
}
