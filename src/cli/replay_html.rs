//! What `replay --html` writes: one page with tables and plots that needs nothing else, has no script, and is readable on
//! light and on dark ground and on paper.

use std::collections::BTreeSet;

use super::replay_view;
use crate::replay::{ReplayReport, Sample, SideFigures};
use crate::telemetry::shown;

/// A plot, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 944.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 188.0;

/// A week of turns is drawn by so many points; of those that fall together the highest is.
const MOST_POINTS: usize = 440;

/// Pressures above this are drawn at the upper edge: a node without a fair share has an infinite one.
const HIGHEST: f64 = 20.0;

/// Lines are told apart by their dashes too, so that colour-blind eyes and printers see them.
const STYLE: &str = "\
    :root { color-scheme: light dark } \
    body { font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; max-width: 62rem; margin: 2rem auto; \
    padding: 0 1rem; background: #fff; color: #1d2733 } \
    h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem } \
    table { border-collapse: collapse } th, td { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e3e7ec } \
    th { text-align: left; font-weight: 600 } td + td, th + th { text-align: right } \
    svg { width: 100%; height: auto } pre { white-space: pre-wrap } \
    text { fill: #5a6673; font: 12px system-ui, sans-serif } .grid { stroke: #e3e7ec } .axis { stroke: #8a94a0 } \
    polyline { fill: none; stroke-width: 2 } \
    .seen { stroke: #8a94a0; fill: #8a94a0 } .old { stroke: #1f6feb; fill: #1f6feb } \
    .new { stroke: #a3520f; fill: #a3520f } polyline.old { stroke-dasharray: 7 3 } polyline.new { stroke-dasharray: 2 3 } \
    polyline.seen, polyline.old, polyline.new { fill: none } .key { display: inline-block; margin-right: 1.5rem } \
    .key svg { width: 2.5rem; height: .8rem; vertical-align: middle } \
    @media (prefers-color-scheme: dark) { body { background: #14181d; color: #e7ecf1 } \
    th, td { border-color: #2a313a } .grid { stroke: #2a313a } text { fill: #a3aebb } \
    .old { stroke: #6cb0ff; fill: #6cb0ff } .new { stroke: #f0a35e; fill: #f0a35e } } \
    @media print { body { background: #fff; color: #000 } }";

/// The page.
pub fn page(report: &ReplayReport) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Replay {from} to {to}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Replay</h1>\n<pre>{heading}</pre>\n",
        from = report.from,
        to = report.to,
        heading = escaped(replay_view::heading(report).trim_end()),
    );
    table(report, &mut page);
    page.push_str(&format!("<p>{}</p>\n", escaped(&capitalised(replay_view::happened(report).trim_end()))));
    keys(report, &mut page);
    for dimension in dimensions(report) {
        page.push_str(&format!("<h2>Worst {} pressure</h2>\n", escaped(&dimension)));
        plot(&mut page, &pressure_lines(report, &dimension), 1.0);
    }
    page.push_str("<h2>Bytes of moves asked for, added up (GiB)</h2>\n");
    plot(&mut page, &byte_lines(report), 0.0);
    page.push_str("<h2>Overloaded nodes</h2>\n");
    plot(&mut page, &overloaded_lines(report), 0.0);
    page.push_str("<h2>Time out of band</h2>\n");
    strips(report, &mut page);
    page.push_str(
        "<p>Both sides see what was recorded: orders, cool-downs and moves in flight are those of then, and a plan that \
         was never carried out changes nothing.</p>\n</body>\n</html>\n",
    );
    page
}

fn table(report: &ReplayReport, page: &mut String) {
    page.push_str("<table>\n<tr><th></th><th>recorded options</th>");
    page.push_str(if report.new.is_some() { "<th>other options</th></tr>\n" } else { "</tr>\n" });
    for (name, old, new) in replay_view::rows(report) {
        let new = new.map(|new| format!("<td>{}</td>", escaped(&new))).unwrap_or_default();
        page.push_str(&format!("<tr><td>{}</td><td>{}</td>{new}</tr>\n", escaped(&name), escaped(&old)));
    }
    page.push_str("</table>\n");
}

