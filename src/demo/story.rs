//! The story as it happens, line by line: what the daemon plans, what it moves and why, what becomes of that, and
//! what holds it back. It only reads what the control loop shows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ending::somebody_else;
use super::figures::Figures;
use super::paint::Paint;
use super::report::MoveCounts;
use crate::cli::plan_view::bar;
use crate::control_loop::{LastTurn, LoopState};
use crate::execute::operation::{Operation, OperationId, OperationState};
use crate::execute::waves::WaveVerdict;
use crate::model::{Doubt, DoubtKind, Standing};
use crate::plan::{Move, Step};
use crate::telemetry::shown;
use crate::units::{Bytes, NodeId, Ratio, SegmentId};

/// So many nodes are shown one by one; nobody looks at a hundred bars.
const NODES_SHOWN: usize = 16;

/// So many moves of one moment are told one by one.
const MOVES_TOLD: usize = 8;

/// So many doubts of one moment are told one by one.
const DOUBTS_TOLD: usize = 3;

/// What was told, and what is counted on the way.
pub(super) struct Story {
    paint: Paint,
    enter: Ratio,
    moves: BTreeMap<OperationId, Told>,
    reasons: BTreeMap<(SegmentId, NodeId), String>,
    known_ends: u64,
    known_waves: u64,
    has_plan: bool,
    limited_by: Option<&'static str>,
    doubts: Vec<Doubt>,
    failure: Option<String>,
    calls: u64,
    progress: String,
}

/// A move that was told of.
struct Told {
    bytes: Bytes,
    is_sent: bool,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Landed,
    Otherwise,
}

impl Story {
    /// Nothing is told yet. `enter` is the pressure above which a node is overloaded.
    pub(super) fn new(paint: Paint, enter: Ratio) -> Story {
        Story {
            paint,
            enter,
            moves: BTreeMap::new(),
            reasons: BTreeMap::new(),
            known_ends: 0,
            known_waves: 0,
            has_plan: false,
            limited_by: None,
            doubts: Vec::new(),
            failure: None,
            calls: 0,
            progress: String::new(),
        }
    }

    /// What is new since the last time, in lines that begin with the time.
    pub(super) fn news(&mut self, state: &LoopState, at: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        self.tell_failure(state, &mut lines);
        if let Some(turn) = &state.last {
            self.tell_doubts(turn, &mut lines);
            self.tell_plan(turn, &mut lines);
            self.tell_limit(turn, &mut lines);
        }
        self.tell_moves(state, &mut lines);
        self.tell_wave(state, &mut lines);
        self.calls = state.executor.calls_sent;
        lines.into_iter().flat_map(|line| self.stamped(at, &line)).collect()
    }

    /// What strikes the cluster, in lines that begin with the time.
    pub(super) fn struck(&self, what: String, at: Duration) -> Vec<String> {
        self.stamped(at, &Line { tone: Tone::Warning, text: what })
    }

    /// A line with the time before it, broken where it is too long.
    fn stamped(&self, at: Duration, line: &Line) -> Vec<String> {
        let mut stamp = format!("{:>6.1}s", at.as_secs_f64());
        let mut lines = Vec::new();
        for part in broken(&shown(&line.text)) {
            let painted = match line.tone {
                Tone::Plain => part,
                Tone::Heading => self.paint.bold(part),
                Tone::Aside => self.paint.dim(part),
                Tone::Warning => self.paint.warn(part),
            };
            lines.push(format!("{stamp}  {painted}"));
            stamp = " ".repeat(STAMP_WIDTH);
        }
        lines
    }

    /// What became of the moves so far.
    pub(super) fn counts(&self) -> MoveCounts {
        let mut counts = MoveCounts { calls: self.calls, ..MoveCounts::default() };
        for told in self.moves.values().filter(|told| told.is_sent) {
            counts.sent += 1;
            match told.end {
                Some(End::Landed) => {
                    counts.landed += 1;
                    counts.bytes = counts.bytes.saturating_add(told.bytes);
                }
                Some(End::Otherwise) => counts.failed += 1,
                None => counts.open += 1,
            }
        }
        counts
    }

    /// Whether there was a plan.
    pub(super) fn has_plan(&self) -> bool {
        self.has_plan
    }

