//! Where a configuration comes from: a file, the environment, flags. Everything is a value here, so that tests
//! need neither a real environment nor a real command line.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::problem::ConfigError;
use super::settings::{Config, LogFormat, Mode};

/// The file that is read when no other is given and it exists.
pub const STANDARD_FILE: &str = "/etc/milvus-rebalancer/config.toml";

/// What environment variables that set options begin with; `__` also separates the parts of a key.
pub const ENVIRONMENT_PREFIX: &str = "MILVUS_REBALANCER__";

/// A file with every option and a page of comments on each has a tenth of it; more is a mistaken path.
pub(super) const LARGEST_FILE: usize = 1 << 20;

/// All sources of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Which file.
    pub file: FileChoice,
    /// The environment: all of it, only the variables with our prefix matter.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags of the command line.
    pub overrides: Overrides,
}

impl Sources {
    /// Those of this process: a file, if one was named, and the real environment.
    pub fn of_process(file: Option<PathBuf>, overrides: Overrides) -> Sources {
        let file = file.map_or(FileChoice::Standard, FileChoice::Given);
        Sources { file, environment: std::env::vars_os().collect(), overrides }
    }
}

/// Which file is read.
#[derive(Clone, Debug, Default)]
pub enum FileChoice {
    /// None.
    #[default]
    Nothing,
    /// [`STANDARD_FILE`], if it exists.
    Standard,
    /// This one, which must exist.
    Given(PathBuf),
}

/// Options that have a flag.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--mode`.
    pub mode: Option<Mode>,
    /// `--connection`.
    pub connection: Option<String>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--log-level`.
    pub log_level: Option<String>,
}

impl Overrides {
    /// Puts the flags over what the other sources said.
    pub(super) fn apply(&self, config: &mut Config) {
        let Overrides { mode, connection, log_format, log_level } = self;
        if let Some(mode) = mode {
            config.mode = *mode;
        }
        if let Some(connection) = connection {
            config.connection.clone_from(connection);
        }
        if let Some(format) = log_format {
            config.log.format = *format;
        }
        if let Some(level) = log_level {
            config.log.level.clone_from(level);
        }
    }

    /// The keys that a flag sets, with the flag.
    pub(super) fn keys(&self) -> Vec<(&'static str, &'static str)> {
        let Overrides { mode, connection, log_format, log_level } = self;
        let mut keys = Vec::new();
        if mode.is_some() {
            keys.push(("mode", "--mode"));
        }
        if connection.is_some() {
            keys.push(("connection", "--connection"));
        }
        if log_format.is_some() {
            keys.push(("log.format", "--log-format"));
        }
        if log_level.is_some() {
            keys.push(("log.level", "--log-level"));
        }
        keys
    }
}

/// Path and text of the chosen file, if there is one.
pub(super) fn read_file(choice: &FileChoice) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = match choice {
        FileChoice::Nothing => return Ok(None),
        FileChoice::Standard => Path::new(STANDARD_FILE),
        FileChoice::Given(path) => path,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(choice, FileChoice::Standard) && error.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    let mut content = Vec::new();
    // One byte more than allowed tells "as large as allowed" from "larger", and an endless file ends.
    file.take(LARGEST_FILE as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    if content.len() > LARGEST_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: LARGEST_FILE });
    }
    match String::from_utf8(content) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) => {
            Err(ConfigError::NotText { path: path.to_owned(), offset: error.utf8_error().valid_up_to() })
        }
    }
}
