//! Keeps a plan beside Milvus' own balancer: says of a move whether the balancer would plan anything once it has landed.
//! The same answer as [`super::plan_segments`] on a view made anew, but at the price of one replica, not of the cluster.

use super::plan::{is_exclusive, is_worth_it};
use super::{
    Algorithm, ChannelView, NodeScore, NodeView, RowCounts, ScoreSettings, scores_of, segment_score,
};
use crate::model::{CopyIndex, NodeIndex, ReplicaIndex, SegmentCopies};
use crate::reason::Reason;
use crate::units::{CollectionId, Rows, SegmentId};

/// How often growing rows are counted: not at all, as they are, and twice. They are flushed and begin anew all the time,
/// and what holds at all three holds while they do.
const GROWING: [u64; 3] = [1, 0, 2];

/// What a keeper starts from.
pub struct KeeperInput<'a> {
    /// The balancer's settings.
    pub settings: &'a ScoreSettings,
    /// Every replica, by its index.
    pub replicas: Vec<KeptReplica>,
    /// Number of nodes of the snapshot.
    pub nodes: usize,
    /// Growing rows of all collections on each node, by its index.
    pub growing: &'a [Rows],
    /// The copies of the snapshot.
    pub copies: &'a SegmentCopies,
    /// Where each of them is, moves in flight carried out.
    pub placement: &'a [NodeIndex],
    /// The channel of each segment that has a known one, by its position in its replica; by segment.
    pub shards: &'a [(SegmentId, u32)],
}

/// A replica as the balancer scores it, without its segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptReplica {
    /// Its collection.
    pub collection: CollectionId,
    /// Its read-write nodes; rows of sealed segments are added up by the keeper.
    pub nodes: Vec<(NodeIndex, NodeView)>,
    /// Its channels.
    pub channels: Vec<ChannelView>,
    /// Why nobody can say what the balancer makes of it, if so.
    pub unknown: Option<Reason>,
}

/// A segment on a node, in the order in which the balancer takes them.
type Resident = (Rows, SegmentId, Option<u32>);

/// A replica with its segments.
#[derive(Clone, Debug, PartialEq)]
struct Scored {
    replica: KeptReplica,
    /// By position of the node: its sealed segments, smallest first.
    segments: Vec<Vec<Resident>>,
    /// Segments outside of their channel's own nodes, or of unknown channel; counted in channel-exclusive mode only.
    outbound: usize,
    /// By how much the score of any node may change without the balancer planning anything; negative when it would.
    slack: f64,
    /// In which of the cases of [`GROWING`] it planned something before any move of ours.
    is_restless: [bool; GROWING.len()],
}

/// What the balancer would make of the cluster after the moves applied so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Keeper {
    settings: ScoreSettings,
    replicas: Vec<Scored>,
    /// Replicas that each node is a read-write member of.
    on_node: Vec<Vec<ReplicaIndex>>,
    /// Rows of sealed segments of all collections, by node.
    sealed: Vec<u64>,
    /// Rows of growing segments of all collections, by node.
    growing: Vec<u64>,
    /// By copy: its segment, replica, rows and channel.
    copies: Vec<(SegmentId, ReplicaIndex, Rows, Option<u32>)>,
    /// By copy: where it is after the moves applied so far.
    place: Vec<NodeIndex>,
    /// Segments on their way at the moment that is looked at: they count, and the balancer leaves them alone.
    busy: Vec<SegmentId>,
}

