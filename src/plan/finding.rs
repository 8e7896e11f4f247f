//! Findings: who is overloaded, since when, and how much of it could be moved at all. They follow from the
//! dimensions alone, so that there is one opinion about it.

use serde::{Deserialize, Serialize};

use super::LeftAlone;
use super::fair_share::{NodeLoads, Outsiders, Placement, utilisation};
use super::member_sets::MemberSets;
use crate::model::{CopyIndex, History, NodeIndex, PlanningInput, Snapshot};
use crate::policy::{Assessment, Dimension, Scope};
use crate::reason::Reason;
use crate::units::{Load, NodeId, Ratio};

/// What a dimension says about a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The dimension.
    pub dimension: String,
    /// The node.
    pub node: NodeId,
    /// Its load, moves in flight carried out.
    pub load: Load,
    /// Its fair share.
    pub fair: Load,
    /// Load / fair share.
    pub pressure: Ratio,
    /// Load / capacity, where there is a physical capacity.
    pub utilisation: Option<Ratio>,
    /// Load that moves cannot change: base load and segments that must stay.
    pub immovable: Load,
    /// For how many turns in a row, this one included, it has been over its band.
    pub turns_over: u32,
    /// What follows.
    pub state: FindingState,
}

/// What follows from a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum FindingState {
    /// Inside the band.
    Even,
    /// Above the band, but nothing is to be done about it yet, or at all.
    Tolerated(Reason),
    /// To be relieved.
    Overloaded,
}

/// Everything about a dimension that findings, planner and floors share.
pub struct DimensionView<'a> {
    /// The dimension.
    pub dimension: &'a Dimension,
    /// Its loads and shares.
    pub loads: NodeLoads,
}

impl<'a> DimensionView<'a> {
    /// Views of all dimensions that fit the snapshot. One whose columns have other lengths than the snapshot's
    /// tables is left out: it cannot be about this cluster. So is one about a single collection that counts others.
    pub fn all(
        snapshot: &Snapshot,
        assessment: &'a Assessment,
        placement: &Placement,
    ) -> Vec<DimensionView<'a>> {
        let outsiders = Outsiders::of(snapshot, &assessment.directives);
        let sets = MemberSets::of(&snapshot.replicas, |_| true);
        assessment
            .dimensions
            .iter()
            .filter(|dimension| fits(snapshot, dimension))
            .map(|dimension| DimensionView {
                dimension,
                loads: NodeLoads::of(snapshot, dimension, placement, &outsiders, &sets),
            })
            .collect()
    }

    /// Whether unevenness at this load is anybody's problem; the utilisation if not.
    pub fn too_little_to_matter(&self, node: NodeIndex, load: Load) -> Option<Ratio> {
        let used = utilisation(self.dimension, node, load)?;
        (used < self.dimension.settings.matters_above).then_some(used)
    }

    /// How far the node would be above the leave value with this load, in millionths of pressure; 0 inside the
    /// band, where it does not matter, and for nodes that take no part.
    pub fn excess_with(&self, node: NodeIndex, load: Load) -> u64 {
        let Some(pressure) = self.loads.pressure_with(node, load) else { return 0 };
        let leave = self.dimension.settings.leave;
        if pressure <= leave || self.too_little_to_matter(node, load).is_some() {
            return 0;
        }
        pressure.0.saturating_sub(leave.0)
    }
}

fn fits(snapshot: &Snapshot, dimension: &Dimension) -> bool {
    dimension.copy_load.len() == snapshot.copies.len()
        && dimension.base_load.len() == snapshot.nodes.len()
        && dimension.capacity.amounts().len() == snapshot.nodes.len()
        && is_about_its_group(snapshot, dimension)
}

/// Whether a dimension about one collection counts nothing of the others.
fn is_about_its_group(snapshot: &Snapshot, dimension: &Dimension) -> bool {
    let Scope::NodeInGroup(collection) = dimension.scope else { return true };
    let copies = snapshot.copies.indices();
    collection.at() < snapshot.collections.len()
        && copies.into_iter().all(|copy| {
            dimension.copy_load[copy.at()] == Load::ZERO
                || snapshot.replica(snapshot.copies.replica[copy.at()]).collection == collection
        })
}

