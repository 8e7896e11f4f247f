//! The cost curve as a picture: one SVG file that needs nothing else, has no script, and is readable on light and on dark
//! ground.

use std::fmt::Write;

use super::curve_view;
use crate::situation::curve::{BandPoint, Curve, Point};

/// The picture, in its own units.
const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 540.0;

/// Where the curve itself is.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 848.0;
const TOP: f64 = 112.0;
const BOTTOM: f64 = 448.0;

/// Share of the height below the lowest point.
const ROOM_BELOW: f64 = 0.09;

/// Pressures above this are drawn at the upper edge: a node without a fair share has an infinite one.
const HIGHEST: f64 = 20.0;

/// Labels closer than this would lie on each other.
const LABEL_WIDTH: f64 = 40.0;
const LABEL_HEIGHT: f64 = 16.0;

/// From a point to the foot of the label under it.
const LABEL_BELOW: f64 = 20.0;

/// Colours are told apart in brightness too, so that colour-blind eyes and printers see them.
const STYLE: &str = "\
    .ground { fill: #ffffff } .grid { stroke: #e3e7ec } .axis { stroke: #8a94a0 } \
    text { fill: #1d2733; font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif } \
    .soft { fill: #5a6673 } .title { font-size: 19px; font-weight: 600 } .label { font-size: 12px } \
    .steps { stroke: #1f6feb; stroke-width: 2.5; fill: none } \
    .under { fill: #1f6feb; opacity: .09 } \
    .band { fill: #ffffff; stroke: #a3520f; stroke-width: 2 } .bandline { stroke: #a3520f; fill: none; opacity: .45 } .bandtext { fill: #8f4409 } \
    .floor { stroke: #2a7d4f; stroke-width: 1.5; stroke-dasharray: 6 5 } .floortext { fill: #226843 } \
    .knee { fill: #c2255c } .kneeline { stroke: #c2255c; stroke-width: 1.2; stroke-dasharray: 2 4 } \
    .kneetext { fill: #a61e4d; font-weight: 600 } \
    @media (prefers-color-scheme: dark) { \
    .ground { fill: #14181d } .grid { stroke: #2a313a } .axis { stroke: #77828e } \
    text { fill: #e7ecf1 } .soft { fill: #a3aebb } \
    .steps { stroke: #6cb0ff } .under { fill: #6cb0ff; opacity: .12 } \
    .band { fill: #14181d; stroke: #f0a35e } .bandline { stroke: #f0a35e } .bandtext { fill: #f3b57c } \
    .floor { stroke: #5fcb94 } .floortext { fill: #7bd9a8 } \
    .knee { fill: #ff7eb0 } .kneeline { stroke: #ff7eb0 } .kneetext { fill: #ff9cc2 } }";

/// Appends a line of the picture. Writing to a text cannot fail.
macro_rules! draw {
    ($picture:expr, $($format:tt)+) => {
        if writeln!($picture, $($format)+).is_err() {
            return;
        }
    };
}

/// The picture of a curve.
pub fn svg(curve: &Curve, title: &str) -> String {
    let scale = Scale::of(curve);
    let explanation = curve_view::explanation(curve);
    let title = escaped(title);
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title description\">\n\
         <title id=\"title\">{title}</title>\n<desc id=\"description\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"38\">{title}</text>\n",
        escaped(explanation.trim())
    );
    legend(&mut picture);
    axes(&scale, &mut picture);
    floor(curve, &scale, &mut picture);
    steps(&curve.steps, &scale, &mut picture);
    knee_line(curve, &scale, &mut picture);
    bands(&curve.bands, &scale, &mut picture);
    knee(curve, &scale, &mut picture);
    explain(explanation.trim(), &mut picture);
    picture.push_str("</svg>\n");
    picture
}

/// From amounts to places.
struct Scale {
    most_bytes: f64,
    unit: (f64, &'static str),
    bytes_step: f64,
    lowest: f64,
    highest: f64,
    pressure_step: f64,
}

impl Scale {
    #[allow(clippy::cast_precision_loss)] // a picture has a thousand pixels
    fn of(curve: &Curve) -> Scale {
        let all = || curve.steps.iter().chain(curve.bands.iter().map(|band| &band.point));
        let most = all().map(|point| point.bytes.0).max().unwrap_or(0).max(1) as f64;
        let unit = unit_of(most);
        let bytes_step = nice_step(most / unit.0, 6.0);
        let most_bytes = (most / unit.0 / bytes_step).ceil() * bytes_step * unit.0;
        let pressures = || all().map(height_of);
        let top = pressures().fold(curve.floor.decimal().min(HIGHEST), f64::max);
        let bottom = pressures().fold(curve.floor.decimal(), f64::min).min(1.0);
        let pressure_step = nice_step((top - bottom).max(0.02), 5.0);
        let highest = ((top / pressure_step).ceil() * pressure_step).max(bottom + pressure_step);
        // The floor stands clear of the axis.
        let lowest = bottom - (highest - bottom) * ROOM_BELOW;
        Scale { most_bytes, unit, bytes_step, lowest, highest, pressure_step }
    }

