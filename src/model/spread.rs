//! Hands the load of a whole out to its segments by their rows, so that the parts add up to the whole to the last unit.

use std::collections::BTreeMap;

use super::snapshot::SegmentCopies;
use crate::units::Load;

/// What one whole has given away.
#[derive(Default)]
struct Share {
    load: Load,
    of: u64,
    seen: u64,
    given: u64,
}

impl Share {
    fn take(&mut self, weight: u64) -> Load {
        self.seen = self.seen.saturating_add(weight);
        let due = u128::from(self.load.0) * u128::from(self.seen) / u128::from(self.of.max(1));
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let part = due.saturating_sub(self.given);
        self.given = due;
        Load(part)
    }
}

/// A segment without rows has a share, too, or a whole of such segments would have none to give.
fn weight(rows: u64) -> u64 {
    rows.max(1)
}

/// Spreads the loads of wholes over their copies; `key_of` says to which whole the copy at a position belongs. Answers with
/// the load of each copy, and the wholes whose load found no copy.
pub fn by_rows<Key: Ord + Copy>(
    copies: &SegmentCopies,
    loads: impl IntoIterator<Item = (Key, Load)>,
    key_of: impl Fn(usize) -> Key,
) -> (Vec<Load>, Vec<(Key, Load)>) {
    let shares = loads.into_iter().map(|(key, load)| (key, Share { load, ..Share::default() }));
    let mut shares: BTreeMap<Key, Share> = shares.collect();
    for at in 0..copies.len() {
        if let Some(share) = shares.get_mut(&key_of(at)) {
            share.of = share.of.saturating_add(weight(copies.rows[at].0));
        }
    }
    let mut copy_load = vec![Load::ZERO; copies.len()];
    for (at, load) in copy_load.iter_mut().enumerate() {
        if let Some(share) = shares.get_mut(&key_of(at)) {
            *load = share.take(weight(copies.rows[at].0));
        }
    }
    let homeless = shares.into_iter().filter(|(_, share)| share.of == 0 && share.load > Load::ZERO);
    (copy_load, homeless.map(|(key, share)| (key, share.load)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::NodeIndex;
    use crate::units::Rows;

    #[test]
    fn the_parts_add_up_to_the_whole_and_what_finds_no_segment_is_named() {
        let rows = [3, 0, 7, 11, 1_000_003];
        let copies = SegmentCopies {
            segment: vec![Default::default(); rows.len()],
            rows: rows.map(Rows).to_vec(),
            node: [0, 0, 0, 1, 1].map(NodeIndex).to_vec(),
            ..SegmentCopies::default()
        };
        for load in [0, 1, 2, 999, 1 << 50] {
            let loads = [(NodeIndex(0), Load(load)), (NodeIndex(1), Load(7)), (NodeIndex(2), Load(5))];
            let (parts, homeless) = by_rows(&copies, loads, |at| copies.node[at]);
            assert_eq!(parts[..3].iter().copied().sum::<Load>(), Load(load), "{parts:?}");
            assert_eq!(parts[3..].iter().copied().sum::<Load>(), Load(7), "{parts:?}");
            assert_eq!(homeless, [(NodeIndex(2), Load(5))]);
        }
    }
}
