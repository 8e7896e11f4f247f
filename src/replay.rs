//! Replay: thinks recorded turns through again, with the options that they were taken by and, beside them, with others.
//!
//! Both sides see the same observations, orders, cool-downs and moves in flight: those that were recorded. So the plans of
//! each turn can be compared, and what the recorded options planned must come out again to the last figure. What the
//! cluster would have become under other options is not modelled; nobody knows how it would have answered.

mod figures;
pub mod scrub;
mod side;

pub use figures::{Happened, Pressures, Refused, Sample, SideFigures};

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::journal::{Outcome, Recorded, RecordedSettings, RecordedTurn};
use crate::model::{EndedMove, NetZeroShare};
use crate::turn::Decision;
use side::Side;

/// Why a recording cannot be thought through again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is nothing in it.
    #[error("there is no turn in this recording")]
    NoTurns,
    /// It holds too little.
    #[error(
        "the turn of {at} was recorded by a version that kept observations only: plans do not follow from those alone"
    )]
    OnlyObserved {
        /// The turn.
        at: Timestamp,
    },
    /// A turn is missing.
    #[error(
        "the turn of {at} (number {number}) builds on one that is not in this recording: begin with the first turn of \
         one of the daemon's files"
    )]
    NothingBefore {
        /// The turn.
        at: Timestamp,
        /// Its number.
        number: u64,
    },
}

/// A turn whose plan is not the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// When the turn began.
    pub at: Timestamp,
    /// Its number since the start of its process.
    pub number: u64,
    /// What was recorded.
    pub recorded: Outcome,
    /// What came out now.
    pub replayed: Outcome,
}

/// What came of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayReport {
    /// When the first turn began.
    pub from: Timestamp,
    /// When the last one did.
    pub to: Timestamp,
    /// Versions of milvus-rebalancer that took the turns.
    pub programs: BTreeSet<String>,
    /// Turns.
    pub turns: usize,
    /// Turns whose plan and verdict came out again as they were recorded.
    pub reproduced: usize,
    /// The first that did not.
    pub first_deviation: Option<Deviation>,
    /// What really happened meanwhile.
    pub happened: Happened,
    /// With the options of then.
    pub old: SideFigures,
    /// With other options.
    pub new: Option<SideFigures>,
    /// Turns in which the moves of both plans are not the same.
    pub different_plans: Option<usize>,
}

/// A replay that is under way.
pub struct Replay {
    old: Side,
    new: Option<(Side, RecordedSettings)>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    last_number: u64,
    programs: BTreeSet<String>,
    turns: usize,
    reproduced: usize,
    first_deviation: Option<Deviation>,
    different_plans: usize,
    calls: u64,
    last_calls: Option<u64>,
    landed: BTreeSet<EndedMove>,
    foreign: Vec<EndedMove>,
}

impl Replay {
    /// Beside the recorded options, with these.
    pub fn new(beside: Option<RecordedSettings>) -> Replay {
        Replay {
            old: Side::default(),
            new: beside.map(|settings| (Side::default(), settings)),
            first: None,
            last: None,
            last_number: 0,
            programs: BTreeSet::new(),
            turns: 0,
            reproduced: 0,
            first_deviation: None,
            different_plans: 0,
            calls: 0,
            last_calls: None,
            landed: BTreeSet::new(),
            foreign: Vec::new(),
        }
    }

    /// Thinks the next turn through; what the recorded options decided.
    pub fn turn(&mut self, recorded: &Recorded) -> Result<Decision, ReplayError> {
        let Recorded { at, observation, turn } = recorded;
        let turn = turn.as_ref().ok_or(ReplayError::OnlyObserved { at: *at })?;
        let follows = self.turns > 0 && turn.number == self.last_number.saturating_add(1);
        if turn.memory.is_none() && !follows {
            return Err(ReplayError::NothingBefore { at: *at, number: turn.number });
        }
        let decision = self.old.turn(&turn.settings, turn.memory.as_deref(), observation, turn);
        if let Some((new, settings)) = &mut self.new {
            // In the middle of a process its own memory is the better one.
            let memory = turn.memory.as_deref().filter(|_| !follows || turn.number == 1);
            let other = new.turn(settings, memory, observation, turn);
            self.different_plans += usize::from(other.plan.digest() != decision.plan.digest());
        }
        self.compare(*at, turn, &decision);
        self.note_happened(*at, turn, &decision);
        self.last_number = turn.number;
        self.first.get_or_insert(*at);
        self.last = Some(*at);
        self.turns += 1;
        if !self.programs.contains(&turn.settings.program) {
            self.programs.insert(turn.settings.program.clone());
        }
        Ok(decision)
    }

    fn compare(&mut self, at: Timestamp, turn: &RecordedTurn, decision: &Decision) {
        let replayed = Outcome::of(decision);
        if turn.outcome.is_met_by(&replayed) {
            self.reproduced += 1;
            return;
        }
        let deviation = Deviation { at, number: turn.number, recorded: turn.outcome, replayed };
        self.first_deviation.get_or_insert(deviation);
    }

    fn note_happened(&mut self, at: Timestamp, turn: &RecordedTurn, decision: &Decision) {
        let first = *self.first.get_or_insert(at);
        self.landed.extend(turn.own.landed.iter().filter(|landed| landed.at >= first));
        self.foreign.extend(decision.foreign_moves.iter().map(EndedMove::from));
        // A process counts from 0; what was sent before the first turn of this recording is not known here.
        let before = self.last_calls.map(|before| if turn.number == 1 { 0 } else { before });
        let sent = turn.own.calls_sent;
        self.calls += before.map_or(0, |before| sent.saturating_sub(before));
        self.last_calls = Some(sent);
    }

    /// What came of it.
    pub fn finish(self) -> Result<ReplayReport, ReplayError> {
        let (Some(from), Some(to)) = (self.first, self.last) else { return Err(ReplayError::NoTurns) };
        let landed = NetZeroShare::of(self.landed.iter());
        let foreign = NetZeroShare::of(self.foreign.iter());
        let different_plans = self.new.as_ref().map(|_| self.different_plans);
        Ok(ReplayReport {
            from,
            to,
            programs: self.programs,
            turns: self.turns,
            reproduced: self.reproduced,
            first_deviation: self.first_deviation,
            happened: Happened { calls: self.calls, landed, foreign },
            old: self.old.finish(),
            new: self.new.map(|(side, _)| side.finish()),
            different_plans,
        })
    }
}
