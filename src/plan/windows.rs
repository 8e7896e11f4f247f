//! The emptiest members of large sets of nodes. A replica of a thousand nodes has hundreds that would take a segment;
//! looking at a few dozen of the emptiest finds one that is as good.

use super::field::Field;
use super::rules::Rules;
use crate::model::NodeIndex;

/// The emptiest members of each large set: for what is mostly of one kind of load those that have least of that.
pub struct Windows {
    /// By set, and in a set by dimension.
    windows: Vec<Window>,
    /// How many dimensions are about whole nodes, and at least one.
    width: usize,
}

#[derive(Clone, Default)]
struct Window {
    nodes: Vec<NodeIndex>,
    /// How often it may be used before it must be looked at again.
    uses_left: u32,
}

impl Windows {
    /// So many are looked at. Sets that are not larger are looked at as a whole.
    pub const SIZE: usize = 32;
    /// After so many moves the emptiest of a set are others.
    const USES: u32 = 16;

    /// For so many sets and dimensions.
    pub fn new(sets: usize, width: usize) -> Windows {
        let width = width.max(1);
        Windows { windows: vec![Window::default(); sets * width], width }
    }

    /// A move was made inside a set.
    pub fn used(&mut self, set: usize) {
        for window in &mut self.windows[set * self.width..(set + 1) * self.width] {
            window.uses_left = window.uses_left.saturating_sub(1);
        }
    }

    /// Looks for the members of a set that are emptiest in a dimension, if that was not done lately.
    pub fn refresh(&mut self, set: usize, view: usize, field: &Field<'_>, rules: &Rules<'_>) {
        let window = &mut self.windows[set * self.width + view];
        if window.uses_left > 0 {
            return;
        }
        window.uses_left = Windows::USES;
        let members = field.sets.members(set).iter().filter(|node| rules.may_take(**node));
        let mut by_fullness: Vec<(f64, NodeIndex)> =
            members.map(|node| (field.fullness_in(view, *node), *node)).collect();
        let order = |left: &(f64, NodeIndex), right: &(f64, NodeIndex)| {
            left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
        };
        if by_fullness.len() > Windows::SIZE {
            by_fullness.select_nth_unstable_by(Windows::SIZE, order);
            by_fullness.truncate(Windows::SIZE);
        }
        by_fullness.sort_unstable_by(order);
        window.nodes.clear();
        window.nodes.extend(by_fullness.iter().map(|(_, node)| *node));
    }

    /// The emptiest members of a set in a dimension.
    pub fn of(&self, set: usize, view: usize) -> &[NodeIndex] {
        &self.windows[set * self.width + view].nodes
    }
}
