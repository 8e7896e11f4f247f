//! Configuration from outside: layers, bad input of every kind, secrets, and the file that lists all options.

mod bad_files;
mod layers;
mod policies;
mod rules;
mod secrets;
mod the_file_of_all_options;
mod wrong_keys;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milvus_rebalancer::config::{
    Config, ConfigError, FileChoice, Loaded, LogFormat, Mode, Origin, Overrides, Problem, Sources, load,
};
use milvus_rebalancer::units::{Bytes, Ratio};
use tempfile::TempDir;

/// Loads a file with this content and these environment variables.
fn loaded(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    loaded_bytes(text.as_bytes(), environment).1
}

fn loaded_bytes(content: &[u8], environment: &[(&str, &str)]) -> (TempDir, Result<Loaded, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, content).unwrap();
    let outcome = load(&sources(FileChoice::Given(path), environment));
    (folder, outcome)
}

fn sources(file: FileChoice, environment: &[(&str, &str)]) -> Sources {
    let environment =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Sources { file, environment, overrides: Overrides::default() }
}

/// All problems of a file and an environment.
fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<Problem> {
    match loaded(text, environment) {
        Err(ConfigError::Invalid { problems }) => problems,
        other => panic!("{text:?} should have problems, but gives {other:?}"),
    }
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

fn json(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).unwrap()
}

fn secret(secret: Option<&secrecy::SecretString>) -> &str {
    use secrecy::ExposeSecret;
    secret.unwrap().expose_secret()
}

#[test]
fn what_is_shown_can_be_used_as_a_file_and_says_where_it_was_set() {
    let text = "[poll]\ninterval = '45s'\n[node_metrics.targets]\n'n:1' = 'http://n:2/metrics'\n[journal]\nkeep = '9 days'\n";
    let first = loaded(text, &[("MILVUS_REBALANCER__POLL__DUTY", "0.25")]).unwrap();
    let shown = first.show();
    let again = loaded(&shown, &[]).unwrap();
    assert_eq!(json(&again.config), json(&first.config), "{shown}");
    assert!(shown.contains("poll.duty = 0.25  # MILVUS_REBALANCER__POLL__DUTY"), "{shown}");
    assert!(shown.contains("poll.backoff_limit = \"5m\"  # default"), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("poll.interval")).unwrap();
    assert!(line.starts_with("poll.interval = \"45s\"  # /") && line.ends_with("config.toml"), "{line}");
}

#[test]
fn every_error_of_bytes_that_are_no_configuration_is_an_error_and_no_panic() {
    // Cuts of the real file at every length: half strings, half tables, half numbers.
    let text = include_str!("../../config/default.toml");
    let cuts = (0..text.len()).step_by(37).filter(|at| text.is_char_boundary(*at));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let mut refused = 0;
    for at in cuts {
        std::fs::write(&path, &text[..at]).unwrap();
        refused += usize::from(load(&sources(FileChoice::Given(path.clone()), &[])).is_err());
    }
    assert!(refused > 0, "some cuts fall into a value");
}
