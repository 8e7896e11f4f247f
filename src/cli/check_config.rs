//! `check-config`: says whether a configuration may be used, and what is in force.

use std::io::{self, Write};

use super::args::CheckConfigArgs;
use super::exit::Exit;
use crate::config::{self, ConfigError, Sources};
use crate::telemetry::Chain;

/// Checks the configuration of these sources.
pub(super) fn check_config(sources: &Sources, args: &CheckConfigArgs) -> Exit {
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    // What is shown can be used as a file, so the verdict under it is a comment.
    let text = if args.show {
        format!("{}\n# configuration is valid\n", loaded.show())
    } else {
        "configuration is valid\n".to_owned()
    };
    // A reader that closes the pipe early (`head`) has what it wanted.
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot print: {error}");
            Exit::WrongInput
        }
        _ => Exit::Done,
    }
}

/// Says what is wrong with the configuration; several problems are several lines.
pub(super) fn refuse(error: &ConfigError) -> Exit {
    match error {
        ConfigError::Invalid { .. } => eprintln!("error: {error}"),
        other => eprintln!("error: {}", Chain(other)),
    }
    Exit::WrongInput
}