fn keys(report: &ReplayReport, page: &mut String) {
    let mut kinds = vec![("seen", "as seen"), ("old", "recorded options")];
    if report.new.is_some() {
        kinds.push(("new", "other options"));
    }
    page.push_str("<p>");
    for (class, words) in kinds {
        page.push_str(&format!(
            "<span class=\"key\"><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><polyline class=\"{class}\" \
             points=\"0,6 40,6\"/></svg> {words}</span>"
        ));
    }
    page.push_str("</p>\n");
}

fn dimensions(report: &ReplayReport) -> BTreeSet<String> {
    let sides = [Some(&report.old), report.new.as_ref()];
    sides.into_iter().flatten().flat_map(|side| side.mean_pressures.keys().cloned()).collect()
}

/// A line of a plot: its class, and its points by time.
struct Line {
    class: &'static str,
    words: &'static str,
    points: Vec<(f64, f64)>,
}

/// Of both sides, by what a turn shows.
fn lines(report: &ReplayReport, height: impl Fn(&Sample) -> Option<f64>) -> Vec<Line> {
    let line = |class, words, side: &SideFigures| {
        let points =
            side.series.iter().filter_map(|sample| Some((seconds(sample), height(sample)?))).collect();
        Line { class, words, points }
    };
    let mut lines = vec![line("old", "recorded options", &report.old)];
    lines.extend(report.new.as_ref().map(|side| line("new", "other options", side)));
    lines
}

#[allow(clippy::cast_precision_loss)] // a picture has a thousand pixels
fn seconds(sample: &Sample) -> f64 {
    sample.at.as_millisecond() as f64 / 1000.0
}

fn pressure_lines(report: &ReplayReport, dimension: &str) -> Vec<Line> {
    let seen = report.old.series.iter().filter_map(|sample| {
        Some((seconds(sample), sample.pressures.get(dimension)?.now.decimal().min(HIGHEST)))
    });
    let mut all = vec![Line { class: "seen", words: "as seen", points: seen.collect() }];
    all.extend(lines(report, |sample| Some(sample.pressures.get(dimension)?.planned.decimal().min(HIGHEST))));
    all
}

#[allow(clippy::cast_precision_loss)] // as above
fn byte_lines(report: &ReplayReport) -> Vec<Line> {
    let mut all = lines(report, |sample| Some(sample.asked_bytes.0 as f64 / f64::from(1 << 30)));
    for line in &mut all {
        let mut sum = 0.0;
        for (_, height) in &mut line.points {
            sum += *height;
            *height = sum;
        }
    }
    all
}

#[allow(clippy::cast_precision_loss)] // as above
fn overloaded_lines(report: &ReplayReport) -> Vec<Line> {
    lines(report, |sample| Some(sample.overloaded as f64))
}

/// From amounts to places.
struct Scale {
    first: f64,
    last: f64,
    lowest: f64,
    highest: f64,
}

impl Scale {
    fn of(lines: &[Line], lowest: f64) -> Scale {
        let points = || lines.iter().flat_map(|line| &line.points);
        let fold =
            |of: fn(&(f64, f64)) -> f64, begin, pick: fn(f64, f64) -> f64| points().map(of).fold(begin, pick);
        let first = fold(|point| point.0, f64::INFINITY, f64::min);
        let last = fold(|point| point.0, f64::NEG_INFINITY, f64::max);
        let lowest = fold(|point| point.1, lowest, f64::min);
        let highest = fold(|point| point.1, lowest, f64::max);
        let highest = if highest - lowest < 0.05 { lowest + 0.05 } else { highest };
        Scale { first, last: last.max(first + 1.0), lowest, highest }
    }

