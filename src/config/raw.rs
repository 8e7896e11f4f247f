//! From sources to types: layers the sources into one tree, then deserializes it and, for every key that does
//! not fit, notes it, takes it out and tries again, until all wrong keys are known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::config::{ConfigError as CrateError, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use serde::Deserialize;
use serde_path_to_error::Segment;

use super::deserializer::{ENVIRONMENT, Node, Wrong};
use super::problem::{ConfigError, Finding, Origin, Problem};
use super::settings::Config;
use super::sources::{ENVIRONMENT_PREFIX, Overrides, Sources, read_file};

/// Origin of what the built-in defaults say.
const DEFAULTS: &str = "default";

/// Nobody repairs more at once, and a mistaken file should not be worked on for long.
const MOST_PROBLEMS: usize = 100;

/// The typed configuration, and what would not become one.
pub(super) struct Typed {
    pub config: Config,
    pub problems: Vec<Problem>,
    pub origins: Origins,
}

/// Where every option was set; what is missing was set nowhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
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

/// Reads file and environment into types.
pub(super) fn read(sources: &Sources) -> Result<Typed, ConfigError> {
    let file = read_file(&sources.file)?;
    let path = file.as_ref().map(|(path, _)| path.clone());
    let mut problems = Vec::new();
    let file_layer = match &file {
        Some((path, text)) => parse_file(path, text, &mut problems)?,
        None => Layer::default(),
    };
    let environment_layer = parse_environment(sources, &mut problems);

    let merged = ::config::Config::builder()
        .add_source(default_layer())
        .add_source(file_layer)
        .add_source(environment_layer)
        .build()
        .and_then(|config| config.collect());
    // Layers are in memory already: merging them has no way to fail.
    let mut tree = Value::new(None, merged.map(ValueKind::Table).unwrap_or_default());

    let mut origins = Origins::default();
    note_origins(&tree, "", path.as_ref(), &mut origins);
    let config = deserialize(&mut tree, &origins, &mut problems);
    Ok(Typed { config, problems, origins })
}

/// One source's keys and values, ready to be merged.
#[derive(Clone, Debug, Default)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, CrateError> {
        Ok(self.0.clone())
    }
}

/// The built-in defaults. Without the connections: whoever names one does not want the default one beside it.
fn default_layer() -> Layer {
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

/// The file's keys and values.
fn parse_file(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Result<Layer, ConfigError> {
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
fn parse_environment(sources: &Sources, problems: &mut Vec<Problem>) -> Layer {
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

/// Notes where every leaf under `prefix` was set.
fn note_origins(value: &Value, prefix: &str, file: Option<&PathBuf>, origins: &mut Origins) {
    if let ValueKind::Table(table) = &value.kind
        && (!table.is_empty() || prefix.is_empty())
    {
        for (key, child) in table {
            note_origins(child, &joined(prefix, key), file, origins);
        }
        return;
    }
    let origin = match (value.origin(), file) {
        (Some(DEFAULTS), _) => return,
        (Some(ENVIRONMENT), _) => {
            let name = prefix.replace('.', "__").to_ascii_uppercase();
            Origin::Environment(format!("{ENVIRONMENT_PREFIX}{name}"))
        }
        (_, Some(path)) => Origin::File(path.clone()),
        (_, None) => return,
    };
    origins.0.insert(prefix.to_owned(), origin);
}

/// Deserializes, noting and taking out what does not fit.
fn deserialize(tree: &mut Value, origins: &Origins, problems: &mut Vec<Problem>) -> Config {
    for _ in 0..MOST_PROBLEMS {
        let outcome = {
            let mut track = serde_path_to_error::Track::new();
            let node = serde_path_to_error::Deserializer::new(Node(tree), &mut track);
            Config::deserialize(node).map_err(|wrong| (wrong, track.path()))
        };
        let (wrong, path) = match outcome {
            Ok(config) => return config,
            Err(wrong) => wrong,
        };
        let mut keys: Vec<String> = Vec::new();
        for segment in path.iter() {
            let Segment::Map { key } = segment else { break };
            keys.push(key.clone());
        }
        if let Wrong::UnknownKey { name, .. } = &wrong
            && keys.last() != Some(name)
        {
            keys.push(name.clone());
        }
        let taken = take(tree, &keys);
        let shown = keys.iter().fold(String::new(), |prefix, key| joined(&prefix, key));
        describe(&shown, taken.as_ref(), &wrong, origins, problems);
        if taken.is_none() {
            return Config::default();
        }
    }
    let message = format!("there are more than {MOST_PROBLEMS} problems, and the rest is not shown");
    problems.push(Problem { origin: Origin::Default, key: "…".to_owned(), message });
    Config::default()
}

/// Takes the value at a path out of the tree.
fn take(tree: &mut Value, keys: &[String]) -> Option<Value> {
    let (last, parents) = keys.split_last()?;
    let mut node = tree;
    for key in parents {
        let ValueKind::Table(table) = &mut node.kind else { return None };
        node = table.get_mut(key)?;
    }
    let ValueKind::Table(table) = &mut node.kind else { return None };
    table.remove(last)
}

/// Tells what is wrong with a value, once for every source that set a part of it.
fn describe(key: &str, value: Option<&Value>, wrong: &Wrong, origins: &Origins, problems: &mut Vec<Problem>) {
    let message = match wrong {
        Wrong::Value { expected, .. } if is_secret(key) => {
            format!("{expected} is expected (the value is not shown)")
        }
        Wrong::Other(_) if is_secret(key) => "the value is wrong (it is not shown)".to_owned(),
        _ => wrong.to_string(),
    };
    let mut places = Origins::default();
    if let Some(value) = value {
        leaves(value, key, &mut |leaf| {
            let origin = origins.of(leaf);
            // A file is named once for a whole table, a variable by itself.
            let place = if matches!(origin, Origin::Environment(_)) { leaf } else { key };
            places.0.insert(place.to_owned(), origin);
        });
    }
    if places.0.is_empty() {
        places.0.insert(key.to_owned(), origins.of(key));
    }
    for (key, origin) in places.0 {
        problems.push(Problem { origin, key, message: message.clone() });
    }
}

/// Calls back with the path of every leaf.
fn leaves(value: &Value, path: &str, found: &mut impl FnMut(&str)) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (key, child) in table {
                leaves(child, &joined(path, key), found);
            }
        }
        _ => found(path),
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