impl Keeper {
    /// Before any move of ours.
    pub fn new(input: KeeperInput<'_>) -> Keeper {
        let KeeperInput { settings, replicas, nodes, growing, copies, placement, shards } = input;
        let mut keeper = Keeper {
            settings: settings.clone(),
            on_node: vec![Vec::new(); nodes],
            sealed: vec![0; nodes],
            growing: growing.iter().map(|rows| rows.0).collect(),
            copies: Vec::with_capacity(copies.len()),
            replicas: Vec::with_capacity(replicas.len()),
            busy: Vec::new(),
            place: placement.to_vec(),
        };
        for (position, replica) in replicas.into_iter().enumerate() {
            for (node, _) in &replica.nodes {
                keeper.on_node[node.at()].push(ReplicaIndex::from_position(position));
            }
            let segments = vec![Vec::new(); replica.nodes.len()];
            keeper.replicas.push(Scored {
                replica,
                segments,
                outbound: 0,
                slack: 0.0,
                is_restless: [false; GROWING.len()],
            });
        }
        for copy in copies.indices() {
            let (segment, replica) = (copies.segment[copy.at()], copies.replica[copy.at()]);
            let rows = copies.rows[copy.at()];
            let known = shards.binary_search_by_key(&segment, |(known, _)| *known);
            let channel = known.ok().map(|at| shards[at].1);
            keeper.copies.push((segment, replica, rows, channel));
            let node = placement[copy.at()];
            keeper.sealed[node.at()] = keeper.sealed[node.at()].saturating_add(rows.0);
            keeper.replicas[replica.at()].put(node, (rows, segment, channel));
        }
        for scored in &mut keeper.replicas {
            scored.segments.iter_mut().for_each(|segments| segments.sort_unstable());
        }
        for position in 0..keeper.replicas.len() {
            let replica = ReplicaIndex::from_position(position);
            keeper.replicas[position].is_restless =
                GROWING.map(|times| keeper.would_plan_with(replica, times));
            keeper.replicas[position].slack = keeper.slack_of(replica);
        }
        keeper
    }

    /// Whether the balancer would leave everything where it is once this move has landed on top of those applied.
    /// `from` is where the copy is after those.
    pub fn allows(&mut self, copy: CopyIndex, from: NodeIndex, to: NodeIndex) -> Result<(), Reason> {
        self.allows_step(&[(copy, from, to)])
    }

    /// The same, from wherever the copy is after the moves applied; staying there is always allowed.
    pub fn allows_now(&mut self, copy: CopyIndex, to: NodeIndex) -> Result<(), Reason> {
        let from = self.place[copy.at()];
        if from == to { Ok(()) } else { self.allows(copy, from, to) }
    }

    /// Carries a move out, from wherever the copy is.
    pub fn put(&mut self, copy: CopyIndex, to: NodeIndex) {
        let from = self.place[copy.at()];
        if from != to {
            self.apply(copy, from, to);
        }
    }

    /// The same for moves that are sent together and land together: a swap, a chain. What shows for the moment in
    /// which one has landed and the other has not is for whoever sends them to keep short.
    pub fn allows_step(&mut self, moves: &[(CopyIndex, NodeIndex, NodeIndex)]) -> Result<(), Reason> {
        for (copy, _, to) in moves {
            let (_, replica, _, channel) = self.copies[copy.at()];
            let scored = &self.replicas[replica.at()];
            if let Some(reason) = &scored.replica.unknown {
                return Err(reason.clone());
            }
            let collection = scored.replica.collection;
            if is_exclusive(&scored.replica.channels) && self.settings.algorithm == Algorithm::ChannelLevel {
                let Some(channel) = channel else { return Err(Reason::ShardUnknown { collection }) };
                if !scored.owns(channel, *to) {
                    return Err(Reason::WouldBeUndone { collection });
                }
            }
        }
        moves.iter().for_each(|(copy, from, to)| self.shift(*copy, *from, *to));
        let answer = self.judge(moves).and_then(|()| self.judge_on_the_way(moves));
        moves.iter().rev().for_each(|(copy, from, to)| self.shift(*copy, *to, *from));
        answer
    }

    /// Looks at what the moves touch, which have been carried out.
    fn judge(&mut self, moves: &[(CopyIndex, NodeIndex, NodeIndex)]) -> Result<(), Reason> {
        for (copy, ..) in moves {
            let replica = self.copies[copy.at()].1;
            if self.would_plan(replica) {
                return Err(Reason::WouldBeUndone { collection: self.collection(replica) });
            }
        }
        let change = self.change_of(moves);
        for node in moves.iter().flat_map(|(_, from, to)| [*from, *to]) {
            for position in 0..self.on_node[node.at()].len() {
                let replica = self.on_node[node.at()][position];
                let scored = &self.replicas[replica.at()];
                let is_moved = moves.iter().any(|(copy, ..)| self.copies[copy.at()].1 == replica);
                if is_moved || scored.slack > change || scored.replica.unknown.is_some() {
                    continue;
                }
                if self.is_stirred(replica) {
                    return Err(Reason::WouldBeUndone { collection: self.collection(replica) });
                }
            }
        }
        Ok(())
    }