    /// Every node with its pressure as a bar.
    pub(super) fn nodes(&self, figures: &Figures) -> Vec<String> {
        let mut lines = vec![self.paint.bold(format!(
            "{:>5}  {:<14}{:>22}{:>7}  {}",
            "NODE", "MACHINE", "MEMORY", "CPU", "PRESSURE (load / fair share; | is 1.00)"
        ))];
        for node in figures.nodes.iter().take(NODES_SHOWN) {
            let memory = format!("{} of {}", node.memory_used, node.memory_capacity);
            let (pressure, bar) = match node.pressure {
                Some(pressure) => (pressure.to_string(), self.painted_bar(pressure)),
                None => ("-".to_owned(), "takes no part".to_owned()),
            };
            lines.push(format!(
                "{:>5}  {:<14}{memory:>22}{:>7}  {pressure:<5} {bar}",
                node.id.to_string(),
                node.hostname,
                node.cpu.percent()
            ));
        }
        if figures.nodes.len() > NODES_SHOWN {
            lines.push(format!("       … and {} more nodes", figures.nodes.len() - NODES_SHOWN));
        }
        lines
    }

    /// How far it has come, in one line; `None` when nothing has changed since the last such line.
    pub(super) fn progress(&mut self, figures: &Figures, state: &LoopState, at: Duration) -> Option<String> {
        let counts = self.counts();
        let waiting = state.last.as_ref().map_or(0, |turn| turn.decision.plan.moves().count());
        let progress = format!(
            "{} landed, {} on their way, {waiting} to go; searches {:.1} ms; worst pressure {} {}",
            counts.landed,
            counts.open,
            figures.latency_ms,
            figures.worst_pressure,
            self.painted_bar(figures.worst_pressure)
        );
        if progress == self.progress {
            return None;
        }
        self.progress.clone_from(&progress);
        Some(format!("{:>6.1}s  {progress}", at.as_secs_f64()))
    }

    fn painted_bar(&self, pressure: Ratio) -> String {
        let bar = bar(pressure);
        if pressure > self.enter { self.paint.bad(bar) } else { self.paint.good(bar) }
    }

    fn tell_failure(&mut self, state: &LoopState, lines: &mut Vec<Line>) {
        if state.failure == self.failure {
            return;
        }
        lines.push(match &state.failure {
            Some(failure) => warning(format!("cannot look at the cluster: {failure}")),
            None => plain("the cluster can be looked at again".to_owned()),
        });
        self.failure.clone_from(&state.failure);
    }

    fn tell_doubts(&mut self, turn: &LastTurn, lines: &mut Vec<Line>) {
        let doubts = &turn.decision.snapshot.doubts;
        // Where there are streaming nodes, that they are not ours to balance is no news.
        let is_news = |doubt: &&Doubt| {
            let streaming = DoubtKind::NodeStanding { standing: Standing::Streaming };
            doubt.kind != streaming && !self.doubts.contains(doubt)
        };
        let new: Vec<&Doubt> = doubts.iter().filter(is_news).collect();
        for doubt in new.iter().take(DOUBTS_TOLD) {
            lines.push(warning(format!("doubt: {doubt}")));
        }
        if new.len() > DOUBTS_TOLD {
            lines.push(warning(format!("doubt: … and {} more", new.len() - DOUBTS_TOLD)));
        }
        self.doubts.clone_from(doubts);
    }

    fn tell_plan(&mut self, turn: &LastTurn, lines: &mut Vec<Line>) {
        let plan = &turn.decision.plan;
        for step in &plan.steps {
            for movement in &step.moves {
                self.reasons.insert((movement.segment, movement.to), why(step, movement));
            }
        }
        if self.has_plan || plan.steps.is_empty() {
            return;
        }
        self.has_plan = true;
        let proof = &plan.proof;
        let (moves, bytes) = (plan.moves().count(), proof.bytes_moved);
        for dimension in proof.dimensions.iter().filter(|proof| proof.after < proof.before) {
            let text = format!(
                "first plan: {moves} moves, {bytes}; worst {} pressure {} → {} (at best {})",
                dimension.dimension, dimension.before, dimension.after, dimension.floor
            );
            lines.push(Line { tone: Tone::Heading, text });
        }
        let legend = "(each move: from → to, what, its size; why: pressure of both nodes before → after)";
        lines.push(Line { tone: Tone::Aside, text: legend.to_owned() });
    }

    fn tell_limit(&mut self, turn: &LastTurn, lines: &mut Vec<Line>) {
        let named = turn.limited_by.as_ref().filter(|reason| !is_pace(reason.code()));
        let reason = somebody_else(turn).or(named);
        let code = reason.map(crate::reason::Reason::code);
        if let Some(reason) = reason.filter(|_| code != self.limited_by) {
            lines.push(if turn.decision.plan.steps.is_empty() {
                plain(format!("nothing more is planned: {reason}"))
            } else {
                warning(format!("held back: {reason}"))
            });
        }
        self.limited_by = code;
    }

