//! The planner: a descent on one convex potential over all dimensions. A move is made only if it lowers the
//! potential by more than its price, which is hysteresis, cost-benefit and termination in one rule.
//!
//! The potential is the sum over nodes and dimensions of (excess pressure above the leave value)², times the
//! dimension's weight and confidence. Every step lowers a bounded sum, so a plan cannot cycle, and planning again
//! after it has landed finds nothing.

use super::fair_share::Placement;
use super::finding::{DimensionView, Finding, FindingState};
use super::search::{Candidate, Outcome, Search};
use super::{DimensionProof, LeftAlone, Move, Plan, Proof, Step, floor, orders};
use crate::gate::{Restrictions, minimum_gain};
use crate::model::{ComponentIndex, NodeIndex, PlanningInput, Snapshot};
use crate::reason::Reason;
use crate::units::{Bytes, NodeId, Ratio};

/// Plans one turn: steps in order, each worth having without the later ones, and the proof.
pub fn plan(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
    findings: &[Finding],
    restrictions: &Restrictions,
) -> Plan {
    let mut search = Search::new(input, views, placement, restrictions);
    let mut steps = Vec::new();
    let mut left_alone = Vec::new();
    let mut unmet_orders = Vec::new();
    for position in 0..input.snapshot.components.len() {
        let component = ComponentIndex::from_position(position);
        let ordered = |search: &mut Search<'_>, candidate: &Candidate| steps.push(take(search, candidate));
        let unmet = orders::follow(&mut search, &input.snapshot, restrictions, component, ordered);
        unmet_orders.extend(unmet);
        let nominated = orders::nominated_nodes(&input.snapshot, restrictions, component);
        let mut sources = overloaded_in(&input.snapshot, findings, nominated, component);
        let before = excess_in(&search, &input.snapshot, component);
        let (done, mut own_steps) = relieve(&mut search, &mut sources);
        let gain = before.saturating_sub(excess_in(&search, &input.snapshot, component));
        let minimum = input.gate.minimum_gain;
        let gainable = || gainable_in(&input.snapshot, views, placement, component);
        let too_small =
            if done.is_empty() { None } else { minimum_gain::too_small(Ratio(gain), minimum, gainable) };
        if too_small.is_some() {
            search.take_back(&done);
            own_steps.clear();
        }
        steps.append(&mut own_steps);
        leave_alone(&search, sources, too_small.as_ref(), &mut left_alone);
    }
    let dimensions = prove(&input.snapshot, views, &search, placement);
    let bytes_moved =
        steps.iter().flat_map(|step: &Step| &step.moves).map(|movement| movement.bytes).sum::<Bytes>();
    let effort_used = search.effort_used();
    Plan { steps, proof: Proof { dimensions, bytes_moved, effort_used, left_alone, unmet_orders } }
}

/// A node to be relieved, and why nothing more can be done for it, once that is known.
struct Source {
    node: NodeIndex,
    stuck: Option<Outcome>,
}

fn overloaded_in(
    snapshot: &Snapshot,
    findings: &[Finding],
    nominated: Vec<NodeIndex>,
    component: ComponentIndex,
) -> Vec<Source> {
    let mut nodes: Vec<NodeIndex> = findings
        .iter()
        .filter(|finding| finding.state == FindingState::Overloaded)
        .filter_map(|finding| snapshot.node_index(finding.node))
        .filter(|node| snapshot.node(*node).component == Some(component))
        .chain(nominated)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into_iter().map(|node| Source { node, stuck: None }).collect()
}

/// Takes load off the worst source until no source has a move that pays.
fn relieve(search: &mut Search<'_>, sources: &mut Vec<Source>) -> (Vec<Candidate>, Vec<Step>) {
    let mut done = Vec::new();
    let mut steps = Vec::new();
    loop {
        let worst = sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.stuck.is_none())
            .map(|(position, source)| {
                (search.potential_of(source.node), std::cmp::Reverse(source.node), position)
            })
            .max();
        let Some((potential, _, position)) = worst else { break };
        if potential == 0 {
            // The worst is inside its band, so all of them are.
            break;
        }
        match search.best_move(sources[position].node) {
            Outcome::Found(candidate) => {
                steps.push(take(search, &candidate));
                done.push(candidate);
                // The destinations look different now: what was stuck may not be.
                for source in sources.iter_mut() {
                    source.stuck = None;
                }
                // A large segment can overload the node that takes it. What small ones can do about that belongs
                // into this plan, not into the next.
                let is_known = sources.iter().any(|source| source.node == candidate.to);
                if !is_known && search.is_above_enter(candidate.to) {
                    sources.push(Source { node: candidate.to, stuck: None });
                }
            }
            stuck => sources[position].stuck = Some(stuck),
        }
    }
    (done, steps)
}

