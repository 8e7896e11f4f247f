//! The digest of a plan: a short name for "these segments, from there to there". People approve a plan by it, so two
//! plans that move the same things have the same one, whatever the order and however good they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Move, Plan};

/// The name of a plan: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanDigest(pub u64);

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no digest of a plan: copy the 16 digits that `plan` or the log shows")]
pub struct DigestError {
    /// What was given.
    pub text: String,
}

/// Digits of a digest as text.
const DIGITS: usize = 16;

/// Start and factor of the 64-bit FNV-1a hash: a few lines that give the same number in every version of this program,
/// which the standard library's hasher does not promise.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0100_0000_01b3;

impl PlanDigest {
    /// Of these moves.
    pub fn of<'a>(moves: impl Iterator<Item = &'a Move>) -> PlanDigest {
        let mut keys: Vec<[i64; 4]> = moves
            .map(|movement| [movement.segment.0, movement.replica.0, movement.from.0, movement.to.0])
            .collect();
        keys.sort_unstable();
        let bytes = keys.iter().flatten().flat_map(|number| number.to_le_bytes());
        PlanDigest(bytes.fold(FNV_START, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_FACTOR)))
    }
}

impl Plan {
    /// The name under which this plan is approved.
    pub fn digest(&self) -> PlanDigest {
        PlanDigest::of(self.moves())
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PlanDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim();
        let is_plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        number.map(PlanDigest).ok_or_else(|| DigestError { text: text.to_owned() })
    }
}

impl Serialize for PlanDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PlanDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

    fn movement(segment: i64, to: i64) -> Move {
        Move {
            segment: SegmentId(segment),
            collection: CollectionId(1),
            replica: ReplicaId(1),
            from: NodeId(1),
            to: NodeId(to),
            bytes: Bytes(1),
            rows: Rows(1),
        }
    }

    #[test]
    fn the_same_moves_have_the_same_digest_in_any_order_and_others_another() {
        let digest = |moves: &[Move]| PlanDigest::of(moves.iter());
        let (first, second) = (movement(1, 2), movement(2, 3));
        assert_eq!(digest(&[first.clone(), second.clone()]), digest(&[second.clone(), first.clone()]));
        let heavier = Move { bytes: Bytes(9), ..first.clone() };
        assert_eq!(digest(&[heavier]), digest(std::slice::from_ref(&first)), "bytes are estimates");
        assert_ne!(digest(std::slice::from_ref(&first)), digest(&[movement(1, 3)]));
        assert_ne!(digest(std::slice::from_ref(&first)), digest(&[first, second]));
        assert_eq!(digest(&[]).to_string(), "cbf29ce484222325", "it never changes");
    }

    #[test]
    fn a_digest_is_read_as_it_is_shown_and_nothing_else_is_one() {
        let digest = PlanDigest(0x00ab_cdef_0123_4567);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(" 00ABCDEF01234567\n".parse(), Ok(digest));
        for nonsense in
            ["", "0", "00abcdef0123456", "00abcdef012345678", "+0abcdef01234567", "00abcdef0123456é"]
        {
            assert!(nonsense.parse::<PlanDigest>().is_err(), "{nonsense:?}");
        }
    }
}
