//! The planner: a descent on one convex potential over all dimensions. A move is made only if it lowers the
//! potential by more than its price, which is hysteresis, cost-benefit and termination in one rule.
//!
//! The potential is the sum over nodes and dimensions of (excess pressure above the leave value)², times the
//! dimension's weight and confidence. Every step lowers a bounded sum, so a plan cannot cycle, and planning again
//! after it has landed finds nothing.

use super::fair_share::Placement;
use super::finding::{DimensionView, Finding, FindingState};
use super::search::{Candidate, Outcome, Search};
use super::{DimensionProof, LeftAlone, Move, Plan, Proof, Step, floor};
use crate::gate::Restrictions;
use crate::model::{ComponentIndex, NodeIndex, PlanningInput, Snapshot};
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
    for position in 0..input.snapshot.components.len() {
        let component = ComponentIndex::from_position(position);
        let mut sources = overloaded_in(&input.snapshot, findings, component);
        relieve(&mut search, &mut sources, &mut steps, &mut left_alone);
    }
    let dimensions = prove(&input.snapshot, views, &search, placement);
    let bytes_moved =
        steps.iter().flat_map(|step: &Step| &step.moves).map(|movement| movement.bytes).sum::<Bytes>();
    Plan { steps, proof: Proof { dimensions, bytes_moved, effort_used: search.effort_used(), left_alone } }
}

/// A node to be relieved, and why nothing more can be done for it, once that is known.
struct Source {
    node: NodeIndex,
    stuck: Option<Outcome>,
}

fn overloaded_in(snapshot: &Snapshot, findings: &[Finding], component: ComponentIndex) -> Vec<Source> {
    let mut nodes: Vec<NodeIndex> = findings
        .iter()
        .filter(|finding| finding.state == FindingState::Overloaded)
        .filter_map(|finding| snapshot.node_index(finding.node))
        .filter(|node| snapshot.node(*node).component == Some(component))
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into_iter().map(|node| Source { node, stuck: None }).collect()
}

/// Takes load off the worst source until no source has a move that pays.
fn relieve(
    search: &mut Search<'_>,
    sources: &mut Vec<Source>,
    steps: &mut Vec<Step>,
    left_alone: &mut Vec<LeftAlone>,
) {
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
    for source in sources.iter_mut() {
        if let Some(Outcome::Stuck { reason, best }) = source.stuck.take() {
            let Some((dimension, pressure)) = search.worst_dimension(source.node) else { continue };
            left_alone.push(LeftAlone {
                node: search.node_id(source.node),
                dimension,
                pressure,
                best_candidate: best.map(|candidate| search.describe(&candidate)),
                reason,
            });
        }
    }
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
