//! Waves: the first is small, a good one doubles the next, a bad one halves it, and several that bring no relief
//! stop all moving. A full wave must end and be judged before the next one begins; one that does not fill up is
//! judged when all that was sent in it has ended. Pure: the time is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::WaveSettings;
use super::operation::{OperationId, OperationState};
use super::steady::Steady;
use crate::plan::Move;
use crate::plan::relief::{self, LoadPicture, WaveRelief};
use crate::reason::Reason;
use crate::units::{Bytes, Moment};

/// How a wave went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaveVerdict {
    /// The relief was as predicted, and nothing failed: the next one may carry twice as much.
    Good,
    /// Less relief than predicted, or something failed: the next one is half as large.
    Poor,
    /// Segments moved and nothing was relieved: half as large, and several in a row stop us.
    NoRelief,
    /// Something failed, and no move landed whose relief can be told: half as large. It says nothing about relief, and who refused is left alone elsewhere.
    Failed,
    /// What was to move, or its nodes, went away meanwhile: nothing follows.
    ProvesNothing,
}

impl WaveVerdict {
    /// Every verdict, for metrics that should exist before they count.
    pub const ALL: [WaveVerdict; 5] = [
        WaveVerdict::Good,
        WaveVerdict::Poor,
        WaveVerdict::NoRelief,
        WaveVerdict::Failed,
        WaveVerdict::ProvesNothing,
    ];

    /// The stable name: column value, metric label.
    pub fn code(self) -> &'static str {
        match self {
            WaveVerdict::Good => "good",
            WaveVerdict::Poor => "poor",
            WaveVerdict::NoRelief => "no_relief",
            WaveVerdict::Failed => "failed",
            WaveVerdict::ProvesNothing => "proves_nothing",
        }
    }

    /// The verdict of this name.
    pub fn of_code(code: &str) -> Option<WaveVerdict> {
        WaveVerdict::ALL.into_iter().find(|verdict| verdict.code() == code)
    }
}

/// A wave that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedWave {
    /// When its first move was sent.
    pub began_at: Timestamp,
    /// When it was judged.
    pub judged_at: Timestamp,
    /// How many moves a full wave had.
    pub size: u32,
    /// Moves that were sent in it.
    pub sent: u32,
    /// Those that landed.
    pub landed: u32,
    /// Those that were refused, expired or went elsewhere.
    pub failed: u32,
    /// Bytes that landed.
    pub bytes: Bytes,
    /// What it was to bring, and what it brought.
    pub relief: WaveRelief,
    /// What follows.
    pub verdict: WaveVerdict,
}

/// What of a wave matters for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastWave {
    /// How many moves a full wave had.
    pub size: u32,
    /// Moves that were sent in it.
    pub sent: u32,
    /// How it went.
    pub verdict: WaveVerdict,
    /// When that was said.
    pub judged_at: Timestamp,
}

/// All waves of the daemon: the one that is under way, and what the ones before it have taught.
#[derive(Debug)]
pub struct Waves {
    settings: WaveSettings,
    size: u32,
    /// The loads that the moves on offer were planned on.
    planned_on: Option<Arc<LoadPicture>>,
    current: Option<Wave>,
    /// Waves without relief since the last one with any.
    without_relief: u32,
    /// Stops since the last wave with any relief.
    stops: u32,
    stopped_at: Option<Steady>,
}

/// A wave that has begun and is not judged.
#[derive(Debug)]
struct Wave {
    planned_on: Option<Arc<LoadPicture>>,
    began_at: Timestamp,
    /// When the last of its ends so far was seen.
    changed_at: Steady,
    moves: BTreeMap<OperationId, (Move, End)>,
}

/// What became of a move of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Landed,
    Failed,
    /// Its segment or its node went away, or nobody can see what became of it: nobody's fault and no proof of
    /// anything.
    Superseded,
}

impl Waves {
    /// Before the first wave.
    pub fn new(settings: WaveSettings) -> Waves {
        let size = settings.first.clamp(1, largest(&settings));
        Waves {
            settings,
            size,
            planned_on: None,
            current: None,
            without_relief: 0,
            stops: 0,
            stopped_at: None,
        }
    }

    /// Other settings, under which nothing is proven yet: the next wave is the first one. The one under way is judged no
    /// more, because what it brings says nothing about what follows.
    pub fn begin_anew(&mut self, settings: WaveSettings) {
        *self = Waves { planned_on: self.planned_on.take(), ..Waves::new(settings) };
    }

