//! The rules that types cannot express: ranges, and options that depend on each other. All are checked, and each
//! finding says what would be right.

use std::net::SocketAddr;
use std::time::Duration;

use crate::execute::BreakerSettings;
use crate::policy::DimensionSettings;
use crate::policy::pattern::Patterns;
use crate::units::{Bytes, Ratio};

use super::duration::display;
use super::origins::joined;
use super::problem::Findings;
use super::settings::Config;

mod admin;
mod connection;
mod gate;
mod guard;
mod lease;
mod management;
mod plugins;
mod prometheus;

mod signals;
mod waves;

/// Nobody moves everything a hundred times within a window: whoever writes that means bytes.
const NO_SHARE_IS_ABOVE: Ratio = Ratio(100_000_000);

/// After this long a coordinator answers `LoadBalance` with success, whatever happened; measured on 2.3.5.
const SERVER_CALL_LIMIT: Duration = Duration::from_secs(120);

/// An hour of a cluster of some hundred segments; with less, files would come and go with every look.
const LEAST_RECORDINGS: Bytes = Bytes(1 << 20);

/// Log levels; any other single word would be taken for the name of a module.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Checks everything.
pub(super) fn validate(config: &Config) -> Findings {
    let mut findings = Findings::default();
    connection::check(config, &mut findings);
    check_poll(config, &mut findings);
    check_node_metrics(config, &mut findings);
    prometheus::check(&config.prometheus, &mut findings);
    guard::check(config, &mut findings);
    management::check(config, &mut findings);
    signals::check(config, &mut findings);
    check_policies(config, &mut findings);
    gate::check(config, &mut findings);
    check_execute(config, &mut findings);
    admin::check(&config.admin, &mut findings);
    lease::check(config, &mut findings);
    check_shell(config, &mut findings);
    findings
}

fn check_poll(config: &Config, findings: &mut Findings) {
    let poll = &config.poll;
    positive("poll.interval", poll.interval, findings);
    if !(poll.duty > 0.0 && poll.duty <= 1.0) {
        let message =
            format!("{} is no share of the time: write a number above 0 and up to 1, such as 0.1", poll.duty);
        findings.error("poll.duty", message);
    }
    if poll.backoff_limit < poll.interval {
        let (limit, interval) = (display(poll.backoff_limit), display(poll.interval));
        let message = format!("{limit} is shorter than poll.interval ({interval}): write at least that");
        findings.error("poll.backoff_limit", message);
    }
}

fn check_node_metrics(config: &Config, findings: &mut Findings) {
    let settings = &config.node_metrics;
    positive("node_metrics.timeout", settings.timeout, findings);
    at_least_one("node_metrics.concurrency", settings.concurrency, findings);
    at_least_one("node_metrics.max_body", settings.max_body.0, findings);
    let key = "node_metrics.url";
    // An empty pattern is how the environment unsets it.
    if let Some(pattern) = settings.url.as_ref().filter(|pattern| !pattern.is_empty()) {
        if !pattern.contains("{host}") {
            let message = "there is no {host} in it, so every node would have the same address: write something like \
                           \"http://{host}:9091/metrics\", or name single nodes under node_metrics.targets";
            findings.error(key, message);
        } else if let Err(why) = http_url(&pattern.replace("{host}", "127.0.0.1").replace("{port}", "21123"))
        {
            findings.error(key, format!("{why}: write something like \"http://{{host}}:9091/metrics\""));
        }
    }
    for (node, url) in &settings.targets {
        if let Err(why) = http_url(url) {
            let message = format!("{why}: write something like \"http://10.0.0.7:9091/metrics\"");
            findings.error(joined("node_metrics.targets", node), message);
        }
    }
}

