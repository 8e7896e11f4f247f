//! Shares the CPU of nodes out over their segments. Milvus tells no load of a segment, so it is worked out: what searches
//! on a segment should cost (how often its collection is searched, times what a search on that many rows costs), scaled so
//! that the sum explains the CPU that the node was measured to use. What searches do not explain is base load.
//!
//! What a search costs is learnt for each collection: a little from every look, and much from a move, which is the one
//! experiment that tells a segment's share from the rest of its node.

use std::collections::BTreeMap;

use crate::units::{CollectionId, NodeId, Ratio};

/// How much of what a look shows about a collection's cost is believed: one part in so many.
const LOOK_PARTS: u64 = 8;

/// The same for the first look after a move of ours.
const MOVE_PARTS: u64 = 2;

/// A node's CPU is put down to its searches up to this many times what they cost elsewhere; the rest is base load.
const MOST_EXPLAINED: Ratio = Ratio(1_500_000);

/// Searches that explain less than this share of a node's CPU teach nothing about their cost, and show what the base
/// load is.
const TEACHES_ABOVE: Ratio = Ratio(200_000);

/// Learnt costs stay between these, in millionths of the first guess.
const COST_BOUNDS: (u64, u64) = (1_000, 1_000_000_000);

/// CPU of one search on its delegator, in nanoseconds: sending it out and merging the answers.
pub(super) const DELEGATOR_NANOS: u64 = 100_000;

/// One node at one look. CPU in billionths of a core.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeWork {
    /// Its id.
    pub(super) node: NodeId,
    /// What it was measured to use; `None` when that is not known for what it holds now.
    pub(super) cpu: Option<u64>,
    /// What searches on its segments use, by collection, where somebody measures just that.
    pub(super) told: Option<BTreeMap<CollectionId, u64>>,
    /// What its work as a delegator should cost.
    pub(super) delegating: u64,
    /// What searches on its segments should cost by the first guess, by collection.
    pub(super) guessed: BTreeMap<CollectionId, u64>,
    /// Whether this is its first figure after a move of ours.
    pub(super) after_move: bool,
}

impl NodeWork {
    /// Whether anything is known of what it uses now.
    pub(super) fn is_measured(&self) -> bool {
        self.cpu.is_some() || self.told.is_some()
    }
}

/// What came out for one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeShare {
    /// CPU of searches by collection.
    pub(super) searches: BTreeMap<CollectionId, u64>,
    /// The rest.
    pub(super) base: u64,
}

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Attribution {
    /// What searches cost, as a share of the first guess.
    costs: BTreeMap<CollectionId, Ratio>,
    /// The same over all collections: for those of which nothing is known yet.
    scale: Option<Ratio>,
    /// CPU that searches did not explain when it could be told.
    bases: BTreeMap<NodeId, u64>,
    /// How well the CPU of nodes was predicted after moves of ours.
    accuracy: Option<Ratio>,
}

impl Attribution {
    /// Forgets collections and nodes that are gone.
    pub(super) fn retain(
        &mut self,
        collections: impl Fn(CollectionId) -> bool,
        nodes: impl Fn(NodeId) -> bool,
    ) {
        self.costs.retain(|id, _| collections(*id));
        self.bases.retain(|id, _| nodes(*id));
    }

    /// How well the CPU of nodes was predicted after moves of ours; `None` before there was one.
    pub(super) fn accuracy(&self) -> Option<Ratio> {
        self.accuracy
    }

