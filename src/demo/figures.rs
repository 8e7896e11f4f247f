//! What the cluster is like at a moment, as the simulated world itself knows it: memory, CPU, search latency; and
//! as the daemon sees it: pressure.

use serde::Serialize;

use crate::control_loop::LastTurn;
use crate::plan::Finding;
use crate::sim::World;
use crate::units::{Bytes, NodeId, Ratio};

/// The cluster at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The worst pressure of any node, as the daemon sees it.
    pub worst_pressure: Ratio,
    /// Share of its memory that the fullest node uses.
    pub fullest: Ratio,
    /// The same of the emptiest.
    pub emptiest: Ratio,
    /// Share of its CPU that the busiest node is asked for; above 1 searches queue up.
    pub busiest: Ratio,
    /// How long a search takes, on average over all searches, in milliseconds.
    pub latency_ms: f64,
    /// The query nodes.
    pub nodes: Vec<NodeFigures>,
}

/// A query node at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeFigures {
    /// Its id.
    pub id: NodeId,
    /// Its machine.
    pub hostname: String,
    /// Its memory.
    pub memory_capacity: Bytes,
    /// What of it is used.
    pub memory_used: Bytes,
    /// Share of its CPU that it is asked for.
    pub cpu: Ratio,
    /// Its load over its fair share, as the daemon sees it; `None` when it takes no part.
    pub pressure: Option<Ratio>,
}

impl Figures {
    /// Of the world as it is, and of the daemon's last turn.
    pub(super) fn new(world: &World, turn: Option<&LastTurn>) -> Figures {
        let figures = Figures::of_world(world);
        match turn {
            Some(turn) => figures.seen_in(turn),
            None => figures,
        }
    }

    /// Of the world alone: nobody has looked at it yet.
    pub(super) fn of_world(world: &World) -> Figures {
        let mut nodes = Vec::new();
        // Nodes that hold sealed segments are in a resource group.
        for node in world.nodes().values().filter(|node| node.resource_group.is_some()) {
            nodes.push(NodeFigures {
                id: node.id,
                hostname: node.hostname.clone(),
                memory_capacity: Bytes(node.memory),
                memory_used: Bytes(node.memory_used()),
                cpu: Ratio::from_decimal(node.demand).unwrap_or_default(),
                pressure: None,
            });
        }
        let used = |node: &NodeFigures| Ratio::of(node.memory_used.0, node.memory_capacity.0);
        Figures {
            worst_pressure: Ratio::ZERO,
            fullest: nodes.iter().map(used).max().unwrap_or_default(),
            emptiest: nodes.iter().map(used).min().unwrap_or_default(),
            busiest: nodes.iter().map(|node| node.cpu).max().unwrap_or_default(),
            latency_ms: world.mean_latency_ms(),
            nodes,
        }
    }

    /// The same with the pressures of a turn.
    pub(super) fn seen_in(mut self, turn: &LastTurn) -> Figures {
        for node in &mut self.nodes {
            node.pressure = pressure_of(node.id, &turn.decision.findings);
        }
        self.worst_pressure = self.nodes.iter().filter_map(|node| node.pressure).max().unwrap_or_default();
        self
    }
}

/// The worst pressure of a node in any dimension.
fn pressure_of(node: NodeId, findings: &[Finding]) -> Option<Ratio> {
    findings.iter().filter(|finding| finding.node == node).map(|finding| finding.pressure).max()
}
