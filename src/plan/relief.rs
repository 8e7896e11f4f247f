//! What a wave of moves was to bring and what it brought: the planner's own potential, once as predicted from the
//! loads it planned on, once with the loads as they are seen afterwards. Pure, so that a replay judges alike.
//!
//! Two things are kept apart. A segment that is listed on its new node has *moved*; whether its load went along is what a
//! node's own figures say, where it reports any. And what changed for other reasons (growth, compaction, other moves)
//! is taken out: it is neither to the wave's credit nor its fault.

mod growth;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::Move;
use super::finding::DimensionView;
use crate::model::{NodeIndex, Snapshot};
use crate::policy::LoadUnit;
use crate::units::{CollectionId, Load, NodeId, Ratio, ReplicaId, SegmentId};

/// The loads of all nodes at one moment, and those of the copies that somebody moves.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPicture {
    /// When the observation behind it began.
    pub taken_at: Timestamp,
    dimensions: Vec<DimensionPicture>,
    /// Where each copy is, and its load in each of the dimensions.
    copies: BTreeMap<(SegmentId, ReplicaId), (NodeId, Vec<Load>)>,
    /// Rows of each collection on the nodes of the wave that is under way.
    rows: BTreeMap<NodeId, BTreeMap<CollectionId, u64>>,
}

#[derive(Clone, Debug, PartialEq)]
struct DimensionPicture {
    name: String,
    leave: Ratio,
    /// What its potential counts: weight times confidence.
    weight: u64,
    /// Whether the load grows where there is room for it.
    is_elastic: bool,
    nodes: BTreeMap<NodeId, NodePicture>,
    /// Load of a collection's rows: so much load for so many rows.
    of_rows: BTreeMap<CollectionId, (u128, u128)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct NodePicture {
    /// By the list of segments, and what moves cannot change.
    listed: Load,
    /// What moves cannot change.
    base: Load,
    /// Load of its copies by the node's own figures.
    measured: Option<Load>,
    fair: Load,
}

/// A drop of the potential: squared pressure above the leave value, times weight, in units of 10⁻¹². Negative when
/// the potential rose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relief(pub i128);

/// What a wave was to bring, and what it brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveRelief {
    /// By the loads that were planned on.
    pub predicted: Relief,
    /// By what was seen afterwards.
    pub realised: Relief,
    /// The worst pressure of the wave's nodes, in the dimension with the most relief predicted.
    pub worst: WorstPressure,
    /// Moves that say something: those whose segment and nodes still exist.
    pub moves_judged: usize,
    /// Whether nodes themselves reported a load; else the list of segments is all there is to go by.
    pub is_measured: bool,
}

/// The same, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorstPressure {
    /// The dimension.
    pub dimension: String,
    /// Before the wave.
    pub before: Ratio,
    /// What it was to be afterwards.
    pub predicted: Ratio,
    /// What it would be if nothing but the wave had changed anything.
    pub realised: Ratio,
}

