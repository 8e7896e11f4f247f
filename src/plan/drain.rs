//! How far the emptying of nodes has come: what is still to go, what is on its way, and what stays and why.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Placement, Plan, UnmetOrder};
use crate::gate::Restrictions;
use crate::model::{CopyIndex, Snapshot};
use crate::reason::Reason;
use crate::units::{Bytes, NodeId, ReplicaId, SegmentId};

/// How to take a node away once it is empty; moves cannot do that part.
pub const HOW_TO_END: &str = "stop its process with SIGTERM: Milvus then moves its channels, its growing data and what is \
                              left, with its own balancer on or off, before the process ends";

/// One node that is being emptied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// Which.
    pub node: NodeId,
    /// Segments that are planned to leave it.
    pub to_go: usize,
    /// Their bytes.
    pub bytes_to_go: Bytes,
    /// Segments on their way.
    pub under_way: usize,
    /// Segments that stay, for now or for good, by reason.
    pub staying: Vec<Staying>,
}

/// Segments that stay on a node for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Staying {
    /// Why; of the first of them, where reasons carry figures.
    pub reason: Reason,
    /// Which.
    pub segments: Vec<SegmentId>,
    /// Their bytes.
    pub bytes: Bytes,
}

impl Drain {
    /// All nodes that are being emptied, by id.
    pub fn all(
        snapshot: &Snapshot,
        placement: &Placement,
        restrictions: &Restrictions,
        plan: &Plan,
    ) -> Vec<Drain> {
        if restrictions.evacuated.is_empty() {
            return Vec::new();
        }
        let planned: BTreeSet<(SegmentId, ReplicaId)> =
            plan.moves().map(|movement| (movement.segment, movement.replica)).collect();
        let unmet = plan.proof.unmet_orders.iter();
        let unmet: BTreeMap<(SegmentId, ReplicaId), &UnmetOrder> =
            unmet.map(|order| ((order.segment, order.replica), order)).collect();
        let of_node = |node: &NodeId| {
            let index = snapshot.node_index(*node)?;
            let mut drain =
                Drain { node: *node, to_go: 0, bytes_to_go: Bytes::ZERO, under_way: 0, staying: Vec::new() };
            let mut staying: BTreeMap<&'static str, Staying> = BTreeMap::new();
            let on_it = |copy: &CopyIndex| snapshot.copies.node[copy.at()] == index;
            for copy in snapshot.copies.indices().filter(on_it) {
                let (segment, bytes) = (snapshot.copies.segment[copy.at()], snapshot.copies.bytes[copy.at()]);
                let key = (segment, snapshot.replica(snapshot.copies.replica[copy.at()]).id);
                if placement.in_flight[copy.at()] {
                    drain.under_way += 1;
                } else if planned.contains(&key) {
                    drain.to_go += 1;
                    drain.bytes_to_go = drain.bytes_to_go.saturating_add(bytes);
                } else {
                    let reason = unmet.get(&key).map(|order| order.reason.clone());
                    let reason = reason.or_else(|| {
                        let held = snapshot.copies.held[copy.at()]?;
                        Some(Reason::Held { held })
                    });
                    let reason = reason.unwrap_or(Reason::NothingMovable);
                    let known = staying.entry(reason.code()).or_insert_with(|| Staying {
                        reason,
                        segments: Vec::new(),
                        bytes: Bytes::ZERO,
                    });
                    known.segments.push(segment);
                    known.bytes = known.bytes.saturating_add(bytes);
                }
            }
            drain.staying = staying.into_values().collect();
            Some(drain)
        };
        restrictions.evacuated.iter().filter_map(of_node).collect()
    }

    /// Whether all that can leave has left.
    pub fn is_done(&self) -> bool {
        let waits = |staying: &Staying| staying.reason.passes_by_itself();
        self.to_go == 0 && self.under_way == 0 && !self.staying.iter().any(waits)
    }

    /// For people: one line for what goes on, one for each reason to stay, one for what to do next.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "node {}: {} sealed segments ({}) to go, {} on their way, {} stay",
            self.node,
            self.to_go,
            self.bytes_to_go,
            self.under_way,
            self.staying.iter().map(|staying| staying.segments.len()).sum::<usize>()
        )];
        for Staying { reason, segments, bytes } in &self.staying {
            let named: Vec<String> = segments.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if segments.len() > NAMED { ", …" } else { "" };
            lines.push(format!(
                "node {}: {} stay ({bytes}; {}{more}): {reason}",
                self.node,
                segments.len(),
                named.join(", ")
            ));
        }
        if self.is_done() {
            lines.push(format!("node {}: nothing more that can move is on it; {HOW_TO_END}", self.node));
        }
        lines
    }
}

/// So many segments are named in a line; JSON has them all.
const NAMED: usize = 5;
