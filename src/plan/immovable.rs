//! How much of a node's load moves cannot change, and what it is made of. "62 % of node 7 is growing data" ends a search
//! for a better split that no planner can find.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::LeftAlone;
use super::fair_share::Placement;
use super::finding::{DimensionView, Finding};
use crate::gate::Restrictions;
use crate::model::{CopyIndex, Held, NodeIndex, Snapshot};
use crate::policy::{BaseCause, Dimension};
use crate::reason::Reason;
use crate::units::{Load, Ratio};

/// Why load cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum ImmovableCause {
    /// It is not the load of sealed segments.
    Base {
        /// But what.
        of: BaseCause,
    },
    /// Segments that must stay, whatever anybody wants.
    Held {
        /// Why.
        held: Held,
    },
    /// Segments that a policy keeps where they are.
    Pinned,
}

impl ImmovableCause {
    /// The stable name: metric label.
    pub fn code(self) -> &'static str {
        match self {
            ImmovableCause::Base { of: BaseCause::GrowingData } => "growing_data",
            ImmovableCause::Base { of: BaseCause::Delegator } => "delegator",
            ImmovableCause::Base { of: BaseCause::Unexplained } => "unexplained",
            ImmovableCause::Held { held: Held::Level0 } => "level0",
            ImmovableCause::Held { held: Held::NoRows } => "no_rows",
            ImmovableCause::Held { held: Held::OnTwoNodes } => "on_two_nodes",
            ImmovableCause::Held { held: Held::NodeUnfit } => "node_unfit",
            ImmovableCause::Held { held: Held::CollectionUnready } => "collection_unready",
            ImmovableCause::Pinned => "pinned",
        }
    }
}

impl fmt::Display for ImmovableCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImmovableCause::Base { of: BaseCause::GrowingData } => "growing data",
            ImmovableCause::Base { of: BaseCause::Delegator } => "the work of a delegator",
            ImmovableCause::Base { of: BaseCause::Unexplained } => "nothing that sealed segments explain",
            ImmovableCause::Held { held: Held::Level0 } => "level-0 segments",
            ImmovableCause::Held { held: Held::NoRows } => "segments that are listed with 0 rows",
            ImmovableCause::Held { held: Held::OnTwoNodes } => "segments that are on two nodes at the moment",
            ImmovableCause::Held { held: Held::NodeUnfit } => {
                "segments of replicas in which the node is not read-write"
            }
            ImmovableCause::Held { held: Held::CollectionUnready } => {
                "segments of collections that are not fully loaded"
            }
            ImmovableCause::Pinned => "segments that a policy keeps here",
        })
    }
}

/// A part of the load that moves cannot change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImmovablePart {
    /// Why.
    #[serde(flatten)]
    pub cause: ImmovableCause,
    /// How much.
    pub load: Load,
}

