//! The rules of the guard and of what it reads.

use crate::config::problem::Findings;
use crate::config::settings::Config;
use crate::units::Ratio;

use super::{at_least_one, http_url, positive};

/// Checks both.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let proxies = &config.proxy_metrics;
    positive("proxy_metrics.timeout", proxies.timeout, findings);
    at_least_one("proxy_metrics.max_body", proxies.max_body.0, findings);
    for target in &proxies.targets {
        if let Err(why) = http_url(target) {
            let message = format!("{why}: write something like \"http://10.0.0.5:9091/metrics\"");
            findings.error("proxy_metrics.targets", message);
        }
    }
    let guard = &config.guard;
    if guard.factor < Ratio::ONE {
        let message = format!(
            "{} times the usual is less than usual: write a number of at least 1, such as 1.5",
            guard.factor
        );
        findings.error("guard.factor", message);
    }
    at_least_one("guard.looks", guard.looks, findings);
    at_least_one("guard.fewest_searches", guard.fewest_searches, findings);
    positive("guard.slow_search", guard.slow_search, findings);
    positive("guard.longest_hold", guard.longest_hold, findings);
    for (key, share) in [
        ("guard.slow_rise", guard.slow_rise),
        ("guard.failed_rise", guard.failed_rise),
        ("guard.destination_memory", guard.destination_memory),
    ] {
        if share > Ratio::ONE {
            let message = format!("{share} is more than all: write a share from 0 to 1, such as 0.05");
            findings.error(key, message);
        }
    }
    if guard.enabled && guard.required && proxies.targets.is_empty() {
        let message = "the guard is required and has nothing to read, so nothing would ever be moved: name the proxies \
                       under proxy_metrics.targets";
        findings.error("guard.required", message);
    }
}
