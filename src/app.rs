//! Wiring: what the subcommands do, put together from the stages, each function to be read from top to bottom.

mod ask;
mod by_hand;
mod client;
mod connect;
mod controls;
mod daemon;
mod error;
mod health;
mod once;
mod replay;
mod situation;

pub use ask::{events, history, live_plan, nodes, status, what_if, why, why_not};
pub use by_hand::{ByHand, Turn};
pub use controls::{approve, controls, drain, pause, resume, undrain};
pub use daemon::Daemon;
pub use error::AppError;
pub use health::health;
pub use once::load_balance;
pub use replay::{export, replay};
pub use situation::{plan, snapshot};

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, RunArgs};
use crate::clock::Clock;
use crate::config::{self, Config, Sources};

/// Runs the daemon until it is told to stop, or until one of its tasks ends by itself, which ends all.
pub async fn run(config: Config, sources: Sources, args: RunArgs) -> Result<Exit, AppError> {
    let RunArgs { mode: _, connection: _ } = args; // both are in the configuration already
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let reload = reload_on_signal(stop.clone())?;
    let daemon = Daemon::assemble(config, Arc::new(Clock::system()), stop).await?;
    let daemon = daemon.reloading(reload, Arc::new(move || config::load(&sources)));
    // A turn keeps much between its steps.
    Box::pin(daemon.run()).await?;
    Ok(Exit::Done)
}

/// SIGHUP asks for the configuration to be read again. Several in a row are one.
fn reload_on_signal(stop: CancellationToken) -> Result<Arc<Notify>, AppError> {
    let mut hang_up = signal(SignalKind::hangup()).map_err(AppError::Signals)?;
    let asked = Arc::new(Notify::new());
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                signal = hang_up.recv() => match signal {
                    Some(()) => told.notify_one(),
                    None => break,
                },
            }
        }
    });
    Ok(asked)
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
