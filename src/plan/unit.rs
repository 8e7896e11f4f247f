//! In what the planner counts the loads of a dimension: the same cluster counted in bytes or in kilobytes gets the same
//! plan, and sums are exact in any order.

use super::finding::DimensionView;
use super::share::Share;
use crate::units::Load;

/// Whole numbers up to this many binary digits are exact.
const EXACT_BITS: u32 = 53;
/// Binary digits of a fair share, in units, that count behind the point. What is finer depends on the unit in which
/// somebody happens to count, and no plan may depend on that.
const SHARE_DIGITS: u32 = 20;

/// What the loads of a dimension are counted in: the largest number that divides them all, so that the same cluster
/// counted in bytes or in kilobytes gets the same plan; and shortened where their sum would not be exact.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    divisor: u64,
    /// By how many binary digits loads are shortened besides.
    shift: u32,
}

impl Unit {
    /// Of all loads of a dimension.
    pub fn of(view: &DimensionView<'_>) -> Unit {
        let dimension = view.dimension;
        let divisor =
            common_divisor(dimension.copy_load.iter().chain(&dimension.base_load).map(|load| load.0));
        let sum: u128 = view.loads.load.iter().map(|load| u128::from(load.0 / divisor)).sum();
        Unit { divisor, shift: (u128::BITS - sum.leading_zeros()).saturating_sub(EXACT_BITS) }
    }

    /// How many of it a load is.
    #[inline]
    #[allow(clippy::cast_precision_loss)] // shortened so that nothing is lost
    pub fn count(self, load: Load) -> f64 {
        // Dividing takes many times as long as the rest, and most loads have no common divisor.
        let units = if self.divisor == 1 { load.0 } else { load.0 / self.divisor };
        (units >> self.shift) as f64
    }

    /// The load that so many of it are.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn load(self, count: f64) -> Load {
        let units = (count.max(0.0) as u64).checked_shl(self.shift).unwrap_or(u64::MAX);
        Load(units.saturating_mul(self.divisor))
    }

    /// A fair share, as far as it does not depend on the unit.
    #[allow(clippy::cast_precision_loss)]
    pub fn share(self, share: Share) -> f64 {
        let digits = (1_u64 << SHARE_DIGITS) as f64;
        let units = share.decimal() / self.divisor as f64 / power_of_two(self.shift);
        (units * digits).round() / digits
    }
}

/// The largest number that divides all of these, and 1 where there are none.
pub fn common_divisor(amounts: impl Iterator<Item = u64>) -> u64 {
    let mut divisor = 0_u64;
    for amount in amounts {
        let (mut left, mut right) = (divisor, amount);
        while right != 0 {
            (left, right) = (right, left % right);
        }
        divisor = left;
        if divisor == 1 {
            break;
        }
    }
    divisor.max(1)
}

#[allow(clippy::cast_precision_loss)]
fn power_of_two(exponent: u32) -> f64 {
    (1_u64 << exponent.min(u64::BITS - 1)) as f64
}
