//! The command line as types. Help texts teach: each command says what it does, what it needs and gives examples.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::client_args::{
    AskArgs, CompletionsArgs, DrainArgs, EventsArgs, HistoryArgs, UndrainArgs, WhatIfArgs, WhyArgs,
    WhyNotArgs,
};
use super::control_args::{ApproveArgs, ControlsArgs, PauseArgs, ResumeArgs};
use super::demo_args::DemoArgs;
use super::health_args::HealthArgs;
use super::replay_args::{RecordArgs, ReplayArgs};
use super::situation_args::{PlanArgs, SnapshotArgs};
use crate::config::{LogFormat, Mode, Overrides};
use crate::units::{NodeId, SegmentId};
use crate::version;

/// Keeps the query nodes of a Milvus cluster evenly loaded.
#[derive(Clone, Debug, Parser)]
#[command(name = "milvus-rebalancer", version, long_version = version::long(), after_help = EXIT_CODES, after_long_help = LONG_HELP)]
#[command(propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Read the configuration from this file.
    ///
    /// Without it, /etc/milvus-rebalancer/config.toml is read if it exists. Environment variables such as
    /// MILVUS_REBALANCER__POLL__INTERVAL=1m stand over the file, flags stand over both.
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Write log lines as text for people or as JSON for log collectors.
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Log from this level on: off, error, warn, info, debug, trace, or a filter.
    ///
    /// A filter names parts of the program: info,milvus_rebalancer::plan=debug. RUST_LOG stands over this.
    #[arg(long, global = true, help_heading = "Everywhere", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The options that flags set.
    pub fn overrides(&self) -> Overrides {
        let (mode, connection) = match &self.command {
            Command::Run(args) => (args.mode, args.connection.clone()),
            Command::Plan(args) => (None, args.connection.clone()),
            Command::Snapshot(args) => (None, args.connection.clone()),
            Command::LoadBalance(args) => (None, args.connection.clone()),
            Command::Status(_)
            | Command::Nodes(_)
            | Command::History(_)
            | Command::Why(_)
            | Command::WhyNot(_)
            | Command::WhatIf(_)
            | Command::Drain(_)
            | Command::Undrain(_)
            | Command::Events(_)
            | Command::Completions(_) => (None, None),
            Command::CheckConfig(_)
            | Command::Demo(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Approve(_)
            | Command::Controls(_)
            | Command::Health(_)
            | Command::Record(_)
            | Command::Replay(_) => (None, None),
        };
        Overrides { mode, connection, log_format: self.log_format, log_level: self.log_level.clone() }
    }
}

/// Shown under every short help.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the configuration or the input is wrong
  2  the command line is wrong
  3  Milvus cannot be reached
  4  not everything was moved
  5  the daemon broke off by itself; starting it again may help
  6  the daemon is not well, or does not answer (health)";

/// Shown under the long help.
const LONG_HELP: &str = "\
Examples:
  See it at work on a simulated cluster, with nothing installed or configured:
    milvus-rebalancer demo
  See what it would do, without doing anything:
    milvus-rebalancer plan
  Watch a cluster and explain, without doing anything:
    milvus-rebalancer run
  Keep a cluster level whose own balancer is off (autoBalance=false):
    milvus-rebalancer run --mode act
  Use one option without a file:
    MILVUS_REBALANCER__CONNECTIONS__DEFAULT__ENDPOINT=http://milvus:19530 milvus-rebalancer plan

Exit codes:
  0  done
  1  the configuration or the input is wrong
  2  the command line is wrong
  3  Milvus cannot be reached
  4  not everything was moved
  5  the daemon broke off by itself; starting it again may help
  6  the daemon is not well, or does not answer (health)";

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: look at the cluster again and again, and keep it level.
    Run(RunArgs),
    /// Look at the cluster once and print what would be moved and why. Moves nothing.
    Plan(PlanArgs),
    /// Write everything that a plan follows from to a file, which `plan --snapshot` plans on, anywhere and any time.
    Snapshot(SnapshotArgs),
    /// Check the configuration: names all problems at once. Asks Milvus nothing.
    CheckConfig(CheckConfigArgs),
    /// Watch the daemon even out a simulated cluster. Needs no Milvus and no configuration.
    Demo(DemoArgs),
    /// Ask the daemon whether the cluster is balanced, and what it does about it.
    Status(AskArgs),
    /// Ask the daemon for all nodes and how loaded they are.
    Nodes(AskArgs),
    /// Ask the daemon what was done: turns, moves, waves, requests.
    History(HistoryArgs),
    /// Ask the daemon why a segment or a node is as it is.
    Why(WhyArgs),
    /// Ask the daemon why a segment does not go to a node.
    WhyNot(WhyNotArgs),
    /// Ask the daemon what would be different with another node, without one, or by another threshold.
    WhatIf(WhatIfArgs),
    /// Follow what the daemon does, as it happens.
    Events(EventsArgs),
    /// Have a node emptied of everything that can move, until undrain.
    Drain(DrainArgs),
    /// Take the order to empty a node back.
    Undrain(UndrainArgs),
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// Move segments of one collection by hand, and wait until they are seen to have moved.
    LoadBalance(LoadBalanceArgs),
    /// Stop the daemon from moving anything, for a while or until resume. It goes on watching and planning.
    Pause(PauseArgs),
    /// End a pause.
    Resume(ResumeArgs),
    /// Agree to a plan, where gate.approval = "required".
    Approve(ApproveArgs),
    /// Show what holds the daemon: pause, kill switch, maintenance windows, approvals.
    Controls(ControlsArgs),
    /// Do something with what the daemon has recorded.
    Record(RecordArgs),
    /// Think recorded turns through again, with the options of then and with others, side by side. Asks nobody.
    Replay(ReplayArgs),
    /// Ask a running daemon whether it is well. For health checks of containers.
    Health(HealthArgs),
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer run
  milvus-rebalancer run --mode act --connection production --log-format json

