//! The command line: how many seeds, or which one and how much of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness_options;
use crate::scenario::Reduction;

/// Seeds that every change is tested with.
const SEEDS: u64 = 300;

/// What `--help` says.
pub const HELP: &str = "\
Plays the real control loop against simulated clusters. All that happens follows from a seed.

  cargo test --test simulation -- [OPTIONS] [FILTER]

  --seeds N         so many seeds (300)
  --first F         beginning with this one (0)
  --minutes M       go on with further seeds until so many minutes have passed
  --seed S          this seed alone, with what happened in its world
  --faults 0,2      with --seed: only these of its faults; `none` for none
  --no-crashes      with --seed: the daemon does not crash
  --no-drift        with --seed: nothing is ingested or compacted
  --trace N         lines of what happened to print (25)
  --help            this text

Options of Rust's own test harness are accepted and ignored; with a FILTER that is no part of `simulation` nothing
is played.";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Play these seeds.
    Seeds(Seeds),
    /// Play one seed and tell about it.
    One {
        /// The seed.
        seed: u64,
        /// How much of it.
        reduction: Reduction,
        /// Lines of trace.
        trace: usize,
    },
    /// Say what can be asked for.
    Help,
    /// Say which tests there are.
    List,
    /// Other tests were asked for.
    Nothing,
}

/// A run over many seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many at least.
    pub count: u64,
    /// How long at least.
    pub lasts: Duration,
    /// Lines of trace of a failure.
    pub trace: usize,
}

/// Reads the arguments; a sentence when they make no sense.
pub fn read(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.peekable();
    let mut seeds = Seeds { first: 0, count: SEEDS, lasts: Duration::ZERO, trace: 25 };
    let mut one = None;
    let mut reduction = Reduction::default();
    let mut is_wanted = true;
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with('-') => (name.to_owned(), Some(value.to_owned())),
            _ => (argument.clone(), None),
        };
        let mut value = || inline.clone().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--list" => return Ok(Request::List),
            // Nothing here is marked as ignored.
            "--ignored" | "--bench" => return Ok(Request::Nothing),
            "--seeds" => seeds.count = number(&name, &value()?)?,
            "--first" => seeds.first = number(&name, &value()?)?,
            "--minutes" => seeds.lasts = Duration::from_secs(number(&name, &value()?)?.saturating_mul(60)),
            "--trace" => seeds.trace = usize::try_from(number(&name, &value()?)?).unwrap_or(usize::MAX),
            "--seed" => one = Some(number(&name, &value()?)?),
            "--faults" => reduction.faults = Some(positions(&value()?)?),
            "--no-crashes" => reduction.without_crashes = true,
            "--no-drift" => reduction.without_drift = true,
            known if harness_options::takes_value(known) => drop(value()?),
            known if harness_options::stands_alone(known) => {}
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option}; --help lists those there are"));
            }
            filter => is_wanted &= "simulation".contains(filter),
        }
    }
    match one {
        _ if !is_wanted => Ok(Request::Nothing),
        Some(seed) => Ok(Request::One { seed, reduction, trace: seeds.trace }),
        None if reduction != Reduction::default() => {
            Err("--faults, --no-crashes and --no-drift are about one seed: add --seed".to_owned())
        }
        None => Ok(Request::Seeds(seeds)),
    }
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{name} wants a whole number, not {text:?}"))
}

fn positions(text: &str) -> Result<BTreeSet<usize>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    let position = |part: &str| {
        part.trim()
            .parse()
            .map_err(|_| format!("--faults wants numbers with commas in between, not {text:?}"))
    };
    text.split(',').map(position).collect()
}