/// Writes into every finding how much of its load cannot be moved, and why.
pub fn explain(
    snapshot: &Snapshot,
    views: &[DimensionView<'_>],
    placement: &Placement,
    restrictions: &Restrictions,
    findings: &mut [Finding],
) {
    let stuck = stuck_copies(snapshot, placement, restrictions);
    for view in views {
        let parts = parts_by_node(view.dimension, placement, &stuck, snapshot.nodes.len());
        for finding in findings.iter_mut().filter(|finding| finding.dimension == view.dimension.name) {
            let Some(node) = snapshot.node_index(finding.node) else { continue };
            let part = |(cause, load): (&ImmovableCause, &Load)| ImmovablePart { cause: *cause, load: *load };
            let mut of_node: Vec<ImmovablePart> = parts[node.at()].iter().map(part).collect();
            of_node.sort_by_key(|part| (std::cmp::Reverse(part.load), part.cause));
            finding.immovable = of_node.iter().fold(Load::ZERO, |sum, part| sum.saturating_add(part.load));
            finding.immovable_parts = of_node;
        }
    }
}

/// Copies that cannot leave their node, and why.
fn stuck_copies(
    snapshot: &Snapshot,
    placement: &Placement,
    restrictions: &Restrictions,
) -> Vec<(CopyIndex, ImmovableCause)> {
    let mut stuck = Vec::new();
    for copy in snapshot.copies.indices() {
        if placement.in_flight[copy.at()] {
            continue;
        }
        match snapshot.copies.held[copy.at()] {
            Some(held) => stuck.push((copy, ImmovableCause::Held { held })),
            None if restrictions.is_pinned(snapshot, copy) => stuck.push((copy, ImmovableCause::Pinned)),
            None => {}
        }
    }
    stuck
}

fn parts_by_node(
    dimension: &Dimension,
    placement: &Placement,
    stuck: &[(CopyIndex, ImmovableCause)],
    nodes: usize,
) -> Vec<BTreeMap<ImmovableCause, Load>> {
    let mut parts: Vec<BTreeMap<ImmovableCause, Load>> = vec![BTreeMap::new(); nodes];
    let mut add = |node: usize, cause: ImmovableCause, load: Load| {
        if load > Load::ZERO {
            let known = parts[node].entry(cause).or_insert(Load::ZERO);
            *known = known.saturating_add(load);
        }
    };
    for node in 0..nodes {
        let mut rest = dimension.base_load[node];
        for part in &dimension.base_parts {
            // What a policy says of the parts is never more than what it says of the whole.
            let load = part.load.get(node).copied().unwrap_or(Load::ZERO).min(rest);
            add(node, ImmovableCause::Base { of: part.cause }, load);
            rest = rest.saturating_sub(load);
        }
        add(node, ImmovableCause::Base { of: BaseCause::Unexplained }, rest);
    }
    for (copy, cause) in stuck {
        add(placement.node[copy.at()].at(), *cause, dimension.copy_load[copy.at()]);
    }
    parts
}

/// Where a node is left alone because of what it cannot give away, the reason says so: "nothing on it can move" would send
/// people looking at the wrong thing.
pub fn blame(findings: &[Finding], views: &[DimensionView<'_>], left_alone: &mut [LeftAlone]) {
    for left in left_alone {
        let is_for_lack_of_moves = matches!(
            left.reason,
            Reason::NothingMovable
                | Reason::NoImprovement
                | Reason::NotWorthItsPrice
                | Reason::Held { .. }
                | Reason::Pinned
                | Reason::CollectionPinned { .. }
                | Reason::ReplicaPinned { .. }
        );
        let is_it = |finding: &&Finding| finding.node == left.node && finding.dimension == left.dimension;
        let finding = findings.iter().find(is_it);
        let view = views.iter().find(|view| view.dimension.name == left.dimension);
        let (true, Some(finding), Some(view)) = (is_for_lack_of_moves, finding, view) else { continue };
        let without_the_rest = Ratio::of(finding.immovable.0, finding.fair.0);
        if without_the_rest > view.dimension.settings.leave {
            left.reason = Reason::OverloadImmovable {
                pressure: left.pressure,
                immovable: Ratio::of(finding.immovable.0, finding.load.0),
            };
        }
    }
}

/// Why a node that has its fair share stands out all the same: what moves cannot change is more than an even share.
pub(super) fn stands_out(view: &DimensionView<'_>, node: NodeIndex) -> Option<Reason> {
    let (fair, even) = (view.loads.fair[node.at()]?, view.loads.even[node.at()]?);
    let load = view.loads.load[node.at()];
    let pressure = Ratio::of(load.0, even.0);
    if fair <= even || pressure <= view.dimension.settings.enter {
        return None;
    }
    if view.too_little_to_matter(node, load).is_some() {
        return None;
    }
    let base = view.dimension.base_load[node.at()];
    Some(Reason::OverloadImmovable { pressure, immovable: Ratio::of(base.0, load.0) })
}
