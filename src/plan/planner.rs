//! The planner: a descent on one convex potential over all dimensions. A move is made only if it lowers the
//! potential by more than its price, which is hysteresis, cost-benefit and termination in one rule.
//!
//! The potential is the sum over nodes and dimensions of (excess pressure above the leave value)², times the
//! dimension's weight and confidence. Every step lowers a bounded sum, so a plan cannot cycle, and planning again
//! after it has landed finds nothing.

use super::descent::{self, Sources};
use super::fair_share::Placement;
use super::finding::{DimensionView, Finding, FindingState};
use super::order::{Orderer, Way};
use super::prune::prune;
use super::search::Search;
use super::{Move, Plan, Proof, Step, proof};
use crate::gate::Restrictions;
use crate::model::{NodeIndex, PlanningInput, Snapshot};
use crate::units::Bytes;

/// Plans one turn: steps in order, each worth having without the later ones, and the proof.
pub fn plan(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
    findings: &[Finding],
    restrictions: &Restrictions,
) -> Plan {
    plan_up_to(input, views, placement, findings, restrictions, usize::MAX)
}

/// The same, but only what the next waves can carry: about so many moves, off the worst nodes. It does not wait for
/// the rest of the plan, and its proof is about these moves only.
pub fn plan_next(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
    findings: &[Finding],
    restrictions: &Restrictions,
    moves: usize,
) -> Plan {
    plan_up_to(input, views, placement, findings, restrictions, moves)
}

fn plan_up_to(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
    findings: &[Finding],
    restrictions: &Restrictions,
    most_moves: usize,
) -> Plan {
    let mut search = Search::new(input, views, placement, restrictions);
    let overloaded = overloaded(&input.snapshot, findings);
    let mut sources = Sources::new(&mut search, &overloaded);
    let _stuck = descent::descend(&mut search, &mut sources, most_moves);
    if most_moves == usize::MAX {
        prune(&mut search, |_| false);
    }
    let ways: Vec<Way> = search
        .away()
        .iter()
        .map(|copy| Way { copy: *copy, from: search.origin[copy.at()], to: search.field.node_of[copy.at()] })
        .collect();
    let mut steps: Vec<Step> = Vec::with_capacity(ways.len());
    let mut orderer = Orderer::new(&input.snapshot, views, placement);
    let _left = orderer.order(
        ways,
        |copy| search.price(copy),
        |copy| search.bytes(copy),
        |orderer, ways| steps.push(take(orderer, &input.snapshot, ways)),
    );
    let bytes_moved = steps.iter().flat_map(|step| &step.moves).map(|movement| movement.bytes).sum::<Bytes>();
    let full = most_moves == usize::MAX;
    let dimensions = if full { proof::dimensions(&input.snapshot, &orderer.field, placement) } else { Vec::new() };
    let bytes_floor =
        if full { proof::bytes_floor(&mut search, &orderer.field, &sources.nodes) } else { Bytes::ZERO };
    Plan {
        steps,
        proof: Proof {
            dimensions,
            bytes_moved,
            bytes_floor,
            effort_used: search.effort_used(),
            left_alone: Vec::new(),
        },
    }
}

/// Nodes to be relieved, by index.
fn overloaded(snapshot: &Snapshot, findings: &[Finding]) -> Vec<NodeIndex> {
    let mut nodes: Vec<NodeIndex> = findings
        .iter()
        .filter(|finding| finding.state == FindingState::Overloaded)
        .filter_map(|finding| snapshot.node_index(finding.node))
        .filter(|node| snapshot.node(*node).component.is_some())
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Carries a step out and writes it down.
fn take(orderer: &mut Orderer<'_>, snapshot: &Snapshot, ways: &[Way]) -> Step {
    let first = ways[0];
    let view = relieved_dimension(orderer, ways);
    let pressure = |orderer: &Orderer<'_>, node| orderer.field.pressure(view, node);
    let before = (pressure(orderer, first.from), pressure(orderer, first.to));
    for way in ways {
        orderer.field.shift(way.copy, way.to);
    }
    let after = (pressure(orderer, first.from), pressure(orderer, first.to));
    Step {
        moves: ways.iter().map(|way| describe(snapshot, way)).collect(),
        dimension: orderer.field.views.get(view).map(|view| view.dimension.name.clone()).unwrap_or_default(),
        source_before: before.0,
        source_after: after.0,
        destination_before: before.1,
        destination_after: after.1,
    }
}

/// The dimension in which a step takes most off its first source.
fn relieved_dimension(orderer: &Orderer<'_>, ways: &[Way]) -> usize {
    let field = &orderer.field;
    let relief = |view: usize| {
        let cell = field.cell(view, ways[0].from);
        let leaving = field.load_of(view, ways[0].copy);
        (cell.potential(cell.load) - cell.potential(cell.load - leaving)).max(0.0)
    };
    let mut best = (0, f64::MIN);
    for view in 0..field.views.len() {
        let relief = relief(view);
        if relief > best.1 {
            best = (view, relief);
        }
    }
    best.0
}

/// A way in ids.
pub fn describe(snapshot: &Snapshot, way: &Way) -> Move {
    let copies = &snapshot.copies;
    let replica = copies.replica[way.copy.at()];
    Move {
        segment: copies.segment[way.copy.at()],
        collection: snapshot.collection_of(replica).id,
        replica: snapshot.replica(replica).id,
        from: snapshot.node(way.from).id,
        to: snapshot.node(way.to).id,
        bytes: copies.bytes[way.copy.at()],
        rows: copies.rows[way.copy.at()],
    }
}
