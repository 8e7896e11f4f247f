//! Arguments of `plan` and `snapshot`: where the situation comes from, and what is asked about it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::OutputFormat;
use super::client_args::DaemonArgs;
use crate::situation::what_if::Change;

/// Arguments of `plan`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer plan
  milvus-rebalancer plan --format json | jq '.steps[].moves[]'
  milvus-rebalancer plan --snapshot yesterday.json.zst
  milvus-rebalancer plan --what-if add-node=64GiB,remove-node=7
  milvus-rebalancer plan --curve --svg curve.svg
  milvus-rebalancer plan --compare milvus

One look knows no history: nodes count as overloaded at once, not only after several turns.

What if (several changes are separated by commas or given one by one; they apply in order):
  add-node=MEMORY[:CORES]  one more query node, empty and warmed up
  remove-node=ID           the node is gone, and the others have loaded what it held
  drain=ID                 the node is to be emptied
  threshold=PRESSURE       relieve every node above this pressure, down to it (1.05: 5 % above its
                           fair share)")]
pub struct PlanArgs {
    /// A table for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,

    /// Which of the configured connections to use ([connections.ALIAS]).
    #[arg(long, value_name = "ALIAS")]
    pub connection: Option<String>,

    /// Plan on this file, which `snapshot --out` has written, and ask no Milvus.
    ///
    /// The settings in the file hold, so that the plan is the one of that moment on every machine. The time is
    /// that of the file, too.
    #[arg(long, value_name = "FILE", conflicts_with = "connection")]
    pub snapshot: Option<PathBuf>,

    /// Use the settings of this configuration, not those in the file.
    #[arg(long, requires = "snapshot")]
    pub own_settings: bool,

    /// Also plan with these changes and print both side by side.
    #[arg(long, value_name = "CHANGE,CHANGE", value_delimiter = ',')]
    pub what_if: Vec<Change>,

    /// Print how even the cluster gets for how many bytes, from this plan and from plans for other bands.
    ///
    /// It marks the knee: where more bytes begin to bring much less. With --what-if, the curve of the changed
    /// cluster.
    #[arg(long)]
    pub curve: bool,

    /// Also draw the curve into this file: an SVG without script that needs nothing else.
    #[arg(long, value_name = "FILE", requires = "curve")]
    pub svg: Option<PathBuf>,

    /// Print beside the plan what somebody else would do with the same cluster.
    #[arg(long, value_name = "WHOM", conflicts_with_all = ["curve", "what_if"])]
    pub compare: Option<Opponent>,

    /// Show the plan of the running daemon instead of making one.
    #[arg(long, conflicts_with_all = ["connection", "snapshot", "what_if", "curve", "compare"])]
    pub live: bool,

    /// Which daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// With whom a plan is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Opponent {
    /// Milvus' own balancer, modelled from its version.
    Milvus,
}

/// Arguments of `snapshot`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer snapshot --out now.json.zst
  milvus-rebalancer snapshot --out - | jq '.input.snapshot.nodes[].address'
  milvus-rebalancer snapshot --schema

The file holds names of databases and collections and addresses of nodes, but no data, no
passwords and nothing of the connection.")]
#[group(required = true, multiple = false, id = "what")]
pub struct SnapshotArgs {
    /// Look at the cluster once and write everything that a plan follows from; - is stdout.
    ///
    /// A name that ends with .zst makes it a compressed file, about a tenth as large.
    #[arg(long, value_name = "FILE", group = "what")]
    pub out: Option<PathBuf>,

    /// Print the JSON Schema of these files. Asks no Milvus.
    #[arg(long, group = "what")]
    pub schema: bool,

    /// Which of the configured connections to use ([connections.ALIAS]).
    #[arg(long, value_name = "ALIAS", conflicts_with = "schema")]
    pub connection: Option<String>,
}
