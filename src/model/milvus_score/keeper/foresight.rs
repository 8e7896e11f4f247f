//! Whether Milvus' balancer would plan anything in a replica as it is after the moves applied so far.

use super::scored::{Resident, Scored};
use super::{Keeper, is_owned};
use crate::model::milvus_score::plan::is_worth_it;
use crate::model::milvus_score::{Algorithm, NodeScore, NodeView, RowCounts, scores_of, segment_score};
use crate::model::{NodeIndex, ReplicaIndex};
use crate::units::Rows;

impl Keeper {
    /// Whether the balancer would move a segment of this replica, in one of the cases.
    pub(super) fn would_plan_with(&mut self, replica: ReplicaIndex, case: usize) -> bool {
        let scored = &self.replicas[replica.at()];
        let nodes = scored.replica.nodes.len() as u64;
        self.memory.work_left = self.memory.work_left.saturating_sub(nodes);
        let times = self.cases[case];
        if !is_owned(&self.settings, &scored.replica.channels) {
            return self.would_plan_among(scored, &self.nodes_of(scored, times, None), None);
        }
        let own = |channel: u32| {
            self.would_plan_among(scored, &self.nodes_of(scored, times, Some(channel)), Some(channel))
        };
        scored.outbound > 0 || (0_u32..).zip(&scored.replica.channels).any(|(channel, _)| own(channel))
    }

    /// The nodes of a replica, or of a channel, with today's rows, growing ones counted so many times, with their positions.
    pub(super) fn nodes_of(
        &self,
        scored: &Scored,
        times: u64,
        channel: Option<u32>,
    ) -> Vec<(usize, NodeView)> {
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
        let owner = channel.and_then(|channel| scored.replica.channels.get(channel as usize));
        let takes_part =
            |view: &NodeView| owner.is_none_or(|channel| channel.exclusive_nodes.contains(&view.node));
        let nodes = scored.replica.nodes.iter().enumerate();
        nodes.filter(|(_, (_, view))| takes_part(view)).map(with_rows).collect()
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
        nodes.iter().zip(&scores).filter(|(_, score)| score.node != lowest.node).any(
            |((position, _), score)| {
                let mut current = score.current;
                for (rows, segment, of) in &scored.segments[*position] {
                    if current <= score.quota {
                        break;
                    }
                    if channel.is_some() && *of != channel {
                        continue;
                    }
                    let change = segment_score(*rows, &self.settings);
                    if self.busy != Some(*segment) {
                        // What is larger is worth even less.
                        return is_worth_it(score, lowest, change, &self.settings);
                    }
                    current -= change;
                }
                false
            },
        )
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
            let free = |(_, segment, _): &&Resident| self.busy != Some(*segment);
            let Some((rows, ..)) = scored.segments[*position].iter().find(free) else { return false };
            let change = segment_score(*rows, &self.settings);
            let reversed = 2.0 * change - unbalance;
            reversed <= 0.0 || reversed * self.settings.reverse_unbalance_toleration_factor < unbalance
        })
    }
}