    /// The same for what shows while the moves are on their way: both nodes hold the segment, and a balancer that also
    /// counts what its tasks will bring counts it twice on the destination (all versions before the middle of 2026).
    fn judge_on_the_way(&mut self, moves: &[(CopyIndex, NodeIndex, NodeIndex)]) -> Result<(), Reason> {
        self.busy = moves.iter().map(|(copy, ..)| self.copies[copy.at()].0).collect();
        let mut answer = Ok(());
        for at_source in [true, false] {
            let extra: Vec<(CopyIndex, NodeIndex)> =
                moves.iter().map(|(copy, from, to)| (*copy, if at_source { *from } else { *to })).collect();
            extra.iter().for_each(|(copy, node)| self.weigh(*copy, *node, u64::saturating_add));
            answer = answer.and_then(|()| self.judge(moves));
            extra.iter().for_each(|(copy, node)| self.weigh(*copy, *node, u64::saturating_sub));
        }
        self.busy.clear();
        answer
    }

    /// Adds the rows of a copy to what a node carries, or takes them off, without the copy itself.
    fn weigh(&mut self, copy: CopyIndex, node: NodeIndex, change: fn(u64, u64) -> u64) {
        let (_, replica, rows, _) = self.copies[copy.at()];
        self.sealed[node.at()] = change(self.sealed[node.at()], rows.0);
        let scored = &mut self.replicas[replica.at()];
        if let Some(position) = scored.position_of(node) {
            let sealed = &mut scored.replica.nodes[position].1.collection.sealed;
            *sealed = Rows(change(sealed.0, rows.0));
        }
    }

    /// Carries a move out, for good.
    pub fn apply(&mut self, copy: CopyIndex, from: NodeIndex, to: NodeIndex) {
        self.shift(copy, from, to);
        let change = self.change_of(&[(copy, from, to)]);
        for node in [from, to] {
            for replica in &self.on_node[node.at()] {
                self.replicas[replica.at()].slack -= change;
            }
        }
        let replica = self.copies[copy.at()].1;
        self.replicas[replica.at()].slack = self.slack_of(replica);
    }

    /// By how much these moves change the score of any node of a replica other than their own, at most.
    #[allow(clippy::cast_precision_loss)] // rows of one plan are far below 2^53
    fn change_of(&self, moves: &[(CopyIndex, NodeIndex, NodeIndex)]) -> f64 {
        let rows: u64 =
            moves.iter().map(|(copy, ..)| self.copies[copy.at()].2.0).fold(0, u64::saturating_add);
        // Milvus rounds each node's share down. Twice the rows, because that is what shows on the way.
        2.0 * rows as f64 * self.settings.global_row_count_factor.abs() + 1.0
    }

    fn collection(&self, replica: ReplicaIndex) -> CollectionId {
        self.replicas[replica.at()].replica.collection
    }

    fn shift(&mut self, copy: CopyIndex, from: NodeIndex, to: NodeIndex) {
        let (segment, replica, rows, channel) = self.copies[copy.at()];
        self.place[copy.at()] = to;
        self.sealed[from.at()] = self.sealed[from.at()].saturating_sub(rows.0);
        self.sealed[to.at()] = self.sealed[to.at()].saturating_add(rows.0);
        let scored = &mut self.replicas[replica.at()];
        scored.take(from, (rows, segment, channel));
        scored.insert(to, (rows, segment, channel));
    }

    /// Whether the balancer would move a segment of this replica, in any of the cases.
    fn would_plan(&self, replica: ReplicaIndex) -> bool {
        GROWING.iter().any(|times| self.would_plan_with(replica, *times))
    }

