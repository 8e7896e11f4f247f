//! What is different between two configurations, and what of it a running daemon can take over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::settings::Config;
use super::show::option_texts;

/// Sections that a running daemon takes over as a whole, between two turns. Everything else is wired at the start.
const LIVE: [&str; 8] = ["poll", "signals", "capacity", "policies", "plan", "gate", "guard", "execute"];

/// Options of those sections that are wired at the start all the same.
const WIRED: [&str; 1] = [
    // The client has it.
    "execute.call_timeout",
];

/// An option whose value is another now. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Full path of the option.
    pub key: String,
    /// What it was; `None` where it was not set.
    pub was: Option<String>,
    /// What it is; `None` where it is not set.
    pub is: Option<String>,
}

impl Change {
    /// Whether only a restart brings it into force.
    pub fn needs_restart(&self) -> bool {
        let section = self.key.split('.').next().unwrap_or_default();
        !LIVE.contains(&section) || WIRED.contains(&self.key.as_str())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "{}: {} → {}", self.key, shown(&self.was), shown(&self.is))
    }
}

/// All options in which two configurations differ, by key.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (option_texts(old), option_texts(new));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let (was, is) = (before.get(key), after.get(key));
        if was != is {
            changes.push(Change { key: key.clone(), was: was.cloned(), is: is.cloned() });
        }
    }
    for key in changed_secrets(old, new) {
        if changes.iter().all(|change| change.key != key) {
            let hidden = Some("(not shown)".to_owned());
            changes.push(Change { key, was: hidden.clone(), is: hidden });
        }
    }
    changes
}

/// Keys of secrets that are set in both and differ.
fn changed_secrets(old: &Config, new: &Config) -> Vec<String> {
    let (before, after) = (secrets(old), secrets(new));
    let differs = |key: &String| match (before.get(key), after.get(key)) {
        (Some(was), Some(is)) => was.expose_secret() != is.expose_secret(),
        _ => false,
    };
    before.keys().filter(|key| differs(key)).cloned().collect()
}

fn secrets(config: &Config) -> BTreeMap<String, &SecretString> {
    let mut secrets = BTreeMap::new();
    for (alias, connection) in &config.connections {
        for (name, secret) in [("password", &connection.password), ("token", &connection.token)] {
            if let Some(secret) = secret {
                let connection = super::origins::joined("connections", alias);
                secrets.insert(super::origins::joined(&connection, name), secret);
            }
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_password(password: &str) -> Config {
        let mut config = Config::default();
        let connection = config.connections.get_mut("default").unwrap();
        connection.password = Some(SecretString::from(password));
        config
    }

    #[test]
    fn the_same_configuration_has_no_changes() {
        assert_eq!(changes(&Config::default(), &Config::default()), []);
        assert_eq!(changes(&with_password("a"), &with_password("a")), []);
    }

    #[test]
    fn each_change_is_named_with_both_values_and_whether_it_can_be_taken_over() {
        let mut new = Config::default();
        new.poll.interval = Duration::from_secs(45);
        new.execute.call_timeout = Duration::from_secs(200);
        new.http.listen = "127.0.0.1:1".to_owned();
        new.gate.kill_switch = Some("/run/stop".into());
        let changes = changes(&Config::default(), &new);
        let told: Vec<(String, bool)> =
            changes.iter().map(|change| (change.to_string(), change.needs_restart())).collect();
        assert_eq!(
            told,
            [
                ("execute.call_timeout: \"2m30s\" → \"3m20s\"".to_owned(), true),
                ("gate.kill_switch: not set → \"/run/stop\"".to_owned(), false),
                ("http.listen: \"127.0.0.1:9095\" → \"127.0.0.1:1\"".to_owned(), true),
                ("poll.interval: \"30s\" → \"45s\"".to_owned(), false),
            ]
        );
    }

    #[test]
    fn a_secret_that_changed_is_named_and_not_shown() {
        let changed = changes(&with_password("hunter2"), &with_password("hunter3"));
        let added = changes(&Config::default(), &with_password("hunter2"));
        for changes in [changed, added] {
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert_eq!(changes[0].key, "connections.default.password");
            assert!(changes[0].needs_restart() && !format!("{changes:?}").contains("hunter"), "{changes:?}");
        }
    }
}