    #[allow(clippy::cast_precision_loss)] // as above
    fn x(&self, point: &Point) -> f64 {
        LEFT + (RIGHT - LEFT) * point.bytes.0 as f64 / self.most_bytes
    }

    fn y(&self, pressure: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (pressure - self.lowest) / (self.highest - self.lowest)
    }
}

fn height_of(point: &Point) -> f64 {
    point.worst.decimal().min(HIGHEST)
}

/// The largest unit of which there is at least one.
fn unit_of(bytes: f64) -> (f64, &'static str) {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = 1.0;
    let mut name = units[0];
    for larger in &units[1..] {
        if bytes < size * 1024.0 {
            break;
        }
        size *= 1024.0;
        name = larger;
    }
    (size, name)
}

/// 1, 2 or 5 times a power of ten, so that the range has about so many steps.
fn nice_step(range: f64, steps: f64) -> f64 {
    let rough = range / steps;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
    factor * power
}

/// A number without digits that say nothing.
fn plain(number: f64, step: f64) -> String {
    if step >= 1.0 {
        return format!("{number:.0}");
    }
    if step >= 0.1 {
        format!("{number:.1}")
    } else if step >= 0.01 {
        format!("{number:.2}")
    } else {
        format!("{number:.3}")
    }
}

fn legend(picture: &mut String) {
    draw!(picture, "<path class=\"steps\" d=\"M{LEFT} 66h28\"/>");
    draw!(picture, "<text x=\"{}\" y=\"70\">the plan, step by step</text>", LEFT + 36.0);
    draw!(picture, "<circle class=\"band\" cx=\"290\" cy=\"66\" r=\"5\"/>");
    draw!(picture, "<text x=\"302\" y=\"70\">plans that aim at another pressure</text>");
    draw!(
        picture,
        "<path class=\"floor\" d=\"M600 66h28\"/><text x=\"636\" y=\"70\">the best that is possible</text>"
    );
}

fn axes(scale: &Scale, picture: &mut String) {
    let mut pressure = (scale.lowest / scale.pressure_step).ceil() * scale.pressure_step;
    while pressure <= scale.highest + scale.pressure_step / 2.0 {
        let y = scale.y(pressure);
        draw!(picture, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        let shown = plain(pressure, scale.pressure_step);
        draw!(
            picture,
            "<text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{shown}</text>",
            LEFT - 10.0,
            y + 4.5
        );
        pressure += scale.pressure_step;
    }
    let (size, name) = scale.unit;
    let mut amount = 0.0;
    while amount * size <= scale.most_bytes * 1.001 {
        let x = LEFT + (RIGHT - LEFT) * amount * size / scale.most_bytes;
        draw!(picture, "<path class=\"axis\" d=\"M{x:.1} {BOTTOM}v6\"/>");
        let shown = plain(amount, scale.bytes_step);
        draw!(
            picture,
            "<text class=\"soft\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{shown}</text>",
            BOTTOM + 22.0
        );
        amount += scale.bytes_step;
    }
    draw!(picture, "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>");
    draw!(picture, "<text x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">{name} moved</text>", BOTTOM + 42.0);
    draw!(picture, "<text x=\"{LEFT}\" y=\"{}\">worst pressure (1 is a fair share)</text>", TOP - 14.0);
}

fn floor(curve: &Curve, scale: &Scale, picture: &mut String) {
    let floor = curve.floor.decimal();
    if floor > scale.highest {
        return;
    }
    let y = scale.y(floor);
    draw!(picture, "<path class=\"floor\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
    draw!(
        picture,
        "<text class=\"label floortext\" x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\">{floor:.3}</text>",
        y - 6.0
    );
}

fn steps(points: &[Point], scale: &Scale, picture: &mut String) {
    let place = |point: &Point| format!("{:.1} {:.1}", scale.x(point), scale.y(height_of(point)));
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let line: Vec<String> = points.iter().map(place).collect();
    let line = line.join("L");
    draw!(picture, "<path class=\"under\" d=\"M{line}V{BOTTOM}H{:.1}Z\"/>", scale.x(first));
    draw!(picture, "<path class=\"steps\" d=\"M{line}\" stroke-linejoin=\"round\"/>");
    let now = format!("now {:.2}", first.worst.decimal());
    draw!(
        picture,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{now}</text>",
        scale.x(first) + 8.0,
        scale.y(height_of(first)) - 8.0
    );
    if last.moves > 0 {
        draw!(
            picture,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"none\" class=\"steps\"/>",
            scale.x(last),
            scale.y(height_of(last))
        );
    }
}

/// The tightest band of those that come to the same point gives it its label.
fn bands(bands: &[BandPoint], scale: &Scale, picture: &mut String) {
    let place = |point: &Point| (scale.x(point), scale.y(height_of(point)));
    let moved: Vec<&BandPoint> = bands.iter().filter(|band| band.point.moves > 0).collect();
    let line: Vec<String> =
        moved.iter().map(|band| place(&band.point)).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    if !line.is_empty() {
        draw!(picture, "<path class=\"bandline\" d=\"M{}\"/>", line.join("L"));
    }
    for band in &moved {
        let (x, y) = place(&band.point);
        draw!(picture, "<circle class=\"band\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>");
    }
    let mut labels: Vec<(f64, f64)> = Vec::new();
    for (position, band) in moved.iter().enumerate() {
        let (x, y) = place(&band.point);
        let is_last_of_its_place = moved.get(position + 1).is_none_or(|next| next.point != band.point);
        // The plan's own line mostly runs above.
        let below = y + LABEL_BELOW;
        let below = if below < BOTTOM - 4.0 { below } else { y - 10.0 };
        let is_free = labels.iter().all(|(other_x, other_y)| {
            (x - other_x).abs() > LABEL_WIDTH || (below - other_y).abs() > LABEL_HEIGHT
        });
        if is_last_of_its_place && is_free {
            labels.push((x, below));
            let band = band.band.decimal();
            draw!(
                picture,
                "<text class=\"label bandtext\" x=\"{x:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{band:.2}</text>"
            );
        }
    }
}

fn knee_line(curve: &Curve, scale: &Scale, picture: &mut String) {
    let Some(knee) = curve.knee else { return };
    let (x, y) = (scale.x(&knee.point), scale.y(height_of(&knee.point)));
    draw!(picture, "<path class=\"kneeline\" d=\"M{x:.1} {TOP}V{y:.1}\"/>");
}

fn knee(curve: &Curve, scale: &Scale, picture: &mut String) {
    let Some(knee) = curve.knee else { return };
    let (x, y) = (scale.x(&knee.point), scale.y(height_of(&knee.point)));
    draw!(picture, "<path class=\"knee\" d=\"M{x:.1} {:.1}l8 8l-8 8l-8 -8z\"/>", y - 8.0);
    // On the side where there is room.
    let (place, anchor) =
        if x < f64::midpoint(LEFT, RIGHT) { (x + 12.0, "start") } else { (x - 12.0, "end") };
    let said = format!("the knee: {} for {:.2}", knee.point.bytes, knee.point.worst.decimal());
    draw!(
        picture,
        "<text class=\"kneetext\" x=\"{place:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{said}</text>",
        TOP + 14.0
    );
}

/// The sentence under the picture, broken where it is too long.
fn explain(sentence: &str, picture: &mut String) {
    let mut line = String::new();
    let mut y = BOTTOM + 64.0;
    for word in sentence.split(' ') {
        if line.len() + word.len() > 118 {
            draw!(picture, "<text class=\"soft\" x=\"{LEFT}\" y=\"{y}\">{}</text>", escaped(&line));
            line.clear();
            y += 18.0;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    draw!(picture, "<text class=\"soft\" x=\"{LEFT}\" y=\"{y}\">{}</text>", escaped(&line));
}

fn escaped(text: &str) -> String {
    let shown = crate::telemetry::shown(text);
    shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_nice_and_numbers_short() {
        assert!((nice_step(97.0, 6.0) - 20.0).abs() < 1e-9);
        assert!((nice_step(0.4, 5.0) - 0.1).abs() < 1e-9);
        assert_eq!((plain(1.25, 0.05), plain(40.0, 20.0)), ("1.25".to_owned(), "40".to_owned()));
        assert_eq!(unit_of(3.0 * 1024.0 * 1024.0).1, "MiB");
        assert_eq!(unit_of(5.0).1, "bytes");
    }
}