/// Writes down who stays above the band, and why: nothing can be done, or all of it together is not worth beginning.
fn leave_alone(
    search: &Search<'_>,
    sources: Vec<Source>,
    too_small: Option<&Reason>,
    left_alone: &mut Vec<LeftAlone>,
) {
    for source in sources {
        let Some((dimension, pressure)) = search.worst_dimension(source.node) else { continue };
        let (reason, best) = match (source.stuck, too_small) {
            (_, Some(reason)) => (reason.clone(), None),
            (Some(Outcome::Stuck { reason, best }), None) => (reason, best),
            _ => continue,
        };
        left_alone.push(LeftAlone {
            node: search.node_id(source.node),
            dimension,
            pressure,
            best_candidate: best.map(|candidate| search.describe(&candidate)),
            reason,
        });
    }
}

/// How far the nodes of a component are above their bands, all together.
fn excess_in(search: &Search<'_>, snapshot: &Snapshot, component: ComponentIndex) -> u64 {
    let nodes = snapshot.components[component.at()].nodes.iter();
    nodes.map(|node| search.excess_of(*node)).fold(0, u64::saturating_add)
}

/// How much of that could be gained by moves at all: what is above the floor.
fn gainable_in(
    snapshot: &Snapshot,
    views: &[DimensionView<'_>],
    placement: &Placement,
    component: ComponentIndex,
) -> Ratio {
    let copies = floor::copies_by_component(snapshot, placement);
    let nodes = &snapshot.components[component.at()];
    let mut gainable: u64 = 0;
    for view in views {
        let (floor, _) = floor::floor(snapshot, view, nodes, &copies[component.at()], placement);
        let above_floor = floor.0.saturating_sub(view.dimension.settings.leave.0);
        for node in &nodes.nodes {
            let excess = view.excess_with(*node, view.loads.load[node.at()]);
            gainable = gainable.saturating_add(excess.saturating_sub(above_floor));
        }
    }
    Ratio(gainable)
}

/// Carries a move out in the search's own picture and writes it down.
fn take(search: &mut Search<'_>, candidate: &Candidate) -> Step {
    let movement: Move = search.describe(candidate);
    let source = search.relieved_dimension(candidate);
    let before = (search.pressure(source, candidate.from), search.pressure(source, candidate.to));
    search.apply(candidate);
    let after = (search.pressure(source, candidate.from), search.pressure(source, candidate.to));
    Step {
        moves: vec![movement],
        dimension: search.dimension_name(source),
        source_before: before.0,
        source_after: after.0,
        destination_before: before.1,
        destination_after: after.1,
    }
}

fn prove(
    snapshot: &Snapshot,
    views: &[DimensionView<'_>],
    search: &Search<'_>,
    placement: &Placement,
) -> Vec<DimensionProof> {
    let mut proofs = Vec::new();
    let copies = floor::copies_by_component(snapshot, placement);
    for (component, copies) in snapshot.components.iter().zip(&copies) {
        let Some(first) = component.nodes.first() else { continue };
        let name: NodeId = snapshot.node(*first).id;
        for (position, view) in views.iter().enumerate() {
            let worst = |pressure: &dyn Fn(NodeIndex) -> Option<Ratio>| {
                component.nodes.iter().filter_map(|node| pressure(*node)).max().unwrap_or(Ratio::ZERO)
            };
            let (floor, floor_cause) = floor::floor(snapshot, view, component, copies, placement);
            proofs.push(DimensionProof {
                dimension: view.dimension.name.clone(),
                component: name,
                before: worst(&|node| view.loads.pressure(node)),
                after: worst(&|node| Some(search.pressure(position, node))),
                floor,
                floor_cause,
            });
        }
    }
    proofs
}
