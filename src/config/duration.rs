//! Durations as people write them ("30s", "1h 30m"), for `#[serde(with = …)]`.

pub use jiff::fmt::serde::unsigned_duration::friendly::compact::required::{deserialize, serialize};
