//! Sizes as people write them ("4 GiB"), for `#[serde(with = …)]` on options. Elsewhere a size is a number.

use serde::{Deserializer, Serializer};

use crate::units::Bytes;

/// Units in the order in which they are tried, and how many bits they shift.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Reads a number of bytes or a text with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    serde::Deserialize::deserialize(deserializer)
}

/// The largest unit that says it exactly: never rounded, so that what is shown is what is meant.
pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    for (name, shift) in UNITS {
        let amount = bytes.0 >> shift;
        if amount > 0 && amount << shift == bytes.0 {
            return serializer.collect_str(&format_args!("{amount} {name}"));
        }
    }
    serializer.serialize_u64(bytes.0)
}