    /// The same, in the cases in which it did not before any move of ours.
    fn is_stirred(&self, replica: ReplicaIndex) -> bool {
        let restless = self.replicas[replica.at()].is_restless;
        GROWING.iter().zip(restless).any(|(times, was)| !was && self.would_plan_with(replica, *times))
    }

    /// Whether the balancer would move a segment of this replica, growing rows counted so many times.
    fn would_plan_with(&self, replica: ReplicaIndex, times: u64) -> bool {
        let scored = &self.replicas[replica.at()];
        let exclusive =
            self.settings.algorithm == Algorithm::ChannelLevel && is_exclusive(&scored.replica.channels);
        if exclusive && scored.outbound > 0 {
            return true;
        }
        let nodes = self.nodes_of(scored, times);
        if !exclusive {
            return self.would_plan_among(scored, &nodes, None);
        }
        scored.replica.channels.iter().zip(0_u32..).any(|(channel, position)| {
            let own: Vec<(usize, NodeView)> = nodes
                .iter()
                .filter(|(_, node)| channel.exclusive_nodes.contains(&node.node))
                .cloned()
                .collect();
            self.would_plan_among(scored, &own, Some(position))
        })
    }

    /// The nodes of a replica with today's rows, growing ones counted so many times, with their positions.
    fn nodes_of(&self, scored: &Scored, times: u64) -> Vec<(usize, NodeView)> {
        let growing = |rows: u64| Rows(rows.saturating_mul(times));
        let with_rows = |(position, (index, node)): (usize, &(NodeIndex, NodeView))| {
            let collection = RowCounts { growing: growing(node.collection.growing.0), ..node.collection };
            let all = RowCounts {
                sealed: Rows(self.sealed[index.at()]),
                growing: growing(self.growing[index.at()]),
                queued: 0,
            };
            (position, NodeView { collection, all, ..*node })
        };
        scored.replica.nodes.iter().enumerate().map(with_rows).collect()
    }

    fn would_plan_among(&self, scored: &Scored, nodes: &[(usize, NodeView)], channel: Option<u32>) -> bool {
        let views: Vec<&NodeView> = nodes.iter().map(|(_, node)| node).collect();
        let scores = scores_of(&views, &scored.replica.channels, &self.settings);
        let Some(lowest) = scores.iter().min_by_key(|score| (score.priority(), score.node)) else {
            return false;
        };
        if self.settings.algorithm == Algorithm::Pairwise {
            return self.would_plan_pairwise(scored, nodes, &scores, lowest);
        }
        if scores.iter().map(|score| score.quota).sum::<f64>() <= 0.0 {
            return false;
        }
        let mut taken = 0;
        for ((position, _), score) in nodes.iter().zip(&scores) {
            let mut current = score.current;
            if current <= score.quota {
                continue;
            }
            for (rows, segment, of) in &scored.segments[*position] {
                if channel.is_some() && *of != channel {
                    continue;
                }
                let change = segment_score(*rows, &self.settings);
                let may_go = score.node != lowest.node && !self.busy.contains(segment);
                if may_go && is_worth_it(score, lowest, change, &self.settings) {
                    return true;
                }
                taken += 1;
                current -= change;
                if taken >= self.settings.segment_batch_size || current <= score.quota {
                    break;
                }
            }
        }
        false
    }

    /// 2.2 and 2.3. Which of several fullest nodes gives is not said, so any of them may.
    #[allow(clippy::cast_precision_loss)] // as Milvus does
    fn would_plan_pairwise(
        &self,
        scored: &Scored,
        nodes: &[(usize, NodeView)],
        scores: &[NodeScore],
        lowest: &NodeScore,
    ) -> bool {
        let highest = scores.iter().map(NodeScore::priority).max().unwrap_or(0);
        let (from, to) = (highest as f64, lowest.priority() as f64);
        let unbalance = from - to;
        if unbalance <= 0.0 || unbalance < to * self.settings.score_unbalance_toleration_factor {
            return false;
        }
        nodes.iter().zip(scores).filter(|(_, score)| score.priority() == highest).any(|((position, _), _)| {
            let free = |(_, segment, _): &&Resident| !self.busy.contains(segment);
            let Some((rows, ..)) = scored.segments[*position].iter().find(free) else { return false };
            let change = segment_score(*rows, &self.settings);
            let reversed = 2.0 * change - unbalance;
            reversed <= 0.0 || reversed * self.settings.reverse_unbalance_toleration_factor < unbalance
        })
    }

