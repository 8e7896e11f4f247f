//! From sources to types: layers the sources into one tree, then deserializes it and, for every key that does
//! not fit, notes it, takes it out and tries again, until all wrong keys are known.

use std::collections::BTreeMap;

use ::config::{Map, Value, ValueKind};
use serde::Deserialize;
use serde_path_to_error::Segment;

use super::deserializer::{Node, Wrong};
use super::layer::{Layer, default_layer, parse_environment, parse_file, preset_layer};
use super::origins::{Origins, is_secret, joined, leaves};
use super::problem::{ConfigError, Origin, Problem};
use super::settings::Config;
use super::sources::{Sources, read_file};

/// Nobody repairs more at once, and a mistaken file should not be worked on for long.
const MOST_PROBLEMS: usize = 100;

/// The typed configuration, and what would not become one.
pub(super) struct Typed {
    pub config: Config,
    pub problems: Vec<Problem>,
    pub origins: Origins,
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

    let preset = environment_layer.preset().or_else(|| file_layer.preset()).unwrap_or_default();

    let merged = ::config::Config::builder()
        .add_source(default_layer())
        .add_source(preset_layer(preset))
        .add_source(file_layer)
        .add_source(environment_layer)
        .build()
        .and_then(|config| ::config::Source::collect(&config));
    let table = merged.unwrap_or_else(|error| {
        // Layers are in memory already, so this is not known to happen; if it does, nothing must go on.
        let key = "configuration".to_owned();
        problems.push(Problem { origin: Origin::Default, key, message: error.to_string() });
        Map::new()
    });
    let mut tree = Value::new(None, ValueKind::Table(table));
    let origins = Origins::note(&tree, path.as_deref());
    let config = deserialize(&mut tree, &origins, &mut problems);
    Ok(Typed { config, problems, origins })
}

/// Deserializes, noting and taking out what does not fit.
fn deserialize(tree: &mut Value, origins: &Origins, problems: &mut Vec<Problem>) -> Config {
    while problems.len() <= MOST_PROBLEMS {
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
        let mut segments = path.iter();
        let mut within_list = String::new();
        for segment in segments.by_ref() {
            match segment {
                Segment::Map { key } => keys.push(key.clone()),
                Segment::Seq { index } => {
                    within_list = format!("entry {}", index + 1);
                    break;
                }
                _ => break,
            }
        }
        // A list is taken out as a whole, and what is wrong in it is said in words.
        let wrong = if within_list.is_empty() {
            wrong
        } else {
            let deeper: Vec<String> = segments.map(ToString::to_string).collect();
            let place =
                if deeper.is_empty() { within_list } else { format!("{within_list}, {}", deeper.join(".")) };
            Wrong::Other(format!("{place}: {wrong}"))
        };
        let found = match &wrong {
            Wrong::UnknownKey { known, .. } => take_unknown(tree, &keys, known),
            _ => take(tree, &keys).into_iter().map(|value| (keys.clone(), value)).collect(),
        };
        if found.is_empty() {
            // Nothing can be taken out, so trying again would not end.
            problems.push(Problem {
                origin: Origin::Default,
                key: spelled(&keys),
                message: wrong.to_string(),
            });
            return Config::default();
        }
        for (keys, value) in found {
            describe(&spelled(&keys), &value, &wrong, origins, problems);
        }
    }
    problems.truncate(MOST_PROBLEMS);
    let message = format!("there are more than {MOST_PROBLEMS} problems; the rest is not shown");
    problems.push(Problem { origin: Origin::Default, key: "…".to_owned(), message });
    Config::default()
}

/// Takes all unknown keys out of the table in which one was found: a table of nothing but typos would otherwise
/// take as many rounds as it has keys.
fn take_unknown(tree: &mut Value, keys: &[String], known: &[&str]) -> Vec<(Vec<String>, Value)> {
    let Some((_, parents)) = keys.split_last() else { return Vec::new() };
    let Some(table) = table_at(tree, parents) else { return Vec::new() };
    let mut names: Vec<String> = table.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
    names.sort();
    let mut taken = Vec::new();
    for name in names {
        if let Some(value) = table.remove(&name) {
            taken.push(([parents, &[name]].concat(), value));
        }
    }
    taken
}

/// The table at a path.
fn table_at<'a>(tree: &'a mut Value, path: &[String]) -> Option<&'a mut Map<String, Value>> {
    let mut node = tree;
    for key in path {
        let ValueKind::Table(table) = &mut node.kind else { return None };
        node = table.get_mut(key)?;
    }
    match &mut node.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

/// A path as a file writes it.
fn spelled(keys: &[String]) -> String {
    keys.iter().fold(String::new(), |prefix, key| joined(&prefix, key))
}

/// Takes the value at a path out of the tree.
fn take(tree: &mut Value, keys: &[String]) -> Option<Value> {
    let (last, parents) = keys.split_last()?;
    table_at(tree, parents)?.remove(last)
}

/// Tells what is wrong with a value, once for every source that set a part of it.
fn describe(key: &str, value: &Value, wrong: &Wrong, origins: &Origins, problems: &mut Vec<Problem>) {
    let message = match wrong {
        Wrong::Value { expected, .. } if is_secret(key) => {
            format!("{expected} is expected (the value is not shown)")
        }
        Wrong::Other(_) if is_secret(key) => "the value is wrong (it is not shown)".to_owned(),
        _ => wrong.to_string(),
    };
    let mut places: BTreeMap<String, Origin> = BTreeMap::new();
    leaves(value, key, &mut |leaf, _| {
        let origin = origins.of(leaf);
        // A file is named once for a whole table, a variable by itself.
        let place = if matches!(origin, Origin::Environment(_)) { leaf } else { key };
        places.insert(place.to_owned(), origin);
    });
    for (key, origin) in places {
        problems.push(Problem { origin, key, message: message.clone() });
    }
}
