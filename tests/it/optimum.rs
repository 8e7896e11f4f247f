//! Small clusters against the best that can be done at all, found by trying everything (branch and bound); and what
//! must hold of any plan, whatever the cluster.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::gate::{GateSettings, Restrictions};
use milvus_rebalancer::model::{
    BytesSource, Collection, CollectionIndex, Component, ComponentIndex, Controls, History, Member, Node,
    NodeIndex, PlanningInput, Replica, ReplicaIndex, SegmentCopies, Snapshot, Standing,
};
use milvus_rebalancer::observe::observation::ServerVersion;
use milvus_rebalancer::plan::{self, DimensionView, Placement, Plan, PlanSettings};
use milvus_rebalancer::policy::{Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Scope};
use milvus_rebalancer::units::{
    Bytes, CollectionId, Load, Millicores, Moment, NodeId, Ratio, ReplicaId, Rows, SegmentId,
};
use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// More copies than these are not planned to the last crumb.
const MANY: usize = 64;

/// By so much less than the band is aimed at then.
const RESERVE: f64 = 0.000_3;

/// A cluster with one collection of one replica on all nodes.
#[derive(Clone, Debug)]
pub struct Small {
    /// Capacity of each node, by dimension.
    pub capacity: Vec<Vec<u64>>,
    /// Node, bytes, and load in each dimension of every segment.
    pub segments: Vec<(usize, u64, Vec<u64>)>,
    pub band: Ratio,
    pub price: Ratio,
}

impl Small {
    fn dimensions(&self) -> usize {
        self.capacity.first().map_or(0, Vec::len)
    }

    fn snapshot(&self) -> Snapshot {
        let nodes = (0..self.capacity.len()).map(a_node).collect();
        let members = (0..self.capacity.len())
            .map(|node| Member { node: NodeIndex::from_position(node), standing: Standing::ReadWrite });
        let mut copies = SegmentCopies::default();
        for (position, (node, bytes, _)) in self.segments.iter().enumerate() {
            copies.segment.push(SegmentId(100 + i64::try_from(position).unwrap()));
            copies.replica.push(ReplicaIndex(0));
            copies.node.push(NodeIndex::from_position(*node));
            copies.rows.push(Rows(*bytes));
            copies.bytes.push(Bytes(*bytes));
            copies.held.push(None);
        }
        Snapshot {
            taken_at: Timestamp::UNIX_EPOCH,
            signals: milvus_rebalancer::model::signals::Signals::default(),
            points: Default::default(),
            server: ServerVersion::parse("v2.5.27"),
            nodes,
            collections: vec![Collection {
                id: CollectionId(1),
                database: String::new(),
                name: "c".to_owned(),
                load_percentage: 100,
                read_at: Timestamp::UNIX_EPOCH,
                bytes_source: BytesSource::Reported,
            }],
            replicas: vec![Replica {
                id: ReplicaId(1),
                collection: CollectionIndex(0),
                resource_group: String::new(),
                members: members.collect(),
                component: Some(ComponentIndex(0)),
            }],
            copies: Arc::new(copies),
            components: vec![Component {
                nodes: (0..self.capacity.len()).map(NodeIndex::from_position).collect(),
                replicas: vec![ReplicaIndex(0)],
            }],
            doubts: Vec::new(),
        }
    }

    fn assessment(&self) -> Assessment {
        let dimension = |at: usize| Dimension {
            name: format!("d{at}"),
            unit: LoadUnit::Points,
            scope: Scope::Node,
            copy_load: self.segments.iter().map(|(.., loads)| Load(loads[at])).collect(),
            base_load: vec![Load::ZERO; self.capacity.len()],
            base_parts: Vec::new(),
            measured_load: Vec::new(),
            capacity: Capacity::Weights(self.capacity.iter().map(|node| Load(node[at])).collect()),
            settings: DimensionSettings {
                enter: self.band,
                leave: self.band,
                turns: 1,
                ..DimensionSettings::default()
            },
            confidence: Ratio::ONE,
        };
        Assessment { dimensions: (0..self.dimensions()).map(dimension).collect(), ..Assessment::default() }
    }

    fn input(&self) -> PlanningInput {
        let plan = PlanSettings {
            price_per_fair_share: self.price,
            price_per_move: Ratio::ZERO,
            ..PlanSettings::default()
        };
        let gate = GateSettings { minimum_gain: Ratio::ZERO, ..GateSettings::default() };
        planning_input(self.snapshot(), plan, gate)
    }

    pub fn plan(&self) -> Plan {
        let (input, assessment) = (self.input(), self.assessment());
        let placement = Placement::projected(&input.snapshot, &[]);
        let views = DimensionView::all(&input.snapshot, &assessment, &placement);
        let (findings, _) = plan::find_overloads(&input, &views, &placement);
        let mut restrictions = Restrictions::default();
        for node in &input.snapshot.nodes {
            restrictions.room.insert(node.id, Bytes(u64::MAX));
        }
        plan::plan(&input, &views, &placement, &findings, &restrictions)
    }

