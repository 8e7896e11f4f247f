//! For how long, within the last day, some node was above its band: the other half of every claim to be quiet.
//! Time is summed up by quarters of an hour, so that a day of it stays small in memory and in the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Moment;

/// Length of a slot, in seconds. The window's edge is as exact as this.
const SLOT_SECONDS: i64 = 15 * 60;

/// Slots of a day, the current one included.
const SLOTS: i64 = 24 * 60 * 60 / SLOT_SECONDS;

/// So much time between two looks is believed to have been like the first of them; of a longer pause nothing more is
/// known. Also the most that fits a slot.
const LONGEST_PAUSE: Duration = Duration::from_secs(SLOT_SECONDS.unsigned_abs());

/// Time above the band within the last day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfBand {
    /// By number of the slot since the beginning of Unix time.
    slots: BTreeMap<i64, Slot>,
    /// The last look: by this process' monotonic time, so that it means nothing to the next process.
    #[serde(skip)]
    last: Option<(Duration, bool)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    out_of_band_ms: u64,
    observed_ms: u64,
}

/// How long some node was above its band, and out of how much time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BandTime {
    /// Time during which a node was above its enter value, and unevenness mattered there.
    #[serde(rename = "out_of_band_seconds", serialize_with = "seconds")]
    pub out_of_band: Duration,
    /// Time of which anything is known: the daemon ran and could see the nodes.
    #[serde(rename = "observed_seconds", serialize_with = "seconds")]
    pub observed: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl OutOfBand {
    /// One more look: whether some node is above its band, or `None` when that could not be seen.
    pub fn record(&mut self, is_out: Option<bool>, now: Moment) {
        let current = slot_of(now);
        self.slots.retain(|slot, _| (current - SLOTS + 1..=current).contains(slot));
        let last = self.last.take();
        self.last = is_out.map(|is_out| (now.monotonic, is_out));
        let Some((since, was_out)) = last else { return };
        let passed = millis(now.monotonic.saturating_sub(since).min(LONGEST_PAUSE));
        let slot = self.slots.entry(current).or_default();
        slot.add(passed, was_out);
    }

    /// The last look, by this process' monotonic time, and whether somebody was above the band then.
    pub(super) fn last_look(&self) -> Option<(Duration, bool)> {
        self.last
    }

    /// Goes on from that look, in the same process or in one that follows its steps.
    pub(super) fn resume(&mut self, last_look: Option<(Duration, bool)>) {
        self.last = last_look;
    }

    /// Whether somebody was above the band at the last look; `None` when that could not be seen.
    pub fn is_out(&self) -> Option<bool> {
        self.last.map(|(_, is_out)| is_out)
    }

    /// The sum over the last day.
    pub fn total(&self, now: Moment) -> BandTime {
        let current = slot_of(now);
        let mut total = BandTime::default();
        for (_, slot) in self.slots.iter().filter(|(slot, _)| (current - SLOTS + 1..=current).contains(*slot))
        {
            // A file may say anything; a slot is never longer than it is.
            let full = LONGEST_PAUSE;
            let observed = Duration::from_millis(slot.observed_ms).min(full);
            total.observed += observed;
            total.out_of_band += Duration::from_millis(slot.out_of_band_ms).min(observed);
        }
        total
    }
}

impl Slot {
    fn add(&mut self, passed: u64, was_out: bool) {
        // Two looks may lie in two slots, and a clock may be set back: no slot holds more than its own length.
        let full = millis(LONGEST_PAUSE);
        self.observed_ms = self.observed_ms.saturating_add(passed).min(full);
        if was_out {
            self.out_of_band_ms = self.out_of_band_ms.saturating_add(passed).min(self.observed_ms);
        }
    }
}

fn slot_of(now: Moment) -> i64 {
    now.wall.as_second().div_euclid(SLOT_SECONDS)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        let wall = jiff::Timestamp::from_second(1_790_000_000 + i64::try_from(second).unwrap()).unwrap();
        Moment { wall, monotonic: Duration::from_secs(second) }
    }

    fn seconds(memory: &OutOfBand, now: Moment) -> (u64, u64) {
        let total = memory.total(now);
        (total.out_of_band.as_secs(), total.observed.as_secs())
    }

    #[test]
    fn time_is_what_the_look_before_it_saw() {
        let mut memory = OutOfBand::default();
        for (second, is_out) in [(0, false), (30, true), (60, true), (90, false), (120, false)] {
            memory.record(Some(is_out), at(second));
        }
        assert_eq!(seconds(&memory, at(120)), (60, 120));
    }

    #[test]
    fn what_was_not_seen_is_neither_in_nor_out() {
        let mut memory = OutOfBand::default();
        memory.record(Some(true), at(0));
        memory.record(None, at(30));
        memory.record(Some(true), at(60));
        memory.record(Some(true), at(90));
        assert_eq!(seconds(&memory, at(90)), (60, 60), "0-30 and 60-90");
        memory.record(Some(true), at(40_000));
        assert_eq!(seconds(&memory, at(40_000)), (60 + 900, 60 + 900), "most of a long pause is unknown");
    }

    #[test]
    fn after_a_day_it_is_forgotten_and_a_day_is_never_longer_than_a_day() {
        let mut memory = OutOfBand::default();
        for minute in 0..3 * 24 * 60 {
            memory.record(Some(true), at(minute * 60));
        }
        let end = at(3 * 24 * 3_600);
        let (out, observed) = seconds(&memory, end);
        assert_eq!(out, observed);
        assert!((85_000..=86_400).contains(&out), "{out}");
        assert_eq!(seconds(&memory, at(5 * 24 * 3_600)), (0, 0));
        assert!(memory.slots.len() <= 96);
    }

    #[test]
    fn a_clock_that_jumps_makes_no_slot_longer_than_it_is() {
        let mut memory = OutOfBand::default();
        for step in 0..10_000 {
            memory.record(Some(true), Moment { monotonic: Duration::from_secs(step * 60), ..at(0) });
        }
        assert_eq!(seconds(&memory, at(0)), (900, 900));
    }

    #[test]
    fn a_new_process_goes_on_counting_and_does_not_count_the_time_between() {
        let mut memory = OutOfBand::default();
        memory.record(Some(true), at(0));
        memory.record(Some(true), at(30));
        let text = serde_json::to_string(&memory).unwrap();
        let mut next: OutOfBand = serde_json::from_str(&text).unwrap();
        let began = |second: u64| Moment { monotonic: Duration::from_secs(second - 600), ..at(second) };
        next.record(Some(true), began(600));
        next.record(Some(true), began(640));
        assert_eq!(seconds(&next, began(640)), (70, 70));
        let absurd = r#"{"slots":{"1988888":{"out_of_band_ms":18446744073709551615,"observed_ms":5}}}"#;
        let absurd: OutOfBand = serde_json::from_str(absurd).unwrap();
        assert!(absurd.total(at(0)).out_of_band <= Duration::from_millis(5));
    }
}
