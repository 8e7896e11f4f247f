//! The circuit breaker: when calls fail one after the other, whatever the reason, nothing is sent for a while, and then
//! one move alone, until that one lands.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::operation::{BatchId, OperationState};
use super::steady::Steady;
use crate::reason::Reason;

/// When it opens and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// So many failed calls (refused, expired or without an answer) … 0 switches it off.
    pub failures: u32,
    /// … within this time stop all calls …
    #[serde(with = "crate::config::duration")]
    pub within: Duration,
    /// … for this long, and twice as long each time that the one move that is tried then fails, too.
    #[serde(with = "crate::config::duration")]
    pub pause: Duration,
    /// The longest that doubling may make it.
    #[serde(with = "crate::config::duration")]
    pub longest_pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings {
            // At six calls a minute, one bad minute or an hour of bad luck.
            failures: 5,
            within: Duration::from_secs(10 * 60),
            // Longer than Milvus takes to recover from a lost coordinator, and than a full node is left alone.
            pause: Duration::from_secs(5 * 60),
            // Six canaries a day disturb nobody, and the morning shift does not find a day lost.
            longest_pause: Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// Counts failed calls, each once, however many segments it carried.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    failed: VecDeque<(Steady, BatchId)>,
    /// How often it has opened since the last move that landed.
    trips: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        since: Steady,
        pause: Duration,
    },
    /// The pause is over, and this one move is to show whether calls succeed again.
    Testing {
        canary: BatchId,
    },
}

