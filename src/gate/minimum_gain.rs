//! Minimum gain: a plan that hardly changes anything is not begun. The planner weighs every move against its price;
//! this weighs all of them together against the unrest.

use crate::reason::Reason;
use crate::units::Ratio;

/// Why moves that gain this much are not begun with. `gainable` is asked for only then.
pub fn too_small(gain: Ratio, minimum: Ratio, gainable: impl FnOnce() -> Ratio) -> Option<Reason> {
    (gain < minimum).then(|| Reason::GainTooSmall { gain, gainable: gainable(), minimum })
}