    /// The same after a plan has landed.
    pub fn after(&self, plan: &Plan) -> Small {
        let mut after = self.clone();
        for movement in plan.moves() {
            let at = usize::try_from(movement.segment.0 - 100).unwrap();
            after.segments[at].0 = usize::try_from(movement.to.0 - 1).unwrap();
        }
        after
    }

    /// Pressure of every node in every dimension, in fractions, with segments on these nodes.
    fn pressures(&self, place: &[usize]) -> Vec<f64> {
        let mut pressures = Vec::new();
        for at in 0..self.dimensions() {
            let total: u128 = self.segments.iter().map(|(.., loads)| u128::from(loads[at])).sum();
            let capacity: u128 = self.capacity.iter().map(|node| u128::from(node[at])).sum();
            for (node, own) in self.capacity.iter().enumerate() {
                let here = self.segments.iter().zip(place).filter(|(_, place)| **place == node);
                let load: u128 = here.map(|((.., loads), _)| u128::from(loads[at])).sum();
                if own[at] > 0 && total > 0 {
                    #[allow(clippy::cast_precision_loss)]
                    pressures.push((load * capacity) as f64 / (total * u128::from(own[at])) as f64);
                }
            }
        }
        pressures
    }

    fn place(&self) -> Vec<usize> {
        self.segments.iter().map(|(node, ..)| *node).collect()
    }

    fn worst(&self, place: &[usize]) -> f64 {
        self.pressures(place).into_iter().fold(0.0, f64::max)
    }

    /// The potential of a placement, and the price of getting there.
    fn objective(&self, place: &[usize]) -> f64 {
        // Where there are many, the planner counts from a hair below the band (docs/planner.md).
        let reserve = if self.segments.len() > MANY { RESERVE } else { 0.0 };
        let excess = |pressure: f64| (pressure - self.band.decimal() + reserve).max(0.0);
        let potential: f64 =
            self.pressures(place).into_iter().map(|pressure| excess(pressure) * excess(pressure)).sum();
        let all: u64 = self.segments.iter().map(|(_, bytes, _)| *bytes).sum();
        #[allow(clippy::cast_precision_loss)]
        let fair = (all / self.capacity.len() as u64).max(1) as f64;
        potential + self.price.decimal() * self.bytes_moved(place) / fair
    }

    #[allow(clippy::cast_precision_loss)]
    fn bytes_moved(&self, place: &[usize]) -> f64 {
        let moved = self.segments.iter().zip(place).filter(|((from, ..), to)| from != *to);
        moved.map(|((_, bytes, _), _)| *bytes as f64).sum()
    }

    /// The least that any placement has of something that never falls when a segment is added.
    fn optimum(&self, of: &dyn Fn(&[usize]) -> f64) -> f64 {
        let mut best = f64::MAX;
        let mut place = vec![usize::MAX; self.segments.len()];
        self.branch(0, &mut place, of, &mut best);
        best
    }

    fn branch(&self, at: usize, place: &mut Vec<usize>, of: &dyn Fn(&[usize]) -> f64, best: &mut f64) {
        let so_far = of(&place[..at]);
        if so_far >= *best {
            return;
        }
        if at == place.len() {
            *best = so_far;
            return;
        }
        for node in 0..self.capacity.len() {
            place[at] = node;
            self.branch(at + 1, place, of, best);
        }
    }
}

fn a_node(at: usize) -> Node {
    Node {
        id: NodeId(1 + i64::try_from(at).unwrap()),
        address: format!("10.0.0.{at}:21123"),
        hostname: None,
        standing: Standing::ReadWrite,
        memory_capacity: Some(Bytes(u64::MAX)),
        memory_used: None,
        growing: None,
        unexplained_memory: None,
        reported_sealed: None,
        version: "v2.5.27".to_owned(),
        component: Some(ComponentIndex(0)),
    }
}

fn random_small(dice: &mut ChaCha8Rng, price: Ratio) -> Small {
    let nodes = dice.random_range(1..=3_usize);
    let dimensions = dice.random_range(1..=2_usize);
    let capacity = |dice: &mut ChaCha8Rng| (0..dimensions).map(|_| dice.random_range(1..=3_u64)).collect();
    Small {
        capacity: (0..nodes).map(|_| capacity(dice)).collect(),
        segments: (0..dice.random_range(1..=10_usize))
            .map(|_| {
                let loads = (0..dimensions).map(|_| dice.random_range(1..=1_000_u64)).collect();
                (dice.random_range(0..nodes), dice.random_range(1..=1_000_u64), loads)
            })
            .collect(),
        band: Ratio::ONE,
        price,
    }
}