fn check_policies(config: &Config, findings: &mut Findings) {
    let policies = config.policies.dimensions();
    let any_plugin = plugins::check(config, findings);
    if crate::policy::registry(&config.policies).is_empty() && !any_plugin {
        let message = "no policy is enabled or has anything to say, so nothing would ever be uneven: enable at least one, such as \
                       policies.memory.enabled = true";
        findings.error("policies", message);
    }
    for (name, policy) in policies {
        check_dimension(&format!("policies.{name}"), policy, findings);
    }
    for (name, nominee) in &config.policies.nominate {
        if nominee.nodes.is_empty() {
            let message = "it names no nodes, so nothing would be nominated: write the nodes that segments should \
                           leave, such as [\"querynode-3\"]";
            findings.error(format!("{}.nodes", joined("policies.nominate", name)), message);
        }
    }
    let everything = |patterns: &Patterns| patterns.0.iter().any(|pattern| pattern.to_string() == "*");
    if everything(&config.policies.drain.nodes) {
        let message =
            "* would have every node emptied, and nothing could go anywhere: name the nodes to be taken away";
        findings.error("policies.drain.nodes", message);
    }
}

fn check_dimension(section: &str, policy: &DimensionSettings, findings: &mut Findings) {
    let DimensionSettings { enabled: _, enter, leave, turns, matters_above, weight, limit, base_load: _ } =
        policy;
    if *enter <= Ratio::ONE {
        let message = format!("{enter} is not above 1, which is an even spread: write 1.2, for example");
        findings.error(format!("{section}.enter"), message);
    }
    if *leave < Ratio::ONE || leave >= enter {
        let message = format!(
            "{leave} must be at least 1 and below enter ({enter}): write 1.05, for example; the distance between \
             the two is what keeps the daemon quiet"
        );
        findings.error(format!("{section}.leave"), message);
    }
    at_least_one(format!("{section}.turns"), *turns, findings);
    if *matters_above > Ratio::ONE {
        let message =
            format!("{matters_above} is more than a full node: write a share from 0 to 1, such as 0.3");
        findings.error(format!("{section}.matters_above"), message);
    }
    if limit.is_some_and(|limit| limit == Ratio::ZERO || limit > Ratio::ONE) {
        let message =
            "a limit is the share of its capacity to which a node may be filled: write 0.85, for example";
        findings.error(format!("{section}.limit"), message);
    }
    if *weight == Ratio::ZERO {
        let message =
            format!("a weight of 0 switches the policy off: write {section}.enabled = false to do that");
        findings.error(format!("{section}.weight"), message);
    }
}

fn check_execute(config: &Config, findings: &mut Findings) {
    let execute = &config.execute;
    positive("execute.call_timeout", execute.call_timeout, findings);
    positive("execute.verify_interval", execute.verify_interval, findings);
    positive("execute.settle_timeout", execute.settle_timeout, findings);
    if execute.call_timeout <= SERVER_CALL_LIMIT && !execute.call_timeout.is_zero() {
        let (timeout, limit) = (display(execute.call_timeout), display(SERVER_CALL_LIMIT));
        let message = format!(
            "{timeout} is within the server's own limit of {limit}: calls that are still running would be given up, \
             and some versions then stop half-way"
        );
        findings.warn("execute.call_timeout", message);
    }
    if execute.settle_timeout < execute.call_timeout {
        let (settle, call) = (display(execute.settle_timeout), display(execute.call_timeout));
        let message = format!(
            "{settle} is shorter than execute.call_timeout ({call}): a running call would be given up"
        );
        findings.error("execute.settle_timeout", message);
    }
    if execute.settle_timeout < execute.verify_timeout {
        let (settle, verify) = (display(execute.settle_timeout), display(execute.verify_timeout));
        let message =
            format!("{settle} is shorter than execute.verify_timeout ({verify}): write at least that");
        findings.error("execute.settle_timeout", message);
    }
    let shares = [("hour", execute.bytes_per_hour), ("day", execute.bytes_per_day)];
    for (window, share) in shares {
        check_share(window, share, findings);
    }
    waves::check(&execute.waves, findings);
    check_breaker(&execute.breaker, findings);
    at_least_one("plan.effort", config.plan.effort, findings);
}