impl Relief {
    /// As a number: 0.04 is a node that was 0.2 above its band and is inside it now.
    #[allow(clippy::cast_precision_loss)] // shown, never calculated with
    pub fn decimal(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// Whether this is at least such a share of another relief.
    pub fn is_at_least(self, share: Ratio, of: Relief) -> bool {
        self.0.saturating_mul(i128::from(Ratio::ONE.0)) >= of.0.saturating_mul(i128::from(share.0))
    }
}

impl WaveRelief {
    /// The share of the predicted relief that came, in per cent; `None` when none was predicted.
    pub fn percent(&self) -> Option<i64> {
        let predicted = self.predicted.0;
        let percent = (predicted > 0).then(|| self.realised.0.saturating_mul(100) / predicted)?;
        Some(i64::try_from(percent).unwrap_or(if percent < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl fmt::Display for WaveRelief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorstPressure { dimension, before, predicted, realised } = &self.worst;
        match self.percent() {
            Some(percent) => write!(
                f,
                "{percent} % of the relief predicted (worst {dimension} of its nodes {before} → {realised}, \
                 predicted {predicted})"
            ),
            None => f.write_str("nothing that can be judged"),
        }
    }
}

impl LoadPicture {
    /// Of this snapshot. Only the copies of these moves can be judged later: those of the wave that is under way,
    /// and those that are planned.
    pub fn of<'a>(
        snapshot: &Snapshot,
        views: &[DimensionView<'_>],
        wave: &[Move],
        planned: impl Iterator<Item = &'a Move>,
    ) -> LoadPicture
    where
        Move: 'a,
    {
        let mut copies = BTreeMap::new();
        let mut note = |movement: &Move| {
            let replica = snapshot.replica_index(movement.replica);
            let copy = replica.and_then(|replica| snapshot.copy_index(movement.segment, replica));
            let Some(copy) = copy else { return };
            let loads = views.iter().map(|view| view.dimension.copy_load[copy.at()]).collect();
            let node = snapshot.node(snapshot.copies.node[copy.at()]).id;
            copies.insert((movement.segment, movement.replica), (node, loads));
        };
        wave.iter().for_each(&mut note);
        planned.for_each(note);
        let dimensions = views.iter().map(|view| DimensionPicture::of(snapshot, view)).collect();
        let rows = rows_on(snapshot, wave);
        LoadPicture { taken_at: snapshot.taken_at, dimensions, copies, rows }
    }
}

/// Rows by collection on the nodes between which these moves go.
fn rows_on(snapshot: &Snapshot, wave: &[Move]) -> BTreeMap<NodeId, BTreeMap<CollectionId, u64>> {
    let mut rows: BTreeMap<NodeId, BTreeMap<CollectionId, u64>> = wave
        .iter()
        .flat_map(|movement| [movement.from, movement.to])
        .map(|id| (id, BTreeMap::new()))
        .collect();
    if rows.is_empty() {
        return rows;
    }
    for copy in snapshot.copies.indices() {
        let node = snapshot.node(snapshot.copies.node[copy.at()]).id;
        if let Some(rows) = rows.get_mut(&node) {
            let collection = snapshot.collection_of(snapshot.copies.replica[copy.at()]).id;
            let sum = rows.entry(collection).or_default();
            *sum = sum.saturating_add(snapshot.copies.rows[copy.at()].0);
        }
    }
    rows
}

impl LoadPicture {
    /// Takes over what a later picture knows of a copy that this one does not have: a wave can go on after the next
    /// look at the cluster.
    pub fn take_copy_from(&mut self, later: &LoadPicture, movement: &Move) {
        let copy = (movement.segment, movement.replica);
        let has_same_dimensions = self.dimensions.len() == later.dimensions.len();
        if let Some(known) = later.copies.get(&copy).filter(|_| has_same_dimensions) {
            self.copies.entry(copy).or_insert_with(|| known.clone());
        }
    }

    /// Whether the copy is where the move was to bring it.
    fn shows_landed(&self, movement: &Move) -> bool {
        let copy = self.copies.get(&(movement.segment, movement.replica));
        copy.is_some_and(|(node, _)| *node == movement.to)
    }
}

impl DimensionPicture {
    fn of(snapshot: &Snapshot, view: &DimensionView<'_>) -> DimensionPicture {
        let dimension = view.dimension;
        let mut nodes = BTreeMap::new();
        for (position, node) in snapshot.nodes.iter().enumerate() {
            let index = NodeIndex::from_position(position);
            let Some(fair) = view.loads.fair[index.at()] else { continue };
            let measured = dimension.measured_load.get(position).copied().flatten();
            let (listed, base) = (view.loads.load[position], dimension.base_load[position]);
            nodes.insert(node.id, NodePicture { listed, base, measured, fair });
        }
        let mut of_rows: BTreeMap<CollectionId, (u128, u128)> = BTreeMap::new();
        // Only what is measured is compared by rows.
        let copies = snapshot.copies.indices().take_while(|_| !dimension.measured_load.is_empty());
        for copy in copies {
            let collection = snapshot.collection_of(snapshot.copies.replica[copy.at()]).id;
            let (load, rows) = of_rows.entry(collection).or_default();
            *load += u128::from(dimension.copy_load[copy.at()].0);
            *rows += u128::from(snapshot.copies.rows[copy.at()].0);
        }
        DimensionPicture {
            name: dimension.name.clone(),
            leave: dimension.settings.leave,
            weight: dimension.settings.weight.share_of(dimension.confidence.0),
            is_elastic: dimension.unit == LoadUnit::Millicores,
            nodes,
            of_rows,
        }
    }

    /// What these rows would have weighed at the time of this picture: what a row weighs is learnt anew from every
    /// look, and must not be taken for load that came or went.
    fn load_of(&self, rows: &BTreeMap<CollectionId, u64>) -> i128 {
        let load = |(collection, rows): (&CollectionId, &u64)| {
            let (load, of) = self.of_rows.get(collection).copied().unwrap_or_default();
            (u128::from(*rows)).saturating_mul(load) / of.max(1)
        };
        let sum = rows.iter().map(load).fold(0_u128, u128::saturating_add);
        i128::try_from(sum).unwrap_or(i128::MAX).min(i128::MAX >> 16)
    }
}

impl NodePicture {
    fn pressure(&self, load: i128) -> Ratio {
        let load = u64::try_from(load.max(0)).unwrap_or(u64::MAX);
        Ratio::of(load, self.fair.0)
    }
}

/// What these moves, planned on `before`, have brought by the time of `after`. Moves whose segment has vanished or
/// whose nodes have gone prove nothing and are left out.
pub fn relief(before: &LoadPicture, after: &LoadPicture, moves: &[Move]) -> WaveRelief {
    let judged: Vec<&Move> =
        moves.iter().filter(|movement| says_something(before, after, movement)).collect();
    let mut answer = WaveRelief {
        predicted: Relief::default(),
        realised: Relief::default(),
        worst: WorstPressure::default(),
        moves_judged: judged.len(),
        is_measured: false,
    };
    let mut most = None;
    for (position, dimension) in before.dimensions.iter().enumerate() {
        let Some(later) = after.dimensions.iter().position(|later| later.name == dimension.name) else {
            continue;
        };
        let sum = dimension_relief(before, position, after, later, &judged);
        answer.predicted.0 = answer.predicted.0.saturating_add(sum.predicted);
        answer.realised.0 = answer.realised.0.saturating_add(sum.realised);
        answer.is_measured |= sum.is_measured;
        if most.is_none_or(|most| sum.predicted > most) {
            most = Some(sum.predicted);
            answer.worst = sum.worst;
        }
    }
    answer
}

fn says_something(before: &LoadPicture, after: &LoadPicture, movement: &Move) -> bool {
    let copy = (movement.segment, movement.replica);
    let was_there = before.copies.get(&copy).is_some_and(|(node, _)| *node == movement.from);
    let knows = |picture: &LoadPicture, node: &NodeId| {
        picture.dimensions.iter().any(|dimension| dimension.nodes.contains_key(node))
    };
    was_there
        && after.copies.contains_key(&copy)
        && [movement.from, movement.to].iter().all(|node| knows(before, node) && knows(after, node))
}

/// One dimension's part.
#[derive(Default)]
struct DimensionSum {
    predicted: i128,
    realised: i128,
    worst: WorstPressure,
    is_measured: bool,
}

fn dimension_relief(
    before: &LoadPicture,
    position: usize,
    after: &LoadPicture,
    later: usize,
    moves: &[&Move],
) -> DimensionSum {
    let (dimension, seen) = (&before.dimensions[position], &after.dimensions[later]);
    let growth = seen.growth_since(dimension);
    let mut sum = DimensionSum::default();
    sum.worst.dimension.clone_from(&dimension.name);
    let nodes: BTreeSet<NodeId> = moves.iter().flat_map(|movement| [movement.from, movement.to]).collect();
    for node in nodes {
        let (Some(was), Some(is)) = (dimension.nodes.get(&node), seen.nodes.get(&node)) else { continue };
        let to_shift = shift(before, position, moves, node, |_| true);
        let listed_shift = shift(before, position, moves, node, |movement| after.shows_landed(movement));
        let shifted = match (was.measured, is.measured, after.rows.get(&node)) {
            (Some(measured_before), Some(measured), Some(rows)) => {
                sum.is_measured = true;
                let copies_before = i128::from(was.listed.0) - i128::from(was.base.0);
                // What the list shows of the node beyond the wave.
                let elsewhere = dimension.load_of(rows) - copies_before - listed_shift;
                growth.taken_out_of(measured) - i128::from(measured_before.0) - elsewhere
            }
            _ => listed_shift,
        };
        let load = i128::from(was.listed.0);
        let potential = |load: i128| potential(was.pressure(load), dimension);
        sum.predicted = sum.predicted.saturating_add(potential(load) - potential(load + to_shift));
        sum.realised = sum.realised.saturating_add(potential(load) - potential(load + shifted));
        let worst = &mut sum.worst;
        worst.before = worst.before.max(was.pressure(load));
        worst.predicted = worst.predicted.max(was.pressure(load + to_shift));
        worst.realised = worst.realised.max(was.pressure(load + shifted));
    }
    sum
}

/// By how much those of the moves that count change the load of a node.
fn shift(
    before: &LoadPicture,
    at: usize,
    moves: &[&Move],
    node: NodeId,
    counts: impl Fn(&Move) -> bool,
) -> i128 {
    let mut shift: i128 = 0;
    for movement in moves.iter().filter(|movement| counts(movement)) {
        let Some((_, loads)) = before.copies.get(&(movement.segment, movement.replica)) else { continue };
        let load = i128::from(loads.get(at).copied().unwrap_or_default().0);
        if movement.to == node {
            shift += load;
        }
        if movement.from == node {
            shift -= load;
        }
    }
    shift
}

/// The planner's potential of a node with this pressure. Unlike the planner's own it counts below `matters_above`
/// too: a node must not look relieved because its use fell by a hair.
fn potential(pressure: Ratio, dimension: &DimensionPicture) -> i128 {
    let excess = u128::from(pressure.0.saturating_sub(dimension.leave.0));
    let potential =
        excess.saturating_mul(excess).saturating_mul(u128::from(dimension.weight)) / u128::from(Ratio::ONE.0);
    // Sums of a few thousand nodes then still fit.
    i128::try_from(potential).unwrap_or(i128::MAX).min(i128::MAX >> 16)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::units::{Bytes, Rows};

    const LEAVE: Ratio = Ratio(1_050_000);

    /// A segment of 10 bytes.
    pub(crate) fn movement(segment: i64, from: i64, to: i64) -> Move {
        Move {
            segment: SegmentId(segment),
            collection: CollectionId(1),
            replica: ReplicaId(1),
            from: NodeId(from),
            to: NodeId(to),
            bytes: Bytes(10),
            rows: Rows(1),
        }
    }

    /// Loads by node (listed, measured), fair share 100 for all; copies of 10 on nodes. A row weighs 1.
    pub(crate) fn picture(nodes: &[(i64, u64, Option<u64>)], copies: &[(i64, i64)]) -> LoadPicture {
        let node = |(id, listed, measured): &(i64, u64, Option<u64>)| {
            let fair = Load(100);
            let measured = measured.map(Load);
            (NodeId(*id), NodePicture { listed: Load(*listed), base: Load::ZERO, measured, fair })
        };
        let rows = |(id, listed, _): &(i64, u64, Option<u64>)| {
            (NodeId(*id), BTreeMap::from([(CollectionId(1), *listed)]))
        };
        let copy = |(segment, node): &(i64, i64)| {
            ((SegmentId(*segment), ReplicaId(1)), (NodeId(*node), vec![Load(10)]))
        };
        LoadPicture {
            taken_at: Timestamp::UNIX_EPOCH,
            dimensions: vec![DimensionPicture {
                name: "memory".to_owned(),
                leave: LEAVE,
                weight: Ratio::ONE.0,
                is_elastic: false,
                nodes: nodes.iter().map(node).collect(),
                of_rows: BTreeMap::from([(CollectionId(1), (1, 1))]),
            }],
            copies: copies.iter().map(copy).collect(),
            rows: nodes.iter().map(rows).collect(),
        }
    }

    #[test]
    fn what_is_listed_where_it_was_to_go_is_all_of_the_relief() {
        let before = picture(&[(1, 140, None), (2, 60, None)], &[(7, 1), (8, 1)]);
        let after = picture(&[(1, 120, None), (2, 80, None)], &[(7, 2), (8, 2)]);
        let wave = relief(&before, &after, &[movement(7, 1, 2), movement(8, 1, 2)]);
        // 0.35² - 0.15²
        assert_eq!(wave.predicted, Relief(100_000_000_000));
        assert_eq!(wave.realised, wave.predicted);
        assert_eq!((wave.percent(), wave.moves_judged, wave.is_measured), (Some(100), 2, false));
        assert_eq!(wave.worst.before, Ratio(1_400_000));
        assert_eq!(wave.worst.realised, Ratio(1_200_000));
        assert!(wave.to_string().starts_with("100 % of the relief predicted (worst memory"), "{wave}");
    }

    #[test]
    fn a_segment_that_is_listed_and_whose_bytes_stay_behind_is_no_relief() {
        let before = picture(&[(1, 140, Some(900)), (2, 60, Some(400))], &[(7, 1)]);
        let after = picture(&[(1, 130, Some(900)), (2, 70, Some(400))], &[(7, 2)]);
        let wave = relief(&before, &after, &[movement(7, 1, 2)]);
        assert!(wave.predicted > Relief(0) && wave.is_measured);
        assert_eq!(wave.realised, Relief(0));
        let half = picture(&[(1, 130, Some(895)), (2, 70, Some(405))], &[(7, 2)]);
        let wave = relief(&before, &half, &[movement(7, 1, 2)]);
        assert!(wave.realised.is_at_least(Ratio(500_000), wave.predicted), "{wave:?}");
        assert!(!wave.realised.is_at_least(Ratio(600_000), wave.predicted), "{wave:?}");
    }

    #[test]
    fn what_others_do_meanwhile_is_neither_credit_nor_fault() {
        let before = picture(&[(1, 140, Some(140)), (2, 60, Some(60))], &[(7, 1)]);
        for others in [-35_i64, -5, 0, 5, 300] {
            let load = |listed: i64| u64::try_from(listed + others).unwrap();
            let after = picture(&[(1, load(130), Some(load(130))), (2, load(70), Some(load(70)))], &[(7, 2)]);
            let wave = relief(&before, &after, &[movement(7, 1, 2)]);
            assert_eq!(wave.percent(), Some(100), "others: {others}");
        }
    }

    #[test]
    fn what_a_row_weighs_may_be_learnt_anew() {
        let before = picture(&[(1, 140, Some(140)), (2, 60, Some(60))], &[(7, 1)]);
        // Every figure of the list has doubled, the rows have not.
        let mut after = picture(&[(1, 130, Some(130)), (2, 70, Some(70))], &[(7, 2)]);
        for node in after.dimensions[0].nodes.values_mut() {
            node.listed = Load(2 * node.listed.0);
        }
        let wave = relief(&before, &after, &[movement(7, 1, 2)]);
        assert_eq!(wave.percent(), Some(100));
    }

    #[test]
    fn what_was_taken_back_is_no_relief() {
        let before = picture(&[(1, 140, None), (2, 60, None)], &[(7, 1)]);
        let wave = relief(&before, &before, &[movement(7, 1, 2)]);
        assert_eq!((wave.percent(), wave.realised), (Some(0), Relief(0)));
    }

    #[test]
    fn what_makes_it_worse_is_negative() {
        let before = picture(&[(1, 140, Some(140)), (2, 60, Some(60))], &[(7, 1)]);
        let after = picture(&[(1, 130, Some(150)), (2, 70, Some(60))], &[(7, 2)]);
        let wave = relief(&before, &after, &[movement(7, 1, 2)]);
        assert!(wave.realised < Relief(0) && wave.percent().unwrap() < 0, "{wave:?}");
        assert!(!wave.realised.is_at_least(Ratio::ZERO, wave.predicted));
    }

    #[test]
    fn what_has_vanished_proves_nothing() {
        let before = picture(&[(1, 140, None), (2, 60, None), (3, 50, None)], &[(7, 1), (8, 1), (9, 1)]);
        // 7 was compacted away, and node 3 has gone.
        let after = picture(&[(1, 110, None), (2, 70, None)], &[(8, 2), (9, 1)]);
        let moves = [movement(7, 1, 2), movement(8, 1, 2), movement(9, 1, 3)];
        let wave = relief(&before, &after, &moves);
        assert_eq!((wave.moves_judged, wave.percent()), (1, Some(100)));
        let nothing = relief(&before, &after, &moves[..1]);
        assert_eq!((nothing.moves_judged, nothing.percent()), (0, None));
        assert_eq!(nothing.to_string(), "nothing that can be judged");
        // It was somewhere else from the start.
        let elsewhere = relief(&before, &after, &[movement(8, 2, 1)]);
        assert_eq!(elsewhere.moves_judged, 0);
    }

    #[test]
    fn absurd_loads_do_not_overflow() {
        let huge = u64::MAX;
        let before = picture(&[(1, huge, Some(huge)), (2, 0, Some(0))], &[(7, 1)]);
        let mut after = picture(&[(1, 0, Some(0)), (2, huge, Some(huge))], &[(7, 2)]);
        after.dimensions[0].weight = huge;
        let wave = relief(&before, &after, &[movement(7, 1, 2)]);
        assert!(wave.predicted.decimal().is_finite() && wave.realised.decimal().is_finite());
    }
}