/// The findings of this turn, by dimension and node, and the counts of turns for the next one.
pub fn find_overloads(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
) -> (Vec<Finding>, History) {
    let mut history = input.history.clone();
    let mut findings = Vec::new();
    history.turns_over.retain(|name, _| views.iter().any(|view| view.dimension.name == *name));
    for view in views {
        let immovable = immovable_loads(&input.snapshot, view.dimension, placement);
        let counts = history.turns_over.entry(view.dimension.name.clone()).or_default();
        counts.retain(|id, _| input.snapshot.node_index(*id).is_some());
        for (position, node) in input.snapshot.nodes.iter().enumerate() {
            let index = NodeIndex::from_position(position);
            let (Some(fair), Some(pressure)) = (view.loads.fair[position], view.loads.pressure(index)) else {
                counts.remove(&node.id);
                continue;
            };
            let load = view.loads.load[position];
            let before = counts.get(&node.id).copied().unwrap_or(0);
            let (turns_over, state) = judge(view, index, pressure, before);
            if turns_over == 0 {
                counts.remove(&node.id);
            } else {
                counts.insert(node.id, turns_over);
            }
            findings.push(Finding {
                dimension: view.dimension.name.clone(),
                node: node.id,
                load,
                fair,
                pressure,
                utilisation: utilisation(view.dimension, index, load),
                immovable: immovable[position],
                turns_over,
                state,
            });
        }
    }
    (findings, history)
}

/// Whether some node is above its enter value at this moment, where that matters; `None` when no node could be seen.
pub fn is_out_of_band(views: &[DimensionView<'_>], findings: &[Finding]) -> Option<bool> {
    let is_above = |finding: &Finding| {
        let matters = !matches!(finding.state, FindingState::Tolerated(Reason::DoesNotMatter { .. }));
        let view = views.iter().find(|view| view.dimension.name == finding.dimension);
        matters && view.is_some_and(|view| finding.pressure > view.dimension.settings.enter)
    };
    (!findings.is_empty()).then(|| findings.iter().any(is_above))
}

/// Two-sided band: a node gets onto the list above `enter`, for enough turns in a row, and stays on it down to
/// `leave`.
fn judge(
    view: &DimensionView<'_>,
    node: NodeIndex,
    pressure: Ratio,
    turns_before: u32,
) -> (u32, FindingState) {
    let settings = &view.dimension.settings;
    if pressure <= settings.leave {
        return (0, FindingState::Even);
    }
    let was_overloaded = turns_before >= settings.turns.max(1);
    if pressure <= settings.enter && !was_overloaded {
        return (0, FindingState::Even);
    }
    if let Some(utilisation) = view.too_little_to_matter(node, view.loads.load[node.at()]) {
        let reason = Reason::DoesNotMatter { utilisation, matters_above: settings.matters_above };
        return (0, FindingState::Tolerated(reason));
    }
    let turns = turns_before.saturating_add(1);
    if turns < settings.turns {
        return (turns, FindingState::Tolerated(Reason::NotLongEnough { turns, required: settings.turns }));
    }
    (turns, FindingState::Overloaded)
}

/// Base load plus the segments that must stay, by node.
fn immovable_loads(snapshot: &Snapshot, dimension: &Dimension, placement: &Placement) -> Vec<Load> {
    let mut immovable = dimension.base_load.clone();
    for copy in snapshot.copies.indices() {
        if is_stuck(snapshot, placement, copy) {
            let node = placement.node[copy.at()].at();
            immovable[node] = immovable[node].saturating_add(dimension.copy_load[copy.at()]);
        }
    }
    immovable
}

/// Whether a copy cannot leave its node whatever anybody wants. One that is on its way is not stuck.
pub fn is_stuck(snapshot: &Snapshot, placement: &Placement, copy: CopyIndex) -> bool {
    snapshot.copies.held[copy.at()].is_some() && !placement.in_flight[copy.at()]
}

/// Takes nodes off the list of the overloaded for which nothing can be done and which are inside the enter value:
/// without that, any small drift later would start moves that the band is there to prevent. A node that only waits
/// (for its figures to settle, for a move on its way) stays on the list.
pub fn settle_history(
    history: &mut History,
    findings: &[Finding],
    views: &[DimensionView<'_>],
    left_alone: &[LeftAlone],
) {
    let is_done =
        |node: NodeId| left_alone.iter().any(|left| left.node == node && !left.reason.passes_by_itself());
    for finding in findings.iter().filter(|finding| finding.state == FindingState::Overloaded) {
        let enter = views
            .iter()
            .find(|view| view.dimension.name == finding.dimension)
            .map_or(Ratio::MAX, |view| view.dimension.settings.enter);
        if finding.pressure <= enter
            && is_done(finding.node)
            && let Some(counts) = history.turns_over.get_mut(&finding.dimension)
        {
            counts.remove(&finding.node);
        }
    }
}
