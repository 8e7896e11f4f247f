//! Signals and capacities: a pattern that matches nothing and a capacity of nothing are mistakes.

use super::positive;
use crate::config::origins::joined;
use crate::config::problem::Findings;
use crate::config::settings::Config;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    positive("signals.smoothing", config.signals.smoothing, findings);
    positive("signals.keep", config.signals.keep, findings);
    for (name, entry) in &config.capacity.0 {
        let section = joined("capacity", name);
        if entry.nodes.is_empty() {
            let message =
                "it says no node: write the address or the host name of nodes, such as \"10.0.0.*\"";
            findings.error(format!("{section}.match"), message);
        }
        let figures = [
            ("cpu", entry.cpu.map(|cpu| cpu.0)),
            ("memory", entry.memory.map(|memory| memory.0)),
            ("disk", entry.disk.map(|disk| disk.0)),
        ];
        for (figure, amount) in figures {
            if amount == Some(0) {
                let message =
                    "a node with nothing of it could carry nothing: write what it has, or leave it out";
                findings.error(format!("{section}.{figure}"), message);
            }
        }
        if figures.iter().all(|(_, amount)| amount.is_none()) {
            let message = "it says nothing of these nodes: write cpu = 0.3, for example";
            findings.error(section, message);
        }
    }
}
