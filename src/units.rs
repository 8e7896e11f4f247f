//! Ids, amounts and ratios as types, so that a node is never passed for a segment nor a byte for a row.
//!
//! Everything here is an integer: sums are the same in every order and on every machine, which is what lets
//! two runs over the same input agree to the last bit.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares an id: a 64-bit number of Milvus' that orders, prints and travels through JSON as a string
/// (Milvus ids exceed 2^53, which JSON numbers lose in many readers).
macro_rules! milvus_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor).map($name)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": "^-?[0-9]{1,19}$" })
            }
        }
    };
}

/// Reads an id without an allocation: there are millions of them in a snapshot.
struct IdVisitor;

impl serde::de::Visitor<'_> for IdVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a string of digits, such as \"449023041245184001\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<i64, E> {
        text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

milvus_id! {
    /// A query node. It is the id of a *session*: a restarted node comes back under another one, so whatever
    /// must survive a restart is remembered by address.
    NodeId
}
milvus_id! {
    /// A segment. Compaction replaces it by another with a new id.
    SegmentId
}
milvus_id! {
    /// A collection; unique over all databases.
    CollectionId
}
milvus_id! {
    /// One of the copies of a loaded collection.
    ReplicaId
}
milvus_id! {
    /// A partition of a collection.
    PartitionId
}

/// An amount of memory or disk, in bytes. In files it is a number or a text with a unit ("4 GiB").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// No bytes.
    pub const ZERO: Bytes = Bytes(0);

    /// The sum, or the largest amount there is.
    pub fn saturating_add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing.
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bytesize::ByteSize::b(self.0).display().iec().to_string())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl serde::de::Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size: a whole number of bytes, or a text such as \"4 GiB\"")
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Bytes, E> {
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Signed(bytes), &self);
                u64::try_from(bytes).map(Bytes).map_err(wrong)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                // The largest amount is what the parser makes of amounts that do not fit.
                let parsed = text.trim().parse::<bytesize::ByteSize>().ok().filter(|size| size.0 != u64::MAX);
                parsed
                    .map(|size| Bytes(size.0))
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(BytesVisitor)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes; a text with a unit, such as \"4 GiB\", is read, too.",
            "type": ["integer", "string"],
            "minimum": 0
        })
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(amounts: I) -> Bytes {
        amounts.fold(Bytes::ZERO, Bytes::saturating_add)
    }
}

/// A number of entities (Milvus calls them rows or entities).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Rows(pub u64);

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount of load in the unit of its dimension (bytes, rows, millicores …): whole units, no fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Load(pub u64);

impl Load {
    /// No load.
    pub const ZERO: Load = Load(0);

    /// The sum, or the largest load there is.
    pub fn saturating_add(self, other: Load) -> Load {
        Load(self.0.saturating_add(other.0))
    }

    /// The difference, or none.
    pub fn saturating_sub(self, other: Load) -> Load {
        Load(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Load {
    fn sum<I: Iterator<Item = Load>>(loads: I) -> Load {
        loads.fold(Load::ZERO, Load::saturating_add)
    }
}

/// CPU in thousandths of a core: used, needed, or there to be used. In files and in JSON it is the number of cores (`0.3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millicores(pub u64);

impl Millicores {
    /// No CPU.
    pub const ZERO: Millicores = Millicores(0);

    /// The nearest amount to a number of cores, or nothing when it is negative, infinite or not a number.
    pub fn from_cores(cores: f64) -> Option<Millicores> {
        // A ratio has the same bounds, and is a thousand times finer.
        Ratio::from_decimal(cores).map(|ratio| Millicores((ratio.0 + 500) / 1_000))
    }

    /// The number of cores.
    #[allow(clippy::cast_precision_loss)] // shown, never calculated with
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// The sum, or the largest amount there is.
    pub fn saturating_add(self, other: Millicores) -> Millicores {
        Millicores(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing.
    pub fn saturating_sub(self, other: Millicores) -> Millicores {
        Millicores(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2} cores", self.cores()))
    }
}

impl Serialize for Millicores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.cores())
    }
}

impl<'de> Deserialize<'de> for Millicores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cores = f64::deserialize(deserializer)?;
        Millicores::from_cores(cores).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{cores} is no number of cores: write one of at least 0, such as 0.3"
            ))
        })
    }
}

/// So many a second, in thousandths. In JSON it is the decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(pub u64);

impl Rate {
    /// Never.
    pub const ZERO: Rate = Rate(0);

    /// The number a second.
    #[allow(clippy::cast_precision_loss)] // shown, never calculated with
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1}/s", self.per_second()))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.per_second())
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rate = f64::deserialize(deserializer)?;
        // The bounds are those of a ratio.
        let rate = Ratio::from_decimal(rate).map(|ratio| Rate((ratio.0 + 500) / 1_000));
        rate.ok_or_else(|| serde::de::Error::custom("a rate is a number of at least 0"))
    }
}

