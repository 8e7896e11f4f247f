//! Durations as people write them ("30s", "1h 30m", "30 days"), for `#[serde(with = …)]`. A day is 24 hours.

use std::time::Duration;

use jiff::fmt::friendly::{Designator, Spacing, SpanParser, SpanPrinter};
use jiff::{SignedDuration, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serializer};

/// Seconds of a day without daylight saving: what a retention or a cool-down means by "a day".
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Reads what [`serialize`] writes, and everything else that is clear.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is not a duration: write a number with its unit, such as \"30s\", \"10m\" or \"1h 30m\""
        ))
    })
}

/// The shortest text that means the same: "30s", "1h30m", "7d".
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&display(*duration))
}

/// The duration that a text means; `None` when it means none, or a negative one.
pub fn parse(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text.trim()).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// How [`serialize`] writes it.
pub fn display(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() == 0 && seconds > SECONDS_PER_DAY && seconds.is_multiple_of(SECONDS_PER_DAY) {
        return format!("{}d", seconds / SECONDS_PER_DAY);
    }
    let printer = SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::None);
    printer.duration_to_string(&SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 1, 30, 90, 3_600, 5_400, 86_400, 172_800, 2_592_000] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(&display(duration)), Some(duration), "{}", display(duration));
        }
        assert_eq!(parse(&display(Duration::from_millis(1_500))), Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn days_and_spaces_are_understood() {
        assert_eq!(parse("30 days"), Some(Duration::from_secs(30 * SECONDS_PER_DAY)));
        assert_eq!(parse(" 1h 30m "), Some(Duration::from_secs(5_400)));
        assert_eq!(display(Duration::from_secs(30 * SECONDS_PER_DAY)), "30d");
        assert_eq!(display(Duration::from_secs(86_400)), "24h");
    }

    #[test]
    fn nonsense_is_no_duration() {
        for nonsense in ["", "30", "-5s", "5s ago", "soon", "1 month", "99999999999999999999h", "5s\0"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
