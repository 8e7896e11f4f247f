//! Answers to "why" and "why not", in sentences and in the figures behind them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReasonView;
use crate::plan::FindingState;
use crate::plan::explain::{CopyExplanation, MoveAnswer, NodeExplanation, Weighed};
use crate::policy::{Assessment, LoadUnit};
use crate::reason::Reason;
use crate::units::{Load, NodeId};

/// Refused destinations that are told one by one; the rest is counted. A replica can have hundreds of nodes.
const REFUSALS_TOLD: usize = 20;

/// An answer about a segment or a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationView {
    /// What it is about.
    pub subject: String,
    /// The answer, a sentence a line.
    pub lines: Vec<String>,
    /// The reasons behind it, in the order in which they count.
    pub reasons: Vec<ReasonView>,
    /// Whether the plan moves it, or something of it.
    pub planned: bool,
    /// What the best move, or the one that was asked about, would gain: squared pressure above the band.
    pub gain: Option<f64>,
    /// What it would cost, in the same measure.
    pub price: Option<f64>,
}

impl ExplanationView {
    fn about(subject: String) -> ExplanationView {
        ExplanationView {
            subject,
            lines: Vec::new(),
            reasons: Vec::new(),
            planned: false,
            gain: None,
            price: None,
        }
    }

    fn because(&mut self, lead: &str, reason: &Reason) {
        self.lines.push(format!("{lead}{reason}"));
        self.reasons.push(ReasonView::from(reason));
    }

    fn weigh(&mut self, weighed: &Weighed) {
        self.gain = Some(weighed.gain.decimal());
        self.price = Some(weighed.price.decimal());
    }

    /// About each copy of a segment.
    pub fn of_segment(copies: &[CopyExplanation]) -> Vec<ExplanationView> {
        copies.iter().map(ExplanationView::of_copy).collect()
    }

    fn of_copy(copy: &CopyExplanation) -> ExplanationView {
        let mut view = ExplanationView::about(format!(
            "segment {} in replica {} of collection {}: on node {}, {}, {} rows",
            copy.segment, copy.replica, copy.collection, copy.node, copy.bytes, copy.rows
        ));
        if let Some((step, to)) = &copy.planned {
            view.planned = true;
            view.lines.push(format!("the plan moves it to node {to}, with step {}", step + 1));
        }
        if let Some(reason) = &copy.source_blocked {
            view.because(&format!("nothing leaves node {}: ", copy.node), reason);
        }
        if let Some(reason) = &copy.blocked {
            view.because("it stays: ", reason);
        }
        if !copy.source_is_overloaded {
            view.lines.push(format!("node {} is not to be relieved of anything", copy.node));
        }
        match &copy.best {
            Some(best) => {
                view.weigh(best);
                view.lines.push(format!("its best destination is node {}: {}", best.to, worth(best)));
            }
            None if copy.refused.is_empty() => {
                view.because("", &Reason::NoDestination);
            }
            None => view.lines.push("every other node of its replica is refused".to_owned()),
        }
        for (node, reason) in copy.refused.iter().take(REFUSALS_TOLD) {
            view.because(&format!("not to node {node}: "), reason);
        }
        if copy.refused.len() > REFUSALS_TOLD {
            view.lines.push(format!("and {} more nodes are refused", copy.refused.len() - REFUSALS_TOLD));
        }
        view
    }

    /// Why a segment does not go to a node, copy by copy.
    pub fn of_move(answers: &[(CopyExplanation, MoveAnswer)], to: NodeId) -> Vec<ExplanationView> {
        answers.iter().map(|(copy, answer)| ExplanationView::of_answer(copy, answer, to)).collect()
    }

