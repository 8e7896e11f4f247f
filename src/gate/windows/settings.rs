//! How a maintenance window is written in the configuration.

use std::fmt;
use std::ops::Deref;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Whether something may be moved inside it, or must not.
    pub kind: WindowKind,
    /// The days on which it begins; every day unless said otherwise.
    #[serde(default = "Day::all")]
    pub days: Vec<Day>,
    /// When it begins, by the clock of its zone.
    pub from: ClockTime,
    /// When it ends; on the next day where that is not later than its beginning.
    pub to: ClockTime,
    /// The zone whose clock it goes by.
    #[serde(default)]
    pub time_zone: Zone,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// Something may be moved only inside such windows.
    Allow,
    /// Nothing may be moved inside it, whatever other windows allow.
    Deny,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// The whole week.
    pub fn all() -> Vec<Day> {
        vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun]
    }

    /// The same day in the words of the calendar.
    pub(super) fn weekday(self) -> Weekday {
        match self {
            Day::Mon => Weekday::Monday,
            Day::Tue => Weekday::Tuesday,
            Day::Wed => Weekday::Wednesday,
            Day::Thu => Weekday::Thursday,
            Day::Fri => Weekday::Friday,
            Day::Sat => Weekday::Saturday,
            Day::Sun => Weekday::Sunday,
        }
    }
}

/// A time of the day to the minute: "06:30".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime(pub(super) Time);

/// The end of a day, as people write it.
const END_OF_DAY: &str = "24:00";

impl ClockTime {
    /// Reads "06:30"; "24:00" is the next midnight.
    pub fn parse(text: &str) -> Option<ClockTime> {
        if text == END_OF_DAY {
            return Some(ClockTime(Time::midnight()));
        }
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str| {
            let is_plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
            is_plain.then(|| digits.parse::<i8>().ok()).flatten()
        };
        Time::new(number(hour)?, number(minute)?, 0, 0).ok().map(ClockTime)
    }
}

impl Serialize for ClockTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:02}:{:02}", self.0.hour(), self.0.minute()))
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ClockTime::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no time of the day: write it like \"06:30\""))
        })
    }
}

/// A time zone out of the table that is built into this program: the same on every machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// By its name in the IANA database.
    pub fn named(name: &str) -> Option<Zone> {
        TimeZoneDatabase::bundled().get(name).ok().map(Zone)
    }

    /// When the clock of the zone is set forward or back next, soonest first.
    pub(super) fn clock_changes_after(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.0.following(now).map(|change| change.timestamp())
    }

    fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl Default for Zone {
    fn default() -> Self {
        Zone(TimeZone::UTC)
    }
}

impl Deref for Zone {
    type Target = TimeZone;

    fn deref(&self) -> &TimeZone {
        &self.0
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name()).finish()
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Zone::named(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is no time zone: write \"UTC\" or a name such as \"Europe/Berlin\""
            ))
        })
    }
}