/// Clusters of at most three nodes and ten segments, as many as the seeds.
const CLUSTERS: u64 = 500;
/// A difference of rounding.
const SAME: f64 = 1e-5;

#[test]
fn five_hundred_small_clusters_against_branch_and_bound() {
    for price in [Ratio::ZERO, Ratio(20_000)] {
        let (mut as_even, mut as_good, mut furthest) = (0, 0, 1.0_f64);
        for seed in 0..CLUSTERS {
            let small = random_small(&mut ChaCha8Rng::seed_from_u64(seed), price);
            let plan = small.plan();
            let place = small.after(&plan).place();
            let (worst, objective) = (small.worst(&place), small.objective(&place));
            let best = small.optimum(&|place| small.worst(place));
            let least = small.optimum(&|place| small.objective(place));
            assert!(objective >= least - SAME, "seed {seed}: better than the best");
            as_even += u64::from(worst <= best + SAME);
            as_good += u64::from(objective <= least + SAME);
            furthest = furthest.max(worst / best);
            for proof in &plan.proof.dimensions {
                assert!(proof.floor.decimal() <= best + SAME, "seed {seed}: {proof:?}, best {best}");
            }
            // The fewest bytes with which every node is as low as this plan leaves it.
            let (as_planned, band) = (small.pressures(&place), small.band.decimal());
            let fewest = small.optimum(&|place| {
                let is_above = |(now, then): (f64, &f64)| now > then.max(band) + SAME;
                let pressures = small.pressures(place);
                let too_high = pressures.into_iter().zip(&as_planned).any(is_above);
                if too_high { f64::MAX } else { small.bytes_moved(place) }
            });
            #[allow(clippy::cast_precision_loss)]
            let floor = plan.proof.bytes_floor.0 as f64;
            assert!(floor <= fewest + 1.0, "seed {seed}: floor {floor}, fewest {fewest}");
        }
        // A small component is placed by branch and bound, too, see `src/plan/exact.rs`, so all are as good as can be.
        assert!(as_good == CLUSTERS, "price {price}: {as_good} of {CLUSTERS} are as good as the best");
        if price == Ratio::ZERO {
            assert!(as_even >= CLUSTERS * 95 / 100, "{as_even} of {CLUSTERS} are as even as the best");
            assert!(furthest <= 1.10, "a worst pressure of {furthest} times the best");
        }
        println!(
            "price {price}: as even as the best {as_even}, as good {as_good} of {CLUSTERS}, furthest {furthest:.3}"
        );
    }
}

/// A cluster of a few nodes with loads from nothing to the largest.
fn any_small() -> impl Strategy<Value = Small> {
    let amount = || prop_oneof![Just(0_u64), 1..1_000_u64, 1..1_000_000_000_000_u64, Just(u64::MAX)];
    (1..6_usize, 1..4_usize, prop_oneof![Just(0_u64), Just(20_000)]).prop_flat_map(
        move |(nodes, dimensions, price)| {
            let loads = move || prop::collection::vec(amount(), dimensions);
            let segment = (0..nodes, amount(), loads());
            let capacity = prop::collection::vec(loads(), nodes);
            (capacity, prop::collection::vec(segment, 0..40)).prop_map(move |(capacity, segments)| Small {
                capacity,
                segments,
                band: Ratio(1_050_000),
                price: Ratio(price),
            })
        },
    )
}

