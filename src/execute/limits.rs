//! How many calls a minute, and waves: pure counters that are told the time. A limit of 0 is no limit.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::WaveSettings;
use super::operation::{OperationId, OperationState};
use super::steady::Steady;
use crate::reason::Reason;

/// The window of the calls-per-minute limit.
const MINUTE: Duration = Duration::from_secs(60);

/// A call this much later than a minute is surely outside the other's window, on coarse clocks too.
const TICK: Duration = Duration::from_millis(1);

/// Calls of the last minute. No window of 60 s ever holds more than the limit.
#[derive(Debug)]
pub struct CallRate {
    per_minute: u32,
    sent: VecDeque<Steady>,
}

impl CallRate {
    /// No calls yet.
    pub fn new(per_minute: u32) -> CallRate {
        CallRate { per_minute, sent: VecDeque::new() }
    }

    /// A call goes out, or went out then. Later ones come later.
    pub fn record(&mut self, at: Steady) {
        if self.per_minute == 0 {
            return;
        }
        self.sent.push_back(at);
        while self.sent.len() > self.per_minute as usize {
            self.sent.pop_front();
        }
    }

    /// How long the next call has to wait, if at all.
    pub fn wait(&self, now: Steady) -> Option<Duration> {
        if self.per_minute == 0 || self.sent.len() < self.per_minute as usize {
            return None;
        }
        (MINUTE + TICK).checked_sub(self.sent.front()?.age(now)).filter(|wait| !wait.is_zero())
    }

    /// Why no call may go out now.
    pub fn refusal(&self, now: Steady) -> Option<Reason> {
        self.wait(now).map(|_| Reason::CallRate { per_minute: self.per_minute })
    }

    /// Calls of the last minute, as far as the limit needs them.
    pub fn used(&self, now: Steady) -> usize {
        self.sent.iter().filter(|at| at.age(now) < MINUTE + TICK).count()
    }
}

/// Waves: the first is small, a good one doubles the next, a bad one halves it. A wave is over when all that
/// was sent in it has ended.
#[derive(Debug)]
pub struct Waves {
    settings: WaveSettings,
    size: u32,
    open: BTreeSet<OperationId>,
    sent: u32,
    landed: u32,
    failed: u32,
}

impl Waves {
    /// Before the first wave.
    pub fn new(settings: WaveSettings) -> Waves {
        let size = settings.first.clamp(1, largest(&settings));
        Waves { settings, size, open: BTreeSet::new(), sent: 0, landed: 0, failed: 0 }
    }

    /// Moves in a full wave now; `None` when waves are off.
    pub fn size(&self) -> Option<u32> {
        self.settings.enabled.then_some(self.size)
    }

    /// How many moves the wave still takes; `None` when waves are off.
    pub fn room(&self) -> Option<u32> {
        self.settings.enabled.then(|| self.size.saturating_sub(self.sent))
    }

    /// Why nothing more may be sent now.
    pub fn refusal(&self) -> Option<Reason> {
        (self.room() == Some(0)).then_some(Reason::WaveFull { size: self.size })
    }

    /// A move goes out.
    pub fn record_sent(&mut self, operation: OperationId) {
        if self.open.insert(operation) {
            self.sent = self.sent.saturating_add(1);
        }
    }

    /// A move ended so. Moves of other waves and of other origins change nothing.
    pub fn record_end(&mut self, operation: OperationId, end: &OperationState) {
        if !end.is_ended() || !self.open.remove(&operation) {
            return;
        }
        match end {
            OperationState::Landed => self.landed = self.landed.saturating_add(1),
            OperationState::Refused { .. }
            | OperationState::Expired
            | OperationState::Contradicted { .. } => {
                self.failed = self.failed.saturating_add(1);
            }
            // Its segment or its node went away: nobody's fault and no proof of anything.
            _ => {}
        }
        if self.open.is_empty() {
            self.next();
        }
    }

    fn next(&mut self) {
        if self.failed > 0 {
            self.size = (self.size / 2).max(1);
        } else if self.landed > 0 {
            self.size = self.size.saturating_mul(2).min(largest(&self.settings));
        }
        (self.sent, self.landed, self.failed) = (0, 0, 0);
    }
}

