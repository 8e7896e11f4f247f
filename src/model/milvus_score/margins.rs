//! What can be said of a move without scoring a replica anew: how much the scores of two of its nodes may change before
//! Milvus' balancer could plan anything there. A planner asks a million times a turn, and nearly always this is enough.
//!
//! A node that is above its quota by `a` gives its smallest segment, of score `c`, to the lowest node, above its own by
//! `l`, only if `f·(2c − (a − l)) < a − l`, where `f` is the reversing tolerance ([`super::plan_segments`]). So it keeps it
//! while `a − 2f/(1+f)·c ≤ l`: a replica is left alone while the highest of the left sides, its pull, is not above the
//! lowest node. Both change only where a move ends, and by about what is moved.

use super::{Algorithm, BenefitRule, NodeScore, ScoreSettings};
use crate::model::{NodeIndex, ReplicaIndex};

/// What Milvus' rounding of two priorities and of a segment's score can make of a difference.
const ROUNDING: f64 = 5.0;
/// So many moves may have been added up before the scores are worked out anew: each is rounded once.
const MOST_DRIFT: f64 = 8.0;

/// The nodes between which the balancer levels: those of a replica, or those that one of its channels owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Margins {
    /// The replica.
    pub replica: ReplicaIndex,
    /// The channel that owns the nodes, in channel-exclusive mode.
    pub channel: Option<u32>,
    /// Which of the cases of growing rows.
    pub case: usize,
    /// Whether others' moves must leave it alone: the balancer had nothing to do here before any of them.
    pub counts: bool,
    members: Vec<Member>,
    /// By how much, at most, the differences between nodes change with the sum of all scores: shares of quotas differ.
    sway: f64,
    largest_quota: f64,
    /// How wrong the sums may be by now.
    drift: f64,
    lowest: f64,
    highest: f64,
    highest_pull: f64,
}

/// One of the nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Member {
    node: NodeIndex,
    above: f64,
    /// The score of its smallest segment; infinite where it has none.
    smallest: f64,
}

/// What is needed to know the margins.
pub(super) struct Scores<'a> {
    /// The settings of the balancer.
    pub settings: &'a ScoreSettings,
    /// The scores, in the order of the nodes.
    pub scores: &'a [NodeScore],
    /// By node: its index, the score of its smallest segment, and how many channels it leads.
    pub nodes: &'a [(NodeIndex, f64, u32)],
    /// The most that one move changes the score of a node outside of its own replica.
    pub largest_change: f64,
}

impl Margins {
    /// Of no nodes yet.
    pub fn new(replica: ReplicaIndex, channel: Option<u32>, case: usize) -> Margins {
        Margins {
            replica,
            channel,
            case,
            counts: true,
            members: Vec::new(),
            sway: 0.0,
            largest_quota: 0.0,
            drift: 0.0,
            lowest: f64::INFINITY,
            highest: f64::NEG_INFINITY,
            highest_pull: f64::NEG_INFINITY,
        }
    }

    /// Takes over scores that were worked out anew.
    pub fn renew(&mut self, from: &Scores<'_>) {
        let Scores { settings, scores, nodes, .. } = from;
        let quotas: f64 = scores.iter().map(|score| score.quota).sum();
        let moves_with_sum = |(score, (_, _, led)): (&NodeScore, &(NodeIndex, f64, u32))| {
            let share = if quotas > 0.0 { score.quota / quotas } else { 0.0 };
            share * (settings.delegator_memory_overload_factor * f64::from(*led) - 1.0)
        };
        let sways = || scores.iter().zip(nodes.iter()).map(moves_with_sum);
        self.sway = (sways().fold(f64::MIN, f64::max) - sways().fold(f64::MAX, f64::min)).max(0.0);
        self.largest_quota = scores.iter().map(|score| score.quota).fold(0.0, f64::max);
        self.drift = 0.0;
        self.members.clear();
        self.members.extend(scores.iter().zip(nodes.iter()).map(|(score, (node, smallest, _))| Member {
            node: *node,
            above: score.current - score.quota,
            smallest: *smallest,
        }));
        self.settle(settings, from.largest_change);
    }

