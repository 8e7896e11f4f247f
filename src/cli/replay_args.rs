//! Arguments of `record` and `replay`: what leaves the machine, and what is thought through again.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::args::OutputFormat;

/// Arguments of `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// What to do with the recordings.
    #[command(subcommand)]
    pub what: Record,
}

/// What is done with recordings.
#[derive(Clone, Debug, Subcommand)]
pub enum Record {
    /// Write what the daemon has recorded to one file, for `replay` on any machine. Moves nothing, asks nobody.
    Export(ExportArgs),
}

/// Arguments of `record export`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer record export --out week.jsonl.zst
  milvus-rebalancer record export --out night.jsonl.zst --since 2026-11-24T18:00:00Z --scrub

The file holds JSON lines: all that each turn's plan followed from. There is no data of collections in it, no
password and nothing of the connection. With --scrub, names of databases, collections and hosts stand for others,
the same one for the same name everywhere, and free text is left out.")]
pub struct ExportArgs {
    /// Where to. A name that ends with .zst makes it a compressed file.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Leave out the daemon's files that end before this time; they cover an hour each.
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,

    /// Let other names stand for those of databases, collections and hosts.
    #[arg(long)]
    pub scrub: bool,
}

/// Arguments of `replay`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer replay week.jsonl.zst
  milvus-rebalancer replay week.jsonl.zst --config new.toml
  milvus-rebalancer replay week.jsonl.zst --config new.toml --html replay.html
  milvus-rebalancer replay week.jsonl.zst --format json | jq '.old.asked'

Each recorded turn is planned again by the options it was taken by, and the plans must be the same; with --config, also
by the options of that file. Both see what was recorded: a plan that was never carried out changes nothing.")]
pub struct ReplayArgs {
    /// What `record export` has written, or one of the daemon's own files.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// A table for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,

    /// Also write a page with plots: one HTML file without script that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
