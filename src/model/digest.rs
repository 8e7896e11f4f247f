//! The digest of a snapshot: a short name for "the cluster in this state", recorded with each plan, so that anybody can
//! tell later whether a plan was made on the snapshot before them.
//!
//! It is the sum of the hashes of all rows, so the order of rows does not matter, and a row that changes costs one
//! subtraction and one addition. Times are not in it: two looks at a cluster in which nothing has changed have the same
//! digest.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::signals::NodeSignals;
use super::snapshot::{Collection, CopyIndex, CopyRow, Held, Node, Snapshot};
use crate::units::Millicores;

/// The name of a snapshot: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotDigest(pub u64);

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no digest of a snapshot: it has 16 hexadecimal digits")]
pub struct SnapshotDigestError {
    /// What was given.
    pub text: String,
}

/// Digits of a digest as text.
const DIGITS: usize = 16;

/// Odd numbers without a pattern in their bits (the fractions of the golden ratio and of √2): a product with them
/// reaches every bit.
const FIRST_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND_FACTOR: u64 = 0x6a09_e667_f3bc_c909;

/// One 64-bit hash, fed word by word. It is our own, because the standard library does not promise that its hasher gives
/// the same number in every version, and a digest in a journal must.
#[derive(Clone, Copy)]
pub(super) struct Mixer(u64);

impl Mixer {
    /// Hashes that begin differently have nothing to do with each other.
    pub(super) fn begin(tag: u64) -> Mixer {
        Mixer(tag ^ SECOND_FACTOR)
    }

    pub(super) fn word(self, word: u64) -> Mixer {
        let product = u128::from(self.0 ^ word) * u128::from(FIRST_FACTOR);
        // Both halves: the upper one carries what the lower one has lost.
        Mixer(low(product) ^ low(product >> 64).wrapping_add(SECOND_FACTOR).rotate_left(23))
    }

    pub(super) fn id(self, id: i64) -> Mixer {
        self.word(id.cast_unsigned())
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Mixer {
        let mut mixer = self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mixer = mixer.word(u64::from_le_bytes(word));
        }
        mixer
    }

    pub(super) fn end(self) -> u64 {
        self.word(FIRST_FACTOR).0
    }
}

#[allow(clippy::cast_possible_truncation)] // the lower half is what is asked for
fn low(product: u128) -> u64 {
    product as u64
}

/// What keeps rows of different tables apart.
const COPIES: u64 = 1;
const NODES: u64 = 2;
const COLLECTIONS: u64 = 3;
const REPLICAS: u64 = 4;
const DOUBTS: u64 = 5;
const SERVER: u64 = 6;
const SIGNALS: u64 = 7;
const SEARCH: u64 = 8;

/// The hash of one copy. It names replica and node by their ids, so that it stays the same when a node joins and all
/// indices shift.
pub(super) fn hash_of_copy(row: &CopyRow, snapshot: Ids<'_>) -> u64 {
    let CopyRow { segment, replica, node, rows, bytes, held } = *row;
    let held = held.map_or(0, |held: Held| held as u64 + 1);
    Mixer::begin(COPIES)
        .id(segment.0)
        .id(snapshot.replicas[replica.at()].id.0)
        .id(snapshot.nodes[node.at()].id.0)
        .word(rows.0)
        .word(bytes.0)
        .word(held)
        .end()
}

/// The tables by which indices become ids.
#[derive(Clone, Copy)]
pub(super) struct Ids<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) replicas: &'a [super::snapshot::Replica],
}

impl Snapshot {
    /// The name of this state of the cluster.
    pub fn digest(&self) -> SnapshotDigest {
        let ids = Ids { nodes: &self.nodes, replicas: &self.replicas };
        let rows = self.copies.indices().map(|copy| hash_of_copy(&self.copies.row(copy), ids));
        self.digest_with(rows.fold(0, u64::wrapping_add))
    }

    /// The same where the sum over all copies is known already: there are many of them and few of all else.
    pub(super) fn digest_with(&self, copies: u64) -> SnapshotDigest {
        let timeless =
            |collection: &Collection| Collection { read_at: Timestamp::UNIX_EPOCH, ..collection.clone() };
        let sum = [
            copies,
            sum_of(NODES, self.nodes.iter()),
            sum_of(COLLECTIONS, self.collections.iter().map(timeless)),
            sum_of(REPLICAS, self.replicas.iter()),
            sum_of(DOUBTS, self.doubts.iter()),
            sum_of(SERVER, std::iter::once(&self.server)),
            sum_of(SIGNALS, self.nodes.iter().zip(&self.signals.nodes).map(figures)),
            self.search_of_copies(),
        ];
        SnapshotDigest(sum.into_iter().fold(0, u64::wrapping_add))
    }

    /// What is searched where: most copies are not searched at all, and what is changes at every look.
    fn search_of_copies(&self) -> u64 {
        let searched = self.signals.copy_search.iter().zip(self.copies.indices());
        let hash = |(search, copy): (&Millicores, CopyIndex)| {
            let replica = self.copies.replica[copy.at()];
            let mixer = Mixer::begin(SEARCH).id(self.copies.segment[copy.at()].0);
            mixer.id(self.replica(replica).id.0).word(search.0).end()
        };
        searched.filter(|(search, _)| **search != Millicores::ZERO).map(hash).fold(0, u64::wrapping_add)
    }
}

/// What the signals say of a node, without when and by whom it was measured.
fn figures((node, signals): (&Node, &NodeSignals)) -> impl Serialize + use<> {
    let disk = signals.disk_used.as_ref().map(|used| used.value);
    let cores = signals.capacity.cpu.as_ref().map(|cores| cores.value);
    let size = signals.capacity.disk.as_ref().map(|size| size.value);
    (node.id, signals.search_cpu, signals.base_cpu, disk, cores, size)
}

/// The sum over a small table. Its rows are hashed in the form in which they are written to files, so that a field that
/// is added to a row is in the digest without anybody thinking of it.
fn sum_of(tag: u64, rows: impl Iterator<Item = impl Serialize>) -> u64 {
    // What these types hold can always be written as JSON.
    let hash = |row| Mixer::begin(tag).bytes(&serde_json::to_vec(&row).unwrap_or_default()).end();
    rows.map(hash).fold(0, u64::wrapping_add)
}

impl fmt::Display for SnapshotDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SnapshotDigest {
    type Err = SnapshotDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(SnapshotDigest).ok_or_else(|| SnapshotDigestError { text: text.to_owned() })
    }
}

impl JsonSchema for SnapshotDigest {
    fn schema_name() -> Cow<'static, str> {
        "SnapshotDigest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

impl Serialize for SnapshotDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SnapshotDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_and_read_as_16_digits() {
        let digest = SnapshotDigest(0xab);
        assert_eq!(digest.to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse(), Ok(digest));
        for nonsense in ["", "ab", "00000000000000ag", "+0000000000000ab", " 00000000000000ab"] {
            assert!(nonsense.parse::<SnapshotDigest>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_hash_tells_words_lengths_and_tags_apart() {
        let hash = |tag, bytes: &[u8]| Mixer::begin(tag).bytes(bytes).end();
        let all = [
            hash(1, b""),
            hash(2, b""),
            hash(1, b"\0"),
            hash(1, b"\0\0"),
            hash(1, b"abcdefgh"),
            hash(1, b"abcdefgh\0"),
            Mixer::begin(1).word(1).word(2).end(),
            Mixer::begin(1).word(2).word(1).end(),
        ];
        let mut distinct = all.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len());
    }
}