    /// How much the score of every node of a replica may change, by moves of other collections, before the balancer could
    /// plan anything there: less than the truth, and negative where that is not worth working out.
    ///
    /// A segment of score c moves over a difference d only if f·(2c − d) < d, where f is the reversing tolerance.
    fn slack_of(&self, replica: ReplicaIndex) -> f64 {
        let scored = &self.replicas[replica.at()];
        if self.settings.algorithm == Algorithm::ChannelLevel && is_exclusive(&scored.replica.channels) {
            return -1.0;
        }
        let factor = self.settings.reverse_unbalance_toleration_factor.max(0.0);
        let mut slack = f64::MAX;
        for times in GROWING {
            let nodes = self.nodes_of(scored, times);
            let views: Vec<&NodeView> = nodes.iter().map(|(_, node)| node).collect();
            let scores = scores_of(&views, &scored.replica.channels, &self.settings);
            let above = |score: &NodeScore| score.current - score.quota;
            let lowest = scores.iter().map(above).fold(f64::MAX, f64::min);
            for (segments, score) in scored.segments.iter().zip(&scores) {
                let Some((rows, ..)) = segments.first() else { continue };
                let held = 2.0 * factor / (1.0 + factor) * segment_score(*rows, &self.settings);
                slack = slack.min(held - (above(score) - lowest));
            }
        }
        // A change moves both ends of the difference, their quotas, and what is set aside for delegators in them.
        let led = scored.replica.channels.len() as f64 * self.settings.delegator_memory_overload_factor;
        (slack - 4.0) / (4.0 + 2.0 * led)
    }
}

impl Scored {
    fn position_of(&self, node: NodeIndex) -> Option<usize> {
        self.replica.nodes.iter().position(|(member, _)| *member == node)
    }

    /// Whether a node is one of a channel's own.
    fn owns(&self, channel: u32, node: NodeIndex) -> bool {
        let id = self.replica.nodes.iter().find(|(member, _)| *member == node).map(|(_, view)| view.node);
        let channel = self.replica.channels.get(channel as usize);
        id.zip(channel).is_some_and(|(id, channel)| channel.exclusive_nodes.contains(&id))
    }

    fn is_outbound(&self, node: NodeIndex, resident: Resident) -> bool {
        is_exclusive(&self.replica.channels) && resident.2.is_none_or(|channel| !self.owns(channel, node))
    }

    /// Adds a segment without keeping the order.
    fn put(&mut self, node: NodeIndex, resident: Resident) {
        let Some(position) = self.position_of(node) else { return };
        self.outbound += usize::from(self.is_outbound(node, resident));
        self.segments[position].push(resident);
        let rows = &mut self.replica.nodes[position].1.collection.sealed;
        *rows = Rows(rows.0.saturating_add(resident.0.0));
    }

    fn insert(&mut self, node: NodeIndex, resident: Resident) {
        let Some(position) = self.position_of(node) else { return };
        self.put(node, resident);
        let segments = &mut self.segments[position];
        segments.pop();
        let at = segments.partition_point(|other| *other < resident);
        segments.insert(at, resident);
    }

    fn take(&mut self, node: NodeIndex, resident: Resident) {
        let Some(position) = self.position_of(node) else { return };
        let Ok(at) = self.segments[position].binary_search(&resident) else { return };
        self.segments[position].remove(at);
        self.outbound -= usize::from(self.is_outbound(node, resident));
        let rows = &mut self.replica.nodes[position].1.collection.sealed;
        *rows = Rows(rows.0.saturating_sub(resident.0.0));
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
