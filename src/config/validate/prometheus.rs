//! The rules of the Prometheus server: an address without secrets in it, one way to be let in, and queries that ask
//! something.

use super::{at_least_one, http_url, positive};
use crate::config::origins::joined;
use crate::config::problem::Findings;
use crate::observe::prometheus::{PrometheusSettings, QuerySettings};
use crate::policy::plugin::is_plain_name;

/// Checks the server and its queries.
pub(super) fn check(settings: &PrometheusSettings, findings: &mut Findings) {
    positive("prometheus.timeout", settings.timeout, findings);
    positive("prometheus.max_age", settings.max_age, findings);
    at_least_one("prometheus.concurrency", settings.concurrency, findings);
    at_least_one("prometheus.max_body", settings.max_body.0, findings);
    at_least_one("prometheus.max_series", settings.max_series, findings);
    // An empty address is how the environment unsets it.
    let url = settings.url.as_ref().filter(|url| !url.is_empty());
    match url.map(|url| (url, http_url(url))) {
        Some((_, Err(why))) => {
            findings
                .error("prometheus.url", format!("{why}: write something like \"http://prometheus:9090\""));
        }
        Some((url, Ok(()))) if url.contains(['?', '#']) => {
            findings.error("prometheus.url", "nothing may follow the path: leave out ? and #");
        }
        Some(_) if settings.queries.is_empty() => {
            let message = "there is a server but no query: add a table [prometheus.queries.NAME]";
            findings.warn("prometheus.queries", message);
        }
        None if !settings.queries.is_empty() => {
            let message = "there are queries but no server: set it, such as \"http://prometheus:9090\"";
            findings.error("prometheus.url", message);
        }
        _ => {}
    }
    check_credentials(settings, findings);
    for (name, query) in &settings.queries {
        if !is_plain_name(name) {
            let message = "the name is shown: use up to 40 lower-case letters, digits and underscores";
            findings.error(joined("prometheus.queries", name), message);
        }
        check_query(&joined("prometheus.queries", name), query, findings);
    }
}

fn check_credentials(settings: &PrometheusSettings, findings: &mut Findings) {
    let PrometheusSettings { user, password_file, token_file, .. } = settings;
    if token_file.is_some() && (user.is_some() || password_file.is_some()) {
        let message = "a token and a user are both set: keep one of the two";
        findings.error("prometheus.token_file", message);
    }
    if password_file.is_some() && user.is_none() {
        findings.error("prometheus.user", "there is a password but no user: set the user it belongs to");
    }
}

fn check_query(section: &str, query: &QuerySettings, findings: &mut Findings) {
    if query.query.trim().is_empty() {
        let message = "there is no PromQL in it: write something like \"sum by (instance) (…)\"";
        findings.error(format!("{section}.query"), message);
    }
    for (option, label) in [("node_label", &query.node_label), ("collection_label", &query.collection_label)]
    {
        let letter = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if label.is_empty()
            || !label.chars().all(letter)
            || label.starts_with(|first: char| first.is_ascii_digit())
        {
            let message = format!("{label:?} is no label of Prometheus: letters, digits and underscores");
            findings.error(format!("{section}.{option}"), message);
        }
    }
}