    /// Goes on where earlier waves, oldest first, have led.
    pub fn resume(&mut self, earlier: impl Iterator<Item = PastWave>, now: Moment) {
        for PastWave { size, sent, verdict, judged_at } in earlier {
            self.size = size.clamp(1, largest(&self.settings));
            self.learn(verdict, sent, Steady::of_wall(judged_at, now));
        }
    }

    /// Moves in a full wave now; `None` when waves are off.
    pub fn size(&self) -> Option<u32> {
        self.settings.enabled.then_some(self.size)
    }

    /// How many moves the wave still takes; `None` when waves are off.
    pub fn room(&self) -> Option<u32> {
        let sent = self.current.as_ref().map_or(0, Wave::sent);
        self.settings.enabled.then(|| self.size.saturating_sub(sent))
    }

    /// Why nothing more may be sent now.
    pub fn refusal(&self, now: Moment) -> Option<Reason> {
        if !self.settings.enabled {
            return None;
        }
        if let Some(remaining) = self.rest_remaining(now) {
            return Some(Reason::NoRelief { waves: self.without_relief, remaining });
        }
        let wave = self.current.as_ref().filter(|_| self.room() == Some(0))?;
        Some(match wave.is_over() {
            true => Reason::WaveUnjudged { moves: wave.sent() },
            false => Reason::WaveFull { size: self.size },
        })
    }

    /// The loads that the moves now on offer were planned on.
    pub fn plan_on(&mut self, picture: Arc<LoadPicture>) {
        self.planned_on = Some(picture);
    }

    /// A move goes out.
    pub fn record_sent(&mut self, operation: OperationId, movement: &Move, now: Moment) {
        if !self.settings.enabled {
            return;
        }
        let planned_on = &self.planned_on;
        let wave = self.current.get_or_insert_with(|| Wave {
            planned_on: planned_on.clone(),
            began_at: now.wall,
            changed_at: Steady::of(now),
            moves: BTreeMap::new(),
        });
        if let (Some(begun_on), Some(planned_on)) = (&mut wave.planned_on, planned_on)
            && !Arc::ptr_eq(begun_on, planned_on)
        {
            Arc::make_mut(begun_on).take_copy_from(planned_on, movement);
        }
        wave.moves.entry(operation).or_insert((movement.clone(), End::Open));
    }

    /// A move ended so, or ended otherwise than was thought. Moves of other waves and of other origins change
    /// nothing.
    pub fn record_end(&mut self, operation: OperationId, end: &OperationState, now: Moment) {
        let Some(wave) = &mut self.current else { return };
        let Some((_, known)) = wave.moves.get_mut(&operation) else { return };
        *known = match end {
            OperationState::Landed => End::Landed,
            OperationState::Refused { .. }
            | OperationState::Expired
            | OperationState::Contradicted { .. } => End::Failed,
            OperationState::Superseded { .. } => End::Superseded,
            _ => return,
        };
        wave.changed_at = Steady::of(now);
    }

    /// Waits no longer for a move of which nobody can see what became of it. Whether the wave did wait for it.
    pub fn give_up(&mut self, operation: OperationId, now: Moment) -> bool {
        let Some(wave) = &mut self.current else { return false };
        let Some((_, end)) = wave.moves.get_mut(&operation).filter(|(_, end)| *end == End::Open) else {
            return false;
        };
        *end = End::Superseded;
        wave.changed_at = Steady::of(now);
        true
    }

    /// The moves of the wave that is under way, whose loads must be in the picture that it is judged on.
    pub fn moves(&self) -> Vec<Move> {
        let moves = self.current.iter().flat_map(|wave| wave.moves.values());
        moves.map(|(movement, _)| movement.clone()).collect()
    }

    /// Judges the wave of which all that was sent has ended, once, on loads that were read after the nodes' figures
    /// had `settle` time to follow its last move.
    pub fn judge(&mut self, seen: &LoadPicture, settle: Duration, now: Moment) -> Option<JudgedWave> {
        let seen_at = Steady::of_wall(seen.taken_at, now);
        let wave = self.current.take_if(|wave| wave.is_over() && wave.is_settled_at(seen_at, settle))?;
        let (landed, failed) = (wave.count(End::Landed), wave.count(End::Failed));
        let relief = wave.relief(seen);
        // Without loads to compare with, landings say nothing.
        let proven = if wave.planned_on.is_some() { landed } else { 0 };
        let verdict = self.verdict(&relief, proven, failed);
        let judged = JudgedWave {
            began_at: wave.began_at,
            judged_at: now.wall,
            size: self.size,
            sent: wave.sent(),
            landed,
            failed,
            bytes: wave.bytes_landed(),
            relief,
            verdict,
        };
        self.learn(verdict, wave.sent(), Steady::of(now));
        Some(judged)
    }

