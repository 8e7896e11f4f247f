//! What Milvus' own balancer would make of a situation: the yardstick that every operator has for nothing. It is asked
//! round after round, with each round carried out at once, until it is content.
//!
//! It is modelled from the version and its defaults, on the sealed segments alone: growing rows, delegators and
//! settings that were changed are not in a snapshot.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Situation;
use crate::model::milvus_score::{
    NodeView, ReplicaView, RowCounts, ScoreSettings, SegmentView, plan_segments,
};
use crate::model::{CopyIndex, NodeIndex, Replica, ReplicaIndex, Snapshot};
use crate::plan::{DimensionView, Placement};
use crate::policy::Assessment;
use crate::units::{Bytes, NodeId, Ratio, Rows};

/// Milvus moves five segments of a collection in a round. One that is not content after so many rounds goes in circles.
const MOST_ROUNDS: usize = 2_000;

/// The worst pressure of a dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorstPressure {
    /// The dimension.
    pub dimension: String,
    /// Now.
    pub before: Ratio,
    /// Once all is done.
    pub after: Ratio,
}

/// What it would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MilvusOutcome {
    /// Segments moved, each time counted.
    pub moves: usize,
    /// Bytes moved.
    pub bytes: Bytes,
    /// Rounds until it was content.
    pub rounds: usize,
    /// Whether it came to an end by itself.
    pub is_content: bool,
    /// What its moves bring, by dimension.
    pub worst: Vec<WorstPressure>,
}

impl MilvusOutcome {
    /// `None` when the version is unknown, so that nobody can say.
    pub fn of(situation: &Situation) -> Option<MilvusOutcome> {
        let snapshot = &situation.input.snapshot;
        let settings = ScoreSettings::for_version(&snapshot.server)?;
        let assessment = situation.assess();
        let mut placement = Placement::projected(snapshot, &situation.input.in_flight);
        let before = worst_pressures(snapshot, &assessment, &placement);

        let mut balancer = Balancer::new(snapshot, &placement, settings);
        let (mut moves, mut bytes, mut rounds) = (0, Bytes::ZERO, 0);
        let mut is_content = false;
        while rounds < MOST_ROUNDS && !is_content {
            is_content = true;
            for replica in 0..snapshot.replicas.len() {
                for copy in balancer.balance(ReplicaIndex::from_position(replica), &mut placement) {
                    is_content = false;
                    moves += 1;
                    bytes = bytes.saturating_add(snapshot.copies.bytes[copy.at()]);
                }
            }
            rounds += usize::from(!is_content);
        }
        let after = worst_pressures(snapshot, &assessment, &placement);
        let worst = before
            .into_iter()
            .map(|(dimension, before)| {
                let after = after.get(&dimension).copied().unwrap_or_default();
                WorstPressure { dimension, before, after }
            })
            .collect();
        Some(MilvusOutcome { moves, bytes, rounds, is_content, worst })
    }
}

fn worst_pressures(
    snapshot: &Snapshot,
    assessment: &Assessment,
    placement: &Placement,
) -> BTreeMap<String, Ratio> {
    let nodes = || (0..snapshot.nodes.len()).map(NodeIndex::from_position);
    DimensionView::all(snapshot, assessment, placement)
        .iter()
        .map(|view| {
            let worst = nodes().filter_map(|node| view.loads.pressure(node)).max();
            (view.dimension.name.clone(), worst.unwrap_or_default())
        })
        .collect()
}

/// The cluster as the balancer counts it.
struct Balancer<'a> {
    snapshot: &'a Snapshot,
    settings: ScoreSettings,
    copies: Vec<Vec<CopyIndex>>,
    rows_on_node: Vec<u64>,
}

impl<'a> Balancer<'a> {
    fn new(snapshot: &'a Snapshot, placement: &Placement, settings: ScoreSettings) -> Balancer<'a> {
        let mut copies = vec![Vec::new(); snapshot.replicas.len()];
        let mut rows_on_node = vec![0_u64; snapshot.nodes.len()];
        for copy in snapshot.copies.indices() {
            copies[snapshot.copies.replica[copy.at()].at()].push(copy);
            let rows = &mut rows_on_node[placement.node[copy.at()].at()];
            *rows = rows.saturating_add(snapshot.copies.rows[copy.at()].0);
        }
        Balancer { snapshot, settings, copies, rows_on_node }
    }

    /// One round for one replica, carried out; which copies moved.
    fn balance(&mut self, index: ReplicaIndex, placement: &mut Placement) -> Vec<CopyIndex> {
        let snapshot = self.snapshot;
        let view = self.view(snapshot.replica(index), index, placement);
        let mut moved = Vec::new();
        for movement in plan_segments(&view, &self.settings) {
            let copy = snapshot.copy_index(movement.segment, index);
            let Some((copy, to)) = copy.zip(snapshot.node_index(movement.to)) else { continue };
            let from = std::mem::replace(&mut placement.node[copy.at()], to);
            let rows = snapshot.copies.rows[copy.at()].0;
            self.rows_on_node[from.at()] = self.rows_on_node[from.at()].saturating_sub(rows);
            self.rows_on_node[to.at()] = self.rows_on_node[to.at()].saturating_add(rows);
            moved.push(copy);
        }
        moved
    }

    fn view(&self, replica: &Replica, index: ReplicaIndex, placement: &Placement) -> ReplicaView {
        let copies = &self.snapshot.copies;
        let mut own: BTreeMap<NodeIndex, u64> = BTreeMap::new();
        let mut segments = Vec::new();
        for copy in &self.copies[index.at()] {
            let (node, rows) = (placement.node[copy.at()], copies.rows[copy.at()]);
            let on_node = own.entry(node).or_default();
            *on_node = on_node.saturating_add(rows.0);
            segments.push(SegmentView {
                segment: copies.segment[copy.at()],
                node: self.node_id(node),
                rows,
                channel: None,
                movable: copies.held[copy.at()].is_none() && !placement.in_flight[copy.at()],
            });
        }
        let sealed = |rows: u64| RowCounts { sealed: Rows(rows), ..RowCounts::default() };
        let usable = replica.members.iter().filter(|member| member.standing.is_usable());
        let nodes = usable.map(|member| NodeView {
            node: self.node_id(member.node),
            memory: self.snapshot.node(member.node).memory_capacity,
            collection: sealed(own.get(&member.node).copied().unwrap_or(0)),
            all: sealed(self.rows_on_node[member.node.at()]),
            foreign_channels: 0,
        });
        ReplicaView { nodes: nodes.collect(), segments, channels: Vec::new() }
    }

    fn node_id(&self, index: NodeIndex) -> NodeId {
        self.snapshot.node(index).id
    }
}