It stops on SIGTERM and SIGINT, after running calls were answered (execute.stop_timeout). On SIGHUP
it reads its configuration again and takes it over as a whole, or says why not.")]
pub struct RunArgs {
    /// advise: plan and explain, never move. within: move what Milvus' own balancer leaves alone. act: move, within the
    /// limits.
    #[arg(long)]
    pub mode: Option<Mode>,

    /// Which of the configured connections to use ([connections.ALIAS]).
    #[arg(long, value_name = "ALIAS")]
    pub connection: Option<String>,
}

/// Arguments of `check-config`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer check-config --config /etc/milvus-rebalancer/config.toml
  milvus-rebalancer check-config --show

Problems are printed to stderr, each with the option, where it was set and what would be right.")]
pub struct CheckConfigArgs {
    /// Also print every option in force and where it was set. Secrets are masked.
    #[arg(long)]
    pub show: bool,
}

/// Arguments of `load-balance`: Milvus' own parameters.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  Empty node 7 of everything of a collection, to the other nodes of the replica:
    milvus-rebalancer load-balance --collection books --src-node 7
  Move two segments to node 9 and wait a minute at most:
    milvus-rebalancer load-balance --db library --collection books --src-node 7 --dst-nodes 9 \\
      --segments 449023041245184001,449023041245184002 --timeout 60s

Without --segments, all sealed segments of the collection on the source node move; without
--dst-nodes, they are spread over the other nodes of the replica. Nodes that are stopping or
streaming are never used, nor are level-0 segments moved. Each segment is printed with the node
on which it was seen afterwards.")]
pub struct LoadBalanceArgs {
    /// The collection.
    #[arg(long, value_name = "NAME")]
    pub collection: String,

    /// Its database; without it, the connection's.
    #[arg(long, value_name = "NAME")]
    pub db: Option<String>,

    /// The node that gives.
    #[arg(long, value_name = "ID")]
    pub src_node: NodeId,

    /// The nodes that take, separated by commas.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pub dst_nodes: Vec<NodeId>,

    /// The segments to move, separated by commas.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pub segments: Vec<SegmentId>,

    /// Give up after this time, for example 60s or 5m; without it, wait for the server's answer and then as long as
    /// segments settle. Milvus 2.3 cancels a move, possibly half-way, when its caller gives up; others carry on.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub timeout: Option<Duration>,

    /// A table for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,

    /// Which of the configured connections to use ([connections.ALIAS]).
    #[arg(long, value_name = "ALIAS")]
    pub connection: Option<String>,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// A time to wait, which is not nothing.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match crate::config::duration::parse(text) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("write a number above zero with its unit, such as 60s or 5m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_are_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn load_balance_takes_milvus_own_parameters() {
        let cli = parse(
            "milvus-rebalancer load-balance --collection books --db library --src-node 7 --dst-nodes 8,9 \
             --segments 449023041245184001,2 --timeout 60s --config x.toml",
        )
        .unwrap();
        let Command::LoadBalance(args) = cli.command else { panic!("wrong command") };
        assert_eq!(args.src_node, NodeId(7));
        assert_eq!(args.dst_nodes, [NodeId(8), NodeId(9)]);
        assert_eq!(args.segments, [SegmentId(449_023_041_245_184_001), SegmentId(2)]);
        assert_eq!(args.timeout, Some(Duration::from_secs(60)));
        assert_eq!(cli.config, Some(PathBuf::from("x.toml")));
    }

    #[test]
    fn wrong_command_lines_are_usage_errors_that_name_the_argument() {
        for (line, named) in [
            ("load-balance --src-node 7", "--collection"),
            ("load-balance --collection c", "--src-node"),
            ("load-balance --collection c --src-node seven", "--src-node"),
            ("load-balance --collection c --src-node 7 --dst-nodes 8,,9", "--dst-nodes"),
            ("load-balance --collection c --src-node 7 --segments 99999999999999999999", "--segments"),
            ("load-balance --collection c --src-node 7 --timeout 60", "--timeout"),
            ("load-balance --collection c --src-node 7 --timeout 0s", "--timeout"),
            ("run --mode acct", "--mode"),
            ("plan --format yaml", "--format"),
            ("pause --for 0s", "--for"),
            ("pause --for 2h --until 2026-12-24T18:00:00Z", "--until"),
            ("pause --until tomorrow", "--until"),
            ("approve", "DIGEST"),
            ("approve 1234", "DIGEST"),
            ("balance", "balance"),
        ] {
            let error = parse(&format!("milvus-rebalancer {line}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn flags_reach_the_configuration() {
        let cli =
            parse("x run --mode act --connection production --log-format json --log-level debug").unwrap();
        let overrides = cli.overrides();
        assert_eq!(overrides.mode, Some(Mode::Act));
        assert_eq!(overrides.connection.as_deref(), Some("production"));
        assert_eq!(overrides.log_format, Some(LogFormat::Json));
        assert_eq!(overrides.log_level.as_deref(), Some("debug"));
    }
}
