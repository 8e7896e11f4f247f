//! The rules of connections: addresses, credentials, TLS, limits.

use crate::config::origins::joined;
use crate::config::problem::Findings;
use crate::config::settings::Config;
use crate::milvus::ConnectionSettings;

use super::{at_least_one, positive};

/// Checks every connection, and that the chosen one exists.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    if !config.connections.contains_key(&config.connection) {
        let known: Vec<&str> = config.connections.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!(
            "there is no connection {:?}; configured are: {known}. Add a table [connections.{}] or choose another",
            config.connection,
            joined("", &config.connection),
        );
        findings.error("connection", message);
    }
    for (alias, connection) in &config.connections {
        let section = joined("connections", alias);
        check_endpoint(&section, connection, findings);
        check_credentials(&section, connection, findings);
        check_tls(&section, connection, findings);
        positive(format!("{section}.connect_timeout"), connection.connect_timeout, findings);
        positive(format!("{section}.request_timeout"), connection.request_timeout, findings);
        at_least_one(format!("{section}.concurrency"), connection.concurrency, findings);
        at_least_one(format!("{section}.max_response"), connection.max_response.0, findings);
    }
}

fn check_endpoint(section: &str, connection: &ConnectionSettings, findings: &mut Findings) {
    if let Err(problem) = connection.address() {
        findings.error(format!("{section}.endpoint"), problem.to_string());
    }
}

fn check_credentials(section: &str, connection: &ConnectionSettings, findings: &mut Findings) {
    let ConnectionSettings { user, password, password_file, token, token_file, .. } = connection;
    let has_password = password.is_some() || password_file.is_some();
    let has_token = token.is_some() || token_file.is_some();
    if has_token && (has_password || user.is_some()) {
        let message = "a token and a user with password are both set: keep one of the two";
        findings.error(format!("{section}.token"), message);
    } else if has_password && user.is_none() {
        findings
            .error(format!("{section}.user"), "there is a password but no user: set the user it belongs to");
    } else if user.is_some() && !has_password {
        let message = "there is a user but no password: set password_file (or password)";
        findings.error(format!("{section}.password"), message);
    }
    if password.is_some() && password_file.is_some() {
        findings.error(format!("{section}.password_file"), "password is set as well: keep one of the two");
    }
    if token.is_some() && token_file.is_some() {
        findings.error(format!("{section}.token_file"), "token is set as well: keep one of the two");
    }
    if user.as_ref().is_some_and(|user| user.is_empty() || user.contains(':')) {
        findings.error(format!("{section}.user"), "a user name is not empty and has no \":\" in it");
    }
    if (has_password || has_token) && !is_https(&connection.endpoint) {
        let message =
            "credentials travel unencrypted with http://: use https:// unless the network is trusted";
        findings.warn(format!("{section}.endpoint"), message);
    }
}

fn check_tls(section: &str, connection: &ConnectionSettings, findings: &mut Findings) {
    let tls = &connection.tls;
    if tls.certificate_file.is_some() != tls.key_file.is_some() {
        let (present, missing) = if tls.key_file.is_some() {
            ("key_file", "certificate_file")
        } else {
            ("certificate_file", "key_file")
        };
        let message = format!("{present} is set without {missing}: our own certificate needs both");
        findings.error(format!("{section}.tls.{missing}"), message);
    }
    let any_set = tls.ca_file.is_some()
        || tls.server_name.is_some()
        || tls.certificate_file.is_some()
        || tls.key_file.is_some();
    if any_set && !is_https(&connection.endpoint) {
        let message =
            "these options are in force for an https:// endpoint only: change the endpoint or remove them";
        findings.warn(format!("{section}.tls"), message);
    }
}

fn is_https(endpoint: &str) -> bool {
    endpoint.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}
