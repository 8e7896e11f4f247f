//! The rules of policy plug-ins: names that cannot be taken for another policy's, endpoints, and a deadline that leaves
//! the turn its rhythm.

use super::{at_least_one, http_url, positive};
use crate::config::duration::display;
use crate::config::origins::joined;
use crate::config::problem::Findings;
use crate::config::settings::Config;
use crate::policy::PolicySettings;
use crate::policy::plugin::{PluginSettings, is_plain_name};
use crate::units::Ratio;

/// Checks every plug-in; says whether any is switched on.
pub(super) fn check(config: &Config, findings: &mut Findings) -> bool {
    let plugins = &config.policies.plugins;
    let built_in = built_in_names();
    for (name, settings) in plugins {
        let section = joined("policies.plugins", name);
        if !is_plain_name(name) {
            let message = "the name is shown and is a label of metrics: use up to 40 lower-case letters, digits and \
                           underscores";
            findings.error(section.clone(), message);
        } else if built_in.contains(name) {
            let message = format!("{name} is a built-in policy: give the plug-in another name");
            findings.error(section.clone(), message);
        }
        check_plugin(&section, settings, config, findings);
    }
    plugins.values().any(|settings| settings.enabled)
}

/// The tables that a built-in policy has or may have.
fn built_in_names() -> Vec<String> {
    let settings = serde_json::to_value(PolicySettings::default()).unwrap_or_default();
    settings.as_object().map(|tables| tables.keys().cloned().collect()).unwrap_or_default()
}

fn check_plugin(section: &str, settings: &PluginSettings, config: &Config, findings: &mut Findings) {
    check_endpoint(&format!("{section}.endpoint"), &settings.endpoint, findings);
    let key = format!("{section}.deadline");
    positive(&key, settings.deadline, findings);
    if settings.deadline > config.poll.interval / 2 {
        let (deadline, interval) = (display(settings.deadline), display(config.poll.interval));
        let message = format!(
            "{deadline} is more than half of poll.interval ({interval}): a plug-in that hangs would hold every turn up"
        );
        findings.error(key, message);
    }
    at_least_one(format!("{section}.max_answer"), settings.max_answer.0, findings);
    let PluginSettings { enter, leave, turns, matters_above, weight, limit, .. } = settings;
    let share = |ratio: &Option<Ratio>| ratio.is_none_or(|ratio| ratio <= Ratio::ONE);
    let rules = [
        (enter.is_none_or(|enter| enter > Ratio::ONE), "enter", "it must be above 1, such as 1.2"),
        (
            leave.is_none_or(|leave| leave >= Ratio::ONE && enter.is_none_or(|enter| leave < enter)),
            "leave",
            "it must be at least 1 and below enter, such as 1.05",
        ),
        (turns.is_none_or(|turns| turns > 0), "turns", "it must be at least 1"),
        (share(matters_above), "matters_above", "it is a share from 0 to 1, such as 0.3"),
        (
            weight.is_none_or(|weight| weight > Ratio::ZERO),
            "weight",
            "a weight of 0 switches the plug-in off: write enabled = false to do that",
        ),
        (share(limit) && *limit != Some(Ratio::ZERO), "limit", "it is a share above 0, such as 0.85"),
    ];
    for (_, option, message) in rules.into_iter().filter(|(holds, ..)| !holds) {
        findings.error(format!("{section}.{option}"), message);
    }
}

fn check_endpoint(key: &str, endpoint: &str, findings: &mut Findings) {
    let wanted = "write something like \"unix:/run/policy.sock\" or \"http://127.0.0.1:9200\"";
    if let Some(path) = endpoint.strip_prefix("unix:") {
        if !path.starts_with('/') {
            findings.error(key, format!("the path of the socket must begin with a slash: {wanted}"));
        }
        return;
    }
    if let Err(why) = http_url(endpoint) {
        findings.error(key, format!("{why}: {wanted}"));
        return;
    }
    if endpoint.starts_with("https:") {
        findings.error(key, format!("plug-ins are not asked over TLS: {wanted}"));
        return;
    }
    let url = reqwest::Url::parse(endpoint);
    let host = url.ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    if !matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") {
        let message = "this goes over the network neither encrypted nor authenticated: whoever can answer in its place \
                       can have segments moved. A Unix socket is safer";
        findings.warn(key, message);
    }
}
