//! The command line: parses, loads the configuration, starts logging and the runtime, and turns outcomes into
//! exit codes. What the commands do is in [`crate::app`].

mod args;
mod check_config;
mod client_args;
mod control_args;
pub mod controls_view;
pub mod curve_svg;
pub mod curve_view;
mod demo_args;
mod exit;
mod health_args;
pub mod live_view;
pub mod milvus_view;
pub mod move_view;
pub mod net_zero_view;
pub mod plan_view;
mod replay_args;
pub mod replay_html;
pub mod replay_view;
mod situation_args;
pub mod table;
pub mod what_if_view;

pub use args::{CheckConfigArgs, Cli, Command, LoadBalanceArgs, OutputFormat, RunArgs};
pub use client_args::{
    AskArgs, CompletionsArgs, DaemonArgs, DrainArgs, EventsArgs, FileArgs, HistoryArgs, Past, UndrainArgs,
    WhatIfArgs, Why, WhyArgs, WhyNotArgs,
};
pub use control_args::{ApproveArgs, ControlsArgs, PauseArgs, ResumeArgs};
pub use demo_args::{DemoArgs, Faults, MilvusBalancer};
pub use exit::Exit;
pub use health_args::HealthArgs;
pub use replay_args::{ExportArgs, Record, RecordArgs, ReplayArgs};
pub use situation_args::{Opponent, PlanArgs, SnapshotArgs};

use std::future::Future;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::app::{self, AppError};
use crate::config::{self, FileChoice, LogSettings, Overrides, Sources};
use crate::telemetry::{self, Chain};

/// The daemon waits far more than it computes; one thread plans while the other answers health checks.
const WORKER_THREADS: usize = 2;

/// Runs the program.
pub fn main() -> ExitCode {
    // Clap prints help and usage errors itself and exits with its own code, which is 2.
    let cli = Cli::parse();
    let sources = Sources::of_process(cli.config.clone(), cli.overrides());
    dispatch(cli.command, &sources).into()
}

/// Does what was asked.
fn dispatch(command: Command, sources: &Sources) -> Exit {
    let command = match command {
        Command::CheckConfig(args) => return check_config::check_config(sources, &args),
        Command::Completions(args) => return completions(&args),
        Command::Demo(args) => return demo(args, sources),
        Command::Health(args) => return health(args, sources),
        Command::Replay(args) => return replay(&args, sources),
        command => command,
    };
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(error) => return check_config::refuse(&error),
    };
    if let Err(error) = telemetry::init(&loaded.config.log) {
        return refuse(&error);
    }
    for warning in &loaded.warnings {
        tracing::warn!(key = %warning.key, origin = %warning.origin, "{}", warning.message);
    }
    let config = loaded.config;
    match command {
        Command::Run(args) => block_on(app::run(config, sources.clone(), args)),
        Command::Plan(args) => block_on(app::plan(config, args)),
        Command::Snapshot(args) => block_on(app::snapshot(config, args)),
        Command::LoadBalance(args) => block_on(app::load_balance(config, args)),
        Command::Record(RecordArgs { what: Record::Export(args) }) => ended(app::export(&config, &args)),
        Command::Status(args) => block_on(app::status(config, args)),
        Command::Nodes(args) => block_on(app::nodes(config, args)),
        Command::History(args) => block_on(app::history(config, args)),
        Command::Why(args) => block_on(app::why(config, args)),
        Command::WhyNot(args) => block_on(app::why_not(config, args)),
        Command::WhatIf(args) => block_on(app::what_if(config, args)),
        Command::Events(args) => block_on(app::events(config, args)),
        Command::Drain(args) => block_on(app::drain(config, args)),
        Command::Undrain(args) => block_on(app::undrain(config, args)),
        Command::Pause(args) => block_on(app::pause(config, args)),
        Command::Resume(args) => block_on(app::resume(config, args)),
        Command::Approve(args) => block_on(app::approve(config, args)),
        Command::Controls(args) => block_on(app::controls(config, args)),
        // Answered above, before logging starts.
        Command::CheckConfig(_)
        | Command::Demo(_)
        | Command::Completions(_)
        | Command::Health(_)
        | Command::Replay(_) => Exit::Done,
    }
}

/// Prints completions out of the definitions of the command line.
fn completions(args: &CompletionsArgs) -> Exit {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut std::io::stdout());
    Exit::Done
}

/// Plays the demo. It reads no configuration, and logs only when it is asked to: what the daemon would log is told
/// by the story.
fn demo(args: DemoArgs, sources: &Sources) -> Exit {
    if let FileChoice::Given(path) = &sources.file {
        let message = format!("demo reads no configuration: leave --config {} out", path.display());
        Cli::command().error(ErrorKind::ArgumentConflict, message).exit();
    }
    let Overrides { log_level, log_format, .. } = &sources.overrides;
    let log = LogSettings {
        level: log_level.clone().unwrap_or_else(|| "off".to_owned()),
        format: log_format.unwrap_or_default(),
    };
    if let Err(error) = telemetry::init(&log) {
        return refuse(&error);
    }
    block_on(crate::demo::run(args))
}

/// Thinks a recording through again. Other options are compared only where a file with them is given: those of this
/// machine have nothing to do with a recording of another.
fn replay(args: &ReplayArgs, sources: &Sources) -> Exit {
    let beside = match &sources.file {
        FileChoice::Given(_) => match config::load(sources) {
            Ok(loaded) => Some(loaded.config),
            Err(error) => return check_config::refuse(&error),
        },
        FileChoice::Nothing | FileChoice::Standard => None,
    };
    let Overrides { log_level, log_format, .. } = &sources.overrides;
    let log = LogSettings {
        level: log_level.clone().unwrap_or_else(|| LogSettings::default().level),
        format: log_format.unwrap_or_default(),
    };
    if let Err(error) = telemetry::init(&log) {
        return refuse(&error);
    }
    ended(app::replay(beside.as_ref(), args))
}

/// Asks a running daemon how it is. Nothing is logged: the answer is the output.
fn health(args: HealthArgs, sources: &Sources) -> Exit {
    let listen = match args.address {
        Some(address) => address,
        None => match config::load(sources) {
            Ok(loaded) => match loaded.config.http.address() {
                Some(address) => address,
                None => return refuse(&AppError::NoListener),
            },
            Err(error) => return check_config::refuse(&error),
        },
    };
    block_on(app::health(listen, args))
}

/// Runs a command to its end.
fn block_on(command: impl Future<Output = Result<Exit, AppError>>) -> Exit {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    ended(runtime.block_on(command))
}

/// Says how a command ended.
fn ended(outcome: Result<Exit, AppError>) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {}", Chain(&error));
            error.exit()
        }
    }
}

/// Says why nothing is done.
fn refuse(error: &(dyn std::error::Error + 'static)) -> Exit {
    eprintln!("error: {}", Chain(error));
    Exit::WrongInput
}
