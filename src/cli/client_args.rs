//! The command line of what is asked of a running daemon.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::Timestamp;

use super::args::OutputFormat;
use crate::admin::Place;
use crate::situation::what_if::Change;
use crate::units::{NodeId, SegmentId};

/// Which daemon is asked.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which daemon")]
pub struct DaemonArgs {
    /// Where its admin API is; that of the configuration (admin.listen) unless it is given.
    ///
    /// An address with a port, or unix: and the path of a socket.
    #[arg(long, value_name = "PLACE", value_parser = parse_place)]
    pub admin: Option<Place>,

    /// A file with the token for it; those of the configuration unless it is given.
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
}

/// How an answer is printed, and who gives it.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// A table for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,

    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Arguments of `history`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer history
  milvus-rebalancer history waves
  milvus-rebalancer history operations --last 500 --format json | jq '.items[] | select(.state != \"landed\")'")]
pub struct HistoryArgs {
    /// What of it.
    #[arg(value_enum, default_value = "turns")]
    pub of: Past,

    /// So many entries, the newest first; 1000 at most.
    #[arg(long, value_name = "NUMBER", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub last: u16,

    /// How, and of whom.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Parts of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Past {
    /// Turns of the control loop.
    Turns,
    /// Moves that were sent, the daemon's and people's.
    Operations,
    /// Waves, with the relief that was predicted and that was seen.
    Waves,
    /// Who asked the admin API for which change.
    Audit,
}

/// Arguments of `why`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer why segment 449023041245184001
  milvus-rebalancer why node 7
  milvus-rebalancer why node 7 --snapshot yesterday.json.zst
  milvus-rebalancer why node 7 --recording week.jsonl.zst --at 2026-11-24T18:00:00Z

The answers are the planner's own: the rules and prices by which the last plan was made.")]
pub struct WhyArgs {
    /// About what.
    #[command(subcommand)]
    pub about: Why,
}

/// What `why` is asked about.
#[derive(Clone, Debug, Subcommand)]
pub enum Why {
    /// Why a segment is where it is, and where it could go.
    Segment {
        /// Which.
        #[arg(value_name = "ID")]
        segment: SegmentId,
        /// How, and of whom.
        #[command(flatten)]
        ask: AskArgs,
        /// In which file, if in one.
        #[command(flatten)]
        file: FileArgs,
    },
    /// Why a node is as loaded as it is, and why it gives and takes, or not.
    Node {
        /// Which.
        #[arg(value_name = "ID")]
        node: NodeId,
        /// How, and of whom.
        #[command(flatten)]
        ask: AskArgs,
        /// In which file, if in one.
        #[command(flatten)]
        file: FileArgs,
    },
}

/// Arguments of `why-not`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer why-not --segment 449023041245184001 --to 9

The answer is the first thing that speaks against the move, or what it would gain against its price.")]
pub struct WhyNotArgs {
    /// The segment.
    #[arg(long, value_name = "ID")]
    pub segment: SegmentId,

    /// The node to which it does not go.
    #[arg(long, value_name = "ID")]
    pub to: NodeId,

    /// How, and of whom.
    #[command(flatten)]
    pub ask: AskArgs,

    /// In which file, if in one.
    #[command(flatten)]
    pub file: FileArgs,
}

/// The cluster in a file, instead of the one that a daemon sees.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "About a file instead")]
pub struct FileArgs {
    /// Ask about this file, which `snapshot --out` has written, and no daemon.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["admin", "token_file", "recording"])]
    pub snapshot: Option<PathBuf>,

    /// Ask about the last turn in this file, which `record export` has written, and no daemon.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["admin", "token_file"])]
    pub recording: Option<PathBuf>,

    /// Not about the last turn but about the last one that began by then.
    #[arg(long, value_name = "TIME", requires = "recording")]
    pub at: Option<Timestamp>,
}

/// Arguments of `what-if`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer what-if add-node=64GiB
  milvus-rebalancer what-if remove-node=7,threshold=1.05 --format json

The daemon plans twice on what it saw last: as it is, and with the changes. Nothing is moved, and nothing changes. The
changes are those of `plan --what-if`: add-node=MEMORY[:CORES], remove-node=ID, drain=ID, threshold=PRESSURE.")]
pub struct WhatIfArgs {
    /// What is different; several are separated by commas or spaces and apply in order.
    #[arg(value_name = "CHANGE", value_delimiter = ',', required = true)]
    pub changes: Vec<Change>,

    /// How, and of whom.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Arguments of `drain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer drain 7 --reason 'new disk'

Everything on the node that can move leaves it, within all limits, and nothing enters it. The order survives a
restart of the daemon; a node that is restarted itself has another id and is not drained.")]
pub struct DrainArgs {
    /// The node.
    #[arg(value_name = "ID")]
    pub node: NodeId,

    /// Why: it is shown wherever the order is.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,

    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Arguments of `undrain`.
#[derive(Clone, Debug, Args)]
pub struct UndrainArgs {
    /// The node.
    #[arg(value_name = "ID")]
    pub node: NodeId,

    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Arguments of `events`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer events --follow
  milvus-rebalancer events --follow --format json | jq 'select(.event == \"operation\")'")]
pub struct EventsArgs {
    /// Go on until interrupted; without it, only the state as it is.
    #[arg(long)]
    pub follow: bool,

    /// How, and of whom.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Arguments of `completions`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer completions bash > /etc/bash_completion.d/milvus-rebalancer
  milvus-rebalancer completions fish > ~/.config/fish/completions/milvus-rebalancer.fish")]
pub struct CompletionsArgs {
    /// For which shell.
    pub shell: Shell,
}

fn parse_place(text: &str) -> Result<Place, String> {
    let wrong = || "write an address with a port, such as 127.0.0.1:9096, or unix: and a path".to_owned();
    Place::parse(text).ok_or_else(wrong)
}