/// The largest wave there may be; 0 is no limit.
fn largest(settings: &WaveSettings) -> u32 {
    if settings.largest == 0 { u32::MAX } else { settings.largest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Moment;

    fn at(milliseconds: u64) -> Steady {
        let monotonic = Duration::from_millis(milliseconds);
        Steady::of(Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic })
    }

    #[test]
    fn no_window_of_a_minute_holds_more_calls_than_the_limit() {
        let mut rate = CallRate::new(3);
        let mut sent: Vec<u64> = Vec::new();
        for millisecond in 0..300_000 {
            if rate.wait(at(millisecond)).is_none() {
                rate.record(at(millisecond));
                sent.push(millisecond);
            }
        }
        assert_eq!(sent.len(), 15, "the limit is used up, too");
        for window in sent.windows(4) {
            assert!(window[3] - window[0] > 60_000);
        }
    }

    #[test]
    fn calls_before_a_restart_count() {
        let now = at(0);
        let mut rate = CallRate::new(1);
        rate.record(now.earlier(Duration::from_secs(61)));
        assert_eq!((rate.refusal(now), rate.used(now)), (None, 0));
        rate.record(now.earlier(Duration::from_secs(20)));
        assert_eq!(rate.refusal(now), Some(Reason::CallRate { per_minute: 1 }));
        assert_eq!((rate.wait(now), rate.used(now)), (Some(Duration::from_secs(40) + TICK), 1));
    }

    #[test]
    fn zero_calls_a_minute_is_no_limit() {
        let mut rate = CallRate::new(0);
        for _ in 0..1000 {
            rate.record(at(0));
        }
        assert_eq!(rate.refusal(at(0)), None);
    }

    fn ended(waves: &mut Waves, ids: std::ops::Range<i64>, end: &OperationState) {
        for id in ids.clone() {
            waves.record_sent(OperationId(id));
        }
        for id in ids {
            waves.record_end(OperationId(id), end);
        }
    }

    #[test]
    fn a_wave_doubles_when_all_landed_and_halves_when_one_failed() {
        let mut waves = Waves::new(WaveSettings { enabled: true, first: 1, largest: 5 });
        ended(&mut waves, 0..1, &OperationState::Landed);
        assert_eq!(waves.size(), Some(2));
        ended(&mut waves, 1..3, &OperationState::Landed);
        assert_eq!(waves.size(), Some(4));
        ended(&mut waves, 3..7, &OperationState::Landed);
        assert_eq!(waves.size(), Some(5), "never above the largest");
        waves.record_sent(OperationId(8));
        waves.record_sent(OperationId(9));
        waves.record_end(OperationId(8), &OperationState::Expired);
        assert_eq!(waves.size(), Some(5), "not over while one is open");
        waves.record_end(OperationId(9), &OperationState::Landed);
        assert_eq!(waves.size(), Some(2));
        for id in 10..14 {
            ended(&mut waves, id..id + 1, &OperationState::Refused { cause: String::new() });
        }
        assert_eq!(waves.size(), Some(1), "at least one");
        ended(&mut waves, 20..21, &OperationState::Superseded { cause: String::new() });
        assert_eq!(waves.size(), Some(1), "what became pointless proves nothing");
    }

    #[test]
    fn a_full_wave_refuses_until_it_has_settled() {
        let mut waves = Waves::new(WaveSettings { enabled: true, first: 2, largest: 0 });
        waves.record_sent(OperationId(1));
        assert_eq!(waves.room(), Some(1));
        waves.record_sent(OperationId(2));
        assert_eq!(waves.refusal(), Some(Reason::WaveFull { size: 2 }));
        waves.record_end(OperationId(1), &OperationState::Landed);
        assert_eq!(waves.refusal(), Some(Reason::WaveFull { size: 2 }));
        waves.record_end(OperationId(7), &OperationState::Expired);
        waves.record_end(OperationId(2), &OperationState::Landed);
        assert_eq!((waves.refusal(), waves.size()), (None, Some(4)));
    }

    #[test]
    fn waves_that_are_off_never_refuse() {
        let mut waves = Waves::new(WaveSettings { enabled: false, first: 1, largest: 1 });
        waves.record_sent(OperationId(1));
        assert_eq!((waves.refusal(), waves.size(), waves.room()), (None, None, None));
    }

    #[test]
    fn nonsense_wave_sizes_become_the_nearest_sense() {
        assert_eq!(Waves::new(WaveSettings { enabled: true, first: 0, largest: 8 }).size(), Some(1));
        assert_eq!(Waves::new(WaveSettings { enabled: true, first: 9, largest: 8 }).size(), Some(8));
    }
}
