//! The emptiest members of large sets of nodes. A replica of a thousand nodes has hundreds that would take a segment;
//! looking at a few dozen of the emptiest finds one that is as good.

use super::field::Field;
use super::rules::Rules;
use crate::model::NodeIndex;

/// The emptiest members of each large set.
pub struct Windows {
    nodes: Vec<Vec<NodeIndex>>,
    /// How often each may be used before it must be looked at again.
    uses_left: Vec<u32>,
}

impl Windows {
    /// So many are looked at. Sets that are not larger are looked at as a whole.
    pub const SIZE: usize = 32;
    /// After so many moves the emptiest of a set are others.
    const USES: u32 = 16;

    /// For so many sets.
    pub fn new(sets: usize) -> Windows {
        Windows { nodes: vec![Vec::new(); sets], uses_left: vec![0; sets] }
    }

    /// A move was made inside a set.
    pub fn used(&mut self, set: usize) {
        self.uses_left[set] = self.uses_left[set].saturating_sub(1);
    }

    /// Looks for the emptiest members of a set, if that was not done lately.
    pub fn refresh(&mut self, set: usize, field: &Field<'_>, rules: &Rules<'_>) {
        if self.uses_left[set] > 0 {
            return;
        }
        self.uses_left[set] = Windows::USES;
        let members = field.sets.members(set).iter().filter(|node| rules.may_take(**node));
        let mut by_fullness: Vec<(f64, NodeIndex)> =
            members.map(|node| (field.fullest(*node), *node)).collect();
        let order = |left: &(f64, NodeIndex), right: &(f64, NodeIndex)| {
            left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
        };
        if by_fullness.len() > Windows::SIZE {
            by_fullness.select_nth_unstable_by(Windows::SIZE, order);
            by_fullness.truncate(Windows::SIZE);
        }
        by_fullness.sort_unstable_by(order);
        self.nodes[set].clear();
        self.nodes[set].extend(by_fullness.iter().map(|(_, node)| *node));
    }

    /// The emptiest members of a set.
    pub fn of(&self, set: usize) -> &[NodeIndex] {
        &self.nodes[set]
    }
}
