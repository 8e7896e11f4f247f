//! The planner's picture of the cluster while it searches: what every node carries in every dimension after the
//! moves chosen so far, and what that adds to the potential.
//!
//! Loads are whole numbers kept in `f64`, scaled so that the sum of a dimension stays below 2⁵³: adding and taking away
//! is then exact in any order. Potentials are computed from them by the same few operations every time, and by nothing
//! that a compiler or a machine may round differently; so the same input gives the same bytes.

use super::fair_share::Placement;
use super::finding::DimensionView;
use super::member_sets::MemberSets;
use super::unit::Unit;
use crate::model::{CopyIndex, NodeIndex, Snapshot};
use crate::policy::{Capacity, Scope};
use crate::units::{Load, Ratio};

/// One node in one dimension. Its potential is the square of its pressure above the leave value, times weight and
/// confidence.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What it carries.
    pub load: f64,
    /// Up to this load it is inside the band, or so little that it does not matter.
    pub inside: f64,
    /// Up to this load nothing is to be gained; a hair less, see [`RESERVE`].
    pub quiet: f64,
    /// The load at which excess begins to count.
    pub band: f64,
    /// Makes (load - band) the root of the potential: √weight / fair share.
    pub slope: f64,
}

impl Cell {
    /// A node that takes no part in the dimension.
    const OUTSIDE: Cell =
        Cell { load: 0.0, inside: f64::INFINITY, quiet: f64::INFINITY, band: 0.0, slope: 0.0 };

    /// What the node would add to the potential with this load.
    #[inline]
    pub fn potential(&self, load: f64) -> f64 {
        let excess = self.excess(load);
        excess * excess
    }

    /// The root of it: how far it would be above the band, weighed.
    #[inline]
    pub fn excess(&self, load: f64) -> f64 {
        // Without a branch: which way it goes is anybody's guess where most nodes are near their band.
        let above = (load - self.band) * self.slope;
        if load > self.quiet { above } else { 0.0 }
    }

    /// How steeply the potential falls with what leaves, up to where nothing more is to be gained: the same for large
    /// and small pieces, of which the potential itself favours the small.
    #[inline]
    pub fn steepness(&self, leaving: f64) -> f64 {
        let excess = self.excess(self.load);
        excess * excess.min(leaving * self.slope)
    }

    /// How full it would be, for choosing among destinations that all have room; no part of the potential. The sixteenth
    /// power: what is nearly full shall keep the little room that it has for what finds none elsewhere. With the square,
    /// nodes that are full of one load and have room for others take more of the first; where all are nearly full, nobody
    /// can use that room then.
    #[inline]
    fn fullness(&self, load: f64) -> f64 {
        let mut full = load * self.slope;
        for _ in 0..4 {
            full *= full;
        }
        full
    }
}

/// A dimension about one collection only.
#[derive(Clone, Copy, Debug)]
struct Scoped {
    view: usize,
    /// Where its cells begin, one for each node.
    first_cell: usize,
}

/// All cells, and where the loads of copies are found.
pub struct Field<'a> {
    /// The dimensions.
    pub views: &'a [DimensionView<'a>],
    snapshot: &'a Snapshot,
    /// Dimensions about whole nodes: their cells lie together, node by node.
    dense: Vec<usize>,
    /// Dimensions about one collection, by collection; empty when there are none at all.
    scoped: Vec<Vec<Scoped>>,
    cells: Vec<Cell>,
    /// The cell of each view's first node, and how far it is to the next node's.
    place_of_view: Vec<(usize, usize)>,
    /// What loads are counted in, by view.
    units: Vec<Unit>,
    /// One over a usual fair share, for each dimension about whole nodes: makes loads of different kinds comparable.
    typical_slopes: Vec<f64>,
    /// Where each copy is.
    pub node_of: Vec<NodeIndex>,
    /// Sets of nodes between which copies may move.
    pub sets: MemberSets,
}

/// The planner aims at so much less than the leave value. Where all nodes end near their bands, the last crumbs would cost as
/// much time as all the rest; so they may stay, and all nodes are inside their bands nevertheless. No measure of a load is as
/// exact as this.
const RESERVE: Ratio = Ratio(300);
/// Components with fewer copies are planned to the crumb, because that takes no time.
const CRUMBS: usize = 64;

/// How much the fullness of a partner counts in dimensions in which nothing must be exchanged.
const FULLNESS_BESIDE: f64 = 0.2;

