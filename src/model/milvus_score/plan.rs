//! What the balancer would do next: which segments and channels it would take from where to where.

use std::collections::BTreeSet;

use super::{
    Algorithm, BenefitRule, ChannelView, NodeScore, NodeView, ReplicaView, ScoreSettings, SegmentView,
    scores_of, segment_score, with_quotas,
};
use crate::units::{NodeId, SegmentId};

/// A segment that the balancer would move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScoreMove {
    /// The segment.
    pub segment: SegmentId,
    /// Where it is.
    pub from: NodeId,
    /// Where it would go.
    pub to: NodeId,
}

/// A channel that the balancer would move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelMove {
    /// Position in [`ReplicaView::channels`].
    pub channel: usize,
    /// The node that leads it.
    pub from: NodeId,
    /// The node that would.
    pub to: NodeId,
}

/// The moves of one round, segments only: Milvus makes them when it has no channel to move
/// ([`plan_channels`]) and no node to drain ([`drain_segments`]).
pub fn plan_segments(view: &ReplicaView, settings: &ScoreSettings) -> Vec<ScoreMove> {
    let all: Vec<&NodeView> = view.nodes.iter().collect();
    match settings.algorithm {
        Algorithm::Pairwise => plan_pairwise(view, settings),
        Algorithm::Score => plan_by_quota(&all, view, None, settings),
        Algorithm::ChannelLevel if is_exclusive(&view.channels) => plan_exclusive(view, settings),
        Algorithm::ChannelLevel => plan_by_quota(&all, view, None, settings),
    }
}

/// Channel-exclusive mode is on when every channel owns nodes.
pub(super) fn is_exclusive(channels: &[ChannelView]) -> bool {
    !channels.is_empty() && channels.iter().all(|channel| !channel.exclusive_nodes.is_empty())
}

/// Inside each channel's own nodes; segments outside of them are brought back before anything else.
fn plan_exclusive(view: &ReplicaView, settings: &ScoreSettings) -> Vec<ScoreMove> {
    let mut moves = Vec::new();
    for (position, channel) in view.channels.iter().enumerate() {
        let own: Vec<&NodeView> =
            view.nodes.iter().filter(|node| channel.exclusive_nodes.contains(&node.node)).collect();
        if own.is_empty() {
            continue;
        }
        let outbound: Vec<&SegmentView> = view
            .segments
            .iter()
            .filter(|segment| segment.channel == Some(position) && segment.movable)
            .filter(|segment| !channel.exclusive_nodes.contains(&segment.node))
            .collect();
        if outbound.is_empty() {
            moves.extend(plan_by_quota(&own, view, Some(position), settings));
            continue;
        }
        let scores = scores_of(&own, &view.channels, settings);
        moves.extend(assign(scores, outbound, settings));
    }
    moves
}

/// Where segments of nodes that are being drained would go; `drained` need not be in the view.
pub fn drain_segments(
    view: &ReplicaView,
    drained: &[SegmentView],
    settings: &ScoreSettings,
) -> Vec<ScoreMove> {
    assign_segments(view, drained, settings)
}

/// Where segments would go that are on none of the view's nodes: newly loaded or drained ones. The biggest
/// goes first, each to the node with the lowest priority.
pub fn assign_segments(
    view: &ReplicaView,
    segments: &[SegmentView],
    settings: &ScoreSettings,
) -> Vec<ScoreMove> {
    let all: Vec<&NodeView> = view.nodes.iter().collect();
    assign(scores_of(&all, &view.channels, settings), segments.iter().collect(), settings)
}

/// 2.2 and 2.3: the fullest gives its smallest segment to the emptiest until that no longer helps.
#[allow(clippy::cast_precision_loss)] // as Milvus does
fn plan_pairwise(view: &ReplicaView, settings: &ScoreSettings) -> Vec<ScoreMove> {
    let all: Vec<&NodeView> = view.nodes.iter().collect();
    let mut scores = scores_of(&all, &view.channels, settings);
    let mut moved = BTreeSet::new();
    let mut moves = Vec::new();
    loop {
        scores.sort_by_key(|score| (score.priority(), score.node));
        let (Some(to), Some(from)) = (scores.first().copied(), scores.last().copied()) else { break };
        let (from_priority, to_priority) = (from.priority() as f64, to.priority() as f64);
        let unbalance = from_priority - to_priority;
        if unbalance < to_priority * settings.score_unbalance_toleration_factor {
            break;
        }
        let smallest = view
            .segments
            .iter()
            .filter(|segment| segment.node == from.node && segment.movable)
            .filter(|segment| !moved.contains(&segment.segment))
            .min_by_key(|segment| (segment.rows, segment.segment));
        let Some(segment) = smallest else { break };
        let score = segment_score(segment.rows, settings);
        let reversed = (to_priority + score) - (from_priority - score);
        if reversed > 0.0 && reversed * settings.reverse_unbalance_toleration_factor >= unbalance {
            break;
        }
        moves.push(ScoreMove { segment: segment.segment, from: from.node, to: to.node });
        moved.insert(segment.segment);
        let last = scores.len() - 1;
        scores[0].current += score;
        scores[last].current -= score;
    }
    moves
}

