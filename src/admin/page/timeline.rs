//! The timeline: pressure, moves, relief and search latency over the same time, with pauses, closed windows and failed
//! looks shaded. Each lane is a picture of its own height that any width of screen stretches.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::figures::{Scale, clock, count, day_and_clock, place, times};
use crate::control_loop::TrailPoint;
use crate::execute::operation::Operation;
use crate::journal::WaveRecord;

/// Every lane, in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// Lines keep clear of the edges.
const EDGE: f64 = 4.0;

/// So many columns of moves: as many as can be told apart.
const COLUMNS: usize = 100;

/// Pressures above this are cut: one node without a fair share would flatten everything else.
const HIGHEST: f64 = 5.0;

/// Kinds of lines that the style sheet tells apart.
const STYLES: usize = 6;

/// A relief is drawn as a pair of bars of this width.
const RELIEF_WIDTH: f64 = 5.0;

/// The narrowest shade that anybody sees.
const NARROWEST_SHADE: f64 = 2.0;

/// Longer than this, and days are named.
const DAY: i64 = 24 * 60 * 60;

/// What the timeline is made of.
pub(super) struct Past<'a> {
    /// Oldest first.
    pub(super) points: Vec<&'a TrailPoint>,
    pub(super) operations: &'a [Operation],
    pub(super) waves: &'a [WaveRecord],
    /// Where the bands of the dimensions begin.
    pub(super) enter: Option<f64>,
    pub(super) now: Timestamp,
}

/// A stretch of time in which something was different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shade {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) title: String,
}

/// A line through the lane; broken where nothing was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) now: String,
    /// Which colour and dashes it has.
    pub(super) style: usize,
    pub(super) pieces: Vec<String>,
}

/// A rectangle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) title: String,
}

/// The timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeline {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) shades: Vec<Shade>,
    pub(super) pressures: Vec<Line>,
    pub(super) pressure_range: String,
    pub(super) enter: Option<String>,
    pub(super) moves: Vec<Block>,
    pub(super) moves_summary: String,
    pub(super) reliefs: Vec<Block>,
    pub(super) relief_summary: String,
    pub(super) latency: Vec<Line>,
    pub(super) latency_range: String,
}

impl Timeline {
    /// Nothing before the second look.
    pub(super) fn of(past: &Past<'_>) -> Option<Timeline> {
        let first = past.points.first()?.at;
        let last = past.points.last()?.at.max(past.now);
        if past.points.len() < 2 || last <= first {
            return None;
        }
        let across = Across { first, last, scale: Scale::new(0.0, seconds(first, last), 0.0, WIDTH) };
        let named = if last.as_second() - first.as_second() > DAY { day_and_clock } else { clock };
        let mut timeline = Timeline { from: named(first), to: named(last), ..Timeline::default() };
        timeline.shades = shades(past, &across);
        timeline.draw_pressures(past, &across);
        timeline.draw_moves(past, &across);
        timeline.draw_reliefs(past, &across);
        timeline.draw_latency(past, &across);
        Some(timeline)
    }

    fn draw_pressures(&mut self, past: &Past<'_>, across: &Across) {
        let names: BTreeSet<&String> = past.points.iter().flat_map(|point| point.worst.keys()).collect();
        let all = || {
            past.points
                .iter()
                .flat_map(|point| point.worst.values())
                .map(|worst| worst.decimal().min(HIGHEST))
        };
        let enter = past.enter.unwrap_or(1.0);
        let (top, bottom) = (all().fold(enter, f64::max), all().fold(1.0, f64::min));
        let down = Scale::new(bottom, top, HEIGHT - EDGE, EDGE);
        for (style, name) in names.into_iter().enumerate() {
            let value = |point: &TrailPoint| point.worst.get(name).map(|worst| worst.decimal());
            let now =
                past.points.last().and_then(|point| value(point)).map_or("not seen now".to_owned(), times);
            self.pressures.push(Line {
                name: name.clone(),
                now,
                style: style % STYLES,
                pieces: pieces(past, across, down, value),
            });
        }
        self.pressure_range = match self.pressures.len() {
            0 => "nothing was seen".to_owned(),
            _ => format!("from {} to {}", times(bottom), times(top)),
        };
        self.enter = past.enter.map(|enter| place(down.at(enter)));
    }

