//! Clusters at the edge of what there can be: a planner has a sane answer to all of them. What is no number at all
//! does not come so far: readers of pages, Prometheus and plug-ins refuse it and name the doubt (their own tests).

use milvus_rebalancer::plan::{FloorCause, WhyNotBetter};
use milvus_rebalancer::units::{Ratio, SegmentId};

use crate::optimum::Small;

/// A name, the nodes' capacities, and node, bytes and load of each segment.
type OddCluster = (&'static str, Vec<u64>, Vec<(usize, u64, u64)>);

fn odd_clusters() -> Vec<OddCluster> {
    let many = |count: u64, of: &dyn Fn(u64) -> (usize, u64, u64)| (0..count).map(of).collect::<Vec<_>>();
    let node = |number: u64| usize::try_from(number % 3).unwrap();
    vec![
        ("no segments", vec![1, 1, 1], vec![]),
        ("one node", vec![7], many(90, &|number| (0, number, number))),
        ("all nodes alike and alike full", vec![5; 3], many(90, &|number| (node(number), 10, 10))),
        ("all load on one segment", vec![1, 1, 1], many(90, &|number| (0, 10, 999 * u64::from(number == 4)))),
        ("no load at all", vec![1, 1, 1], many(90, &|number| (node(number), 10, 0))),
        ("no bytes at all", vec![1, 1, 1], many(90, &|number| (0, 0, number))),
        ("no capacity at all", vec![0, 0, 0], many(90, &|number| (0, 10, number))),
        ("all capacity on one node", vec![0, u64::MAX, 0], many(90, &|number| (node(number), 10, number))),
        ("the largest loads", vec![u64::MAX; 3], many(90, &|_| (0, u64::MAX, u64::MAX))),
        (
            "the largest beside nothing",
            vec![1, u64::MAX, 1],
            many(90, &|number| (0, 1, u64::MAX * (number % 2))),
        ),
    ]
}

#[test]
fn clusters_at_the_edge_get_a_sane_answer() {
    for (name, capacity, segments) in odd_clusters() {
        let small = Small {
            capacity: capacity.iter().map(|capacity| vec![*capacity; 2]).collect(),
            segments: segments.iter().map(|(node, bytes, load)| (*node, *bytes, vec![*load; 2])).collect(),
            band: Ratio(1_050_000),
            price: Ratio::ZERO,
        };
        let plan = small.plan();
        println!("{name}: {} steps, {:?}", plan.steps.len(), plan.proof.dimensions);
        assert_eq!(plan, small.plan(), "{name}");
        assert_eq!(small.after(&plan).plan().steps, [], "{name}: planned again after it has landed");
        for proof in &plan.proof.dimensions {
            assert!(proof.after <= proof.before, "{name}: {proof:?}");
        }
        let nothing_to_do = [
            "no segments",
            "one node",
            "all nodes alike and alike full",
            "no load at all",
            "no capacity at all",
        ];
        if nothing_to_do.contains(&name) {
            assert_eq!(plan.steps, [], "{name}");
        }
        // One segment has it all: nobody gains by its going elsewhere, and the floor says which it is.
        if name == "all load on one segment" {
            let proof = &plan.proof.dimensions[0];
            assert_eq!((plan.steps.len(), proof.after, proof.floor), (0, Ratio(3_000_000), Ratio(3_000_000)));
            let cause = FloorCause::LargestSegment { segment: SegmentId(104) };
            assert_eq!(proof.floor_cause, cause);
            assert_eq!(proof.why, Some(WhyNotBetter::Floor));
        }
    }
}
