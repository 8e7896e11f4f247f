//! What can be wrong with a configuration, and how it is told: which key, where it was set, what is wrong, what
//! would be right.

use std::fmt;
use std::path::PathBuf;

use crate::telemetry::shown;

/// Where an option was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// By this preset of the policies.
    Preset(String),
    /// In this file.
    File(PathBuf),
    /// By this environment variable.
    Environment(String),
    /// By this flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Preset(name) => write!(f, "preset {name}"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong, or probably not meant. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where the option was set.
    pub origin: Origin,
    /// Full path of the option.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of variables may hold anything.
        f.write_str(&shown(&format!("{} ({}): {}", self.key, self.origin, self.message)))
    }
}

/// A rule that is broken, before it is known where the option was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Full path of the option.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What the checks found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What makes the configuration unusable.
    pub errors: Vec<Finding>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Finding>,
}

impl Findings {
    /// Notes something that makes the configuration unusable.
    pub fn error(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Finding { key: key.into(), message: message.into() });
    }

    /// Notes something that is allowed and probably not meant.
    pub fn warn(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Finding { key: key.into(), message: message.into() });
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read the configuration file {path}: give a readable file with --config", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error(
        "the configuration file {path} is larger than {limit} bytes: this is not a configuration file",
        path = path.display()
    )]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// What is accepted.
        limit: usize,
    },
    /// The file is no text.
    #[error(
        "the configuration file {path} is not UTF-8 text: byte {offset} cannot be read; write it as TOML text",
        path = path.display()
    )]
    NotText {
        /// Which.
        path: PathBuf,
        /// Position of the first bad byte.
        offset: usize,
    },
    /// The file is no TOML.
    #[error("the configuration file {path} is not valid TOML: {detail}", path = path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Line, column and what was expected; never the line itself, which may hold a secret.
        detail: String,
    },
    /// Options are wrong.
    #[error("the configuration has {}:\n{}", counted(problems.len()), listed(problems))]
    Invalid {
        /// All of them, sorted.
        problems: Vec<Problem>,
    },
}

/// "1 problem", "3 problems".
fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

/// One line for each.
fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    lines.join("\n")
}