    /// Ends of moves, landed ones upwards from the ground, others on top of them.
    fn draw_moves(&mut self, past: &Past<'_>, across: &Across) {
        let mut columns: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let (mut landed, mut failed) = (0, 0);
        let ended = past.operations.iter().filter(|operation| operation.state.is_ended());
        for operation in ended.filter(|operation| operation.changed_at >= across.first) {
            let column = columns.entry(across.column(operation.changed_at)).or_default();
            if operation.state.code() == "landed" {
                (column.0, landed) = (column.0 + 1, landed + 1);
            } else {
                (column.1, failed) = (column.1 + 1, failed + 1);
            }
        }
        let most = columns.values().map(|(landed, failed)| landed + failed).max().unwrap_or(0);
        let tall = Scale::new(0.0, decimal(most), 0.0, HEIGHT - EDGE);
        let width = WIDTH / decimal(COLUMNS);
        let block = |class, column: usize, below: usize, number: usize, title| Block {
            class,
            x: place(decimal(column) * width),
            y: place(HEIGHT - tall.at(decimal(below + number))),
            width: place(width * 0.8),
            height: place(tall.at(decimal(number))),
            title,
        };
        for (column, (landed, failed)) in columns {
            if landed > 0 {
                self.moves.push(block(
                    "landed",
                    column,
                    0,
                    landed,
                    format!("{} landed", count(landed, "move")),
                ));
            }
            if failed > 0 {
                let title = format!("{} did not land", count(failed, "move"));
                self.moves.push(block("failed", column, landed, failed, title));
            }
        }
        self.moves_summary = match failed {
            0 => format!("{landed} landed"),
            failed => format!("{landed} landed, {failed} did not"),
        };
    }

    /// For each wave what was predicted, as an outline, and what was seen, filled.
    fn draw_reliefs(&mut self, past: &Past<'_>, across: &Across) {
        let judged = past.waves.iter().filter_map(|wave| Some((wave, wave.ended_at?, wave.realised_relief?)));
        let judged: Vec<_> = judged.filter(|(_, ended_at, _)| *ended_at >= across.first).collect();
        let height = |relief: f64| if relief.is_finite() { relief.abs() } else { 0.0 };
        let highest = judged
            .iter()
            .flat_map(|(wave, _, seen)| [height(*seen), height(wave.predicted_relief.unwrap_or(0.0))]);
        let tall = Scale::new(0.0, highest.fold(0.0, f64::max), 0.0, HEIGHT - EDGE);
        let mut kept = 0;
        for (wave, ended_at, seen) in &judged {
            let x = across.at(*ended_at).min(WIDTH - 2.0 * RELIEF_WIDTH);
            let block = |class, x: f64, relief: f64, title| Block {
                class,
                x: place(x),
                y: place(HEIGHT - tall.at(height(relief))),
                width: place(RELIEF_WIDTH),
                height: place(tall.at(height(relief))),
                title,
            };
            let told = format!(
                "wave of {} at {}: ",
                count(usize::try_from(wave.sent).unwrap_or(0), "move"),
                clock(*ended_at)
            );
            if let Some(predicted) = wave.predicted_relief {
                self.reliefs.push(block(
                    "predicted",
                    x,
                    predicted,
                    format!("{told}{predicted:.4} predicted"),
                ));
                kept += usize::from(*seen >= predicted * 0.5);
            }
            let class = if *seen < 0.0 { "worse" } else { "realised" };
            self.reliefs.push(block(class, x + RELIEF_WIDTH, *seen, format!("{told}{seen:.4} seen")));
        }
        self.relief_summary = match judged.len() {
            0 => "no wave has been judged yet".to_owned(),
            all => format!("{kept} of {} brought at least half of what was predicted", count(all, "wave")),
        };
    }

    fn draw_latency(&mut self, past: &Past<'_>, across: &Across) {
        let milliseconds = |point: &TrailPoint| {
            point.search_latency.map(|micros| decimal(usize::try_from(micros).unwrap_or(0)) / 1e3)
        };
        let known = || past.points.iter().filter_map(|point| milliseconds(point));
        let Some(last) = known().next_back() else { return };
        let top = known().fold(0.0, f64::max);
        let down = Scale::new(0.0, top, HEIGHT - EDGE, EDGE);
        let pieces = pieces(past, across, down, milliseconds);
        self.latency.push(Line { name: "mean".to_owned(), now: format!("{last:.1} ms"), style: 0, pieces });
        self.latency_range = format!("from 0 to {top:.1} ms");
    }
}

/// The axis of time.
struct Across {
    first: Timestamp,
    last: Timestamp,
    scale: Scale,
}