    fn verdict(&self, relief: &WaveRelief, landed: u32, failed: u32) -> WaveVerdict {
        if landed == 0 {
            return if failed > 0 { WaveVerdict::Failed } else { WaveVerdict::ProvesNothing };
        }
        if relief.predicted.0 <= 0 {
            return if failed > 0 { WaveVerdict::Poor } else { WaveVerdict::ProvesNothing };
        }
        let share = |share| relief.realised.is_at_least(share, relief.predicted);
        let is_none = relief.realised.0 <= 0 || !share(self.settings.no_relief);
        if is_none {
            WaveVerdict::NoRelief
        } else if failed == 0 && share(self.settings.as_predicted) {
            WaveVerdict::Good
        } else {
            WaveVerdict::Poor
        }
    }

    fn learn(&mut self, verdict: WaveVerdict, sent: u32, now: Steady) {
        self.size = match verdict {
            // Twice what has been proven, which may be less than there was room for.
            WaveVerdict::Good => sent.saturating_mul(2).clamp(self.size, largest(&self.settings)),
            WaveVerdict::Poor | WaveVerdict::NoRelief | WaveVerdict::Failed => (self.size / 2).max(1),
            WaveVerdict::ProvesNothing => self.size,
        };
        match verdict {
            WaveVerdict::Good | WaveVerdict::Poor => {
                (self.without_relief, self.stops, self.stopped_at) = (0, 0, None);
            }
            WaveVerdict::NoRelief => {
                self.without_relief = self.without_relief.saturating_add(1);
                if self.settings.without_relief != 0 && self.without_relief >= self.settings.without_relief {
                    self.stops = self.stops.saturating_add(1);
                    self.stopped_at = Some(now);
                    // After the rest, one move shows whether anything has changed.
                    self.size = 1;
                }
            }
            WaveVerdict::Failed | WaveVerdict::ProvesNothing => {}
        }
    }

    /// Waves in a row without relief, when that is what stops us now.
    pub fn stopped_after(&self, now: Moment) -> Option<u32> {
        self.rest_remaining(now).map(|_| self.without_relief)
    }

    /// How long the stop still lasts.
    fn rest_remaining(&self, now: Moment) -> Option<Duration> {
        let stopped_at = self.stopped_at.filter(|_| self.settings.enabled)?;
        let doublings = self.stops.saturating_sub(1).min(u32::BITS - 1);
        let rest = self.settings.rest.saturating_mul(1 << doublings).min(self.settings.rest_limit);
        rest.checked_sub(stopped_at.age(Steady::of(now))).filter(|remaining| !remaining.is_zero())
    }
}

impl Wave {
    fn sent(&self) -> u32 {
        u32::try_from(self.moves.len()).unwrap_or(u32::MAX)
    }

    fn count(&self, end: End) -> u32 {
        let count = self.moves.values().filter(|(_, its)| *its == end).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn bytes_landed(&self) -> Bytes {
        let landed = self.moves.values().filter(|(_, end)| *end == End::Landed);
        landed.map(|(movement, _)| movement.bytes).sum()
    }

    /// Moves that failed were to bring relief, too; those whose segment went away were not tried.
    fn relief(&self, seen: &LoadPicture) -> WaveRelief {
        let Some(planned_on) = &self.planned_on else { return relief::relief(seen, seen, &[]) };
        let tried = self.moves.values().filter(|(_, end)| *end != End::Superseded);
        let tried: Vec<Move> = tried.map(|(movement, _)| movement.clone()).collect();
        relief::relief(planned_on, seen, &tried)
    }

    fn is_over(&self) -> bool {
        self.moves.values().all(|(_, end)| *end != End::Open)
    }

    fn is_settled_at(&self, seen_at: Steady, settle: Duration) -> bool {
        seen_at >= self.changed_at && self.changed_at.age(seen_at) >= settle
    }
}

/// The largest wave there may be; 0 is no limit.
fn largest(settings: &WaveSettings) -> u32 {
    if settings.largest == 0 { u32::MAX } else { settings.largest }
}

#[cfg(test)]
#[path = "waves_tests.rs"]
mod tests;
