//! Configuration: built-in defaults < TOML file < environment < flags; raw text, then types, then checks that
//! name every problem at once.
//!
//! ```text
//! sources ──▶ raw (a tree of texts and numbers, each with its origin) ──▶ Config ──▶ validate ──▶ files
//! ```

pub mod bytes;
mod deserializer;
mod difference;
pub mod duration;
pub(crate) mod files;
mod layer;
pub mod list;
mod origins;
mod problem;
mod raw;
mod settings;
mod show;
mod sources;
mod validate;

pub use difference::{Change, changes};
pub use problem::{ConfigError, Origin, Problem};
pub use settings::{Config, HttpSettings, LogFormat, LogSettings, Mode, PollSettings};
pub use sources::{ENVIRONMENT_PREFIX, FileChoice, Overrides, STANDARD_FILE, Sources};

/// A configuration that may be used, with what should be known about it.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, every rule kept.
    pub config: Config,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Problem>,
    /// Where each option came from, for showing.
    origins: origins::Origins,
}

impl Loaded {
    /// All options in force as TOML, each with where it came from; secrets are masked.
    pub fn show(&self) -> String {
        show::show(&self.config, &self.origins)
    }
}

/// Reads all sources, in order of precedence, and checks the outcome.
///
/// Wrong keys, wrong types and broken rules are all named in one error; only a file that cannot be read, or is
/// no TOML, is reported alone, because nothing can be said about its content.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let raw::Typed { mut config, mut problems, origins } = raw::read(sources)?;
    sources.overrides.apply(&mut config);
    let origins = origins.with_flags(&sources.overrides);

    let mut checked = validate::validate(&config);
    files::resolve(&mut config, &mut checked);
    problems.extend(checked.errors.into_iter().map(|finding| origins.place(finding)));
    if !problems.is_empty() {
        problems.sort();
        problems.dedup();
        return Err(ConfigError::Invalid { problems });
    }
    let warnings = checked.warnings.into_iter().map(|finding| origins.place(finding)).collect();
    Ok(Loaded { config, warnings, origins })
}
