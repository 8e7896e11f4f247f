//! The cost curve of the plan in force: how even the cluster gets for how many bytes.

use super::figures::{Scale, bytes, count, place, times};
use crate::situation::curve::Point;
use crate::units::Ratio;

/// The picture, in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// The picture begins a little under the floor, and ends a little above the first point.
const MARGIN: f64 = 0.06;

/// Parts of the way whose price is told in words.
const PARTS_OF_THE_WAY: [(u64, &str); 2] = [(500_000, "Half of the relief"), (900_000, "Nine tenths of it")];

/// The curve as a picture and in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CurvePicture {
    pub(super) line: String,
    pub(super) floor: Option<String>,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) lines: Vec<String>,
}

impl CurvePicture {
    /// Of the points along a plan; nothing when it has no steps, or brings nothing.
    pub(super) fn of(points: &[Point], floor: Option<f64>) -> Option<CurvePicture> {
        let (first, last) = (points.first()?, points.last()?);
        if last.moves == 0 {
            return None;
        }
        let pressures = || points.iter().map(|point| point.worst.decimal());
        let top = pressures().fold(f64::MIN, f64::max);
        let bottom = pressures().fold(floor.unwrap_or(f64::MAX), f64::min);
        let margin = (top - bottom) * MARGIN;
        let down = Scale::new(bottom - margin, top + margin, HEIGHT, 0.0);
        let right = Scale::new(0.0, decimal(last.bytes.0), 0.0, WIDTH);
        let place_of = |point: &Point| {
            format!("{},{}", place(right.at(decimal(point.bytes.0))), place(down.at(point.worst.decimal())))
        };
        let line: Vec<String> = points.iter().map(place_of).collect();
        Some(CurvePicture {
            line: line.join(" "),
            floor: floor.map(|floor| place(down.at(floor))),
            first: format!("nothing moved: {}", times(first.worst.decimal())),
            last: format!("{}: {}", bytes(last.bytes.0), times(last.worst.decimal())),
            lines: PARTS_OF_THE_WAY
                .iter()
                .filter_map(|(part, name)| price(points, Ratio(*part), name))
                .collect(),
        })
    }
}

#[allow(clippy::cast_precision_loss)] // a picture has a thousand pixels
fn decimal(number: u64) -> f64 {
    number as f64
}

/// What it takes to come so far.
fn price(points: &[Point], part: Ratio, name: &str) -> Option<String> {
    let (first, last) = (points.first()?, points.last()?);
    let drop = first.worst.0.checked_sub(last.worst.0).filter(|drop| *drop > 0)?;
    let wanted = first.worst.0 - part.share_of(drop);
    let point = points.iter().find(|point| point.worst.0 <= wanted)?;
    let moves = count(point.moves, "move");
    Some(format!(
        "{name}, down to {}, takes {moves} and {}.",
        times(point.worst.decimal()),
        bytes(point.bytes.0)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn point(moves: usize, gib: u64, worst: u64) -> Point {
        Point { moves, bytes: Bytes(gib << 30), worst: Ratio(worst * 10_000) }
    }

    #[test]
    fn the_price_of_half_the_way_is_told() {
        let picture =
            CurvePicture::of(&[point(0, 0, 200), point(1, 1, 150), point(5, 9, 100)], Some(0.9)).unwrap();
        assert_eq!(
            picture.lines,
            [
                "Half of the relief, down to 1.50×, takes 1 move and 1.0 GiB.",
                "Nine tenths of it, down to 1.00×, takes 5 moves and 9.0 GiB."
            ]
        );
        assert!(picture.line.starts_with("0,") && picture.line.contains("1000,"), "{}", picture.line);
    }

    #[test]
    fn a_plan_of_nothing_has_no_curve_and_one_that_brings_nothing_no_price() {
        assert_eq!(CurvePicture::of(&[], None), None);
        assert_eq!(CurvePicture::of(&[point(0, 0, 100)], None), None);
        let flat = CurvePicture::of(&[point(0, 0, 100), point(1, 1, 100)], None).unwrap();
        assert!(flat.lines.is_empty() && !flat.line.contains("NaN"), "{flat:?}");
    }
}
