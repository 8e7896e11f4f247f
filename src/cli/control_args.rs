//! The command line of what people order: pause, resume, approve, and what is in force.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::args::{OutputFormat, parse_timeout};
use crate::plan::PlanDigest;

/// Arguments of `pause`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer pause --reason 'load test until the evening'
  milvus-rebalancer pause --for 2h
  milvus-rebalancer pause --until 2026-12-24T18:00:00+01:00

It is written into the journal (journal.path), which the daemon reads with every turn, and every
few seconds while moves wait; calls that are under way go on. It survives a restart. A new pause
takes the place of an older one. Milvus is not asked anything.")]
pub struct PauseArgs {
    /// End by itself after this time, for example 30m or 2h.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_timeout)]
    pub length: Option<Duration>,

    /// End by itself at this time, with its offset from UTC: 2026-12-24T18:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "length")]
    pub until: Option<Timestamp>,

    /// Why: it is shown wherever the pause is.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Arguments of `resume`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer resume

The daemon plans anew with its next turn; what it had planned before the pause is not taken up again.")]
pub struct ResumeArgs {}

/// Arguments of `approve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer approve 3f9c0a55e1d2b874

The digest of the plan that waits is in the log, in `controls`, and in `plan`. It stands for these segments
from these nodes to those. The approval holds for an hour, also for what is left of the plan after a wave;
as soon as something else is planned, it is void.")]
pub struct ApproveArgs {
    /// The digest of the plan: 16 digits.
    #[arg(value_name = "DIGEST")]
    pub digest: PlanDigest,
}

/// Arguments of `controls`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer controls
  milvus-rebalancer controls --format json | jq .pause")]
pub struct ControlsArgs {
    /// A table for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,
}

/// A time with its offset: without one, two people in two places mean two different times.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.trim()
        .parse()
        .map_err(|_| "write a time with its offset from UTC, such as 2026-12-24T18:00:00Z".to_owned())
}
