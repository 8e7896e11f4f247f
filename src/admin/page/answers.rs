//! The four answers at the top of the page, for somebody who has never seen it: is the cluster balanced; if not, why
//! not; what is being done; how is that stopped.

use std::collections::BTreeSet;

use super::figures::{bytes, count, day_and_clock};
use crate::admin::access::Role;
use crate::admin::views::{ControlsView, OperationView, PauseView, StatusView};
use crate::config::Mode;
use crate::control_loop::LastTurn;
use crate::plan::FindingState;

/// Reasons that are told at the top; the rest stands below.
const REASONS_TOLD: usize = 3;

/// The four answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Chooses colour and sign.
    pub(super) class: &'static str,
    /// A sign that needs no colour.
    pub(super) sign: &'static str,
    /// The first word of the answer.
    pub(super) word: &'static str,
    /// The state in a sentence.
    pub(super) verdict: String,
    /// Why it is not balanced, a sentence a line; empty when it is.
    pub(super) why: Vec<String>,
    /// What is being done, a sentence a line.
    pub(super) doing: Vec<String>,
    /// How that is stopped.
    pub(super) stop: String,
}

/// What the answers are made of.
pub(super) struct Known<'a> {
    pub(super) status: &'a StatusView,
    pub(super) last: Option<&'a LastTurn>,
    pub(super) open: &'a [OperationView],
    pub(super) controls: Option<&'a ControlsView>,
    pub(super) mode: Mode,
    pub(super) role: Role,
}

impl Answers {
    pub(super) fn of(known: &Known<'_>) -> Answers {
        let (class, sign, word) = match known.status.state.as_str() {
            "balanced" => ("good", "✓", "Yes"),
            "uneven" => ("good", "≈", "Nearly"),
            "overloaded" => ("bad", "!", "No"),
            "unreachable" => ("blind", "?", "Nobody can tell"),
            _ => ("blind", "…", "Not known yet"),
        };
        Answers {
            class,
            sign,
            word,
            verdict: verdict(known.status),
            why: why(known),
            doing: doing(known),
            stop: stop(known),
        }
    }
}

/// The state in a sentence. Why the cluster cannot be seen has a place of its own, and so has what holds moves back.
fn verdict(status: &StatusView) -> String {
    match (&status.failure, status.taken_at) {
        (None, _) => {
            let state = status.verdict.split(" Held back: ").next().unwrap_or_default();
            state.to_owned()
        }
        (Some(_), None) => "The cluster cannot be seen.".to_owned(),
        (Some(_), Some(_)) => {
            "The cluster cannot be seen any more; what stands below is what was last known.".to_owned()
        }
    }
}

fn sentence(text: impl Into<String>) -> String {
    let mut text: String = text.into();
    if let Some(first) = text.chars().next() {
        text.replace_range(..first.len_utf8(), &first.to_uppercase().to_string());
    }
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

/// Why not everything is even: who is above the band and by how much, and what speaks against relief.
fn why(known: &Known<'_>) -> Vec<String> {
    if let Some(failure) = &known.status.failure {
        return vec![
            sentence(format!("the last look at the cluster failed: {failure}")),
            "It is tried again and again, at growing intervals; until then nothing is moved.".to_owned(),
        ];
    }
    let Some(last) = known.last else { return Vec::new() };
    let findings = &last.decision.findings;
    let mut over: Vec<_> =
        findings.iter().filter(|finding| finding.state == FindingState::Overloaded).collect();
    over.sort_by_key(|finding| (std::cmp::Reverse(finding.pressure), finding.node));
    let mut why: Vec<String> = Vec::new();
    if let Some(worst) = over.first() {
        let others = match over.len() - 1 {
            0 => String::new(),
            others => format!("; {} beside it", count(others, "more overload")),
        };
        why.push(format!(
            "Node {} has {} times its fair share of {}: {} instead of {}{others}.",
            worst.node,
            worst.pressure,
            worst.dimension,
            worst.unit.display(worst.load),
            worst.unit.display(worst.fair),
        ));
    }
    let has_plan = !last.decision.plan.steps.is_empty();
    let mut left: Vec<(String, usize)> = Vec::new();
    for alone in &last.decision.plan.proof.left_alone {
        let reason = alone.reason.to_string();
        match left.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, nodes)) => *nodes += 1,
            None => left.push((reason, 1)),
        }
    }
    let more = left.len().saturating_sub(REASONS_TOLD);
    why.extend(left.into_iter().take(REASONS_TOLD).map(|(reason, nodes)| {
        let when = if has_plan { "With the plan carried out, " } else { "" };
        let stay = if nodes == 1 { "stays" } else { "stay" };
        sentence(format!("{when}{} {stay} a little above what is aimed for: {reason}", count(nodes, "node")))
    }));
    if more > 0 {
        why.push(format!("{} below.", count(more, "more reason")));
    }
    why
}