    /// Whether the scores should be worked out anew.
    pub fn has_drifted(&self) -> bool {
        self.drift > MOST_DRIFT
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> {
        self.members.iter().map(|member| member.node)
    }

    /// Rows of other collections have come to a node, or left it; [`Margins::settle`] must follow.
    pub fn shift(&mut self, at: usize, change: f64) {
        self.members[at].above += change;
        self.drift += 1.0;
    }

    /// Works out what all nodes together come to.
    pub fn settle(&mut self, settings: &ScoreSettings, largest_change: f64) {
        self.lowest = f64::INFINITY;
        self.highest = f64::NEG_INFINITY;
        self.highest_pull = f64::NEG_INFINITY;
        for member in &self.members {
            self.lowest = self.lowest.min(member.above);
            self.highest = self.highest.max(member.above);
        }
        let slop = 2.0 * (self.drift + 1.0);
        let from = match settings.algorithm {
            // Only the fullest gives, or what is the fullest when that one has lost something.
            Algorithm::Pairwise => self.highest - largest_change - slop,
            // What is below its quota gives nothing.
            Algorithm::Score | Algorithm::ChannelLevel => -2.0 * self.sway * largest_change - slop,
        };
        for member in &self.members {
            if member.above > from {
                self.highest_pull = self.highest_pull.max(member.pull(settings));
            }
        }
    }

    /// By how much the score of a node may change, at most, so that the balancer leaves this replica alone when `from`
    /// loses as much and `to` gains as much, or twice as much while the move is on its way.
    pub fn bears(&self, settings: &ScoreSettings, from: Option<usize>, to: Option<usize>) -> f64 {
        let slop = self.drift + 1.0;
        let (lowest, pull) = (self.lowest - slop, self.highest_pull + slop);
        if pull > lowest {
            return f64::NEG_INFINITY;
        }
        let sway = 2.0 * self.sway;
        let mut least = if sway > 0.0 { (lowest - pull) / sway } else { f64::INFINITY };
        let floor = from.map(|at| self.members[at].above - slop);
        if let Some(floor) = floor {
            least = least.min((floor - pull) / (1.0 + sway));
        }
        if let Some(to) = to.map(|at| &self.members[at]) {
            let pull = to.pull(settings) + slop;
            let mut as_source = (lowest - pull) / (2.0 + sway);
            if let Some(floor) = floor {
                as_source = as_source.min((floor - pull) / (3.0 + sway));
            }
            // As long as it stays below its quota, or another one is fuller, it gives nothing.
            let gives_nothing = match settings.algorithm {
                Algorithm::Pairwise => (self.highest - to.above - 2.0 * slop) / 3.0,
                Algorithm::Score | Algorithm::ChannelLevel => (-to.above - slop) / (2.0 + sway),
            };
            as_source = as_source.max(gives_nothing);
            least = least.min(as_source);
        }
        least
    }

    /// Whether the balancer is sure to plan something when a segment of this replica, of that score, has gone from one
    /// of the nodes to another.
    pub fn is_sure_to_stir(
        &self,
        settings: &ScoreSettings,
        from: NodeIndex,
        to: NodeIndex,
        score: f64,
    ) -> bool {
        let Some((at, to)) = self.members.iter().enumerate().find(|(_, member)| member.node == to) else {
            return false;
        };
        if self.members.iter().all(|member| member.node != from) {
            // It comes from outside, and raises all quotas.
            return false;
        }
        let slop = self.drift + ROUNDING;
        let now = to.above + score - slop;
        let mut lowest = f64::INFINITY;
        for (other, member) in self.members.iter().enumerate() {
            if other == at {
                continue;
            }
            let above = if member.node == from { member.above - score } else { member.above };
            lowest = lowest.min(above + slop);
            if settings.algorithm == Algorithm::Pairwise && above + slop >= now {
                // Only the fullest gives.
                return false;
            }
        }
        if settings.algorithm != Algorithm::Pairwise && now <= 0.0 {
            return false;
        }
        let tolerated = match settings.benefit {
            BenefitRule::ToleranceQuota => self.largest_quota + slop,
            BenefitRule::TolerancePriority | BenefitRule::TolerancePriorityWhole => (lowest + slop).max(0.0),
        } * settings.score_unbalance_toleration_factor;
        let held = held_by(to.smallest.min(score), settings) + 2.0 * ROUNDING;
        now - lowest > held.max(tolerated)
    }
}

impl Member {
    /// How high the lowest node must be for this one to keep its smallest segment.
    fn pull(&self, settings: &ScoreSettings) -> f64 {
        self.above - held_by(self.smallest, settings) + ROUNDING
    }
}

/// Over which difference a segment of that score is not moved.
fn held_by(score: f64, settings: &ScoreSettings) -> f64 {
    if score.is_infinite() {
        return score;
    }
    let factor = settings.reverse_unbalance_toleration_factor.max(0.0);
    2.0 * factor / (1.0 + factor) * score
}
