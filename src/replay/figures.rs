//! The figures of a replay: what one configuration would have asked for, and what really happened.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::NetZeroShare;
use crate::turn::Decision;
use crate::units::{Bytes, Ratio};

/// What really happened while it was recorded, whichever options are asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// Calls that were sent after the first turn.
    pub calls: u64,
    /// Moves of ours that ended on their destination, the daemon's and people's.
    pub landed: NetZeroShare,
    /// Moves of others.
    pub foreign: NetZeroShare,
}

/// How often a reason held something back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Turns in which it did.
    pub turns: usize,
    /// Subjects that it held back, added up over all turns.
    pub times: usize,
}

/// Worst pressures of a dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pressures {
    /// Of all nodes as they were seen.
    pub now: Ratio,
    /// After the plan.
    pub planned: Ratio,
    /// At best.
    pub floor: Ratio,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// By dimension.
    pub pressures: BTreeMap<String, Pressures>,
    /// Nodes that were to be relieved.
    pub overloaded: usize,
    /// Whether a node was above its band where that matters; `None` when that could not be seen.
    pub is_out_of_band: Option<bool>,
    /// Moves in the plan.
    pub planned: usize,
    /// Moves that the gates let through and that had not been let through in the turn before.
    pub asked: usize,
    /// Their bytes.
    pub asked_bytes: Bytes,
}

/// What one configuration makes of a recording.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SideFigures {
    /// Turns.
    pub turns: usize,
    /// Turns with something to move.
    pub turns_with_plan: usize,
    /// Moves that were asked for: let through by the gates, and not in the turn before. A move that is dropped and comes
    /// again counts again. Undone is what came back to a node that it had left.
    pub asked: NetZeroShare,
    /// Calls that these need, by the limits of a call.
    pub calls: usize,
    /// Time during which a node was above the band of this configuration.
    #[serde(rename = "out_of_band_seconds", serialize_with = "seconds")]
    pub out_of_band: Duration,
    /// Time of which that is known.
    #[serde(rename = "observed_seconds", serialize_with = "seconds")]
    pub observed: Duration,
    /// Worst pressures by dimension, as means over all turns.
    pub mean_pressures: BTreeMap<String, Pressures>,
    /// What the gates refused, by code of the reason.
    pub refused: BTreeMap<&'static str, Refused>,
    /// Turn by turn.
    pub series: Vec<Sample>,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl SideFigures {
    /// Fills in what follows from the series.
    pub(super) fn summarise(&mut self) {
        #[derive(Default)]
        struct Sum {
            turns: u128,
            now: u128,
            planned: u128,
            floor: u128,
        }
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for sample in &self.series {
            for (dimension, pressures) in &sample.pressures {
                let sum = sums.entry(dimension).or_default();
                sum.turns += 1;
                sum.now += u128::from(pressures.now.0);
                sum.planned += u128::from(pressures.planned.0);
                sum.floor += u128::from(pressures.floor.0);
            }
        }
        let mean = |sum: u128, turns: u128| Ratio(u64::try_from(sum / turns.max(1)).unwrap_or(u64::MAX));
        self.mean_pressures = sums
            .into_iter()
            .map(|(dimension, sum)| {
                let pressures = Pressures {
                    now: mean(sum.now, sum.turns),
                    planned: mean(sum.planned, sum.turns),
                    floor: mean(sum.floor, sum.turns),
                };
                (dimension.to_owned(), pressures)
            })
            .collect();
    }
}

/// The worst pressures of a turn, by dimension, over all components.
pub(super) fn pressures(decision: &Decision) -> BTreeMap<String, Pressures> {
    let mut worst: BTreeMap<String, Pressures> = BTreeMap::new();
    for proof in &decision.plan.proof.dimensions {
        let pressures = worst.entry(proof.dimension.clone()).or_default();
        pressures.now = pressures.now.max(proof.before);
        pressures.planned = pressures.planned.max(proof.after);
        pressures.floor = pressures.floor.max(proof.floor);
    }
    worst
}