    fn of_answer(copy: &CopyExplanation, answer: &MoveAnswer, to: NodeId) -> ExplanationView {
        let from = copy.node;
        let mut view = ExplanationView::about(format!(
            "segment {} in replica {}: from node {from} to node {to}",
            copy.segment, copy.replica
        ));
        match answer {
            MoveAnswer::Planned(step) => {
                view.planned = true;
                view.lines.push(format!("the plan does that, with step {}", step + 1));
            }
            MoveAnswer::AlreadyThere => view.lines.push("it is there".to_owned()),
            MoveAnswer::OutsideReplica => view.lines.push(format!(
                "node {to} is not in its replica, and Milvus moves segments inside a replica only"
            )),
            MoveAnswer::Refused(reason) => view.because("", reason),
            MoveAnswer::SourceIsEven(weighed) => {
                view.weigh(weighed);
                let worth = worth(weighed);
                view.lines.push(format!("node {from} is not to be relieved of anything; {worth}"));
            }
            MoveAnswer::NotWorthIt(weighed) => {
                view.weigh(weighed);
                let gains = weighed.gain > crate::units::Ratio::ZERO;
                let reason = if gains { Reason::NotWorthItsPrice } else { Reason::NoImprovement };
                view.because("", &reason);
                view.lines.push(worth(weighed));
            }
            MoveAnswer::BetterKnown(weighed) => {
                view.weigh(weighed);
                let worth = worth(weighed);
                view.lines
                    .push(format!("{worth}; the plan does something better, after which it is not needed"));
            }
        }
        if let (Some((step, other)), false) = (&copy.planned, view.planned) {
            view.lines.push(format!("the plan moves it to node {other} instead, with step {}", step + 1));
        }
        view
    }

    /// About a node.
    pub fn of_node(node: &NodeExplanation, assessment: &Assessment) -> ExplanationView {
        let mut view = ExplanationView::about(format!("node {}", node.node));
        let amount = |dimension: &str, load: Load| {
            let known = assessment.dimensions.iter().find(|known| known.name == dimension);
            known.map_or(LoadUnit::Points, |known| known.unit).display(load)
        };
        for finding in &node.findings {
            let (dimension, load) = (&finding.dimension, amount(&finding.dimension, finding.load));
            let fair = amount(&finding.dimension, finding.fair);
            let figures = format!("{dimension}: {load}, {} times its fair share of {fair}", finding.pressure);
            match &finding.state {
                FindingState::Even => view.lines.push(format!("{figures}: inside its band")),
                FindingState::Tolerated(reason) => view.because(&format!("{figures}, tolerated: "), reason),
                FindingState::Overloaded => view.lines.push(format!("{figures}: overloaded")),
            }
            if finding.immovable > Load::ZERO {
                let immovable = amount(dimension, finding.immovable);
                view.lines.push(format!("of its {dimension}, moves cannot change {immovable}"));
            }
        }
        for (dimension, load) in &node.base_loads {
            let load = amount(dimension, *load);
            view.lines.push(format!("{dimension} that is not of sealed segments: {load}"));
        }
        let (movable, bytes) = node.movable;
        view.lines.push(format!("segments that could leave: {movable}, {bytes}"));
        for (reason, count, bytes) in &node.held {
            view.because(&format!("segments that stay: {count}, {bytes}: "), reason);
        }
        if let Some(reason) = &node.source_blocked {
            view.because("nothing leaves it: ", reason);
        }
        match &node.destination_blocked {
            Some(reason) => view.because("nothing enters it: ", reason),
            None => view.lines.push(format!("it may take {} more", node.room)),
        }
        view.planned = node.leaving + node.entering > 0;
        view.lines
            .push(format!("the plan moves {} segments off it and {} to it", node.leaving, node.entering));
        for left in &node.left_alone {
            let (dimension, pressure) = (&left.dimension, left.pressure);
            view.because(&format!("it stays at {dimension} {pressure}: "), &left.reason);
        }
        view
    }
}

/// "it would gain 0.21 and cost 0.02".
fn worth(weighed: &Weighed) -> String {
    let figure = |ratio: crate::units::Ratio| format!("{:.6}", ratio.decimal());
    let verdict = if weighed.pays() { "worth it" } else { "not worth it" };
    format!(
        "it would gain {} and cost {} of squared pressure, which is {verdict}",
        figure(weighed.gain),
        figure(weighed.price)
    )
}
