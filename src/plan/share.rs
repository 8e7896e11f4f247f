//! A fair share with its fraction: ten segments on three nodes are 3 ⅓ each, and a node with four is not a third above
//! its share but a fifth.

use crate::units::{Load, Ratio};

/// A fair share with its fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u128);

/// Binary digits of the fraction of a share: one part in 10¹² of a unit, and a load in millionths still fits beside
/// it.
const SHARE_BITS: u32 = 40;

impl Share {
    /// So many whole units.
    pub fn whole(units: u128) -> Share {
        Share(units.min(u128::MAX >> SHARE_BITS) << SHARE_BITS)
    }

    /// `to_share × weight / total`, where the product fits 128 bits and the total 88.
    pub fn part(to_share: u128, weight: u128, total: u128) -> Share {
        let product = to_share * weight;
        let fraction = (product % total << SHARE_BITS) / total;
        Share(Share::whole(product / total).0.saturating_add(fraction))
    }

    /// The nearest to a number of units.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn of_units(units: f64) -> Share {
        Share((units * (1_u64 << SHARE_BITS) as f64) as u128)
    }

    /// Whole units, rounded down.
    pub fn units(self) -> u64 {
        u64::try_from(self.0 >> SHARE_BITS).unwrap_or(u64::MAX)
    }

    /// In units, with the fraction.
    #[allow(clippy::cast_precision_loss)]
    pub fn decimal(self) -> f64 {
        self.0 as f64 / (1_u64 << SHARE_BITS) as f64
    }

    /// Both together.
    pub fn saturating_add(self, other: Share) -> Share {
        Share(self.0.saturating_add(other.0))
    }

    /// A load divided by this share. Nothing divided by nothing is zero.
    pub fn pressure(self, load: Load) -> Ratio {
        if self.0 == 0 {
            return Ratio::of(load.0, 0);
        }
        let millionths = u128::from(load.0) * u128::from(Ratio::ONE.0);
        Ratio(u64::try_from((millionths << SHARE_BITS) / self.0).unwrap_or(u64::MAX))
    }

    /// The largest load at which the pressure is not above this ratio.
    pub fn load_at(self, pressure: Ratio) -> u64 {
        // pressure_of(load) <= pressure exactly when load × 10⁶ × 2⁴⁰ < (pressure + 1) × share.
        let limit = u128::from(pressure.0) + 1;
        let (high, low) = (self.0 >> SHARE_BITS, self.0 & ((1 << SHARE_BITS) - 1));
        let one = u128::from(Ratio::ONE.0);
        // limit × share / (10⁶ × 2⁴⁰), rounded up, less one; the parts keep it inside 128 bits.
        let Some(whole) = high.checked_mul(limit) else { return u64::MAX };
        let rest = (whole % one << SHARE_BITS) + low.saturating_mul(limit);
        let up = rest.div_ceil(one << SHARE_BITS);
        u64::try_from((whole / one + up).saturating_sub(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_fractions() {
        let third = Share::part(10, 1, 3);
        assert_eq!((third.units(), third.pressure(Load(4))), (3, Ratio(1_200_000)));
        assert_eq!(Share::whole(0).pressure(Load(0)), Ratio::ZERO);
        assert_eq!(Share::whole(0).pressure(Load(1)), Ratio::MAX);
        assert_eq!(Share::whole(u128::MAX).units(), u64::MAX);
    }

    #[test]
    fn the_load_at_a_pressure_is_the_last_one_that_is_not_above_it() {
        for share in [Share::part(10, 1, 3), Share::whole(7), Share::part(1, 1, 9), Share::whole(1 << 60)] {
            for pressure in [Ratio(0), Ratio(1), Ratio(1_050_000), Ratio::ONE, Ratio(30_000_000)] {
                let load = share.load_at(pressure);
                assert!(share.pressure(Load(load)) <= pressure, "{share:?} {pressure:?}");
                if load < u64::MAX {
                    assert!(share.pressure(Load(load + 1)) > pressure, "{share:?} {pressure:?}");
                }
            }
        }
    }
}
