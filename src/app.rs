//! Wiring: what the subcommands do, put together from the stages, each function to be read from top to bottom.

mod connect;
mod controls;
mod daemon;
mod error;
mod once;
mod situation;

pub use controls::{approve, controls, pause, resume};
pub use daemon::Daemon;
pub use error::AppError;
pub use once::load_balance;
pub use situation::{plan, snapshot};

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, RunArgs};
use crate::clock::Clock;
use crate::config::Config;

/// Runs the daemon until it is told to stop, or until one of its tasks ends by itself, which ends all.
pub async fn run(config: Config, args: RunArgs) -> Result<Exit, AppError> {
    let RunArgs { mode: _, connection: _ } = args; // both are in the configuration already
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let daemon = Daemon::assemble(config, Arc::new(Clock::system()), stop).await?;
    daemon.run().await?;
    Ok(Exit::Done)
}

/// SIGTERM and SIGINT stop the daemon in good order; the second one is left to the system's patience.
pub(crate) fn stop_on_signals(stop: CancellationToken) -> Result<(), AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
