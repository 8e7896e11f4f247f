//! The planner: a descent on one convex potential over all dimensions. A move is made only if it lowers the
//! potential by more than its price, which is hysteresis, cost-benefit and termination in one rule.
//!
//! The potential is the sum over nodes and dimensions of (excess pressure above the leave value)², times the
//! dimension's weight and confidence. Every step lowers a bounded sum, so a plan cannot cycle, and planning again
//! after it has landed finds nothing.

use super::compound::Exchanges;
use super::descent::{self, Sources};
use super::fair_share::Placement;
use super::finding::{DimensionView, Finding, FindingState};
use super::left_alone::left_alone;
use super::order::{Orderer, Way};
use super::prune::prune;
use super::search::Search;
use super::{LeftAlone, Move, Plan, Proof, Step, exact, floor, orders, proof};
use crate::gate::{Restrictions, minimum_gain};
use crate::model::{ComponentIndex, CopyIndex, NodeIndex, PlanningInput, Snapshot};
use crate::reason::Reason;
use crate::units::{Bytes, Load, Ratio};

/// Plans one turn: steps in order, each worth having without the later ones, and the proof.
pub fn plan(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
    findings: &[Finding],
    restrictions: &Restrictions,
) -> Plan {
    let planner = Planner { input, views, placement, findings, restrictions };
    planner.plan(None)
}

/// The same, but only what the next waves can carry: about so many moves, off the worst nodes. It does not wait for
/// the rest of the plan, and proves nothing.
pub fn plan_next(
    input: &PlanningInput,
    views: &[DimensionView<'_>],
    placement: &Placement,
    findings: &[Finding],
    restrictions: &Restrictions,
    moves: usize,
) -> Plan {
    let planner = Planner { input, views, placement, findings, restrictions };
    planner.plan(Some(moves))
}

/// Rounds of relieving, exchanging and taking back. Each makes the plan better; the last ones hardly do.
const MOST_ROUNDS: usize = 8;
/// Exchanges are looked for at so many nodes only that nothing else helps: each takes as long as dozens of moves.
const MOST_EXCHANGES: usize = 20_000;
/// For the next waves only so many nodes are relieved that each gives about so many segments: to learn what is on a
/// node takes longer than to move some of it.
const MOVES_OF_A_SOURCE: usize = 4;

/// A step, and the component that it levels; none where it was ordered.
type OwnStep = (Option<ComponentIndex>, Step);

struct Planner<'a> {
    input: &'a PlanningInput,
    views: &'a [DimensionView<'a>],
    placement: &'a Placement,
    findings: &'a [Finding],
    restrictions: &'a Restrictions,
}

