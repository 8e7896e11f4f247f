//! Wiring: what the subcommands do, put together from the stages, each function to be read from top to bottom.

mod connect;
mod error;
mod once;

pub use error::AppError;
pub use once::{load_balance, plan};

use std::sync::Arc;

use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, RunArgs};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::control_loop::ControlLoop;
use crate::execute::Mover;
use crate::execute::executor::Executor;
use crate::http::{Health, Listener};
use crate::journal::{DaemonLock, DaemonStart, Journal};
use crate::metrics::Metrics;
use crate::milvus::MilvusMover;
use crate::turn::Thinking;

/// Runs the daemon until it is told to stop, or until one of its tasks ends by itself, which ends all.
pub async fn run(config: Config, args: RunArgs) -> Result<Exit, AppError> {
    let RunArgs { mode: _, connection: _ } = args; // both are in the configuration already
    let Config {
        mode,
        connection,
        connections,
        poll,
        node_metrics,
        policies,
        plan,
        gate,
        execute,
        journal,
        http,
        log: _,
    } = config;
    let clock = Arc::new(Clock::system());
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;

    let _lock = DaemonLock::acquire(&journal.path)?;
    let journal = Journal::open(&journal, clock.read().wall)?;
    if let Some(damaged) = journal.fresh_after_corruption() {
        let kept = damaged.display().to_string();
        tracing::warn!(
            kept,
            "the journal begins anew after a damaged one; cool-downs and budgets before it are unknown"
        );
    }
    let started_at = clock.read().wall;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    journal.record_start(DaemonStart { started_at, version, mode: mode.code().to_owned() }).await?;

    let metrics = Arc::new(Metrics::register(&Registry::new())?);
    metrics.set_mode(mode);
    let health = Arc::new(Health::new());
    let listener = Listener::bind(&http.listen).await?;
    tracing::info!(
        mode = mode.code(),
        listen = %listener.address(),
        journal = %journal.path().display(),
        "started"
    );

    let connected = connect::connect(&connection, &connections, &node_metrics, &clock)?;
    let mover: Option<Arc<dyn Mover>> = match mode {
        Mode::Advise => None,
        Mode::Act => Some(Arc::new(MilvusMover::new(connected.client, Some(execute.call_timeout)))),
    };
    let executor = Executor::new(execute, mover, connected.observer.clone(), journal.clone(), clock.clone());
    let control_loop = ControlLoop {
        observer: connected.observer,
        thinking: Thinking::new(&policies, plan, gate),
        executor,
        mode,
        poll,
        clock,
        journal,
        metrics: metrics.clone(),
        health: health.clone(),
        stop: stop.clone(),
    };

    let mut serving = tokio::spawn(listener.serve(metrics, health, stop.clone()));
    let mut turning = tokio::spawn(control_loop.run());
    let first = tokio::select! {
        served = &mut serving => Ended::Listener(served),
        turned = &mut turning => Ended::Loop(turned),
    };
    let asked_to_stop = stop.is_cancelled();
    stop.cancel();
    // The other one is given the time that its own limits allow.
    let (served, turned) = match first {
        Ended::Listener(served) => (served, turning.await),
        Ended::Loop(turned) => (serving.await, turned),
    };
    turned.map_err(AppError::task("the control loop"))??;
    served.map_err(AppError::task("the listener"))??;
    if !asked_to_stop {
        return Err(AppError::EndedByItself);
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Which task ended first, and how.
enum Ended {
    Listener(Result<Result<(), crate::http::HttpError>, tokio::task::JoinError>),
    Loop(Result<Result<(), crate::journal::JournalError>, tokio::task::JoinError>),
}

/// SIGTERM and SIGINT stop the daemon in good order; the second one is left to the system's patience.
fn stop_on_signals(stop: CancellationToken) -> Result<(), AppError> {
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