    /// Shares out, and learns.
    pub(super) fn share(&mut self, nodes: &[NodeWork]) -> Vec<NodeShare> {
        let idlest = nodes.iter().filter_map(|node| node.cpu).min().unwrap_or(0);
        let expected: Vec<BTreeMap<CollectionId, u64>> =
            nodes.iter().map(|node| self.expected(node)).collect();
        let sums: Vec<u64> = expected.iter().map(|costs| sum(costs.values())).collect();
        let bases: Vec<u64> = nodes.iter().map(|node| self.assumed_base(node, idlest)).collect();
        self.judge_predictions(nodes, &sums, &bases);
        let scale = typical_scale(nodes, &sums, &bases).unwrap_or(Ratio::ONE);

        let mut shares = Vec::with_capacity(nodes.len());
        for (position, node) in nodes.iter().enumerate() {
            let (costs, expected) = (&expected[position], sums[position]);
            if let Some(told) = &node.told {
                let base = node.cpu.map_or(bases[position], |cpu| cpu.saturating_sub(sum(told.values())));
                shares.push(NodeShare { searches: told.clone(), base });
                continue;
            }
            let Some(cpu) = node.cpu else {
                // It is what it should be, until it can be measured.
                let searches = costs.iter().map(|(id, cost)| (*id, scale.share_of(*cost))).collect();
                shares.push(NodeShare { searches, base: bases[position] });
                continue;
            };
            let most = MOST_EXPLAINED.share_of(scale.share_of(expected));
            let explained = cpu.saturating_sub(bases[position]).min(most);
            let searches = costs.iter().map(|(id, cost)| (*id, part(explained, *cost, expected))).collect();
            shares.push(NodeShare { searches, base: cpu - explained });
        }
        self.learn_costs(nodes, &expected, &shares, scale);
        self.learn_bases(nodes, &shares);
        shares
    }

    /// What searches on a node should cost, by what has been learnt.
    fn expected(&self, node: &NodeWork) -> BTreeMap<CollectionId, u64> {
        let cost = |id: &CollectionId| self.costs.get(id).copied().or(self.scale).unwrap_or(Ratio::ONE);
        node.guessed.iter().map(|(id, guess)| (*id, cost(id).share_of(*guess))).collect()
    }

    /// What searches do not explain: as it was when that could be told, else what the idlest node uses.
    fn assumed_base(&self, node: &NodeWork, idlest: u64) -> u64 {
        let known = self.bases.get(&node.node).copied();
        let base = known.unwrap_or_else(|| idlest.saturating_add(node.delegating));
        node.cpu.map_or(known.unwrap_or(idlest), |cpu| base.min(cpu))
    }

    /// Compares what was measured after a move with what it was to be.
    fn judge_predictions(&mut self, nodes: &[NodeWork], sums: &[u64], bases: &[u64]) {
        let (mut off, mut whole) = (0_u128, 0_u128);
        for (position, node) in nodes.iter().enumerate().filter(|(_, node)| node.after_move) {
            let Some(cpu) = node.cpu else { continue };
            let predicted = sums[position].saturating_add(bases[position]);
            off += u128::from(predicted.abs_diff(cpu));
            whole += u128::from(predicted.max(cpu));
        }
        if whole == 0 {
            return;
        }
        let hit = Ratio(u64::try_from((whole - off) * u128::from(Ratio::ONE.0) / whole).unwrap_or(0));
        self.accuracy = Some(self.accuracy.map_or(hit, |before| Ratio(before.0.midpoint(hit.0))));
    }

    fn learn_costs(
        &mut self,
        nodes: &[NodeWork],
        expected: &[BTreeMap<CollectionId, u64>],
        shares: &[NodeShare],
        scale: Ratio,
    ) {
        // By collection: what was measured, what was expected, and whether a move tells.
        let mut seen: BTreeMap<CollectionId, (u128, u128, bool)> = BTreeMap::new();
        for (position, node) in nodes.iter().enumerate() {
            let Some(cpu) = node.cpu else { continue };
            let share = &shares[position];
            if cpu - share.base < TEACHES_ABOVE.share_of(cpu) {
                continue;
            }
            for (id, cost) in &expected[position] {
                let (measured, was_expected, moved) = seen.entry(*id).or_default();
                *measured += u128::from(share.searches.get(id).copied().unwrap_or(0));
                *was_expected += u128::from(*cost);
                *moved |= node.after_move;
            }
        }
        if seen.is_empty() {
            return;
        }
        // What was expected used the costs and the scale as they were known then.
        let scale_then = self.scale.unwrap_or(Ratio::ONE);
        self.scale = Some(bounded(u128::from(scale.share_of(scale_then.0))));
        for (id, (measured, was_expected, moved)) in seen {
            if was_expected == 0 {
                continue;
            }
            let known = self.costs.get(&id).copied();
            let before = known.unwrap_or(scale_then);
            let shown = bounded(u128::from(before.0).saturating_mul(measured) / was_expected);
            let parts = match (known, moved) {
                (None, _) => 1,
                (Some(_), true) => MOVE_PARTS,
                (Some(_), false) => LOOK_PARTS,
            };
            let learnt = (before.0 * (parts - 1) + shown.0) / parts;
            self.costs.insert(id, Ratio(learnt));
        }
    }

