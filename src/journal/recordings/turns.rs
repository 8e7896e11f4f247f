//! What is recorded of a turn beside its observation: everything else that the pure half took, and what it made of it.
//! Most of that is as it was in the turn before, and only what is new is written.

use std::fmt::{self, Write as _};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::difference::Mismatch;
use crate::config::Mode;
use crate::execute::ExecuteSettings;
use crate::model::{
    Checkpoint, Controls, Departure, EndedMove, InFlight, KnownMove, Setback, SnapshotDigest,
};
use crate::plan::{Move, PlanDigest};
use crate::turn::{Decision, OwnMoves, ThinkingSettings};
use crate::units::{Bytes, Moment};

/// What the pure half took in a turn, and what it made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedTurn {
    /// Its number since the start of the process, from 1. Where one is missing, a turn was not recorded.
    pub number: u64,
    /// The time that the turn went by.
    pub now: Moment,
    /// What the executor contributed.
    pub own: OwnMoves,
    /// What people had ordered.
    pub controls: Controls,
    /// By which options.
    pub settings: RecordedSettings,
    /// What was remembered when the turn began, where the turn before it is not in the same file.
    pub memory: Option<Box<Checkpoint>>,
    /// What came of it.
    pub outcome: Outcome,
}

/// The options of a turn. Nothing of connections, and no secret, is among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedSettings {
    /// The version of the milvus-rebalancer that took the turn.
    pub program: String,
    /// Whether it might move anything.
    pub mode: Mode,
    /// Of the pure half.
    pub thinking: ThinkingSettings,
    /// Of the executor: how much a call carries.
    pub execute: ExecuteSettings,
}

/// What a turn came to, as far as a replay compares it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The name of the snapshot; none in a recording whose names were scrubbed, because they are a part of it.
    pub snapshot: Option<SnapshotDigest>,
    /// A name for plan, proof and verdict with all their figures; none where names were scrubbed.
    pub exact: Option<ExactDigest>,
    /// The name of the plan by its moves alone.
    pub plan: PlanDigest,
    /// Moves in it.
    pub moves: usize,
    /// Their bytes.
    pub bytes: Bytes,
    /// Steps that the gates let through.
    pub admitted: usize,
    /// What the gates refused.
    pub refusals: usize,
}

impl Outcome {
    /// Of a decision.
    pub fn of(decision: &Decision) -> Outcome {
        Outcome {
            snapshot: Some(decision.snapshot_digest),
            exact: Some(ExactDigest::of(decision)),
            plan: decision.plan.digest(),
            moves: decision.plan.moves().count(),
            bytes: decision.plan.proof.bytes_moved,
            admitted: decision.verdict.admitted.len(),
            refusals: decision.verdict.refusals.len(),
        }
    }

    /// Whether that came out again. What a recording leaves out is not compared.
    pub fn is_met_by(&self, replayed: &Outcome) -> bool {
        let kept = Outcome {
            snapshot: self.snapshot.and(replayed.snapshot),
            exact: self.exact.and(replayed.exact),
            ..*replayed
        };
        *self == kept
    }
}

/// A name for all that was planned and judged in a turn: the same plan to the last figure has the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactDigest(u64);

impl ExactDigest {
    fn of(decision: &Decision) -> ExactDigest {
        // FNV-1a, fed as the text is made, because the text of a large plan is large.
        struct Hasher(u64);
        impl fmt::Write for Hasher {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 = text
                    .bytes()
                    .fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
                Ok(())
            }
        }
        let mut hasher = Hasher(0xcbf2_9ce4_8422_2325);
        let written = write!(hasher, "{:?}{:?}", decision.plan, decision.verdict);
        debug_assert!(written.is_ok(), "the hasher takes all text");
        ExactDigest(hasher.0)
    }
}

impl Serialize for ExactDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for ExactDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ExactDigest, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(ExactDigest).map_err(D::Error::custom)
    }
}

/// The new value of something that changed.
type Changed<T> = Option<(T,)>;

/// What is new in a turn after the one before it; after none, everything is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TurnDifference {
    number: u64,
    now: Moment,
    #[serde(default)]
    own: OwnDifference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    controls: Changed<Controls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Changed<RecordedSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<Box<Checkpoint>>,
    outcome: Outcome,
}

/// What is new of the executor's contribution.
#[derive(Debug, Default, Serialize, Deserialize)]
struct OwnDifference {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_flight: Option<ListDifference<InFlight>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    departures: Option<ListDifference<Departure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    setbacks: Option<ListDifference<Setback>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<ListDifference<KnownMove>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    landed: Option<ListDifference<EndedMove>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wave: Option<ListDifference<Move>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    calls_sent: Changed<u64>,
}

/// Lists of what we did grow at the end and shrink at the beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ListDifference<T> {
    /// So many entries at the beginning are gone …
    skip: usize,
    /// … the next so many are still there, in their order …
    keep: usize,
    /// … and these follow them, in place of whatever did.
    add: Vec<T>,
}

impl<T: Clone + PartialEq> ListDifference<T> {
    fn between(before: &[T], now: &[T]) -> Option<ListDifference<T>> {
        if before == now {
            return None;
        }
        let skip = match now.first() {
            Some(first) => before.iter().position(|entry| entry == first).unwrap_or(before.len()),
            None => before.len(),
        };
        let keep = before[skip..].iter().zip(now).take_while(|(before, now)| before == now).count();
        Some(ListDifference { skip, keep, add: now[keep..].to_vec() })
    }

