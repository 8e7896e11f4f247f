//! Metrics of the signals: what nodes do by their own counters, what is missing, and how far it can be trusted.

use prometheus::{Gauge, GaugeVec, IntGaugeVec, Registry};

use super::{described, registered};
use crate::model::Snapshot;

/// What is published of the signals.
pub(super) struct SignalMetrics {
    cpu: GaugeVec,
    searches: GaugeVec,
    absent: IntGaugeVec,
    confidence: Gauge,
}

impl SignalMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<SignalMetrics> {
        let cpu = described(
            "node_cpu_cores",
            "CPU of a node in cores: used, the part of it that searches on its sealed segments use, base (what no move \
             changes), and what it has (capacity); missing where unknown.",
        );
        let searches = described("node_searches_per_second", "Searches that a node answers as a worker.");
        let absent = described(
            "signals_absent",
            "Signals that are missing, by why: of so many nodes, or 1 for what is no node's.",
        );
        let confidence = described(
            "search_confidence_ratio",
            "How far the loads of the search policy can be trusted; lower makes its moves dearer.",
        );
        Ok(SignalMetrics {
            cpu: registered(registry, GaugeVec::new(cpu, &["node", "kind"]))?,
            searches: registered(registry, GaugeVec::new(searches, &["node"]))?,
            absent: registered(registry, IntGaugeVec::new(absent, &["signal", "why"]))?,
            confidence: registered(registry, Gauge::with_opts(confidence))?,
        })
    }

    pub(super) fn seen(&self, snapshot: &Snapshot) {
        self.cpu.reset();
        self.searches.reset();
        self.absent.reset();
        for (node, signals) in snapshot.nodes.iter().zip(&snapshot.signals.nodes) {
            let id = node.id.to_string();
            let base = signals.cpu.as_ref().map(|_| signals.base_cpu);
            for (kind, cores) in [
                ("used", signals.cpu.as_ref().map(|cpu| cpu.value)),
                ("searches", signals.search_cpu),
                ("base", base),
                ("capacity", signals.capacity.cpu.as_ref().map(|cpu| cpu.value)),
            ] {
                if let Some(cores) = cores {
                    self.cpu.with_label_values(&[id.as_str(), kind]).set(cores.cores());
                }
            }
            if let Some(searches) = &signals.searches {
                self.searches.with_label_values(&[id.as_str()]).set(searches.value.per_second());
            }
        }
        for absent in &snapshot.signals.absent {
            let nodes = i64::try_from(absent.nodes.len().max(1)).unwrap_or(i64::MAX);
            self.absent.with_label_values(&[absent.signal.code(), absent.why.code()]).set(nodes);
        }
        self.confidence.set(snapshot.signals.search_confidence.decimal());
    }
}
