//! Keys, and where each was set.

use std::collections::BTreeMap;
use std::path::Path;

use ::config::{Value, ValueKind};

use super::deserializer::ENVIRONMENT;
use super::layer::{DEFAULTS, PRESET};
use super::problem::{Finding, Origin, Problem};
use super::sources::{ENVIRONMENT_PREFIX, Overrides};

/// Where every option was set; what is missing was set nowhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Notes where every leaf of the merged tree was set; what has no origin of its own comes from the file.
    pub fn note(tree: &Value, file: Option<&Path>) -> Origins {
        let mut origins = BTreeMap::new();
        leaves(tree, "", &mut |key, value| {
            let preset = value.origin().and_then(|origin| origin.strip_prefix(PRESET));
            let origin = match (value.origin(), file) {
                _ if preset.is_some() => Origin::Preset(preset.unwrap_or_default().to_owned()),
                (Some(DEFAULTS), _) | (None, None) => return,
                (Some(ENVIRONMENT), _) => {
                    let name = key.replace('.', "__").to_ascii_uppercase();
                    Origin::Environment(format!("{ENVIRONMENT_PREFIX}{name}"))
                }
                (_, Some(path)) => Origin::File(path.to_owned()),
                (Some(_), None) => return,
            };
            origins.insert(key.to_owned(), origin);
        });
        Origins(origins)
    }

    /// Where an option was set. A table was set where any of its options was.
    pub fn of(&self, key: &str) -> Origin {
        let table = format!("{key}.");
        let inside = |other: &String| other == key || other.starts_with(&table);
        self.0
            .range(key.to_owned()..)
            .find(|(other, _)| inside(other))
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Adds where a finding's option was set.
    pub fn place(&self, finding: Finding) -> Problem {
        Problem { origin: self.of(&finding.key), key: finding.key, message: finding.message }
    }

    /// The flags stand over every other source.
    pub fn with_flags(mut self, overrides: &Overrides) -> Origins {
        for (key, flag) in overrides.keys() {
            self.0.insert(key.to_owned(), Origin::Flag(flag));
        }
        self
    }
}

/// Calls back with key and value of every leaf; an empty table is one.
pub(super) fn leaves(value: &Value, key: &str, found: &mut impl FnMut(&str, &Value)) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (name, child) in table {
                leaves(child, &joined(key, name), found);
            }
        }
        _ => found(key, value),
    }
}

/// Whether the value of an option must never be printed.
pub(super) fn is_secret(key: &str) -> bool {
    matches!(key.rsplit('.').next(), Some("password" | "token"))
}

/// A key with its section.
pub(super) fn joined(prefix: &str, key: &str) -> String {
    let key = quoted(key);
    if prefix.is_empty() { key } else { format!("{prefix}.{key}") }
}

/// A key as TOML writes it.
pub(super) fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { format!("{key:?}") }
}