/// 2.4+: what lies above the quotas, smallest segments first, goes to whoever is furthest below.
fn plan_by_quota(
    nodes: &[&NodeView],
    view: &ReplicaView,
    channel: Option<usize>,
    settings: &ScoreSettings,
) -> Vec<ScoreMove> {
    let scores = scores_of(nodes, &view.channels, settings);
    if scores.iter().map(|score| score.quota).sum::<f64>() <= 0.0 {
        return Vec::new();
    }
    let mut candidates: Vec<&SegmentView> = Vec::new();
    for score in &scores {
        let mut current = score.current;
        if current <= score.quota {
            continue;
        }
        let mut on_node: Vec<&SegmentView> = view
            .segments
            .iter()
            .filter(|segment| segment.node == score.node)
            .filter(|segment| channel.is_none() || segment.channel == channel)
            .collect();
        on_node.sort_by_key(|segment| (segment.rows, segment.segment));
        for segment in on_node {
            candidates.push(segment);
            current -= segment_score(segment.rows, settings);
            if candidates.len() >= settings.segment_batch_size || current <= score.quota {
                break;
            }
        }
    }
    // Segments that may not move were counted as if they could: Milvus sorts them out only now.
    candidates.retain(|segment| segment.movable);
    assign(scores, candidates, settings)
}

/// Gives each segment, biggest first, to the node with the lowest priority, where that is worth it.
fn assign(
    mut scores: Vec<NodeScore>,
    mut segments: Vec<&SegmentView>,
    settings: &ScoreSettings,
) -> Vec<ScoreMove> {
    let priority_of =
        |node: NodeId| scores.iter().find(|score| score.node == node).map_or(i64::MIN, NodeScore::priority);
    segments.sort_by_cached_key(|segment| {
        (std::cmp::Reverse(segment.rows), std::cmp::Reverse(priority_of(segment.node)), segment.segment)
    });
    let mut moves = Vec::new();
    for segment in segments {
        let lowest = (0..scores.len()).min_by_key(|at| (scores[*at].priority(), scores[*at].node));
        let Some(to) = lowest else { break };
        let from = scores.iter().position(|score| score.node == segment.node);
        let change = segment_score(segment.rows, settings);
        if let Some(from) = from {
            if from == to || !is_worth_it(&scores[from], &scores[to], change, settings) {
                continue;
            }
            scores[from].current -= change;
        }
        moves.push(ScoreMove { segment: segment.segment, from: segment.node, to: scores[to].node });
        scores[to].current += change;
        if moves.len() >= settings.segment_batch_size && from.is_some() {
            break;
        }
    }
    moves
}

/// Whether the balancer would bother.
#[allow(clippy::cast_precision_loss)] // as Milvus does
pub(super) fn is_worth_it(from: &NodeScore, to: &NodeScore, change: f64, settings: &ScoreSettings) -> bool {
    let difference = (from.priority() - to.priority()).unsigned_abs() as f64;
    let tolerated = match settings.benefit {
        BenefitRule::ToleranceQuota => to.quota,
        BenefitRule::TolerancePriority | BenefitRule::TolerancePriorityWhole => to.priority() as f64,
    };
    if difference < tolerated * settings.score_unbalance_toleration_factor {
        return false;
    }
    let (from_after, to_after) = match settings.benefit {
        BenefitRule::TolerancePriority => {
            (from.priority_after(-change) as f64, to.priority_after(change) as f64)
        }
        BenefitRule::TolerancePriorityWhole | BenefitRule::ToleranceQuota => {
            (from.priority() as f64 - change.trunc(), to.priority() as f64 + change.trunc())
        }
    };
    let reversed = to_after - from_after;
    reversed <= 0.0 || reversed * settings.reverse_unbalance_toleration_factor < difference
}

/// The channel moves of one round (2.4+). While there is one, segments wait.
pub fn plan_channels(view: &ReplicaView, settings: &ScoreSettings) -> Vec<ChannelMove> {
    if settings.algorithm == Algorithm::Pairwise || !settings.auto_balance_channel {
        return Vec::new();
    }
    let weight = settings.collection_channel_count_factor.max(1.0);
    let nodes: Vec<&NodeView> = view.nodes.iter().collect();
    let led_by =
        |node: NodeId| view.channels.iter().enumerate().filter(move |(_, led)| led.leader == Some(node));
    let current: Vec<f64> = nodes
        .iter()
        .map(|node| {
            let own: f64 = led_by(node.node).map(|_| weight).sum();
            (own + f64::from(node.foreign_channels)).trunc()
        })
        .collect();
    let mut scores = with_quotas(&nodes, &current, settings);
    let mut candidates = Vec::new();
    for score in &scores {
        let mut current = score.current;
        for (channel, _) in led_by(score.node) {
            if current <= score.quota {
                break;
            }
            candidates.push((channel, score.node));
            current -= weight;
        }
    }
    let mut moves = Vec::new();
    for (channel, node) in candidates {
        let lowest = (0..scores.len()).min_by_key(|at| (scores[*at].priority(), scores[*at].node));
        let (Some(to), Some(from)) = (lowest, scores.iter().position(|score| score.node == node)) else {
            break;
        };
        if from == to || !is_worth_it(&scores[from], &scores[to], weight, settings) {
            continue;
        }
        scores[from].current -= weight;
        scores[to].current += weight;
        moves.push(ChannelMove { channel, from: node, to: scores[to].node });
        if moves.len() >= settings.channel_batch_size {
            break;
        }
    }
    moves
}
