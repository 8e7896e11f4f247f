//! The settings in force, as TOML that could be used as a file, each with where it was set. Secrets are left
//! out twice: by their own serialization, and here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::origins::{Origins, is_secret, joined};
use super::settings::Config;

/// All options, one a line; options without a value are comments.
pub(super) fn show(config: &Config, origins: &Origins) -> String {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let mut lines = Vec::new();
    leaves(&tree, "", &mut |key, value| {
        lines.push(match value {
            Value::Null => format!("# {key} is not set"),
            _ if is_secret(key) => format!("# {key} is set, and not shown"),
            value => format!("{key} = {}  # {}", toml(value), origins.of(key)),
        });
    });
    lines.join("\n")
}

/// All options that have a value, one a line; of secrets only that they are set. The same options give the same text.
pub(super) fn in_force(config: &Config) -> String {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let mut lines = Vec::new();
    leaves(&tree, "", &mut |key, value| match value {
        Value::Null => {}
        _ if is_secret(key) => lines.push(format!("# {key} is set, and not shown")),
        value => lines.push(format!("{key} = {}", toml(value))),
    });
    lines.join("\n")
}

/// All options that have a value, as [`in_force`] writes them, by key.
pub(super) fn option_texts(config: &Config) -> BTreeMap<String, String> {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let mut texts = BTreeMap::new();
    leaves(&tree, "", &mut |key, value| {
        let text = match value {
            Value::Null => return,
            _ if is_secret(key) => "(not shown)".to_owned(),
            value => toml(value),
        };
        texts.insert(key.to_owned(), text);
    });
    texts
}

/// A value as TOML has it: like JSON, but for tables inside of lists.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(toml).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", entries.collect::<Vec<String>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Calls back with every option and its value.
fn leaves(value: &Value, path: &str, found: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(object) => {
            for (key, child) in object {
                leaves(child, &joined(path, key), found);
            }
        }
        leaf => found(path, leaf),
    }
}
