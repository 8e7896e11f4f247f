//! The command line: which of the proofs, how long, and with which seed.

use crate::harness_options;

/// Kills that every change is tested with.
const KILLS: u64 = 25;

/// Clusters behind a bad network that every change is tested with.
const NETWORKS: u64 = 3;

/// Clusters with a clock that jumps that every change is tested with.
const CLOCKS: u64 = 6;

/// Leaders that fall that every change is tested with.
const LEADERS: u64 = 2;

/// What `--help` says.
pub const HELP: &str = "\
Kills the daemon, cuts it off from Milvus and turns its clock, and looks in the simulated Milvus' own record and in the
journal for what must never happen.

  cargo test --test chaos -- [OPTIONS] [FILTER]

  --kills N       kill the daemon's process so often (25)
  --networks N    so many clusters behind a bad network (3)
  --clocks N      so many clusters with a clock that jumps (6)
  --leaders N     kill or stop the leader of three daemons so often (2): by etcd, where
                  MILVUS_REBALANCER_SYSTEM_TESTS=1, and by a Lease of Kubernetes
  --seed S        begin with this seed (0)
  --help          this text

With one or more of these only what they name is done. `kills`, `network`, `clock` and `leaders` can also be used as
FILTER. Options of Rust's own test harness are accepted and ignored.";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Prove it, so often.
    Prove(Proofs),
    /// Say what can be asked for.
    Help,
    /// Say which tests there are.
    List,
}

/// How often each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proofs {
    /// The first seed.
    pub seed: u64,
    /// Kills of the daemon's process.
    pub kills: u64,
    /// Clusters behind a bad network.
    pub networks: u64,
    /// Clusters with a clock that jumps.
    pub clocks: u64,
    /// Falls of the leader of several daemons.
    pub leaders: u64,
}

/// Reads the arguments; a sentence when they make no sense.
pub fn read(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.peekable();
    let mut seed = 0;
    let (mut kills, mut networks, mut clocks, mut leaders) = (None, None, None, None);
    let mut filter: Option<String> = None;
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
            "--ignored" | "--bench" => is_wanted = false,
            "--kills" => kills = Some(number(&name, &value()?)?),
            "--networks" => networks = Some(number(&name, &value()?)?),
            "--clocks" => clocks = Some(number(&name, &value()?)?),
            "--leaders" => leaders = Some(number(&name, &value()?)?),
            "--seed" => seed = number(&name, &value()?)?,
            known if harness_options::takes_value(known) => drop(value()?),
            known if harness_options::stands_alone(known) => {}
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option}; --help lists those there are"));
            }
            word => filter = Some(word.to_owned()),
        }
    }
    let is_chosen = [kills, networks, clocks, leaders].iter().any(Option::is_some);
    let passes = |name: &str| is_wanted && filter.as_deref().is_none_or(|word| name.contains(word));
    let times = |asked: Option<u64>, usual: u64, name: &str| match asked {
        _ if !passes(name) => 0,
        Some(times) => times,
        None if is_chosen => 0,
        None => usual,
    };
    Ok(Request::Prove(Proofs {
        seed,
        kills: times(kills, KILLS, "kills"),
        networks: times(networks, NETWORKS, "network"),
        clocks: times(clocks, CLOCKS, "clock"),
        leaders: times(leaders, LEADERS, "leaders"),
    }))
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{name} wants a whole number, not {text:?}"))
}
