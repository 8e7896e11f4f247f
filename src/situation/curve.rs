//! The cost curve: how even a cluster gets for how many bytes. It is made of the steps of one full plan, in their order,
//! and of plans for other bands, because the first bytes of a plan that aims low are not spent like those of one that
//! aims high.

use serde::Serialize;

use super::Situation;
use crate::model::{NodeIndex, PlanningInput, Snapshot};
use crate::plan::{DimensionView, Placement, Step};
use crate::policy::Assessment;
use crate::units::{Bytes, Load, Ratio};

/// So many points of a plan are kept at most: as many as a chart shows.
const MOST_POINTS: usize = 200;

/// The bands that are planned beside the configured one: every node above is relieved down to it.
const BANDS: [Ratio; 9] = [
    Ratio(1_500_000),
    Ratio(1_300_000),
    Ratio(1_200_000),
    Ratio(1_150_000),
    Ratio(1_100_000),
    Ratio(1_070_000),
    Ratio(1_050_000),
    Ratio(1_030_000),
    Ratio(1_010_000),
];

/// Gains below this are noise: a tenth of a per cent of pressure.
const NO_GAIN: u64 = 1_000;

/// How even the cluster is after so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Moves until here.
    pub moves: usize,
    /// Bytes until here.
    pub bytes: Bytes,
    /// The worst pressure of any node in any dimension then.
    pub worst: Ratio,
}

/// What a plan for another band comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BandPoint {
    /// The band: nodes above it are relieved down to it.
    pub band: Ratio,
    /// What that costs and brings.
    #[serde(flatten)]
    pub point: Point,
}

/// The curve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Curve {
    /// The steps of the plan as configured, from nothing moved to all of it.
    pub steps: Vec<Point>,
    /// Plans for other bands, the widest first.
    pub bands: Vec<BandPoint>,
    /// The lowest that the worst pressure can get.
    pub floor: Ratio,
    /// Where more bytes begin to bring much less.
    pub knee: Option<Knee>,
}

/// The point after which bytes bring much less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Knee {
    /// Which point of [`Curve::best`].
    pub position: usize,
    /// It.
    #[serde(flatten)]
    pub point: Point,
    /// What a GiB takes off the worst pressure up to here.
    pub gain_before: Ratio,
    /// The same beyond.
    pub gain_after: Ratio,
}

impl Curve {
    /// The curve of a situation.
    pub fn of(situation: &Situation) -> Curve {
        let assessment = situation.assess();
        let decision = situation.decide();
        let steps = along(&situation.input, &assessment, &decision.plan.steps);
        let bands = BANDS.iter().map(|band| band_point(situation, *band)).collect();
        let floor = decision.plan.proof.dimensions.iter().map(|proof| proof.floor).max();
        let mut curve = Curve { steps, bands, floor: floor.unwrap_or(Ratio::ONE), knee: None };
        curve.knee = knee(&curve.best());
        curve
    }

    /// The points of all plans that no other undercuts: each is the cheapest way to be as even as it is.
    pub fn best(&self) -> Vec<Point> {
        let mut all: Vec<Point> =
            self.steps.iter().copied().chain(self.bands.iter().map(|band| band.point)).collect();
        all.sort_by_key(|point| (point.bytes, point.worst, point.moves));
        let mut best: Vec<Point> = Vec::new();
        for point in all {
            if best.last().is_none_or(|last| point.worst < last.worst) {
                best.push(point);
            }
        }
        best
    }
}

fn band_point(situation: &Situation, band: Ratio) -> BandPoint {
    let mut other = situation.clone();
    other.policies.for_each_dimension(|dimension| (dimension.enter, dimension.leave) = (band, band));
    let assessment = other.assess();
    let steps = other.decide().plan.steps;
    let all = along(&other.input, &assessment, &steps);
    // There is always the point of nothing moved.
    BandPoint { band, point: all[all.len() - 1] }
}

/// The worst pressure along the steps of a plan, from nothing moved to all of it.
pub fn along(input: &PlanningInput, assessment: &Assessment, steps: &[Step]) -> Vec<Point> {
    let placement = Placement::projected(&input.snapshot, &input.in_flight);
    let views = DimensionView::all(&input.snapshot, assessment, &placement);
    let mut loads: Vec<Vec<Load>> = views.iter().map(|view| view.loads.load.clone()).collect();
    let mut points = vec![Point { moves: 0, bytes: Bytes::ZERO, worst: worst(&views, &loads) }];
    let (mut moves, mut bytes) = (0, Bytes::ZERO);
    let every = steps.len().div_ceil(MOST_POINTS).max(1);
    for (position, step) in steps.iter().enumerate() {
        for movement in &step.moves {
            moves += 1;
            bytes = bytes.saturating_add(movement.bytes);
            carry_out(&input.snapshot, movement, &views, &mut loads);
        }
        if (position + 1) % every == 0 || position + 1 == steps.len() {
            points.push(Point { moves, bytes, worst: worst(&views, &loads) });
        }
    }
    points
}