    /// A node whose CPU searches hardly explain shows what its base load is; it falls at once and rises slowly.
    fn learn_bases(&mut self, nodes: &[NodeWork], shares: &[NodeShare]) {
        for (node, share) in nodes.iter().zip(shares) {
            let Some(cpu) = node.cpu else { continue };
            let shows_base = cpu - share.base < TEACHES_ABOVE.share_of(cpu);
            match self.bases.get_mut(&node.node) {
                Some(base) if share.base < *base => *base = share.base,
                Some(base) if shows_base => *base += (share.base - *base) / 4,
                Some(_) => {}
                None if shows_base => drop(self.bases.insert(node.node, share.base)),
                None => {}
            }
        }
    }
}

/// By how much searches cost more or less than expected: the lower median over the nodes by what is expected on each, so
/// that a node with other work beside its searches does not decide it.
fn typical_scale(nodes: &[NodeWork], sums: &[u64], bases: &[u64]) -> Option<Ratio> {
    let mut ratios: Vec<(Ratio, u64)> = Vec::new();
    for (position, node) in nodes.iter().enumerate() {
        let Some(cpu) = node.cpu.filter(|_| sums[position] > 0) else { continue };
        ratios.push((Ratio::of(cpu.saturating_sub(bases[position]), sums[position]), sums[position]));
    }
    ratios.sort_unstable();
    let whole: u128 = ratios.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let mut below = 0_u128;
    ratios.into_iter().find_map(|(ratio, weight)| {
        below += u128::from(weight);
        (below * 2 >= whole).then_some(bounded(u128::from(ratio.0)))
    })
}

fn bounded(millionths: u128) -> Ratio {
    Ratio(u64::try_from(millionths).unwrap_or(u64::MAX).clamp(COST_BOUNDS.0, COST_BOUNDS.1))
}

fn sum<'a>(amounts: impl Iterator<Item = &'a u64>) -> u64 {
    amounts.fold(0, |sum, amount| sum.saturating_add(*amount))
}