    fn x(&self, time: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (time - self.first) / (self.last - self.first)
    }

    fn y(&self, height: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (height - self.lowest) / (self.highest - self.lowest)
    }
}

fn plot(page: &mut String, lines: &[Line], lowest: f64) {
    if lines.iter().all(|line| line.points.is_empty()) {
        page.push_str("<p>Nothing is known of it.</p>\n");
        return;
    }
    let scale = Scale::of(lines, lowest);
    begin(page, HEIGHT, "a plot over the time of the recording; the figures are in the table above");
    for part in 0..=4 {
        let height = scale.lowest + (scale.highest - scale.lowest) * f64::from(part) / 4.0;
        let y = scale.y(height);
        page.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{x}\" y=\"{below:.1}\" text-anchor=\"end\">{height:.2}</text>\n",
            x = LEFT - 8.0,
            below = y + 4.0
        ));
    }
    times(page, &scale, BOTTOM);
    for line in lines {
        page.push_str(&format!("<polyline class=\"{}\" points=\"", line.class));
        for (time, height) in thinned(&line.points) {
            page.push_str(&format!("{:.1},{:.1} ", scale.x(time), scale.y(height)));
        }
        page.push_str(&format!("\"><title>{}</title></polyline>\n", line.words));
    }
    page.push_str("</svg>\n");
}

fn begin(page: &mut String, height: f64, words: &str) {
    page.push_str(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{words}\">\n"
    ));
}

/// The first and the last time, under the axis.
fn times(page: &mut String, scale: &Scale, bottom: f64) {
    for (time, anchor) in [(scale.first, "start"), (scale.last, "end")] {
        #[allow(clippy::cast_possible_truncation)] // a calendar's seconds fit
        let at = jiff::Timestamp::from_second(time as i64).map(|at| at.to_string()).unwrap_or_default();
        page.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{at}</text>\n",
            scale.x(time),
            bottom + 20.0
        ));
    }
}

/// The highest of the points that fall together.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(MOST_POINTS).max(1);
    let highest = |points: &[(f64, f64)]| {
        points.iter().copied().reduce(|one, other| if other.1 > one.1 { other } else { one })
    };
    points.chunks(together).filter_map(highest).collect()
}

/// One strip a side, filled where a node was above the band.
fn strips(report: &ReplayReport, page: &mut String) {
    const STRIP: f64 = 18.0;
    let all = lines(report, |sample| sample.is_out_of_band.map(|is_out| if is_out { 1.0 } else { 0.0 }));
    let scale = Scale::of(&all, 0.0);
    if !scale.first.is_finite() {
        page.push_str("<p>Nothing is known of it.</p>\n");
        return;
    }
    begin(page, 84.0, "when a node was above the band, by the recorded and by the other options");
    for (position, line) in all.iter().enumerate() {
        let y = if position == 0 { 4.0 } else { 4.0 + STRIP + 8.0 };
        page.push_str(&format!(
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{}\" height=\"{STRIP}\" fill=\"none\" class=\"axis\"/>\n",
            RIGHT - LEFT
        ));
        let mut from = None;
        let ends = line.points.iter().copied().chain([(scale.last, 0.0)]);
        for (time, is_out) in ends {
            match (from, is_out > 0.0) {
                (None, true) => from = Some(time),
                (Some(begun), false) => {
                    let (x, end) = (scale.x(begun), scale.x(time));
                    page.push_str(&format!(
                        "<rect class=\"{}\" x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{STRIP}\"><title>{}: above \
                         the band</title></rect>\n",
                        line.class,
                        (end - x).max(0.5),
                        line.words
                    ));
                    from = None;
                }
                _ => {}
            }
        }
    }
    times(page, &scale, 56.0);
    page.push_str("</svg>\n");
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// For HTML; control characters are shown, line breaks stay.
fn escaped(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            shown(line).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
        })
        .collect();
    lines.join("\n")
}