impl<'a> Field<'a> {
    /// The cluster as it will be when what is in flight has landed.
    pub fn new(snapshot: &'a Snapshot, views: &'a [DimensionView<'a>], placement: &Placement) -> Field<'a> {
        let nodes = snapshot.nodes.len();
        let is_dense = |view: &DimensionView<'_>| view.dimension.scope == Scope::Node;
        let dense: Vec<usize> = (0..views.len()).filter(|at| is_dense(&views[*at])).collect();
        let mut scoped: Vec<Vec<Scoped>> = Vec::new();
        let mut place_of_view = vec![(0, 0); views.len()];
        for (at, view) in dense.iter().enumerate() {
            place_of_view[*view] = (at, dense.len());
        }
        let mut first_cell = dense.len() * nodes;
        for (at, view) in views.iter().enumerate() {
            let Scope::NodeInGroup(collection) = view.dimension.scope else { continue };
            scoped.resize(snapshot.collections.len(), Vec::new());
            let Some(own) = scoped.get_mut(collection.at()) else { continue };
            own.push(Scoped { view: at, first_cell });
            place_of_view[at] = (first_cell, 1);
            first_cell += nodes;
        }
        let mut field = Field {
            views,
            snapshot,
            dense,
            scoped,
            cells: vec![Cell::OUTSIDE; first_cell],
            place_of_view,
            units: views.iter().map(Unit::of).collect(),
            typical_slopes: Vec::new(),
            node_of: placement.node.clone(),
            sets: MemberSets::of(&snapshot.replicas, |_| true),
        };
        let reserves = field.reserves();
        for view in 0..views.len() {
            for (node, reserve) in reserves.iter().enumerate() {
                let node = NodeIndex::from_position(node);
                let at = field.cell_at(view, node);
                field.cells[at] = field.cell_of(view, node, *reserve);
            }
        }
        field.typical_slopes = (0..field.dense.len()).map(|at| field.mean_slope(field.dense[at])).collect();
        field
    }

    /// How many copies are on each node.
    pub fn copies_by_node(&self) -> Vec<usize> {
        let mut copies = vec![0; self.snapshot.nodes.len()];
        for node in &self.node_of {
            copies[node.at()] += 1;
        }
        copies
    }

    /// The reserve of each node.
    fn reserves(&self) -> Vec<Ratio> {
        let mut copies = vec![0_usize; self.snapshot.components.len()];
        let component = |node: NodeIndex| self.snapshot.node(node).component.map(|component| component.at());
        let components: Vec<Option<usize>> =
            (0..self.snapshot.nodes.len()).map(NodeIndex::from_position).map(component).collect();
        for (component, on_node) in components.iter().zip(self.copies_by_node()) {
            if let Some(component) = component {
                copies[*component] += on_node;
            }
        }
        let is_large =
            |component: Option<usize>| component.is_some_and(|component| copies[component] > CRUMBS);
        components.into_iter().map(|own| if is_large(own) { RESERVE } else { Ratio::ZERO }).collect()
    }

    /// A node's cell at the beginning.
    fn cell_of(&self, view: usize, node: NodeIndex, reserve: Ratio) -> Cell {
        let DimensionView { dimension, loads } = &self.views[view];
        let load = self.scaled(view, loads.load[node.at()]);
        let Some(share) = loads.share(node) else { return Cell { load, ..Cell::OUTSIDE } };
        let settings = &dimension.settings;
        let aim = Ratio(settings.leave.0.saturating_sub(reserve.0));
        let harmless = match &dimension.capacity {
            Capacity::Physical(capacity) => load_below(settings.matters_above, capacity[node.at()]),
            Capacity::Weights(_) => 0,
        };
        let fair = self.units[view].share(share);
        let weight = settings.weight.share_of(dimension.confidence.0);
        if fair <= 0.0 || weight == 0 {
            return Cell { load, ..Cell::OUTSIDE };
        }
        Cell {
            load,
            inside: self.scaled(view, Load(share.load_at(settings.leave).max(harmless))),
            quiet: self.scaled(view, Load(share.load_at(aim).max(harmless))),
            band: fair * aim.decimal(),
            slope: Ratio(weight).decimal().sqrt() / fair,
        }
    }

    /// Where the cell of a node in a dimension is.
    pub fn cell_at(&self, view: usize, node: NodeIndex) -> usize {
        let (first, step) = self.place_of_view[view];
        first + step * node.at()
    }

    /// The cell of a node in a dimension.
    pub fn cell(&self, view: usize, node: NodeIndex) -> &Cell {
        &self.cells[self.cell_at(view, node)]
    }

    /// The same; nothing when the node takes no part in the dimension.
    pub fn cell_if_part(&self, view: usize, node: NodeIndex) -> Option<&Cell> {
        Some(self.cell(view, node)).filter(|cell| cell.slope > 0.0)
    }

    /// How many dimensions are about whole nodes.
    pub fn width(&self) -> usize {
        self.dense.len()
    }

    /// The cells of a node in those.
    #[inline]
    pub fn row(&self, node: NodeIndex) -> &[Cell] {
        let first = node.at() * self.dense.len();
        &self.cells[first..first + self.dense.len()]
    }

    /// What a copy weighs in a dimension.
    #[inline]
    pub fn load_of(&self, view: usize, copy: CopyIndex) -> f64 {
        self.units[view].count(self.views[view].dimension.copy_load[copy.at()])
    }

    /// A load as the cells of a dimension count it.
    pub fn scaled(&self, view: usize, load: Load) -> f64 {
        self.units[view].count(load)
    }

    /// A load in the units of its dimension.
    pub fn unscaled(&self, view: usize, load: f64) -> Load {
        self.units[view].load(load)
    }

    /// Writes down what a copy weighs in the dimensions about whole nodes.
    pub fn loads_of(&self, copy: CopyIndex, into: &mut Vec<f64>) {
        for view in &self.dense {
            into.push(self.load_of(*view, copy));
        }
    }

    /// Dimensions about the copy's own collection: their cells at a node and the copy's load.
    fn scoped_of(&self, copy: CopyIndex, node: NodeIndex) -> impl Iterator<Item = (usize, f64)> + '_ {
        let own: &[Scoped] = if self.scoped.is_empty() {
            &[]
        } else {
            let replica = self.snapshot.copies.replica[copy.at()];
            &self.scoped[self.snapshot.replica(replica).collection.at()]
        };
        own.iter().map(move |scoped| (scoped.first_cell + node.at(), self.load_of(scoped.view, copy)))
    }

    /// Whether any dimension is about one collection only.
    pub fn has_scoped(&self) -> bool {
        !self.scoped.is_empty()
    }

    /// By how much the potential of a node falls when the copy leaves it. `loads` are the copy's, see
    /// [`Field::loads_of`].
    #[inline]
    pub fn relief(&self, copy: CopyIndex, loads: &[f64], node: NodeIndex) -> f64 {
        let mut relief = 0.0;
        for (cell, load) in self.row(node).iter().zip(loads) {
            relief += cell.potential(cell.load) - cell.potential(cell.load - load);
        }
        if self.has_scoped() {
            for (at, load) in self.scoped_of(copy, node) {
                let cell = &self.cells[at];
                relief += cell.potential(cell.load) - cell.potential(cell.load - load);
            }
        }
        relief
    }

    /// How steeply the potential of a node falls when the copy leaves it, see [`Cell::steepness`].
    #[inline]
    pub fn steepness(&self, copy: CopyIndex, loads: &[f64], node: NodeIndex) -> f64 {
        let mut steepness = 0.0;
        for (cell, load) in self.row(node).iter().zip(loads) {
            steepness += cell.steepness(*load);
        }
        if self.has_scoped() {
            for (at, load) in self.scoped_of(copy, node) {
                steepness += self.cells[at].steepness(load);
            }
        }
        steepness
    }

    /// By how much the potential of a node rises when the copy enters it.
    #[inline]
    pub fn burden(&self, copy: CopyIndex, loads: &[f64], node: NodeIndex) -> f64 {
        let mut burden = 0.0;
        for (cell, load) in self.row(node).iter().zip(loads) {
            burden += cell.potential(cell.load + load) - cell.potential(cell.load);
        }
        if self.has_scoped() {
            for (at, load) in self.scoped_of(copy, node) {
                let cell = &self.cells[at];
                burden += cell.potential(cell.load + load) - cell.potential(cell.load);
            }
        }
        burden
    }

    /// By how much fuller the copy would make a node, whether or not that matters.
    #[inline]
    pub fn filling(&self, copy: CopyIndex, loads: &[f64], node: NodeIndex) -> f64 {
        let mut filling = 0.0;
        for (cell, load) in self.row(node).iter().zip(loads) {
            filling += cell.fullness(cell.load + load) - cell.fullness(cell.load);
        }
        if self.has_scoped() {
            for (at, load) in self.scoped_of(copy, node) {
                let cell = &self.cells[at];
                filling += cell.fullness(cell.load + load) - cell.fullness(cell.load);
            }
        }
        filling
    }

    /// One over a usual fair share in a dimension about whole nodes, by its place among those.
    pub fn typical_slope(&self, at: usize) -> f64 {
        self.typical_slopes[at]
    }

    #[allow(clippy::cast_precision_loss)] // nodes are few
    fn mean_slope(&self, view: usize) -> f64 {
        let nodes = self.snapshot.nodes.len();
        let slopes = (0..nodes).map(|node| self.cell(view, NodeIndex::from_position(node)).slope);
        slopes.sum::<f64>() / nodes.max(1) as f64
    }

    /// How full a node is in the dimensions in which another has too much, and a little of how full it is otherwise.
    pub fn fullness_beside(&self, node: NodeIndex, other: NodeIndex) -> f64 {
        let cells = self.row(node).iter().zip(self.row(other));
        let weighted = cells.map(|(cell, other)| {
            let weight = if other.potential(other.load) > 0.0 { 1.0 } else { FULLNESS_BESIDE };
            cell.load * cell.slope * weight
        });
        weighted.sum()
    }

    /// How full a node is in a dimension about whole nodes, and a little of how full it is otherwise.
    pub fn fullness_in(&self, view: usize, node: NodeIndex) -> f64 {
        let weight = |at: usize| if at == view { 1.0 } else { FULLNESS_BESIDE };
        let cells = self.row(node).iter().enumerate();
        cells.map(|(at, cell)| cell.load * cell.slope * weight(at)).sum()
    }

    /// In which dimension about whole nodes these loads weigh most on a node that has too much there; by its place
    /// among those.
    pub fn heaviest(&self, loads: &[f64], node: NodeIndex) -> usize {
        let mut most = (0, 0.0);
        for (at, (cell, load)) in self.row(node).iter().zip(loads).enumerate() {
            let is_above = if cell.load > cell.quiet { 1.0 } else { FULLNESS_BESIDE };
            let weight = load * cell.slope * is_above;
            if weight > most.1 {
                most = (at, weight);
            }
        }
        most.0
    }

    /// What a node adds to the potential.
    pub fn potential_of(&self, node: NodeIndex) -> f64 {
        let own = |view| {
            let cell = self.cell(view, node);
            cell.potential(cell.load)
        };
        if self.scoped.is_empty() {
            return self.row(node).iter().map(|cell| cell.potential(cell.load)).sum();
        }
        (0..self.views.len()).map(own).sum()
    }

    /// Whether a node is inside all its bands.
    pub fn is_inside(&self, node: NodeIndex) -> bool {
        if self.scoped.is_empty() {
            return self.row(node).iter().all(|cell| cell.load <= cell.inside);
        }
        (0..self.views.len()).map(|view| self.cell(view, node)).all(|cell| cell.load <= cell.inside)
    }

    /// Puts a copy on another node.
    pub fn shift(&mut self, copy: CopyIndex, to: NodeIndex) {
        self.lift(copy);
        self.set_down(copy, to);
    }

    /// Takes a copy off its node: it counts nowhere until it is set down.
    pub fn lift(&mut self, copy: CopyIndex) {
        self.add(copy, -1.0);
    }

    /// Puts a copy that counts nowhere on a node.
    pub fn set_down(&mut self, copy: CopyIndex, on: NodeIndex) {
        self.node_of[copy.at()] = on;
        self.add(copy, 1.0);
    }

    fn add(&mut self, copy: CopyIndex, times: f64) {
        let node = self.node_of[copy.at()];
        let width = self.dense.len();
        for at in 0..width {
            let load = self.load_of(self.dense[at], copy);
            self.cells[node.at() * width + at].load += times * load;
        }
        if self.has_scoped() {
            let scoped: Vec<(usize, f64)> = self.scoped_of(copy, node).collect();
            for (at, load) in scoped {
                self.cells[at].load += times * load;
            }
        }
    }

    /// A node's load in a dimension.
    pub fn load_at(&self, view: usize, node: NodeIndex) -> Load {
        self.unscaled(view, self.cell(view, node).load)
    }

    /// A node's pressure in a dimension; 0 for nodes that take no part.
    pub fn pressure(&self, view: usize, node: NodeIndex) -> Ratio {
        let load = self.unscaled(view, self.cell(view, node).load);
        self.views[view].loads.pressure_with(node, load).unwrap_or(Ratio::ZERO)
    }
}

/// The largest load whose utilisation is below this; 0 when there is none.
fn load_below(utilisation: Ratio, capacity: Load) -> u64 {
    // utilisation_of(load) < utilisation exactly when load × 10⁶ < utilisation × capacity.
    let limit = u128::from(utilisation.0) * u128::from(capacity.0);
    let above = limit.div_ceil(u128::from(Ratio::ONE.0));
    u64::try_from(above.saturating_sub(1)).unwrap_or(u64::MAX)
}