/// The part of an amount that falls to one of several costs.
pub(super) fn part(amount: u64, cost: u64, of: u64) -> u64 {
    let part = u128::from(amount) * u128::from(cost) / u128::from(of.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousandth of a core.
    const MILLI: u64 = 1_000_000;

    fn node(id: i64, cpu: u64, guessed: &[(i64, u64)]) -> NodeWork {
        NodeWork {
            node: NodeId(id),
            cpu: Some(cpu * MILLI),
            guessed: guessed.iter().map(|(id, guess)| (CollectionId(*id), guess * MILLI)).collect(),
            ..NodeWork::default()
        }
    }

    fn shared(attribution: &mut Attribution, nodes: &[NodeWork]) -> Vec<(u64, Vec<u64>)> {
        let shares = attribution.share(nodes);
        let milli = |share: NodeShare| {
            (share.base / MILLI, share.searches.values().map(|cost| cost / MILLI).collect())
        };
        shares.into_iter().map(milli).collect()
    }

    #[test]
    fn what_an_idle_node_uses_too_is_base_load_and_the_rest_is_shared_by_cost() {
        let nodes = [node(1, 310, &[(7, 30), (8, 10)]), node(2, 10, &[]), node(3, 12, &[(9, 0)])];
        let shares = shared(&mut Attribution::default(), &nodes);
        assert_eq!(shares, [(10, vec![225, 75]), (10, vec![]), (12, vec![0])]);
    }

    #[test]
    fn other_work_on_a_node_is_not_put_down_to_its_searches() {
        // The first holds the coordinators, too.
        let nodes = [node(1, 910, &[(7, 20)]), node(2, 210, &[(8, 20)]), node(3, 10, &[])];
        let shares = shared(&mut Attribution::default(), &nodes);
        assert_eq!(shares[1], (10, vec![200]));
        assert_eq!(shares[0], (610, vec![300]), "half as much again as elsewhere at most");
        let mut seen_idle = Attribution::default();
        shared(&mut seen_idle, &[node(1, 700, &[]), node(2, 10, &[]), node(3, 10, &[])]);
        assert_eq!(shared(&mut seen_idle, &nodes)[0], (700, vec![210]), "its base load was seen before");
    }

    #[test]
    fn a_node_without_figures_gets_what_was_learnt_elsewhere() {
        let mut attribution = Attribution::default();
        let both = node(1, 310, &[(7, 10), (8, 10)]);
        shared(&mut attribution, &[both, node(2, 10, &[])]);
        let moved = NodeWork { cpu: None, ..node(2, 0, &[(8, 10)]) };
        let stays = NodeWork { cpu: None, ..node(1, 0, &[(7, 10)]) };
        let shares = shared(&mut attribution, &[stays, moved, node(3, 10, &[])]);
        assert_eq!((&shares[0].1, &shares[1].1), (&vec![150], &vec![150]));
    }

    #[test]
    fn moves_show_how_good_predictions_are_and_teach_more_than_looks() {
        let learn = |after_move: bool, cpu: [u64; 2]| {
            let mut attribution = Attribution::default();
            for _ in 0..3 {
                shared(&mut attribution, &[node(1, 310, &[(7, 10), (8, 10)]), node(2, 10, &[])]);
            }
            let moved = |id, cpu, collection| NodeWork { after_move, ..node(id, cpu, &[(collection, 10)]) };
            // The one was three times as dear as the other.
            shared(&mut attribution, &[moved(1, cpu[0], 7), moved(2, cpu[1], 8), node(3, 10, &[])]);
            (attribution.accuracy, attribution.costs[&CollectionId(7)], attribution.costs[&CollectionId(8)])
        };
        let (exact, ..) = learn(true, [160, 160]);
        assert!(exact.unwrap() > Ratio(950_000), "{exact:?}");
        let (wrong, dear, cheap) = learn(true, [235, 85]);
        assert!(wrong.unwrap() < Ratio(700_000), "{wrong:?}");
        let (unknown, dear_by_look, cheap_by_look) = learn(false, [235, 85]);
        assert_eq!(unknown, None, "nothing of ours moved");
        assert!(dear.0 - cheap.0 > 2 * (dear_by_look.0 - cheap_by_look.0));
    }

    #[test]
    fn load_that_goes_leaves_base_load_as_it_was() {
        let mut attribution = Attribution::default();
        for _ in 0..3 {
            shared(&mut attribution, &[node(1, 310, &[(7, 10)]), node(2, 10, &[])]);
        }
        let shares = shared(&mut attribution, &[node(1, 12, &[]), node(2, 10, &[])]);
        assert_eq!(shares[0], (12, vec![]));
    }

    #[test]
    fn absurd_figures_do_not_overflow() {
        let huge = |id| NodeWork {
            node: NodeId(id),
            cpu: Some(u64::MAX),
            told: None,
            delegating: u64::MAX,
            guessed: [(CollectionId(1), u64::MAX), (CollectionId(2), u64::MAX)].into(),
            after_move: true,
        };
        let mut attribution = Attribution::default();
        for _ in 0..5 {
            attribution.share(&[huge(1), huge(2), NodeWork::default()]);
            attribution.share(&[NodeWork { cpu: Some(0), ..huge(1) }, huge(2)]);
        }
    }
}