/// A ratio in millionths: a pressure of 1.20 is 1,200,000, a utilisation of 80 % is 800,000.
///
/// In files and in JSON it is the decimal number (`1.2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ratio(pub u64);

/// One, in millionths.
const ONE_IN_MILLIONTHS: u64 = 1_000_000;

impl Ratio {
    /// Nothing.
    pub const ZERO: Ratio = Ratio(0);
    /// The whole, or "exactly its fair share".
    pub const ONE: Ratio = Ratio(ONE_IN_MILLIONTHS);
    /// More than can be expressed: something divided by nothing.
    pub const MAX: Ratio = Ratio(u64::MAX);

    /// `numerator / denominator`, rounded down. Nothing divided by nothing is zero; something divided by
    /// nothing is [`Ratio::MAX`].
    pub fn of(numerator: u64, denominator: u64) -> Ratio {
        if denominator == 0 {
            return if numerator == 0 { Ratio::ZERO } else { Ratio::MAX };
        }
        // Dividing 128 bits takes many times as long, and the planner divides some hundred million times a turn.
        if let Some(millionths) = numerator.checked_mul(ONE_IN_MILLIONTHS) {
            return Ratio(millionths / denominator);
        }
        let millionths = u128::from(numerator) * u128::from(ONE_IN_MILLIONTHS) / u128::from(denominator);
        Ratio(u64::try_from(millionths).unwrap_or(u64::MAX))
    }

    /// The nearest ratio to a decimal number, or nothing when it is negative, infinite or not a number.
    pub fn from_decimal(decimal: f64) -> Option<Ratio> {
        // 2^63 millionths is far beyond any ratio that means something and safely inside u64.
        let millionths = (decimal * 1e6).round();
        let fits = decimal.is_finite() && (0.0..9.2e18).contains(&millionths);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        fits.then_some(Ratio(millionths as u64))
    }

    /// The decimal number: 1.2 for 1,200,000 millionths.
    #[allow(clippy::cast_precision_loss)]
    pub fn decimal(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This share of an amount, rounded down: 80 % of 1,000 is 800.
    pub fn share_of(self, amount: u64) -> u64 {
        let share = u128::from(amount) * u128::from(self.0) / u128::from(ONE_IN_MILLIONTHS);
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// "34 %": for utilisations and shares. Pressures print as the plain ratio.
    pub fn percent(self) -> String {
        format!("{:.0} %", self.decimal() * 100.0)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Ratio::MAX {
            return f.pad("∞");
        }
        f.pad(&format!("{:.2}", self.decimal()))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.decimal())
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let decimal = f64::deserialize(deserializer)?;
        Ratio::from_decimal(decimal).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{decimal} is not a ratio: write a number of at least 0, such as 1.2"
            ))
        })
    }
}

/// Both readings of the clock, taken once a turn: wall time for people and files, monotonic time (since the
/// process started) for every duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// What the calendar says.
    pub wall: jiff::Timestamp,
    /// How long this process has been running; never goes back.
    pub monotonic: std::time::Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_of_zero_have_a_meaning() {
        assert_eq!(Ratio::of(0, 0), Ratio::ZERO);
        assert_eq!(Ratio::of(5, 0), Ratio::MAX);
        assert_eq!(Ratio::of(u64::MAX, 1), Ratio::MAX);
        assert_eq!(Ratio::of(6, 5).to_string(), "1.20");
    }

    #[test]
    fn nonsense_is_no_ratio() {
        for nonsense in [f64::NAN, f64::INFINITY, -0.1, 1e300] {
            assert_eq!(Ratio::from_decimal(nonsense), None, "{nonsense}");
        }
        assert_eq!(Ratio::from_decimal(1.2), Some(Ratio(1_200_000)));
    }

    #[test]
    fn a_share_of_the_largest_amount_does_not_overflow() {
        assert_eq!(Ratio::ONE.share_of(u64::MAX), u64::MAX);
        assert_eq!(Ratio(2_000_000).share_of(u64::MAX), u64::MAX);
        assert_eq!(Ratio(800_000).share_of(1_000), 800);
    }

    #[test]
    fn sizes_are_numbers_or_texts_with_a_unit() {
        let read = |json: &str| serde_json::from_str::<Bytes>(json);
        assert_eq!(read("1024").unwrap(), Bytes(1024));
        assert_eq!(read("\"4 GiB\"").unwrap(), Bytes(4 << 30));
        assert_eq!(read("\"4GB\"").unwrap(), Bytes(4_000_000_000));
        assert_eq!(read("\"1024\"").unwrap(), Bytes(1024));
        for nonsense in
            ["-1", "1.5", "true", "[]", "\"\"", "\"-1\"", "\"many\"", "\"NaN\"", "\"99999999 EiB\""]
        {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn ids_are_strings_in_json_and_keep_every_digit() {
        let id = SegmentId(9_007_199_254_740_993);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"9007199254740993\"");
        assert_eq!(serde_json::from_str::<SegmentId>(&json).unwrap(), id);
    }
}