impl Planner<'_> {
    fn plan(&self, most_moves: Option<usize>) -> Plan {
        let snapshot = &self.input.snapshot;
        let mut search = Search::new(self.input, self.views, self.placement, self.restrictions);
        let (ordered, unmet_orders) = orders::follow(&mut search, self.restrictions);
        let nodes = self.sources(&search, most_moves);
        let mut sources = Sources::new(&mut search, &nodes);
        self.search_all(&mut search, &mut sources, most_moves);

        let (at_first, mut steps) = self.put_in_order(&mut search, &mut sources, &ordered, most_moves);
        let too_small = self.too_small(&at_first, &mut search, &mut steps);
        let steps: Vec<Step> = steps.into_iter().map(|(_, step)| step).collect();
        let bytes_moved =
            steps.iter().flat_map(|step| &step.moves).map(|movement| movement.bytes).sum::<Bytes>();
        let mut proof = Proof { bytes_moved, unmet_orders, ..Proof::default() };
        if most_moves.is_none() {
            proof.left_alone = self.left_alone(&mut search, &sources.nodes, &too_small);
            proof.dimensions = proof::dimensions(snapshot, &search.field, self.placement);
            proof::say_why(&mut proof, snapshot, self.views, search.is_spent());
            proof.bytes_floor = proof::bytes_floor(&search, &sources.nodes, &ordered);
        }
        proof.effort_used = search.effort_used();
        Plan { steps, proof }
    }

    /// The steps, and the excess of each component before those that level. What pays in no order goes home, and the
    /// search goes on from there: what it finds pays after all that is before it.
    fn put_in_order(
        &self,
        search: &mut Search<'_>,
        sources: &mut Sources,
        ordered: &[CopyIndex],
        most_moves: Option<usize>,
    ) -> (Vec<u64>, Vec<OwnStep>) {
        for _ in 0..MOST_ROUNDS {
            let ways_before = search.away();
            let (at_first, steps, given_up) = self.steps_of(search, ordered);
            let is_last = given_up.is_empty() || most_moves.is_some() || search.is_kept();
            for way in given_up {
                search.put(way.copy, way.from);
            }
            let changes = search.changes;
            if !is_last {
                self.renew(search, sources);
                self.search_all(search, sources, most_moves);
            }
            if search.changes == changes {
                return (at_first, steps);
            }
            if search.away() == ways_before {
                break;
            }
        }
        let (at_first, steps, given_up) = self.steps_of(search, ordered);
        for way in given_up {
            search.put(way.copy, way.from);
        }
        (at_first, steps)
    }

    /// The moves that were chosen as steps, the excess of each component before those that level, and what pays in no
    /// order.
    fn steps_of(&self, search: &Search<'_>, ordered: &[CopyIndex]) -> (Vec<u64>, Vec<OwnStep>, Vec<Way>) {
        let snapshot = &self.input.snapshot;
        let mut steps: Vec<OwnStep> = Vec::new();
        let mut orderer = Orderer::new(snapshot, self.views, self.placement);
        for copy in ordered {
            let way = way_of(search, *copy);
            steps.push((None, take(&mut orderer, snapshot, &[way])));
        }
        let at_first = self.excess_by_component(|view, node| orderer.field.load_at(view, node));
        for ways in &search.chosen {
            // Beside Milvus' own balancer: in the order in which they were chosen.
            steps.push((snapshot.node(ways[0].from).component, take(&mut orderer, snapshot, ways)));
        }
        let is_kept = search.is_kept();
        let ways: Vec<Way> = search
            .away()
            .into_iter()
            .filter(|copy| !is_kept && !search.rules.is_bound(*copy))
            .map(|copy| way_of(search, copy))
            .collect();
        let given_up = orderer.order(
            ways,
            |copy| search.price(copy),
            |copy| search.bytes(copy),
            |orderer, ways| {
                steps.push((snapshot.node(ways[0].from).component, take(orderer, snapshot, ways)));
            },
        );
        (at_first, steps, given_up)
    }

    /// Nodes to be relieved: all, or for a few moves only the worst.
    fn sources(&self, search: &Search<'_>, most_moves: Option<usize>) -> Vec<NodeIndex> {
        let mut nodes = self.overloaded();
        let most = most_moves.map_or(usize::MAX, |moves| moves.div_ceil(MOVES_OF_A_SOURCE));
        if nodes.len() > most {
            let potential = |node: &NodeIndex| search.field.potential_of(*node);
            nodes.sort_by(|left, right| potential(right).total_cmp(&potential(left)).then(left.cmp(right)));
            nodes.truncate(most);
        }
        nodes
    }

    /// Nodes to be relieved, by index.
    fn overloaded(&self) -> Vec<NodeIndex> {
        let snapshot = &self.input.snapshot;
        let mut nodes: Vec<NodeIndex> = self
            .findings
            .iter()
            .filter(|finding| finding.state == FindingState::Overloaded)
            .filter_map(|finding| snapshot.node_index(finding.node))
            .chain(orders::nominated_nodes(snapshot, self.restrictions))
            .filter(|node| snapshot.node(*node).component.is_some())
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Relieves, exchanges and takes back until a look that remembers nothing finds nothing. A planner who finds everything
    /// where it is then looks at the same and has to pay more for what came on a journey: it plans nothing, either.
    fn search_all(&self, search: &mut Search<'_>, sources: &mut Sources, most_moves: Option<usize>) {
        if let Some(most) = most_moves {
            descent::descend(search, sources, most);
            return;
        }
        for _ in 0..MOST_ROUNDS {
            let before = search.changes;
            self.relieve_all(search, sources);
            if search.is_kept() || search.is_spent() {
                break;
            }
            prune(search);
            if search.changes == before || !self.renew(search, sources) {
                break;
            }
        }
    }

    /// Forgets what the search remembers but for its sources. False when there are none any more.
    fn renew(&self, search: &mut Search<'_>, sources: &mut Sources) -> bool {
        let nodes = self.still_overloaded(search, sources);
        search.look_afresh();
        let known = std::mem::take(&mut sources.nodes);
        *sources = Sources::new(search, &nodes);
        sources.is_new = false;
        for node in known {
            sources.add(search, node);
        }
        !nodes.is_empty()
    }

    /// Relieves with single moves, then with exchanges where those do not help, then places anew where little is to be
    /// placed.
    fn relieve_all(&self, search: &mut Search<'_>, sources: &mut Sources) {
        let mut exchanges = Exchanges::new(self.input.snapshot.nodes.len());
        let mut exchanges_left = MOST_EXCHANGES;
        loop {
            let before = search.changes;
            let stuck = descent::descend(search, sources, usize::MAX);
            if search.is_kept() {
                // The halves of an exchange land one after the other, and Milvus' balancer would answer the first.
                return;
            }
            self.list_around(search, &stuck);
            for node in &stuck {
                while exchanges_left > 0 && !search.is_spent() {
                    let ways = exchanges.improve(search, *node);
                    if ways.is_empty() {
                        break;
                    }
                    exchanges_left -= 1;
                    sources.learn(search, &ways);
                }
            }
            if search.changes == before || search.is_spent() {
                break;
            }
        }
        let components = self.components_of(&sources.nodes);
        for component in exact::small_of(search, components) {
            exact::perfect(search, component);
        }
    }

    /// Nodes that a planner would relieve who finds everything where it is now.
    fn still_overloaded(&self, search: &Search<'_>, sources: &Sources) -> Vec<NodeIndex> {
        let snapshot = &self.input.snapshot;
        let mut nodes: Vec<NodeIndex> = self
            .components_of(&sources.nodes)
            .iter()
            .flat_map(|component| &snapshot.components[component.at()].nodes)
            .copied()
            .filter(|node| !search.field.is_inside(*node))
            .filter(|node| sources.knows(*node) || search.is_above_enter(*node))
            .collect();
        nodes.sort_unstable();
        nodes
    }

    fn components_of(&self, nodes: &[NodeIndex]) -> Vec<ComponentIndex> {
        let mut components: Vec<ComponentIndex> =
            nodes.iter().filter_map(|node| self.input.snapshot.node(*node).component).collect();
        components.sort_unstable();
        components.dedup();
        components
    }

    /// Learns what is on the nodes with which these could exchange something.
    fn list_around(&self, search: &mut Search<'_>, stuck: &[NodeIndex]) {
        let snapshot = &self.input.snapshot;
        let components = self.components_of(stuck);
        let nodes: Vec<NodeIndex> = components
            .iter()
            .flat_map(|component| &snapshot.components[component.at()].nodes)
            .copied()
            .collect();
        search.list(&nodes);
    }

    /// How far the nodes of each component are above their bands, all together, with these loads.
    fn excess_by_component(&self, load: impl Fn(usize, NodeIndex) -> Load) -> Vec<u64> {
        let snapshot = &self.input.snapshot;
        let mut excess = vec![0_u64; snapshot.components.len()];
        if self.input.gate.minimum_gain == Ratio::ZERO {
            return excess;
        }
        for (component, excess) in snapshot.components.iter().zip(&mut excess) {
            for node in &component.nodes {
                for (at, view) in self.views.iter().enumerate() {
                    *excess = excess.saturating_add(view.excess_with(*node, load(at, *node)));
                }
            }
        }
        excess
    }

    /// Drops what levels a component when all of it together gains too little to begin with it; the reasons, by
    /// component.
    fn too_small(
        &self,
        at_first: &[u64],
        search: &mut Search<'_>,
        steps: &mut Vec<OwnStep>,
    ) -> Vec<Option<Reason>> {
        let snapshot = &self.input.snapshot;
        let minimum = self.input.gate.minimum_gain;
        let mut reasons: Vec<Option<Reason>> = vec![None; snapshot.components.len()];
        if minimum == Ratio::ZERO {
            return reasons;
        }
        let at_last = self.excess_by_component(|view, node| search.field.load_at(view, node));
        let mut has_steps = vec![false; snapshot.components.len()];
        for component in steps.iter().filter_map(|(component, _)| *component) {
            has_steps[component.at()] = true;
        }
        for position in (0..reasons.len()).filter(|position| has_steps[*position]) {
            let gain = Ratio(at_first[position].saturating_sub(at_last[position]));
            let component = ComponentIndex::from_position(position);
            let gainable = || self.gainable_in(component);
            reasons[position] = minimum_gain::too_small(gain, minimum, gainable);
        }
        let is_dropped = |component: &Option<ComponentIndex>| {
            component.is_some_and(|component| reasons[component.at()].is_some())
        };
        for copy in search.away() {
            let home = search.origin[copy.at()];
            if !search.rules.is_bound(copy) && is_dropped(&snapshot.node(home).component) {
                search.put(copy, home);
            }
        }
        steps.retain(|(component, _)| !is_dropped(component));
        reasons
    }

    /// How much of a component's excess could be gained by moves at all: what is above the floor.
    fn gainable_in(&self, component: ComponentIndex) -> Ratio {
        let snapshot = &self.input.snapshot;
        let floors = floor::floors(snapshot, self.views, self.placement);
        let mut gainable: u64 = 0;
        for (view, floors) in self.views.iter().zip(&floors) {
            let above_floor = floors[component.at()].0.0.saturating_sub(view.dimension.settings.leave.0);
            for node in &snapshot.components[component.at()].nodes {
                let excess = view.excess_with(*node, view.loads.load[node.at()]);
                gainable = gainable.saturating_add(excess.saturating_sub(above_floor));
            }
        }
        Ratio(gainable)
    }

    /// Who stays above the band, and why: nothing can be done, or all of it together is not worth beginning.
    fn left_alone(
        &self,
        search: &mut Search<'_>,
        sources: &[NodeIndex],
        too_small: &[Option<Reason>],
    ) -> Vec<LeftAlone> {
        let mut all = Vec::new();
        let mut nodes = sources.to_vec();
        nodes.sort_unstable_by_key(|node| (self.input.snapshot.node(*node).component, *node));
        for node in nodes {
            let Some(mut left) = left_alone(search, node) else { continue };
            let component = self.input.snapshot.node(node).component;
            let too_small = component.and_then(|component| too_small[component.at()].as_ref());
            if let Some(reason) = too_small {
                left.reason = reason.clone();
                left.best_candidate = None;
            }
            all.push(left);
        }
        all
    }
}

fn way_of(search: &Search<'_>, copy: CopyIndex) -> Way {
    Way { copy, from: search.origin[copy.at()], to: search.field.node_of[copy.at()] }
}

/// Carries a step out and writes it down.
fn take(orderer: &mut Orderer<'_>, snapshot: &Snapshot, ways: &[Way]) -> Step {
    let first = ways[0];
    let view = relieved_dimension(orderer, ways);
    let pressure = |orderer: &Orderer<'_>, node| {
        if orderer.field.views.is_empty() { Ratio::ZERO } else { orderer.field.pressure(view, node) }
    };
    let before = (pressure(orderer, first.from), pressure(orderer, first.to));
    for way in ways {
        orderer.field.shift(way.copy, way.to);
    }
    let after = (pressure(orderer, first.from), pressure(orderer, first.to));
    Step {
        moves: ways.iter().map(|way| describe(snapshot, way)).collect(),
        // None where nobody wants anything even and all is done by order.
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
    let mut best = (0, f64::MIN);
    for view in 0..field.views.len() {
        let cell = field.cell(view, ways[0].from);
        let leaving = field.load_of(view, ways[0].copy);
        let relief = cell.potential(cell.load) - cell.potential(cell.load - leaving);
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
