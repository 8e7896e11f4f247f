//! The subcommands `record export` and `replay`: what was recorded leaves the machine, and is thought through again.

use std::io::{Write, stdout};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::AppError;
use super::once::tell_journal;
use crate::cli::{Exit, ExportArgs, OutputFormat, ReplayArgs, plan_view, replay_html, replay_view};
use crate::config::{Config, Mode};
use crate::journal::{
    ExportReader, ExportWriter, RecordedSettings, RecordingError, RecordingReader, recordings,
    recordings_folder,
};
use crate::replay::scrub::Scrubber;
use crate::replay::{Replay, ReplayReport};
use crate::telemetry::Chain;
use crate::turn::ThinkingSettings;

/// Writes what the daemon has recorded to one file.
pub fn export(config: &Config, args: &ExportArgs) -> Result<Exit, AppError> {
    let ExportArgs { out, since, scrub } = args;
    let journal = tell_journal(config);
    let folder = recordings_folder(&journal.path);
    let mut scrubber = scrub.then(Scrubber::default);
    let mut writer = ExportWriter::create(out, *scrub)?;
    let (mut turns, mut damaged) = (0_usize, 0_usize);
    for path in wanted(&folder, *since)? {
        for recorded in RecordingReader::open(&path)? {
            match recorded {
                Ok(mut recorded) => {
                    if let Some(scrubber) = &mut scrubber {
                        scrubber.scrub(&mut recorded);
                    }
                    writer.push(recorded)?;
                    turns += 1;
                }
                // The end of the newest one may be just being written.
                Err(error @ RecordingError::TailLost { .. }) => {
                    tracing::warn!(error = %Chain(&error), "the rest of this file is left out");
                    damaged += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    if turns == 0 {
        return Err(AppError::NothingRecorded { folder });
    }
    writer.finish()?;
    writeln!(stdout(), "{turns} turns written to {}", out.display())?;
    if damaged > 0 {
        writeln!(stdout(), "{damaged} files could not be read to their end")?;
    }
    Ok(Exit::Done)
}

/// The files that do not end before that time: each ends where the next one begins.
fn wanted(folder: &Path, since: Option<Timestamp>) -> Result<Vec<std::path::PathBuf>, RecordingError> {
    let mut files = recordings(folder)?;
    if let Some(since) = since {
        let begins: Vec<Option<Timestamp>> =
            files.iter().map(|path| crate::journal::recording_begun_at(path)).collect();
        // A second's grace for the fraction in their names.
        let since = since.checked_sub(SignedDuration::from_secs(1)).unwrap_or(since);
        let kept = begins.iter().skip(1).take_while(|next| next.is_some_and(|next| next <= since)).count();
        files.drain(..kept.min(files.len()));
    }
    Ok(files)
}

/// Thinks a recording through again; with a configuration, by that one, too.
pub fn replay(beside: Option<&Config>, args: &ReplayArgs) -> Result<Exit, AppError> {
    let ReplayArgs { file, format, html } = args;
    let mut replay = Replay::new(beside.map(settings));
    for recorded in ExportReader::open(file)? {
        replay.turn(&recorded?)?;
    }
    let report: ReplayReport = replay.finish()?;
    if let Some(path) = html {
        std::fs::write(path, replay_html::page(&report))
            .map_err(|source| AppError::Picture { path: path.clone(), source })?;
    }
    let text = match format {
        OutputFormat::Table => replay_view::tables(&report),
        OutputFormat::Json => plan_view::json(&report),
    };
    stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// Of a configuration, what a turn goes by.
fn settings(config: &Config) -> RecordedSettings {
    RecordedSettings {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        mode: config.mode,
        thinking: ThinkingSettings {
            policies: config.policies.clone(),
            plan: config.plan.clone(),
            gate: config.gate.clone(),
            guard: config.guard.clone(),
            signals: config.signals.clone(),
            capacity: config.capacity.clone(),
            balancer: config.milvus.balancer.clone(),
            is_within: config.mode == Mode::Within,
        },
        execute: config.execute.clone(),
    }
}
