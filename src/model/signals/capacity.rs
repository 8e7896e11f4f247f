//! What a node can carry: its cores, memory and disk. Nodes report the machine's cores, not the quota of their container,
//! so that the configuration may correct them by address or host name. Further sources stand behind the same resolver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Reading, SignalSource};
use crate::model::snapshot::Node;
use crate::observe::observation::HardwareReport;
use crate::policy::pattern::Patterns;
use crate::units::{Bytes, Millicores, Ratio};

/// `[capacity.NAME]`: corrections by their name, in whose order they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapacitySettings(pub BTreeMap<String, CapacityOverride>);

/// What some nodes really have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CapacityOverride {
    /// Which: patterns for the node's `host:port`, its host alone, or its host or pod name where Milvus tells that.
    #[serde(rename = "match")]
    pub nodes: Patterns,
    /// Cores: what its quota allows.
    pub cpu: Option<Millicores>,
    /// Memory. Only less than the node reports makes a difference: Milvus refuses loads by its own figure.
    pub memory: Option<Bytes>,
    /// Disk for segments.
    pub disk: Option<Bytes>,
}

/// Capacities of one node as one source has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapacityFigures {
    /// Cores.
    pub cpu: Option<Millicores>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
}

/// Capacities with where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacities {
    /// Cores.
    pub cpu: Option<Reading<Millicores>>,
    /// Memory.
    pub memory: Option<Reading<Bytes>>,
    /// Disk.
    pub disk: Option<Reading<Bytes>>,
}

impl CapacitySettings {
    /// Works out what a node has, figure by figure: from the first entry of the configuration that matches and says
    /// it, else from what another source measured, else from what the node reports.
    pub fn resolve(
        &self,
        node: &Node,
        measured: Option<(&CapacityFigures, &SignalSource)>,
        memory: Option<Bytes>,
        hardware: &HardwareReport,
    ) -> Capacities {
        let reported = CapacityFigures {
            cpu: hardware.cpu_cores.map(|cores| Millicores(cores.saturating_mul(1_000))),
            memory,
            disk: hardware.disk_capacity,
        };
        let mut answer = Capacities::default();
        for (name, entry) in
            self.0.iter().filter(|(_, entry)| entry.nodes.any(|pattern| pattern.matches_node(node)))
        {
            let source = SignalSource::Configuration { entry: name.clone() };
            let figures = CapacityFigures { cpu: entry.cpu, memory: entry.memory, disk: entry.disk };
            answer.fill_from(&figures, &source, Ratio::ONE);
        }
        if let Some((figures, source)) = measured {
            answer.fill_from(figures, source, Ratio::ONE);
        }
        // The cores of the machine, whatever the quota is.
        answer.fill_from(&reported, &SignalSource::GetMetrics, REPORTED_TRUST);
        // More memory than the node believes to have is of no use to anybody.
        if let (Some(resolved), Some(reported)) = (&mut answer.memory, memory) {
            resolved.value = resolved.value.min(reported);
        }
        answer
    }
}

/// Trust in the capacities that a node reports: right on a machine of its own, far too high under a quota.
const REPORTED_TRUST: Ratio = Ratio(700_000);

impl Capacities {
    fn fill_from(&mut self, figures: &CapacityFigures, source: &SignalSource, trust: Ratio) {
        let CapacityFigures { cpu, memory, disk } = figures;
        fill(&mut self.cpu, *cpu, source, trust);
        fill(&mut self.memory, *memory, source, trust);
        fill(&mut self.disk, *disk, source, trust);
    }
}

/// Takes a figure where there is none yet.
fn fill<T>(slot: &mut Option<Reading<T>>, figure: Option<T>, source: &SignalSource, trust: Ratio) {
    if slot.is_none() {
        *slot = figure.map(|value| Reading {
            value,
            age: std::time::Duration::ZERO,
            source: source.clone(),
            trust,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Standing;
    use crate::units::NodeId;

    fn node() -> Node {
        Node {
            id: NodeId(7),
            address: "10.0.0.7:21123".to_owned(),
            hostname: Some("querynode-small-7".to_owned()),
            standing: Standing::ReadWrite,
            memory_capacity: None,
            memory_used: None,
            growing: None,
            unexplained_memory: None,
            reported_sealed: None,
            version: String::new(),
            component: None,
        }
    }

    fn settings(entries: &[(&str, &str, u64)]) -> CapacitySettings {
        let entry = |(name, pattern, cpu): &(&str, &str, u64)| {
            let cpu = Some(Millicores(*cpu)).filter(|cpu| cpu.0 > 0);
            let entry = CapacityOverride { nodes: Patterns::of(pattern), cpu, ..CapacityOverride::default() };
            ((*name).to_owned(), entry)
        };
        CapacitySettings(entries.iter().map(entry).collect())
    }

    fn cpu(settings: &CapacitySettings, measured: Option<u64>) -> Option<(u64, SignalSource)> {
        let hardware = HardwareReport { cpu_cores: Some(8), ..HardwareReport::default() };
        let figures = CapacityFigures { cpu: measured.map(Millicores), ..CapacityFigures::default() };
        let source = SignalSource::Prometheus { query: "q".to_owned() };
        let cpu = settings.resolve(&node(), Some((&figures, &source)), None, &hardware).cpu?;
        Some((cpu.value.0, cpu.source))
    }

    #[test]
    fn the_configuration_wins_over_what_is_measured_and_that_over_what_is_reported() {
        assert_eq!(cpu(&settings(&[]), None), Some((8_000, SignalSource::GetMetrics)));
        let measured = SignalSource::Prometheus { query: "q".to_owned() };
        assert_eq!(cpu(&settings(&[]), Some(2_000)), Some((2_000, measured)));
        let small = settings(&[("b", "*small*", 300), ("a", "10.0.0.*", 500), ("0", "10.1.*", 1)]);
        let by_a = SignalSource::Configuration { entry: "a".to_owned() };
        assert_eq!(cpu(&small, Some(2_000)), Some((500, by_a)), "the first by name that matches");
        let silent = settings(&[("a", "10.0.0.7", 0), ("b", "querynode-small-?", 300)]);
        assert_eq!(cpu(&silent, None).map(|cpu| cpu.0), Some(300), "the first that says it");
    }

    #[test]
    fn more_memory_than_the_node_believes_in_is_none() {
        let entry = |memory| CapacityOverride {
            nodes: Patterns::of("*"),
            memory: Some(Bytes(memory)),
            ..CapacityOverride::default()
        };
        let resolve = |memory| {
            let settings = CapacitySettings([("all".to_owned(), entry(memory))].into());
            settings
                .resolve(&node(), None, Some(Bytes(100)), &HardwareReport::default())
                .memory
                .unwrap()
                .value
        };
        assert_eq!((resolve(60), resolve(900)), (Bytes(60), Bytes(100)));
    }
}