fn carry_out(
    snapshot: &Snapshot,
    movement: &crate::plan::Move,
    views: &[DimensionView<'_>],
    loads: &mut [Vec<Load>],
) {
    let replica = snapshot.replica_index(movement.replica);
    let copy = replica.and_then(|replica| snapshot.copy_index(movement.segment, replica));
    let ends = snapshot.node_index(movement.from).zip(snapshot.node_index(movement.to));
    let (Some(copy), Some((from, to))) = (copy, ends) else { return };
    for (view, loads) in views.iter().zip(loads) {
        let load = view.dimension.copy_load[copy.at()];
        loads[from.at()] = loads[from.at()].saturating_sub(load);
        loads[to.at()] = loads[to.at()].saturating_add(load);
    }
}

fn worst(views: &[DimensionView<'_>], loads: &[Vec<Load>]) -> Ratio {
    let of_view = |(view, loads): (&DimensionView<'_>, &Vec<Load>)| {
        let pressure = |(position, load): (usize, &Load)| {
            view.loads.pressure_with(NodeIndex::from_position(position), *load)
        };
        loads.iter().enumerate().filter_map(pressure).max()
    };
    views.iter().zip(loads).filter_map(of_view).max().unwrap_or(Ratio::ZERO)
}

/// The point that lies furthest below the straight line from the first to the last one, both axes scaled to their range:
/// up to there the curve falls more steeply than on the whole, from there on less.
fn knee(points: &[Point]) -> Option<Knee> {
    let (first, last) = (points.first()?, points.last()?);
    let range = first.worst.0.saturating_sub(last.worst.0);
    let all_bytes = last.bytes.0;
    if points.len() < 3 || range < NO_GAIN || all_bytes == 0 {
        return None;
    }
    // In millionths of the range: how far down it is, less how far right.
    let below = |point: &Point| {
        let down = Ratio::of(first.worst.0 - point.worst.0, range).0;
        i128::from(down) - i128::from(Ratio::of(point.bytes.0, all_bytes).0)
    };
    // Of equal ones the cheapest.
    let (position, point) = points
        .iter()
        .enumerate()
        .max_by_key(|(position, point)| (below(point), std::cmp::Reverse(*position)))?;
    if below(point) <= 0 {
        return None;
    }
    let per_gib = |gain: u64, bytes: u64| {
        let gain = u128::from(gain) * (1 << 30) / u128::from(bytes.max(1));
        Ratio(u64::try_from(gain).unwrap_or(u64::MAX))
    };
    Some(Knee {
        position,
        point: *point,
        gain_before: per_gib(first.worst.0 - point.worst.0, point.bytes.0),
        gain_after: per_gib(point.worst.0 - last.worst.0, all_bytes - point.bytes.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: &[(u64, u64)]) -> Vec<Point> {
        let point = |(bytes, worst): &(u64, u64)| Point {
            moves: 0,
            bytes: Bytes(bytes << 30),
            worst: Ratio(worst * 10_000),
        };
        all.iter().map(point).collect()
    }

    #[test]
    fn the_knee_is_where_bytes_begin_to_bring_less() {
        let knee = knee(&points(&[(0, 200), (1, 150), (2, 110), (5, 106), (10, 103), (20, 101)])).unwrap();
        assert_eq!((knee.position, knee.point.bytes), (2, Bytes(2 << 30)));
        assert_eq!(knee.gain_before, Ratio(450_000), "0.9 for 2 GiB");
        assert_eq!(knee.gain_after, Ratio(5_000), "0.09 for 18 GiB");
    }

    #[test]
    fn a_straight_line_has_no_knee_and_neither_has_nothing() {
        assert_eq!(knee(&points(&[(0, 200), (1, 150), (2, 100)])), None);
        assert_eq!(knee(&points(&[(0, 200)])), None);
        assert_eq!(knee(&[]), None);
        assert_eq!(knee(&points(&[(0, 100), (1, 100), (2, 100)])), None);
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        let point = |bytes, worst| Point { moves: 1, bytes: Bytes(bytes), worst: Ratio(worst) };
        assert!(knee(&[point(0, u64::MAX), point(1, 5), point(u64::MAX, 0)]).is_some());
    }
}
