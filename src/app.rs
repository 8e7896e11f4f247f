//! Wiring: what the subcommands do, put together from the stages.

use crate::cli::{Exit, LoadBalanceArgs, PlanArgs, RunArgs};
use crate::config::Config;

/// Why a subcommand ended without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The subcommand is not wired yet.
    #[error("{command} is not wired to the stages")]
    NotWired {
        /// Which.
        command: &'static str,
    },
}

impl AppError {
    /// What the process says to its caller.
    pub fn exit(&self) -> Exit {
        Exit::WrongInput
    }
}

/// Runs the daemon until it is told to stop.
pub async fn run(_config: Config, _args: RunArgs) -> Result<Exit, AppError> {
    Err(AppError::NotWired { command: "run" })
}

/// Plans once and prints the plan.
pub async fn plan(_config: Config, _args: PlanArgs) -> Result<Exit, AppError> {
    Err(AppError::NotWired { command: "plan" })
}

/// Moves segments by hand.
pub async fn load_balance(_config: Config, _args: LoadBalanceArgs) -> Result<Exit, AppError> {
    Err(AppError::NotWired { command: "load-balance" })
}
