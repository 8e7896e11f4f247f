//! What a node can carry: its cores, memory and disk. Nodes report the machine's cores, not the quota of their container,
//! so that the configuration may correct them by address or host name. Further sources stand behind the same resolver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Reading, SignalSource};
use crate::observe::observation::HardwareReport;
use crate::units::{Bytes, Millicores, Ratio};

/// `[capacity.NAME]`: corrections by their name, in whose order they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapacitySettings(pub BTreeMap<String, CapacityOverride>);

/// What some nodes really have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CapacityOverride {
    /// Which: a pattern for the node's `host:port`, its host alone, or its host or pod name where Milvus tells that. `*`
    /// stands for anything, `?` for one character.
    #[serde(rename = "match")]
    pub pattern: String,
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

/// Who a node is, as patterns see it.
#[derive(Clone, Copy, Debug)]
pub struct NodeName<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// Host or pod name, where Milvus tells it.
    pub hostname: Option<&'a str>,
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
        node: NodeName<'_>,
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
        for (name, entry) in self.0.iter().filter(|(_, entry)| entry.matches(node)) {
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

impl CapacityOverride {
    fn matches(&self, node: NodeName<'_>) -> bool {
        let host = node.address.rsplit_once(':').map_or(node.address, |(host, _)| host);
        let names = [Some(node.address), Some(host), node.hostname];
        names.into_iter().flatten().any(|name| !name.is_empty() && matches(&self.pattern, name))
    }
}

/// Whether a text fits a pattern of `*` and `?`, letter by letter. Time is the product of both lengths at most.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    // The last star, and how much of the text it had swallowed when the rest was tried.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some('?') => (at, read) = (at + 1, read + 1),
            Some(letter) if *letter == text[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((star_at, swallowed)) = star else { return false };
                star = Some((star_at, swallowed + 1));
                (at, read) = (star_at + 1, swallowed + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeName<'static> =
        NodeName { address: "10.0.0.7:21123", hostname: Some("querynode-small-7") };

    fn settings(entries: &[(&str, &str, u64)]) -> CapacitySettings {
        let entry = |(name, pattern, cpu): &(&str, &str, u64)| {
            let cpu = Some(Millicores(*cpu)).filter(|cpu| cpu.0 > 0);
            let entry =
                CapacityOverride { pattern: (*pattern).to_owned(), cpu, ..CapacityOverride::default() };
            ((*name).to_owned(), entry)
        };
        CapacitySettings(entries.iter().map(entry).collect())
    }

    fn cpu(settings: &CapacitySettings, measured: Option<u64>) -> Option<(u64, SignalSource)> {
        let hardware = HardwareReport { cpu_cores: Some(8), ..HardwareReport::default() };
        let figures = CapacityFigures { cpu: measured.map(Millicores), ..CapacityFigures::default() };
        let source = SignalSource::Prometheus { query: "q".to_owned() };
        let cpu = settings.resolve(NODE, Some((&figures, &source)), None, &hardware).cpu?;
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
            pattern: "*".to_owned(),
            memory: Some(Bytes(memory)),
            ..CapacityOverride::default()
        };
        let resolve = |memory| {
            let settings = CapacitySettings([("all".to_owned(), entry(memory))].into());
            settings.resolve(NODE, None, Some(Bytes(100)), &HardwareReport::default()).memory.unwrap().value
        };
        assert_eq!((resolve(60), resolve(900)), (Bytes(60), Bytes(100)));
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, fits) in [
            ("10.0.0.*", "10.0.0.7:21123", true),
            ("10.0.0.7", "10.0.0.7:21123", false),
            ("*", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("node-??", "node-7", false),
            ("*ü?", "xüy", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
        let hostile = format!("{}c", "a*".repeat(50));
        assert!(!matches(&hostile, &format!("{}b", "a".repeat(5_000))));
    }
}
