//! Load that grows where there is room for it. Who waits for a search asks for the next one when it is done: a node that
//! was relieved has as much to do as before, and more is done. Compared as it is, such a move would have relieved nobody.

use super::DimensionPicture;
use crate::units::Load;

/// By how much the measured load of all nodes together has changed: so much then, so much now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    then: u128,
    now: u128,
}

impl Growth {
    /// What a node's load would be if all nodes together had the load of then.
    pub(super) fn taken_out_of(self, measured: Load) -> i128 {
        let load = u128::from(measured.0).saturating_mul(self.then) / self.now.max(1);
        i128::try_from(load).unwrap_or(i128::MAX >> 16)
    }
}

impl DimensionPicture {
    /// An elastic load is compared by the shares that nodes have in it. Relieved searches come more often, so that the
    /// node that was relieved has as much to do as before, and all is done sooner. Any other load is compared as it is.
    pub(super) fn growth_since(&self, before: &DimensionPicture) -> Growth {
        let mut growth = Growth { then: 0, now: 0 };
        for (id, is) in &self.nodes {
            let was = before.nodes.get(id).and_then(|was| was.measured);
            if let (Some(was), Some(is)) = (was, is.measured) {
                growth.then += u128::from(was.0);
                growth.now += u128::from(is.0);
            }
        }
        let is_comparable = self.is_elastic && growth.then > 0 && growth.now > 0;
        if is_comparable { growth } else { Growth { then: 1, now: 1 } }
    }
}

#[cfg(test)]
mod tests {
    use super::super::relief;
    use super::super::tests::{movement, picture};
    use super::*;
    use crate::plan::relief::LoadPicture;

    fn elastic(mut picture: LoadPicture) -> LoadPicture {
        picture.dimensions[0].is_elastic = true;
        picture
    }

    #[test]
    fn searches_that_come_more_often_do_not_hide_the_relief() {
        let mut before = elastic(picture(&[(1, 20, Some(20)), (2, 0, Some(0))], &[(7, 1)]));
        for node in before.dimensions[0].nodes.values_mut() {
            node.fair = Load(10);
        }
        let percent = |load: [u64; 2]| {
            let after = picture(&[(1, 10, Some(load[0])), (2, 10, Some(load[1]))], &[(7, 2)]);
            relief(&before, &elastic(after), &[movement(7, 1, 2)]).percent()
        };
        assert_eq!(
            percent([20, 20]),
            Some(100),
            "each node is busy with what it has, and twice as much is done"
        );
        assert_eq!(percent([5, 5]), Some(100), "it is the shares that count");
        assert_eq!(percent([20, 0]), Some(0), "nothing followed the segment");
    }

    #[test]
    fn without_any_load_nothing_is_compared() {
        let (busy, idle) = (picture(&[(1, 20, Some(300))], &[]), picture(&[(1, 20, Some(0))], &[]));
        let growth = elastic(idle).dimensions[0].growth_since(&busy.dimensions[0]);
        assert_eq!(growth.taken_out_of(Load(7)), 7);
    }
}
