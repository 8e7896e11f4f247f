//! The arguments of `demo`: what the simulated cluster is to be, and for how long to watch.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::{OutputFormat, parse_timeout};
use crate::sim::Line;

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  milvus-rebalancer demo
  milvus-rebalancer demo --profile 2.4 --faults some --seed 7
  milvus-rebalancer demo --keep --for 5m
  milvus-rebalancer demo --format json | jq '.before, .after'

A simulated Milvus is served on the loopback interface, and the daemon works on it in mode act
as it would on a real one, only with a shorter pulse and wider limits. Neither a configuration
file nor the environment is read, and nothing is left behind. It ends when the cluster is
balanced (exit code 0), or says why it is not (exit code 4).")]
pub struct DemoArgs {
    /// Query nodes; every third machine is twice the size of the others.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=500), value_name = "N")]
    pub nodes: u32,

    /// Collections; the first is searched far more often than the others.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=5_000), value_name = "N")]
    pub collections: u32,

    /// Sealed segments, all collections together.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub segments: u32,

    /// Everything that chance decides: the same seed gives the same cluster.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,

    /// The version of Milvus that is simulated: 2.3 as measured, later ones as their sources say.
    #[arg(long, default_value = "2.6", value_parser = parse_profile, value_name = "VERSION")]
    pub profile: Line,

    /// What goes wrong meanwhile: lost answers, refusals, slow, crashing and restarting nodes.
    ///
    /// Without it nothing does; with --keep some things do, once the cluster is balanced.
    #[arg(long, value_name = "HOW MANY")]
    pub faults: Option<Faults>,

    /// Whether Milvus' own balancer works too, as it does by default (queryCoord.autoBalance).
    #[arg(long, default_value = "off", value_name = "ON|OFF")]
    pub milvus_balancer: MilvusBalancer,

    /// How many times faster than real time everything goes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10), value_name = "N")]
    pub speed: u32,

    /// End when the cluster is not balanced after this time, for example 90s or 5m.
    #[arg(long, default_value = "120s", value_parser = parse_timeout, value_name = "DURATION")]
    pub give_up: Duration,

    /// Go on after the cluster is balanced, with data that grows and nodes that fail, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,

    /// With --keep: end after this time, for example 5m.
    #[arg(long = "for", requires = "keep", value_parser = parse_timeout, value_name = "DURATION")]
    pub keep_for: Option<Duration>,

    /// A story for people as it happens, or one JSON document at the end for programs.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: OutputFormat,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    /// Nothing.
    None,
    /// Now and then.
    Some,
    /// All the time.
    Many,
}

/// Whether Milvus' own balancer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MilvusBalancer {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// A simulated version; 2.2 is left out, because the daemon reads it and never acts on it.
fn parse_profile(text: &str) -> Result<Line, String> {
    text.parse::<Line>()
        .ok()
        .filter(|line| *line >= Line::V2_3)
        .ok_or_else(|| "write 2.3, 2.4, 2.5, 2.6 or 3.0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(line: &str) -> Result<DemoArgs, clap::Error> {
        let cli = Cli::try_parse_from(format!("milvus-rebalancer demo {line}").split_whitespace())?;
        let Command::Demo(args) = cli.command else { panic!("wrong command") };
        Ok(args)
    }

    #[test]
    fn nothing_has_to_be_said() {
        let args = parse("").unwrap();
        assert_eq!((args.nodes, args.collections, args.profile), (8, 40, Line::V2_6));
        assert_eq!((args.faults, args.milvus_balancer, args.keep), (None, MilvusBalancer::Off, false));
        assert_eq!(args.give_up, Duration::from_secs(120));
    }

    #[test]
    fn the_world_can_be_changed() {
        let args =
            parse("--nodes 3 --profile 2.4 --faults many --milvus-balancer on --keep --for 2m").unwrap();
        assert_eq!((args.nodes, args.profile, args.faults), (3, Line::V2_4, Some(Faults::Many)));
        assert_eq!(
            (args.milvus_balancer, args.keep_for),
            (MilvusBalancer::On, Some(Duration::from_secs(120)))
        );
    }

    #[test]
    fn wrong_numbers_and_words_are_usage_errors_that_name_the_argument() {
        for (line, named) in [
            ("--nodes 1", "--nodes"),
            ("--nodes 501", "--nodes"),
            ("--collections 0", "--collections"),
            ("--segments 0", "--segments"),
            ("--segments 99999999999999999999", "--segments"),
            ("--seed -1", "-1"),
            ("--profile 2.2", "--profile"),
            ("--profile 9", "--profile"),
            ("--faults few", "--faults"),
            ("--milvus-balancer yes", "--milvus-balancer"),
            ("--speed 0", "--speed"),
            ("--give-up 0s", "--give-up"),
            ("--give-up soon", "--give-up"),
            ("--for 2m", "--keep"),
            ("--keep --for 2", "--for"),
            ("--format yaml", "--format"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(named), "{line}: {error}");
        }
    }
}