/// Budgets of bytes are shares of the cluster's bytes, and their names invite amounts.
fn check_share(window: &str, share: Ratio, findings: &mut Findings) {
    let key = format!("execute.bytes_per_{window}");
    if share > NO_SHARE_IS_ABOVE {
        let message =
            format!("{share} is an amount, and a share of all segment bytes is expected: 0.05 is 5 %");
        findings.error(&key, message);
    } else if share > Ratio::ONE {
        let percent = share.percent();
        let message =
            format!("{percent} of all bytes would be moved every {window}: 0.05 is usual, 0 is no limit");
        findings.warn(&key, message);
    }
}

fn check_breaker(breaker: &BreakerSettings, findings: &mut Findings) {
    if breaker.failures == 0 {
        return;
    }
    positive("execute.breaker.within", breaker.within, findings);
    positive("execute.breaker.pause", breaker.pause, findings);
    if breaker.longest_pause < breaker.pause {
        let (longest, pause) = (display(breaker.longest_pause), display(breaker.pause));
        let message =
            format!("{longest} is shorter than execute.breaker.pause ({pause}): write at least that");
        findings.error("execute.breaker.longest_pause", message);
    }
}

/// Journal, listener and logs: what surrounds the work.
fn check_shell(config: &Config, findings: &mut Findings) {
    if config.journal.path.file_name().is_none() {
        let message =
            "this names no file: write something like \"/var/lib/milvus-rebalancer/milvus-rebalancer.db\"";
        findings.error("journal.path", message);
    }
    positive("journal.keep", config.journal.keep, findings);
    if config.journal.keep < config.gate.cool_down_limit {
        let (keep, limit) = (display(config.journal.keep), display(config.gate.cool_down_limit));
        let message = format!(
            "{keep} is shorter than gate.cool_down_limit ({limit}): moves would be forgotten before they have cooled down"
        );
        findings.warn("journal.keep", message);
    }
    let observations = &config.journal.observations;
    positive("journal.observations.keep", observations.keep, findings);
    if observations.max_bytes < LEAST_RECORDINGS {
        let message = format!(
            "{} has no room for the observations of a small cluster: write at least {LEAST_RECORDINGS}, or \
             journal.observations.enabled = false to record none",
            observations.max_bytes
        );
        findings.error("journal.observations.max_bytes", message);
    }
    let listen = &config.http.listen;
    if listen.parse::<SocketAddr>().is_err() {
        let message = format!(
            "{listen:?} is no address with a port: write something like \"127.0.0.1:9095\" (this machine only) or \
             \"0.0.0.0:9095\""
        );
        findings.error("http.listen", message);
    }
    let level = &config.log.level;
    let single_word = !level.contains(['=', ',', '[']);
    let known = LEVELS.contains(&level.to_ascii_lowercase().as_str());
    let parsed = level.parse::<tracing_subscriber::filter::Targets>();
    if (single_word && !known) || parsed.is_err() {
        let message = format!(
            "{level:?} is no level: write one of {}, or a filter such as \"info,milvus_rebalancer::plan=debug\"",
            LEVELS.join(", ")
        );
        findings.error("log.level", message);
    }
}

/// Whether a text is an address of metrics. Says why not without repeating user or password.
fn http_url(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("the address is empty".to_owned());
    }
    let Ok(url) = reqwest::Url::parse(text) else {
        // The text is not repeated: it may hold a password.
        return Err("this is no address with scheme, host and port".to_owned());
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address does not begin with http:// or https://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the address has no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "the address holds a user or a password, which would be logged: leave them out".to_owned()
        );
    }
    Ok(())
}

/// A wait of no time would make a loop spin.
fn positive(key: impl Into<String>, duration: Duration, findings: &mut Findings) {
    if duration.is_zero() {
        findings.error(key, "0s is no time at all: write a duration above zero, such as \"30s\"");
    }
}

/// For counts of which none makes no sense.
fn at_least_one(key: impl Into<String>, count: impl Into<u64>, findings: &mut Findings) {
    if count.into() == 0 {
        findings.error(key, "0 is too few: write at least 1");
    }
}
