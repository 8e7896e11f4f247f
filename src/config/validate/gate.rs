//! The rules for `gate`: shares, times, windows that are never open.

use crate::config::duration::display;
use crate::config::problem::Findings;
use crate::config::settings::Config;
use crate::gate::GateSettings;
use crate::gate::windows::{self, WindowKind};
use crate::units::Ratio;

use super::{at_least_one, positive};

/// Milvus' own guard refuses loads from here on.
const MILVUS_MEMORY_GUARD: Ratio = Ratio(900_000);

/// Checks all options under `gate`.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    check_times(config, findings);
    check_destination(config.gate.destination_memory, findings);
    check_shares(&config.gate, findings);
    check_windows(&config.gate, findings);
    if config.gate.kill_switch.as_ref().is_some_and(|path| path.is_relative()) {
        let message = "a file that stops everything must be found wherever the daemon was started: write its whole \
                       path, such as \"/etc/milvus-rebalancer/stop\"";
        findings.error("gate.kill_switch", message);
    }
}

fn check_times(config: &Config, findings: &mut Findings) {
    let gate = &config.gate;
    positive("gate.max_age", gate.max_age, findings);
    if gate.max_age < config.poll.interval {
        let (age, interval) = (display(gate.max_age), display(config.poll.interval));
        let message = format!(
            "{age} is less than poll.interval ({interval}): what is seen may be called stale before it is seen again"
        );
        findings.warn("gate.max_age", message);
    }
    if gate.cool_down_limit < gate.cool_down {
        let (limit, first) = (display(gate.cool_down_limit), display(gate.cool_down));
        let message = format!("{limit} is shorter than gate.cool_down ({first}): write at least that");
        findings.error("gate.cool_down_limit", message);
    }
    at_least_one("gate.foreign.moves", gate.foreign.moves, findings);
    positive("gate.foreign.within", gate.foreign.within, findings);
    positive("gate.blast_radius.within", gate.blast_radius.within, findings);
}

fn check_destination(memory: Ratio, findings: &mut Findings) {
    if memory == Ratio::ZERO || memory > Ratio::ONE {
        let message = format!(
            "{memory} is no share of a node's memory: write a number above 0 and up to 1, such as 0.8"
        );
        findings.error("gate.destination_memory", message);
    } else if memory >= MILVUS_MEMORY_GUARD {
        let message = format!(
            "{memory} is where Milvus refuses to load segments ({MILVUS_MEMORY_GUARD}): 0.8 leaves room"
        );
        findings.warn("gate.destination_memory", message);
    }
}

/// Options that are shares of something whole, and may be 0.
fn check_shares(gate: &GateSettings, findings: &mut Findings) {
    let shares = [
        ("gate.settle_above", gate.settle_above),
        ("gate.emergency_memory", gate.emergency_memory),
        ("gate.warm_up.first_share", gate.warm_up.first_share),
        ("gate.blast_radius.collection_segments", gate.blast_radius.collection_segments),
        ("gate.blast_radius.collection_bytes", gate.blast_radius.collection_bytes),
    ];
    for (key, share) in shares {
        if share > Ratio::ONE {
            let message = format!("{share} is more than the whole: write a share from 0 to 1, such as 0.1");
            findings.error(key, message);
        }
    }
    if gate.minimum_gain >= Ratio::ONE {
        let message = format!(
            "{} is a whole fair share, which few plans gain: write a small number, such as 0.01",
            gate.minimum_gain
        );
        findings.error("gate.minimum_gain", message);
    }
}

fn check_windows(gate: &GateSettings, findings: &mut Findings) {
    let key = "gate.windows";
    for (position, window) in gate.windows.iter().enumerate() {
        if window.days.is_empty() {
            let message = format!(
                "window {} has no days, so it never begins: leave days out for all of them, or write [\"sat\", \"sun\"]",
                position + 1
            );
            findings.error(key, message);
        }
    }
    let allows = gate.windows.iter().any(|window| window.kind == WindowKind::Allow);
    // Any week is as good as another, but for the hour that the change of the clock skips.
    let some_week = jiff::Timestamp::UNIX_EPOCH;
    let is_ever_open = windows::is_open(&gate.windows, some_week)
        || windows::next_opening(&gate.windows, some_week).is_some();
    if !is_ever_open && gate.windows.iter().all(|window| !window.days.is_empty()) {
        let message = if allows {
            "deny windows cover all that allow windows allow, so nothing would ever be moved"
        } else {
            "deny windows cover the whole week, so nothing would ever be moved: set mode = \"advise\" for that"
        };
        findings.error(key, message);
    }
}