    fn tell_moves(&mut self, state: &LoopState, lines: &mut Vec<Line>) {
        let ended: Vec<&Operation> = state.ended_since(self.known_ends).collect();
        self.known_ends = state.ended_count;
        let mut sent = Vec::new();
        for operation in ended.iter().copied().chain(&state.open) {
            let told = self.moves.entry(operation.id).or_insert(Told {
                bytes: operation.movement.bytes,
                is_sent: false,
                end: None,
            });
            if !told.is_sent && operation.sent_at.is_some() {
                told.is_sent = true;
                sent.push(operation);
            }
        }
        for operation in sent.iter().take(MOVES_TOLD) {
            lines.push(self.move_line(operation));
        }
        if sent.len() > MOVES_TOLD {
            lines.push(plain(format!("… and {} more moves", sent.len() - MOVES_TOLD)));
        }
        for operation in ended {
            let has_landed = operation.state == OperationState::Landed;
            if let Some(told) = self.moves.get_mut(&operation.id) {
                told.end = Some(if has_landed { End::Landed } else { End::Otherwise });
            }
            if !has_landed {
                lines.push(warning(format!("{}: {}", moved(operation), operation.state)));
            }
        }
    }

    fn tell_wave(&mut self, state: &LoopState, lines: &mut Vec<Line>) {
        let Some(wave) = state.last_wave.as_ref().filter(|_| state.waves_judged > self.known_waves) else {
            return;
        };
        self.known_waves = state.waves_judged;
        let moves = if wave.sent == 1 { "move" } else { "moves" };
        let text = format!("the wave of {} {moves} brought {}", wave.sent, wave.relief);
        lines.push(match wave.verdict {
            WaveVerdict::NoRelief => warning(text),
            _ => Line { tone: Tone::Aside, text },
        });
    }

    fn move_line(&self, operation: &Operation) -> Line {
        let movement = &operation.movement;
        let why = self.reasons.get(&(movement.segment, movement.to)).map_or("", String::as_str);
        let size = format!("{}, {} rows", movement.bytes, movement.rows);
        plain(format!("{:<30}{size:>24}   {why}", moved(operation)))
    }
}

/// A move in words: what and where.
fn moved(operation: &Operation) -> String {
    let Move { segment, from, to, .. } = operation.movement;
    // Ids have eighteen digits, of which only the last few tell one from the other.
    let digits = segment.to_string();
    let ending = digits.char_indices().rev().nth(3).map_or(digits.as_str(), |(at, _)| &digits[at..]);
    format!("{from} → {to}  {} …{ending}", operation.collection_name)
}

/// Why a move is made: the pressure of both nodes before and after.
fn why(step: &Step, movement: &Move) -> String {
    let Move { from, to, .. } = movement;
    format!(
        "{from}: {} → {}, {to}: {} → {}",
        step.source_before, step.source_after, step.destination_before, step.destination_after
    )
}

/// Reasons that come and go with every call: they set the pace, and are no news.
fn is_pace(code: &str) -> bool {
    matches!(
        code,
        "wave_full"
            | "wave_unjudged"
            | "in_flight_limit"
            | "node_in_flight_limit"
            | "call_rate"
            | "settling"
            | "in_flight"
            | "not_long_enough"
    )
}

/// A piece of news.
struct Line {
    tone: Tone,
    text: String,
}

/// How a piece of news is shown.
#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Heading,
    Aside,
    Warning,
}

fn plain(text: String) -> Line {
    Line { tone: Tone::Plain, text }
}

fn warning(text: String) -> Line {
    Line { tone: Tone::Warning, text }
}

/// Characters before the text of a line: the time.
const STAMP_WIDTH: usize = 7;

/// Characters of a line without its stamp: with it, a hundred fit most terminals.
const TEXT_WIDTH: usize = 91;

/// A text in lines that are not too long, broken between words.
fn broken(text: &str) -> Vec<String> {
    if text.chars().count() <= TEXT_WIDTH {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split(' ') {
        let word_length = word.chars().count() + 1;
        if length > 0 && length + word_length > TEXT_WIDTH {
            lines.push(String::new());
            length = 0;
        }
        if let Some(line) = lines.last_mut() {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        length += word_length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_short_ones_stay_as_they_are() {
        assert_eq!(broken("1 → 7  collection_1"), ["1 → 7  collection_1"], "double spaces are columns");
        let long = "word ".repeat(40);
        let lines = broken(long.trim());
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT_WIDTH));
        assert_eq!(lines.join(" "), long.trim());
        let unbreakable = "x".repeat(300);
        assert_eq!(broken(&unbreakable), [unbreakable.as_str()]);
    }
}
