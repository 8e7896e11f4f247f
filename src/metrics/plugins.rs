//! Metrics of policy plug-ins: who was heard, who was not and why, and how long they were waited for.

use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use super::{described, registered};
use crate::model::{Doubt, DoubtKind};

/// What is published of plug-ins.
pub(super) struct PluginMetrics {
    heard: IntGaugeVec,
    left_out: IntCounterVec,
    seconds: GaugeVec,
}

impl PluginMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<PluginMetrics> {
        let heard = described("policy_plugin_heard", "1 while the policy plug-in has a say in the turn.");
        let left_out = described(
            "policy_plugin_left_out_total",
            "Turns without the policy plug-in, by what was wrong with it.",
        );
        let seconds =
            described("policy_plugin_answer_seconds", "How long the policy plug-in took in the last turn.");
        Ok(PluginMetrics {
            heard: registered(registry, IntGaugeVec::new(heard, &["plugin"]))?,
            left_out: registered(registry, IntCounterVec::new(left_out, &["plugin", "fault"]))?,
            seconds: registered(registry, GaugeVec::new(seconds, &["plugin"]))?,
        })
    }

    pub(super) fn asked(&self, plugin: &str, took: Duration) {
        self.heard.with_label_values(&[plugin]).set(1);
        self.seconds.with_label_values(&[plugin]).set(took.as_secs_f64());
    }

    pub(super) fn judged(&self, doubts: &[Doubt]) {
        for doubt in doubts {
            if let DoubtKind::PluginLeftOut { plugin, fault } = &doubt.kind {
                self.heard.with_label_values(&[plugin]).set(0);
                self.left_out.with_label_values(&[plugin, fault.code()]).inc();
            }
        }
    }
}