/// The same with loads that real clusters have.
fn usual_small() -> impl Strategy<Value = Small> {
    (2..8_usize, 1..4_usize, prop_oneof![Just(0_u64), Just(20_000)]).prop_flat_map(
        |(nodes, dimensions, price)| {
            let loads = move |most: u64| prop::collection::vec(1..=most, dimensions);
            let segment = (0..nodes, 1..10_000_u64, loads(10_000));
            // More than 64 segments are not planned to the last crumb.
            let count = prop_oneof![2 => 0..60_usize, 1 => 65..160_usize];
            let segments = count.prop_flat_map(move |count| prop::collection::vec(segment.clone(), count));
            (prop::collection::vec(loads(4), nodes), segments).prop_map(move |(capacity, segments)| Small {
                capacity,
                segments,
                band: Ratio(1_050_000),
                price: Ratio(price),
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn whatever_the_loads_there_is_an_answer_and_always_the_same(small in any_small()) {
        let plan = small.plan();
        prop_assert_eq!(&plan, &small.plan());
        for proof in &plan.proof.dimensions {
            prop_assert!(proof.floor <= proof.after.max(proof.before), "{:?}", proof);
        }
    }

    #[test]
    fn no_step_raises_the_potential(small in usual_small()) {
        let plan = small.plan();
        let mut now = small.clone();
        let mut before = small.objective(&small.place());
        for step in &plan.steps {
            now = now.after(&Plan { steps: vec![step.clone()], ..Plan::default() });
            let after = small.objective(&now.place());
            prop_assert!(after <= before + 1e-9, "{after} after {before}: {:?}", step);
            before = after;
        }
    }

    #[test]
    fn a_plan_that_has_landed_is_not_followed_by_another_however_the_dimensions_contradict(small in usual_small()) {
        let plan = small.plan();
        prop_assert_eq!(small.after(&plan).plan().steps, vec![]);
    }

    #[test]
    fn what_loads_are_counted_in_changes_nothing(small in usual_small(), factor in prop_oneof![Just(743_u64), Just(1024)]) {
        let mut other = small.clone();
        for (_, bytes, loads) in &mut other.segments {
            *bytes *= factor;
            loads.iter_mut().for_each(|load| *load *= factor);
        }
        let ways = |plan: &Plan| plan.moves().map(|way| (way.segment, way.from, way.to)).collect::<Vec<_>>();
        prop_assert_eq!(ways(&small.plan()), ways(&other.plan()));
    }

    #[test]
    fn more_capacity_never_raises_the_floor(small in usual_small(), node in 0..8_usize, more in 1..5_u64) {
        let node = node % small.capacity.len();
        let mut larger = small.clone();
        larger.capacity[node].iter_mut().for_each(|capacity| *capacity += more);
        // The floor of load / capacity: that of the pressure, times what a fair share is of the capacity.
        let floors = |small: &Small| -> Vec<f64> {
            let floor = |(at, proof): (usize, &plan::DimensionProof)| {
                let total: u64 = small.segments.iter().map(|(.., loads)| loads[at]).sum();
                let capacity: u64 = small.capacity.iter().map(|node| node[at]).sum();
                #[allow(clippy::cast_precision_loss)]
                let fair = total as f64 / capacity as f64;
                proof.floor.decimal() * fair
            };
            small.plan().proof.dimensions.iter().enumerate().map(floor).collect()
        };
        for (before, after) in floors(&small).into_iter().zip(floors(&larger)) {
            prop_assert!(after <= before * (1.0 + SAME), "{after} after {before}");
        }
    }

    #[test]
    fn every_thread_makes_the_same_plan(small in usual_small()) {
        let plans: Vec<Plan> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| small.plan())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let bytes = |plan: &Plan| serde_json::to_vec(plan).unwrap();
        prop_assert!(plans.iter().all(|plan| bytes(plan) == bytes(&plans[0])));
    }

    #[test]
    fn whatever_is_not_brought_inside_its_band_has_a_reason(small in usual_small()) {
        let plan = small.plan();
        for proof in plan.proof.dimensions.iter().filter(|proof| proof.after > small.band) {
            prop_assert!(proof.why.is_some(), "{:?} {:?}", proof, plan.proof.left_alone);
        }
    }

    #[test]
    fn floors_hold(small in usual_small()) {
        let plan = small.plan();
        for proof in &plan.proof.dimensions {
            prop_assert!(proof.after >= proof.floor, "{:?}", proof);
        }
        prop_assert!(plan.proof.bytes_floor <= plan.proof.bytes_moved, "{:?}", plan.proof);
    }
}

#[test]
fn the_digest_of_a_snapshot_covers_what_is_searched() {
    let loads = vec![(0, 5, vec![1]), (1, 5, vec![1])];
    let small = Small { capacity: vec![vec![1]; 2], segments: loads, band: Ratio::ONE, price: Ratio::ZERO };
    let digest = |searched: [u64; 2]| {
        let mut snapshot = small.snapshot();
        snapshot.signals.copy_search = searched.map(Millicores).to_vec();
        snapshot.digest()
    };
    assert_eq!(digest([7, 0]), digest([7, 0]));
    assert_ne!(digest([7, 0]), digest([0, 0]));
    assert_ne!(digest([7, 0]), digest([8, 0]), "how much");
    assert_ne!(digest([7, 0]), digest([0, 7]), "and which");
}

#[test]
fn a_cluster_without_dimensions_needs_nothing() {
    let small = Small {
        capacity: vec![vec![]; 2],
        segments: vec![(0, 5, vec![])],
        band: Ratio::ONE,
        price: Ratio::ZERO,
    };
    assert_eq!(small.plan().steps, []);
}

fn planning_input(snapshot: Snapshot, plan: PlanSettings, gate: GateSettings) -> PlanningInput {
    PlanningInput {
        snapshot: Arc::new(snapshot),
        in_flight: Vec::new(),
        opinions: milvus_rebalancer::policy::Assessment::default(),
        own_balancer: milvus_rebalancer::model::OwnBalancer::default(),
        history: History::default(),
        controls: Controls::default(),
        plan,
        gate,
        now: Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO },
    }
}
