//! A new configuration for the running daemon, between two turns: taken over as a whole or not at all. An option that
//! only a restart can bring into force keeps all others out, too, so that what is in force is always what one file said.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::ControlLoop;
use crate::config::{Change, Config, ConfigError, Loaded, changes};
use crate::journal::{Journal, JournalError, StartComparison};
use crate::kill_switch::KillSwitch;
use crate::metrics::ReloadResult;
use crate::plugin::{EndpointError, Plugins};
use crate::telemetry::Chain;
use crate::units::Bytes;

/// A file that takes longer is on a disk that hangs; the configuration in force is as good as ever.
const LOAD_LIMIT: Duration = Duration::from_secs(10);

/// Reads the sources of the configuration again.
pub type Load = dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync;

/// Where new configurations come from.
pub struct Reloader {
    source: Option<Source>,
}

struct Source {
    asked: Arc<Notify>,
    load: Arc<Load>,
    in_force: watch::Sender<Arc<Config>>,
}

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// It could not be read in time.
    #[error("the configuration could not be read within {} s: is its disk well?", LOAD_LIMIT.as_secs())]
    TooLong,
    /// Reading it broke off.
    #[error("reading the configuration broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
    /// Some of it cannot be taken over by a running daemon.
    #[error("only a restart brings this into force, so nothing was changed: {}", named(changes))]
    NeedsRestart {
        /// What.
        changes: Vec<Change>,
    },
    /// A policy plug-in cannot be asked.
    #[error(transparent)]
    Plugin(#[from] EndpointError),
    /// It cannot be written down, and the next start would not know of it.
    #[error("the new configuration could not be written to the journal, so nothing was changed")]
    Journal(#[from] JournalError),
}

fn named(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<String>>().join("; ")
}

impl Reloader {
    /// None ever comes.
    pub fn never() -> Reloader {
        Reloader { source: None }
    }

    /// Each time that it is `asked`, `load` says what should follow `in_force`, which then shows it to everybody.
    pub fn new(in_force: watch::Sender<Arc<Config>>, asked: Arc<Notify>, load: Arc<Load>) -> Reloader {
        Reloader { source: Some(Source { asked, load, in_force }) }
    }

    /// Waits until somebody asks. Safe to cancel.
    pub(super) async fn asked(&self) {
        match &self.source {
            Some(source) => source.asked.notified().await,
            None => pending().await,
        }
    }
}

impl Source {
    /// Reads the configuration on a thread of its own: disks can hang.
    async fn load(&self) -> Result<Loaded, ReloadError> {
        let load = Arc::clone(&self.load);
        let loading = tokio::task::spawn_blocking(move || load());
        match tokio::time::timeout(LOAD_LIMIT, loading).await {
            Ok(loaded) => Ok(loaded??),
            Err(_) => Err(ReloadError::TooLong),
        }
    }
}

impl ControlLoop {
    /// Takes a new configuration over, if there is one and it may be; says in the log what became of it. Whether
    /// anything is different now.
    pub(super) async fn reload(&mut self, reloader: &mut Reloader, pause: Duration) -> bool {
        let Some(source) = &mut reloader.source else { return false };
        self.health.reloading();
        let health = Arc::clone(&self.health);
        let outcome = health.alive_while(pause, self.take_over(source)).await;
        let (result, status) = match &outcome {
            Ok(changes) if changes.is_empty() => {
                tracing::info!("the configuration is what it was");
                (ReloadResult::Unchanged, "the configuration is what it was".to_owned())
            }
            Ok(changes) => {
                for change in changes {
                    tracing::info!(key = change.key, "option changed: {change}");
                }
                let status = format!("new configuration in force, {} options changed", changes.len());
                tracing::info!("{status}; the next wave of moves will be a small one");
                (ReloadResult::Applied, status)
            }
            Err(error) => {
                let why = Chain(error).to_string();
                tracing::error!(error = why, "the new configuration was refused; the old one stays in force");
                (ReloadResult::Refused, format!("new configuration refused: {why}"))
            }
        };
        self.metrics.reloaded(result);
        self.health.started(&status);
        result == ReloadResult::Applied
    }

    /// Everything that can fail comes first; then all is swapped at once.
    async fn take_over(&mut self, source: &mut Source) -> Result<Vec<Change>, ReloadError> {
        let Loaded { config, warnings, .. } = source.load().await?;
        for warning in &warnings {
            tracing::warn!(key = %warning.key, origin = %warning.origin, "{}", warning.message);
        }
        let all = changes(&source.in_force.borrow(), &config);
        if all.is_empty() {
            return Ok(all);
        }
        let restarts: Vec<Change> = all.iter().filter(|change| change.needs_restart()).cloned().collect();
        if !restarts.is_empty() {
            return Err(ReloadError::NeedsRestart { changes: restarts });
        }
        let plugins = Plugins::new(&config.policies.plugins)?;
        record(&self.journal, &config, self.clock.read().wall).await?;

        let Config { poll, signals, capacity, policies, plan, gate, guard, execute, .. } = config.clone();
        self.executor.obey(KillSwitch::at(gate.kill_switch.clone()));
        self.thinking.reconfigure(&policies, plan, gate, guard);
        self.plugins = plugins;
        self.thinking.reconfigure_signals(signals, capacity);
        self.executor.reconfigure(execute);
        // What waits was let through by other rules.
        self.executor.offer(Vec::new(), Bytes::ZERO);
        self.poll = poll;
        source.in_force.send_replace(Arc::new(config));
        Ok(all)
    }
}

/// Writes down which configuration is in force from now on, and says what is new about it.
pub async fn record(
    journal: &Journal,
    config: &Config,
    now: jiff::Timestamp,
) -> Result<StartComparison, JournalError> {
    let options = config.in_force();
    let digest = digest_of(&options);
    journal.record_configuration(options, digest, env!("CARGO_PKG_VERSION").to_owned(), now).await
}

/// A name for a text (FNV-1a, 64 bits): it tells one configuration from the one before, on every machine alike.
fn digest_of(text: &str) -> String {
    let digest = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{digest:016x}")
}