    fn apply(self, what: &'static str, before: Vec<T>) -> Result<Vec<T>, Mismatch> {
        let ListDifference { skip, keep, add } = self;
        let end = skip.checked_add(keep).filter(|end| *end <= before.len());
        let end = end.ok_or(Mismatch { what, position: skip.saturating_add(keep) })?;
        let mut now: Vec<T> = before.into_iter().take(end).skip(skip).collect();
        now.extend(add);
        Ok(now)
    }
}

fn list<T: Clone + PartialEq>(
    what: &'static str,
    difference: Option<ListDifference<T>>,
    before: &mut Vec<T>,
) -> Result<(), Mismatch> {
    if let Some(difference) = difference {
        *before = difference.apply(what, std::mem::take(before))?;
    }
    Ok(())
}

impl OwnDifference {
    fn between(before: &OwnMoves, now: &OwnMoves) -> OwnDifference {
        let OwnMoves { in_flight, departures, setbacks, known, landed, wave, calls_sent } = now;
        OwnDifference {
            in_flight: ListDifference::between(&before.in_flight, in_flight),
            departures: ListDifference::between(&before.departures, departures),
            setbacks: ListDifference::between(&before.setbacks, setbacks),
            known: ListDifference::between(&before.known, known),
            landed: ListDifference::between(&before.landed, landed),
            wave: ListDifference::between(&before.wave, wave),
            calls_sent: (before.calls_sent != *calls_sent).then_some((*calls_sent,)),
        }
    }

    fn apply(self, onto: &mut OwnMoves) -> Result<(), Mismatch> {
        let OwnDifference { in_flight, departures, setbacks, known, landed, wave, calls_sent } = self;
        list("move in flight", in_flight, &mut onto.in_flight)?;
        list("departure", departures, &mut onto.departures)?;
        list("setback", setbacks, &mut onto.setbacks)?;
        list("known move", known, &mut onto.known)?;
        list("landed move", landed, &mut onto.landed)?;
        list("move of the wave", wave, &mut onto.wave)?;
        if let Some((calls,)) = calls_sent {
            onto.calls_sent = calls;
        }
        Ok(())
    }
}

impl TurnDifference {
    pub(super) fn between(before: Option<&RecordedTurn>, now: &RecordedTurn) -> TurnDifference {
        let RecordedTurn { number, now: at, own, controls, settings, memory, outcome } = now;
        let nothing = OwnMoves::default();
        let own_before = before.map_or(&nothing, |before| &before.own);
        let is_new = |is_same: fn(&RecordedTurn, &RecordedTurn) -> bool| {
            before.is_none_or(|before| !is_same(before, now))
        };
        TurnDifference {
            number: *number,
            now: *at,
            own: OwnDifference::between(own_before, own),
            controls: is_new(|before, now| before.controls == now.controls).then(|| (controls.clone(),)),
            settings: is_new(|before, now| before.settings == now.settings).then(|| (settings.clone(),)),
            memory: memory.clone(),
            outcome: *outcome,
        }
    }

    /// The turn, given the one before it.
    pub(super) fn after(self, before: Option<RecordedTurn>) -> Result<RecordedTurn, Mismatch> {
        let TurnDifference { number, now, own, controls, settings, memory, outcome } = self;
        let (mut own_moves, known) = match before {
            Some(before) => (before.own, Some((before.controls, before.settings))),
            None => (OwnMoves::default(), None),
        };
        own.apply(&mut own_moves)?;
        let (controls_before, settings_before) = known.unzip();
        let missing = |what| Mismatch { what, position: 0 };
        Ok(RecordedTurn {
            number,
            now,
            own: own_moves,
            controls: controls.map(|(new,)| new).or(controls_before).ok_or_else(|| missing("controls"))?,
            settings: settings.map(|(new,)| new).or(settings_before).ok_or_else(|| missing("settings"))?,
            memory,
            outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_grow_and_shrink_are_written_by_what_is_new() {
        let of = |before: &[u8], now: &[u8]| ListDifference::between(before, now);
        assert_eq!(of(&[1, 2], &[1, 2]), None);
        assert_eq!(of(&[1, 2, 3], &[2, 3, 4]), Some(ListDifference { skip: 1, keep: 2, add: vec![4] }));
        for (before, now) in [
            (vec![], vec![1, 2]),
            (vec![1, 2], vec![]),
            (vec![1, 2, 3], vec![3]),
            (vec![1, 2, 3], vec![3, 2, 1]),
            (vec![1, 1, 2], vec![1, 2]),
            (vec![5], vec![6, 5]),
        ] {
            let now: Vec<u8> = now;
            let back = match of(&before, &now) {
                Some(difference) => difference.apply("entry", before.clone()).unwrap(),
                None => before.clone(),
            };
            assert_eq!(back, now, "after {before:?}");
        }
    }

    #[test]
    fn a_list_that_is_referred_to_and_not_there_is_a_mismatch() {
        for (skip, keep) in [(0, 4), (4, 0), (usize::MAX, 1), (1, usize::MAX)] {
            let difference = ListDifference { skip, keep, add: vec![9] };
            assert!(difference.apply("entry", vec![1, 2, 3]).is_err(), "{skip} {keep}");
        }
    }
}
