//! What `plan --curve` prints: what each band costs and brings, where the knee is, and what that means.

use super::table::{Align, Table};
use crate::situation::curve::{Curve, Knee, Point};
use crate::units::Ratio;

/// Parts of the plan that are shown, in per cent of its bytes.
const SHARES: [u64; 5] = [10, 25, 50, 75, 100];

/// For people.
pub fn tables(curve: &Curve) -> String {
    let Some(last) = curve.steps.last().filter(|last| last.moves > 0) else {
        return format!("{}\n{}", nothing(curve), bands(curve));
    };
    let columns = [
        ("part of the plan", Align::Right),
        ("moves", Align::Right),
        ("bytes", Align::Right),
        ("worst pressure then", Align::Right),
    ];
    let mut table = Table::new(&columns);
    table.row(row("nothing".to_owned(), &curve.steps[0]));
    for share in SHARES {
        let enough =
            |point: &&Point| u128::from(point.bytes.0) * 100 >= u128::from(last.bytes.0) * u128::from(share);
        if let Some(point) = curve.steps.iter().find(enough) {
            table.row(row(format!("{share} %"), point));
        }
    }
    let floor = format!("At best the worst pressure could be {:.3}.", curve.floor.decimal());
    format!("{table}\n{floor}\n\n{}\n{}", bands(curve), explanation(curve))
}

fn nothing(curve: &Curve) -> String {
    let worst = curve.steps.first().map_or(Ratio::ZERO, |point| point.worst);
    format!(
        "With the settings as they are, nothing is moved: the worst pressure is {:.3}.\n",
        worst.decimal()
    )
}

fn row(name: String, point: &Point) -> [String; 4] {
    [name, point.moves.to_string(), point.bytes.to_string(), format!("{:.3}", point.worst.decimal())]
}

fn bands(curve: &Curve) -> String {
    let columns = [
        ("relieve down to", Align::Right),
        ("moves", Align::Right),
        ("bytes", Align::Right),
        ("worst pressure then", Align::Right),
        ("", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for band in &curve.bands {
        let is_knee = curve.knee.is_some_and(|knee| knee.point == band.point);
        let cells = row(format!("{:.2}", band.band.decimal()), &band.point);
        table.row(cells.into_iter().chain([if is_knee { "<- the knee" } else { "" }.to_owned()]));
    }
    format!("{table}\n")
}

/// What the knee means.
pub fn explanation(curve: &Curve) -> String {
    match curve.knee {
        Some(Knee { point, gain_before, gain_after, .. }) => format!(
            "The knee is at {} ({} moves, worst pressure {:.3}): up to there each GiB takes {} off the worst pressure, \
             beyond it {}{}.\n",
            point.bytes,
            point.moves,
            point.worst.decimal(),
            small(gain_before),
            small(gain_after),
            dearer(gain_before, gain_after)
        ),
        None => {
            "There is no knee: every byte brings about as much as the one before, or nothing can be gained.\n"
                .to_owned()
        }
    }
}

/// By how much the rest costs more for the same gain.
fn dearer(before: Ratio, after: Ratio) -> String {
    if after == Ratio::ZERO {
        return String::new();
    }
    format!(", {:.1} times as dear", Ratio::of(before.0, after.0).decimal())
}

/// Two digits that say something.
fn small(ratio: Ratio) -> String {
    let digits = match ratio.0 {
        100_000.. => 2,
        10_000.. => 3,
        1_000.. => 4,
        100.. => 5,
        _ => 6,
    };
    format!("{:.digits$}", ratio.decimal())
}