impl Across {
    fn at(&self, at: Timestamp) -> f64 {
        self.scale.at(seconds(self.first, at.min(self.last)))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a hundred columns
    fn column(&self, at: Timestamp) -> usize {
        ((self.at(at) / WIDTH * decimal(COLUMNS)) as usize).min(COLUMNS - 1)
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[allow(clippy::cast_precision_loss)] // a picture has a thousand pixels
fn decimal(number: usize) -> f64 {
    number as f64
}

/// A line through the points that have a value, broken where one has none.
fn pieces(
    past: &Past<'_>,
    across: &Across,
    down: Scale,
    value: impl Fn(&TrailPoint) -> Option<f64>,
) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece: Vec<String> = Vec::new();
    for point in &past.points {
        match value(point) {
            Some(value) => piece.push(format!("{},{}", place(across.at(point.at)), place(down.at(value)))),
            None if piece.is_empty() => {}
            None => pieces.push(std::mem::take(&mut piece).join(" ")),
        }
    }
    pieces.push(piece.join(" "));
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Stretches in which somebody paused us, windows were closed, or nothing was seen.
fn shades(past: &Past<'_>, across: &Across) -> Vec<Shade> {
    type Is = fn(&TrailPoint) -> bool;
    let kinds: [(&'static str, &str, Is); 3] = [
        ("paused", "paused", |point| point.is_paused),
        ("closed", "outside of maintenance windows", |point| point.is_closed),
        ("blind", "the cluster could not be seen", |point| point.is_blind),
    ];
    let mut shades = Vec::new();
    for (class, name, is) in kinds {
        let mut since: Option<Timestamp> = None;
        let end = TrailPoint { at: across.last, ..TrailPoint::default() };
        for point in past.points.iter().copied().chain([&end]) {
            match (since, is(point)) {
                (None, true) => since = Some(point.at),
                (Some(from), false) => {
                    let (start, stop) = (across.at(from), across.at(point.at));
                    let title = format!("{name} from {} to {}", clock(from), clock(point.at));
                    let width = (stop - start).max(NARROWEST_SHADE);
                    shades.push(Shade { class, x: place(start), width: place(width), title });
                    since = None;
                }
                _ => {}
            }
        }
    }
    shades
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;

    fn point(second: i64, worst: u64) -> TrailPoint {
        TrailPoint {
            at: Timestamp::from_second(second).unwrap(),
            worst: [("memory".to_owned(), Ratio(worst * 10_000))].into(),
            ..TrailPoint::default()
        }
    }

    fn timeline(points: &[TrailPoint]) -> Option<Timeline> {
        let now = points.last().map_or(Timestamp::UNIX_EPOCH, |point| point.at);
        Timeline::of(&Past {
            points: points.iter().collect(),
            operations: &[],
            waves: &[],
            enter: Some(1.2),
            now,
        })
    }

    #[test]
    fn one_look_has_no_past() {
        assert_eq!(timeline(&[]), None);
        assert_eq!(timeline(&[point(5, 100)]), None);
        assert_eq!(timeline(&[point(5, 100), point(5, 100)]), None, "nor have two at the same time");
    }

    #[test]
    fn what_was_not_seen_breaks_the_line_and_is_shaded() {
        let blind = TrailPoint::blind(Timestamp::from_second(20).unwrap());
        let timeline =
            timeline(&[point(0, 150), point(10, 140), blind, point(30, 100), point(40, 100)]).unwrap();
        assert_eq!(timeline.pressures[0].pieces, ["0,4 250,22.4", "750,96 1000,96"]);
        assert_eq!(timeline.pressures[0].now, "1.00×");
        let shade = &timeline.shades[0];
        assert_eq!((shade.class, shade.x.as_str(), shade.width.as_str()), ("blind", "500", "250"));
    }

    #[test]
    fn a_pause_that_still_holds_is_shaded_to_the_end() {
        let paused = TrailPoint { is_paused: true, ..point(10, 100) };
        let timeline = timeline(&[
            point(0, 100),
            paused.clone(),
            TrailPoint { at: Timestamp::from_second(20).unwrap(), ..paused },
        ])
        .unwrap();
        assert_eq!(timeline.shades.len(), 1);
        assert_eq!((timeline.shades[0].x.as_str(), timeline.shades[0].width.as_str()), ("500", "500"));
    }

    #[test]
    fn the_largest_numbers_stay_in_the_picture() {
        let mut first = point(0, 100);
        first.worst.insert("memory".to_owned(), Ratio::MAX);
        first.search_latency = Some(u64::MAX);
        let timeline = timeline(&[first, point(10, 0)]).unwrap();
        let text = format!("{timeline:?}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert_eq!(timeline.pressures[0].pieces, ["0,4 1000,96"]);
    }
}
