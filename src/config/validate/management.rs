//! The rules of what is read from Milvus' own HTTP pages, and of what is said in their place.

use crate::config::problem::Findings;
use crate::config::settings::Config;

use super::{at_least_one, http_url, positive};

/// The balancers whose score is modelled.
const MODELLED: [&str; 2] = ["ScoreBasedBalancer", "ChannelLevelScoreBalancer"];

/// Checks both.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let management = &config.management;
    positive("management.timeout", management.timeout, findings);
    at_least_one("management.max_body", management.max_body.0, findings);
    for proxy in &management.proxies {
        if let Err(why) = http_url(proxy) {
            let message = format!("{why}: write something like \"http://10.0.0.5:9091\"");
            findings.error("management.proxies", message);
        }
    }
    let balancer = &config.milvus.balancer;
    for (key, factor) in [
        ("global_row_count_factor", balancer.global_row_count_factor),
        ("score_unbalance_toleration_factor", balancer.score_unbalance_toleration_factor),
        ("reverse_unbalance_toleration_factor", balancer.reverse_unbalance_toleration_factor),
        ("delegator_memory_overload_factor", balancer.delegator_memory_overload_factor),
    ] {
        if let Some(factor) = factor.filter(|factor| !factor.is_finite() || *factor < 0.0) {
            let message = format!("{factor} is no factor: write what milvus.yaml says, such as 0.1");
            findings.error(format!("milvus.balancer.{key}"), message);
        }
    }
    if let Some(name) = balancer.balancer.as_ref().filter(|name| !MODELLED.contains(&name.as_str())) {
        let message = format!(
            "{name:?} is not modelled, so mode within would never move anything: write {} or {}, or use another mode",
            MODELLED[0], MODELLED[1]
        );
        findings.warn("milvus.balancer.balancer", message);
    }
}