fn doing(known: &Known<'_>) -> Vec<String> {
    let mut doing = Vec::new();
    if let Some(pause) = known.controls.and_then(|controls| controls.pause.as_ref()) {
        doing.push(paused(pause));
    }
    if !known.open.is_empty() {
        let all = known.open.iter().map(|operation| operation.bytes).sum();
        let moves = count(known.open.len(), "move");
        doing.push(format!("Moving: {moves} under way, {}.", bytes(all)));
    }
    let waiting = Waiting::of(known.last, known.open);
    if waiting.moves > 0 {
        let what = format!("{}, {}", count(waiting.moves, "move"), bytes(waiting.bytes));
        doing.push(match (known.mode, known.open.is_empty()) {
            (Mode::Advise, _) => format!("Proposed: {what}. In mode {} nothing is moved.", known.mode.code()),
            (_, true) => format!("Planned: {what}."),
            (_, false) => format!("Planned after these: {what}."),
        });
    }
    let limited_by = known.status.limited_by.as_ref().filter(|reason| {
        let is_told = matches!(reason.code.as_str(), "advise_only" | "paused");
        !is_told && !known.status.verdict.starts_with("Uneven")
    });
    if let Some(reason) = limited_by {
        doing.push(sentence(format!("held back: {}", reason.sentence)));
    }
    if doing.is_empty() {
        doing.push(match known.status.failure {
            Some(_) => "It waits to see the cluster again, and moves nothing.".to_owned(),
            None => "Watching. Nothing is moved, because nothing needs to be.".to_owned(),
        });
    }
    for drain in &known.status.drains {
        doing.push(format!("Node {} is being emptied, ordered by {}.", drain.node, drain.by));
    }
    doing
}

/// A pause, without the command that ends it: here is a button.
fn paused(pause: &PauseView) -> String {
    let until = match pause.until {
        Some(until) => format!("until {}", day_and_clock(until)),
        None => "until somebody resumes".to_owned(),
    };
    let why = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
    sentence(format!("paused by {} {until}{why}", pause.by))
}

/// Moves of the last plan that are not under way. A plan counts what is under way as arrived, so these come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) moves: usize,
    bytes: u64,
}

impl Waiting {
    pub(super) fn of(last: Option<&LastTurn>, open: &[OperationView]) -> Waiting {
        let sent: BTreeSet<(&str, &str)> =
            open.iter().map(|operation| (operation.segment.as_str(), operation.from.as_str())).collect();
        let mut waiting = Waiting::default();
        for movement in last.into_iter().flat_map(|last| last.decision.plan.moves()) {
            // Since the turn some may have been sent.
            let (segment, from) = (movement.segment.to_string(), movement.from.to_string());
            if !sent.contains(&(segment.as_str(), from.as_str())) {
                waiting.moves += 1;
                waiting.bytes = waiting.bytes.saturating_add(movement.bytes.0);
            }
        }
        waiting
    }
}

fn stop(known: &Known<'_>) -> String {
    let is_paused = known.controls.is_some_and(|controls| controls.pause.is_some());
    match (known.mode, is_paused) {
        (_, true) => "It is stopped: it is paused. Resume it when you like.".to_owned(),
        (Mode::Advise, false) => {
            format!("Nothing to stop: in mode {} it never moves anything by itself.", known.mode.code())
        }
        (_, false) if known.role == Role::Operate => {
            "Press Pause: what is on its way arrives, and nothing more is sent.".to_owned()
        }
        (_, false) => "Pause it: that needs the operate token, which is asked for below.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::views::ReasonView;
    use crate::control_loop::LoopState;

    fn status(state: LoopState) -> StatusView {
        StatusView::of(&state, Mode::Act, None, &[])
    }

    fn known<'a>(status: &'a StatusView, controls: Option<&'a ControlsView>) -> Known<'a> {
        Known { status, last: None, open: &[], controls, mode: Mode::Act, role: Role::Operate }
    }

    #[test]
    fn what_was_never_seen_is_said_to_be_unknown() {
        let status = status(LoopState::default());
        let answers = Answers::of(&known(&status, None));
        assert_eq!((answers.class, answers.word), ("blind", "Not known yet"));
        assert!(answers.why.is_empty());
    }

    #[test]
    fn an_unreachable_cluster_is_told_with_its_cause() {
        let state = LoopState { failure: Some("connection refused".to_owned()), ..LoopState::default() };
        let status = status(state);
        let answers = Answers::of(&known(&status, None));
        assert_eq!(answers.word, "Nobody can tell");
        assert!(answers.why[0].contains("connection refused"), "{answers:?}");
        assert!(answers.doing[0].contains("waits"), "{answers:?}");
    }

    #[test]
    fn a_pause_is_what_is_being_done_and_how_it_is_stopped() {
        let mut status = status(LoopState::default());
        status.limited_by =
            Some(ReasonView { code: "paused".to_owned(), sentence: "paused by ann".to_owned() });
        let pause = PauseView {
            from: jiff::Timestamp::UNIX_EPOCH,
            until: None,
            reason: "test".to_owned(),
            by: "ann".to_owned(),
        };
        let controls = ControlsView {
            pause: Some(pause),
            drains: Vec::new(),
            kill_switch: false,
            windows_are_open: true,
            windows_change_at: None,
            approval_required: false,
            waiting_plan: None,
            approved_plan: None,
            lines: Vec::new(),
        };
        let answers = Answers::of(&known(&status, Some(&controls)));
        assert_eq!(answers.doing, ["Paused by ann until somebody resumes: test."], "once");
        assert!(answers.stop.contains("is paused"));
    }

    #[test]
    fn who_may_only_look_is_told_what_is_missing() {
        let status = status(LoopState::default());
        let answers = Answers::of(&Known { role: Role::View, ..known(&status, None) });
        assert!(answers.stop.contains("token"), "{}", answers.stop);
    }
}
