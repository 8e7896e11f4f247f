//! Numbers as the page writes them, and places in its pictures.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::units::Bytes;

/// Pressures above this are not told apart: a node without a fair share has an infinite one.
const HIGHEST_PRESSURE: f64 = 99.0;

/// A pressure: how many times its fair share a node has.
pub(super) fn times(pressure: f64) -> String {
    if pressure > HIGHEST_PRESSURE { ">99×".to_owned() } else { format!("{pressure:.2}×") }
}

/// An amount of memory or disk.
pub(super) fn bytes(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// A time of day.
pub(super) fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S UTC").to_string()
}

/// A day and a time.
pub(super) fn day_and_clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// "1 move", "2 moves".
pub(super) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// A number of a picture: a tenth of a unit is finer than any screen, and shorter than all digits.
pub(super) fn place(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// From values to places along one side of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Values from `from` to `to` lie between `start` and `end`.
    pub(super) fn new(from: f64, to: f64, start: f64, end: f64) -> Scale {
        Scale { from, to, start, end }
    }

    /// Where a value lies; values outside lie at the edge.
    pub(super) fn at(self, value: f64) -> f64 {
        let width = self.to - self.from;
        let share = if width > 0.0 { ((value - self.from) / width).clamp(0.0, 1.0) } else { 0.0 };
        self.start + share * (self.end - self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_absurd() {
        assert_eq!(times(1.0), "1.00×");
        assert_eq!(times(18_446_744_073_709.55), ">99×");
        assert_eq!(count(1, "move"), "1 move");
        assert_eq!(count(0, "move"), "0 moves");
        assert_eq!(place(12.04), "12");
        assert_eq!(place(0.35), "0.3");
    }

    #[test]
    fn a_scale_keeps_to_its_picture() {
        let scale = Scale::new(1.0, 2.0, 100.0, 0.0);
        assert_eq!([scale.at(1.0), scale.at(1.5), scale.at(9.0), scale.at(0.0)], [100.0, 50.0, 0.0, 100.0]);
        assert_eq!(Scale::new(1.0, 1.0, 5.0, 9.0).at(1.0), 5.0, "nothing is divided by nothing");
    }
}