impl Breaker {
    /// Closed: calls may go.
    pub fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, state: State::Closed, failed: VecDeque::new(), trips: 0 }
    }

    /// Goes on with other settings: a breaker that is open stays so, unless it is switched off.
    pub fn reconfigure(&mut self, settings: BreakerSettings) {
        if settings.failures == 0 {
            *self = Breaker::new(settings);
            return;
        }
        if let State::Open { pause, .. } = &mut self.state {
            *pause = (*pause).min(settings.longest_pause);
        }
        self.settings = settings;
    }

    /// A call goes out. The first one after a pause is the canary.
    pub fn sent(&mut self, batch: BatchId) {
        if matches!(self.state, State::Open { .. }) {
            self.state = State::Testing { canary: batch };
        }
    }

    /// Nobody knows yet what became of a call. Of the canary, only its end counts.
    pub fn unanswered(&mut self, batch: BatchId, now: Steady) {
        if self.state == State::Closed {
            self.failed(batch, now);
        }
    }

    /// A move of this call ended so.
    pub fn ended(&mut self, batch: BatchId, end: &OperationState, now: Steady) {
        match end {
            OperationState::Landed => self.landed(batch),
            OperationState::Refused { .. } | OperationState::Expired => self.failed(batch, now),
            OperationState::Superseded { .. } | OperationState::Contradicted { .. } => {
                self.proved_nothing(batch, now);
            }
            _ => {}
        }
    }

    /// A move of this call was refused, or did not come in its time.
    fn failed(&mut self, batch: BatchId, now: Steady) {
        match self.state {
            State::Closed => {
                if self.settings.failures == 0 || self.failed.iter().any(|(_, known)| *known == batch) {
                    return;
                }
                self.failed.push_back((now, batch));
                self.failed.retain(|(at, _)| at.age(now) < self.settings.within);
                if self.failed.len() >= self.settings.failures as usize {
                    self.open(now);
                }
            }
            State::Testing { canary } if canary == batch => self.open(now),
            // Calls that were out already when it opened.
            State::Open { .. } | State::Testing { .. } => {}
        }
    }

    /// What failed will go on failing until a person acts: rights, credentials.
    pub fn hopeless(&mut self, now: Steady) {
        if self.settings.failures != 0 && !matches!(self.state, State::Open { .. }) {
            self.open(now);
        }
    }

    /// A move of this call landed.
    fn landed(&mut self, batch: BatchId) {
        if self.state == (State::Testing { canary: batch }) {
            self.state = State::Closed;
            self.trips = 0;
        }
    }

    /// Nobody can see what became of this call. Whether it was the canary.
    pub fn give_up(&mut self, batch: BatchId, now: Steady) -> bool {
        let is_canary = self.state == (State::Testing { canary: batch });
        self.proved_nothing(batch, now);
        is_canary
    }

    /// A move of this call ended in a way that says nothing about calls. If it was the canary, there is another one.
    fn proved_nothing(&mut self, batch: BatchId, now: Steady) {
        if self.state == (State::Testing { canary: batch }) {
            self.state = State::Open { since: now, pause: Duration::ZERO };
        }
    }

    fn open(&mut self, now: Steady) {
        let doubled = 2_u32.saturating_pow(self.trips);
        let pause = self.settings.pause.saturating_mul(doubled).min(self.settings.longest_pause);
        self.trips = self.trips.saturating_add(1);
        self.failed.clear();
        self.state = State::Open { since: now, pause };
    }

    /// How long the pause still lasts; `None` when there is none.
    pub fn remaining(&self, now: Steady) -> Option<Duration> {
        let State::Open { since, pause } = self.state else { return None };
        pause.checked_sub(since.age(now)).filter(|remaining| !remaining.is_zero())
    }

    /// Why nothing may be sent now.
    pub fn refusal(&self, now: Steady) -> Option<Reason> {
        match self.state {
            State::Testing { .. } => Some(Reason::BreakerTesting),
            _ => self.remaining(now).map(|remaining| Reason::BreakerOpen { remaining }),
        }
    }

    /// How many moves may go at once: after a pause, one.
    pub fn room(&self) -> u32 {
        if self.state == State::Closed { u32::MAX } else { 1 }
    }

    /// Its state in one word: closed, open, testing.
    pub fn code(&self) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::Testing { .. } => "testing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Moment;

    fn at(seconds: u64) -> Steady {
        let monotonic = Duration::from_secs(seconds);
        Steady::of(Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic })
    }

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(BreakerSettings { failures, ..BreakerSettings::default() })
    }

    fn remaining(breaker: &Breaker, second: u64) -> Option<u64> {
        breaker.remaining(at(second)).map(|remaining| remaining.as_secs())
    }

    #[test]
    fn calls_that_fail_close_to_each_other_open_it() {
        let mut breaker = breaker(3);
        for (batch, second) in [(1, 0), (2, 300), (2, 301), (3, 600)] {
            breaker.failed(BatchId(batch), at(second));
            assert_eq!(
                breaker.refusal(at(second)),
                None,
                "call {batch}: each counts once, and for ten minutes"
            );
        }
        breaker.unanswered(BatchId(4), at(610));
        assert_eq!(remaining(&breaker, 610), Some(300));
        breaker.failed(BatchId(5), at(700));
        assert_eq!(remaining(&breaker, 909), Some(1), "what was out already changes nothing");
        assert_eq!((breaker.refusal(at(910)), breaker.room(), breaker.code()), (None, 1, "open"));
    }

    #[test]
    fn one_move_decides_and_every_failure_of_it_doubles_the_pause() {
        let mut breaker = breaker(1);
        let (mut now, mut pauses) = (0, Vec::new());
        for batch in 1..=9 {
            breaker.sent(BatchId(batch));
            if batch > 1 {
                assert_eq!(breaker.refusal(at(now)), Some(Reason::BreakerTesting));
                breaker.landed(BatchId(batch - 1));
                breaker.unanswered(BatchId(batch), at(now));
                assert_eq!(breaker.code(), "testing", "another call and a lost answer decide nothing");
            }
            breaker.failed(BatchId(batch), at(now));
            let pause = remaining(&breaker, now).unwrap();
            pauses.push(pause / 60);
            now += pause;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 240, 240, 240]);
        breaker.sent(BatchId(20));
        breaker.proved_nothing(BatchId(20), at(now));
        assert_eq!((breaker.refusal(at(now)), breaker.room()), (None, 1), "then another one is tried");
        breaker.sent(BatchId(21));
        breaker.landed(BatchId(21));
        assert_eq!((breaker.refusal(at(now)), breaker.room()), (None, u32::MAX));
        breaker.failed(BatchId(22), at(now));
        assert_eq!(remaining(&breaker, now), Some(300), "all is forgiven");
    }

    #[test]
    fn a_canary_that_nobody_can_see_makes_room_for_another_one() {
        let mut breaker = breaker(1);
        breaker.failed(BatchId(1), at(0));
        breaker.sent(BatchId(2));
        assert!(!breaker.give_up(BatchId(1), at(1_000)), "that was no canary");
        assert_eq!(breaker.code(), "testing");
        assert!(breaker.give_up(BatchId(2), at(1_000)));
        assert_eq!((breaker.refusal(at(1_000)), breaker.room()), (None, 1));
        assert!(!breaker.give_up(BatchId(2), at(1_001)), "once");
    }

    #[test]
    fn what_needs_a_person_opens_it_at_once_and_off_is_off() {
        let mut on = breaker(5);
        on.hopeless(at(0));
        assert_eq!(remaining(&on, 0), Some(300));
        let mut off = breaker(0);
        for batch in 0..100 {
            off.failed(BatchId(batch), at(0));
            off.hopeless(at(0));
        }
        assert_eq!((off.refusal(at(0)), off.room()), (None, u32::MAX));
    }
}
