//! Time that nobody can step: how long this process has been running. The calendar is for people and files; a wait
//! that was counted by it would be over too soon, or never, when somebody sets the machine's clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::units::Moment;

/// A point on the process' own clock: time since its start, negative for what happened before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(SignedDuration);

impl Steady {
    /// That of a reading of the clock.
    pub fn of(now: Moment) -> Steady {
        Steady(SignedDuration::try_from(now.monotonic).unwrap_or(SignedDuration::MAX))
    }

    /// That of a wall time, as the clock stands now. What seems to lie ahead was written before the clock was set
    /// back and happened now at the latest.
    pub fn of_wall(at: Timestamp, now: Moment) -> Steady {
        let age = Duration::try_from(now.wall.duration_since(at)).unwrap_or(Duration::ZERO);
        Steady::of(now).earlier(age)
    }

    /// So much before.
    pub fn earlier(self, by: Duration) -> Steady {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        Steady(self.0.saturating_sub(by))
    }

    /// How long ago that was at this time; zero when it was later.
    pub fn age(self, now: Steady) -> Duration {
        Duration::try_from(now.0.saturating_sub(self.0)).unwrap_or(Duration::ZERO)
    }

    /// Its wall time, as the clock stands now.
    pub fn wall(self, now: Moment) -> Timestamp {
        let age = Steady::of(now).0.saturating_sub(self.0);
        now.wall.checked_sub(age).unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: i64, running: u64) -> Moment {
        Moment { wall: Timestamp::from_second(wall).unwrap(), monotonic: Duration::from_secs(running) }
    }

    #[test]
    fn what_happened_before_the_start_is_older_than_the_process() {
        let now = moment(1_000, 10);
        let before = Steady::of_wall(Timestamp::from_second(400).unwrap(), now);
        assert_eq!(before.age(Steady::of(now)), Duration::from_secs(600));
        assert_eq!(before.wall(now).as_second(), 400);
        assert_eq!(
            before.wall(moment(1_000 - 5_000, 10)).as_second(),
            400 - 5_000,
            "it follows the calendar"
        );
    }

    #[test]
    fn nothing_lies_ahead() {
        let now = moment(1_000, 10);
        let ahead = Steady::of_wall(Timestamp::MAX, now);
        assert_eq!(ahead, Steady::of(now));
        assert_eq!(ahead.age(Steady::of(moment(0, 5))), Duration::ZERO);
        let extreme = Steady::of_wall(Timestamp::MIN, now);
        assert!(extreme.age(Steady::of(now)) > Duration::from_secs(60 * 60 * 24 * 365));
        assert_eq!(extreme.earlier(Duration::MAX).wall(now), Timestamp::MIN);
    }
}
