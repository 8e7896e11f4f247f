//! The command line of `health`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::args::parse_timeout;

/// Arguments of `health`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer health
  milvus-rebalancer health --ready --timeout 1s
  milvus-rebalancer health --address 10.0.0.5:9095

It asks the daemon that listens on http.listen, and prints its answer. Exit code 0: it is well;
6: it is not, or does not answer. It needs neither Milvus nor the journal, so it serves as the
health check of a container.")]
pub struct HealthArgs {
    /// Also ask whether the last look at Milvus succeeded and is fresh. A daemon whose Milvus is down is alive but
    /// not ready; do not restart it for that.
    #[arg(long)]
    pub ready: bool,

    /// Where the daemon listens, instead of http.listen of the configuration, which is not read then.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<SocketAddr>,

    /// How long to wait for the answer.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse_timeout)]
    pub timeout: Duration,
}
