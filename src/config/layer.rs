//! The sources as layers of one tree: built-in defaults, file, environment.

use std::path::Path;

use ::config::{ConfigError as CrateError, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::origins::quoted;
use super::problem::{ConfigError, Origin, Problem};
use super::settings::Config;
use super::sources::{ENVIRONMENT_PREFIX, Sources};
use crate::policy::preset::{Preset, PresetValue};

/// Origin of what the built-in defaults say.
pub(super) const DEFAULTS: &str = "default";

/// What the origin of a preset's values begins with; its name follows.
pub(super) const PRESET: &str = "preset ";

/// One source's keys and values, ready to be merged.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, CrateError> {
        Ok(self.0.clone())
    }
}

/// The built-in defaults. Without the connections: whoever names one does not want the default one beside it.
pub(super) fn default_layer() -> Layer {
    let json = serde_json::to_value(Config::default()).unwrap_or_default();
    let ValueKind::Table(mut table) = from_json(json).kind else { return Layer::default() };
    table.remove("connections");
    Layer(table)
}

/// A JSON value in the crate's own type, marked as a default.
fn from_json(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => ValueKind::Nil,
        serde_json::Value::Bool(value) => ValueKind::Boolean(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ValueKind::I64(value),
            (None, Some(value)) => ValueKind::U64(value),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => ValueKind::String(text),
        serde_json::Value::Array(values) => ValueKind::Array(values.into_iter().map(from_json).collect()),
        serde_json::Value::Object(object) => {
            ValueKind::Table(object.into_iter().map(|(key, value)| (key, from_json(value))).collect())
        }
    };
    Value::new(Some(&DEFAULTS.to_owned()), kind)
}

/// What a preset sets, marked as such.
pub(super) fn preset_layer(preset: Preset) -> Layer {
    let origin = format!("{PRESET}{}", preset.name());
    let mut policies: Map<String, Value> = Map::new();
    for (policy, option, value) in preset.options() {
        let kind = match value {
            PresetValue::Flag(flag) => ValueKind::Boolean(*flag),
            PresetValue::Whole(number) => ValueKind::I64(*number),
            PresetValue::Ratio(ratio) => ValueKind::Float(*ratio),
        };
        let options = policies
            .entry((*policy).to_owned())
            .or_insert_with(|| Value::new(Some(&origin), ValueKind::Table(Map::new())));
        if let ValueKind::Table(table) = &mut options.kind {
            table.insert((*option).to_owned(), Value::new(Some(&origin), kind));
        }
    }
    let policies = Value::new(Some(&origin), ValueKind::Table(policies));
    Layer(Map::from_iter([("policies".to_owned(), policies)]))
}

impl Layer {
    /// The preset that this source asks for; `None` when it asks for none, or for one that there is not, which is told
    /// when types are looked at.
    pub(super) fn preset(&self) -> Option<Preset> {
        // The layer of the environment has whole paths for keys.
        let nested = || match &self.0.get("policies")?.kind {
            ValueKind::Table(policies) => policies.get("preset"),
            _ => None,
        };
        match &self.0.get("policies.preset").or_else(nested)?.kind {
            ValueKind::String(name) => Preset::named(name),
            _ => None,
        }
    }
}

/// The file's keys and values.
pub(super) fn parse_file(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Result<Layer, ConfigError> {
    let parsed = File::from_str(text, FileFormat::Toml).collect();
    let mut table = parsed.map_err(|error| {
        let detail = match error {
            CrateError::FileParse { cause, .. } => without_snippet(&cause.to_string()),
            other => without_snippet(&other.to_string()),
        };
        ConfigError::Syntax { path: path.to_owned(), detail }
    })?;
    // The crate reads its top keys as paths ("a.b", "a[7]"), and an index makes it allocate that many values.
    table.retain(|key, _| {
        let plain =
            key.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character));
        if !plain || key.is_empty() {
            let message = "unknown key".to_owned();
            problems.push(Problem { origin: Origin::File(path.to_owned()), key: quoted(key), message });
            return false;
        }
        true
    });
    Ok(Layer(table))
}

/// The TOML parser shows the line that it stumbles over, and that line may hold a secret.
fn without_snippet(message: &str) -> String {
    let is_snippet =
        |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let kept: Vec<&str> = message.lines().filter(|line| !is_snippet(line)).map(str::trim).collect();
    kept.join("; ").replace("TOML parse error at ", "")
}

/// The variables with our prefix.
pub(super) fn parse_environment(sources: &Sources, problems: &mut Vec<Problem>) -> Layer {
    let mut ours: Map<String, String> = Map::new();
    for (name, value) in &sources.environment {
        let name = name.to_string_lossy();
        if !name.to_ascii_uppercase().starts_with(ENVIRONMENT_PREFIX) {
            continue;
        }
        let mut wrong = |message: &str| {
            let origin = Origin::Environment(name.clone().into_owned());
            let key = name[ENVIRONMENT_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            problems.push(Problem { origin, key, message: message.to_owned() });
        };
        let parts_are_plain = name[ENVIRONMENT_PREFIX.len()..].split("__").all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        });
        match value.to_str() {
            _ if !parts_are_plain => wrong("unknown key"),
            None => wrong("the value is not UTF-8 text"),
            Some(value) => {
                ours.insert(name.clone().into_owned(), value.to_owned());
            }
        }
    }
    // Everything stays text here: only the type of an option says what a text is to become.
    let environment = Environment::with_prefix(ENVIRONMENT_PREFIX.trim_end_matches("__"))
        .prefix_separator("__")
        .separator("__")
        .source(Some(ours));
    Layer(environment.collect().unwrap_or_default())
}
