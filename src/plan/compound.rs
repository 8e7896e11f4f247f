//! What helps when no single move does: a swap, in which the node that takes a copy gives a smaller one back, and a
//! chain, in which it gives one on to a third node. Close to the floor most of what is left to gain is of this kind.

use std::collections::BTreeMap;

use super::order::Way;
use super::search::{LEAST_GAIN, Search};
use crate::model::{CopyIndex, NodeIndex};

/// Copies of the stuck node that are tried: those that relieve it most.
const TRIED: usize = 16;
/// Nodes that could take one, the emptiest first.
const PARTNERS: usize = 12;
/// Copies of a partner that it could give in return.
const RETURNS: usize = 24;
/// Nodes to which a partner could give one on.
const THIRDS: usize = 6;
/// With so many possible single moves in a component, all sets of up to [`MOST_TOGETHER`] of them are tried: in the
/// smallest clusters two or three segments must often change places at once.
const FEW: usize = 32;
const MOST_TOGETHER: usize = 3;

/// Looks for moves that help a stuck node together, and chooses the best of them. None when there are none.
pub fn improve(search: &mut Search<'_>, node: NodeIndex) -> Vec<Way> {
    if !search.rules.may_give(node) || search.field.potential_of(node) == 0.0 {
        return Vec::new();
    }
    let few = few_ways(search, node);
    let best = match few {
        Some(ways) => best_of_few(search, &ways),
        None => best_chain(search, node),
    };
    let Some((_, ways)) = best else { return Vec::new() };
    search.choose(&ways);
    ways
}

/// All moves that are possible between the nodes of a small component; nothing when there are many.
fn few_ways(search: &mut Search<'_>, node: NodeIndex) -> Option<Vec<Way>> {
    let component = search.input.snapshot.node(node).component?;
    let nodes = search.input.snapshot.components[component.at()].nodes.clone();
    if nodes.len() > FEW {
        return None;
    }
    let mut ways = Vec::new();
    for from in nodes {
        if !search.rules.may_give(from) {
            continue;
        }
        for copy in search.copies_on(from) {
            if !search.is_free(copy) {
                continue;
            }
            let set = search.set_of(copy);
            for to in search.field.sets.members(set).iter().copied().filter(|to| *to != from) {
                if search.may_enter(copy, to) {
                    ways.push(Way { copy, from, to });
                }
            }
            if ways.len() > FEW {
                return None;
            }
        }
    }
    Some(ways)
}

/// The set of up to three moves that gains most.
fn best_of_few(search: &mut Search<'_>, ways: &[Way]) -> Option<(f64, Vec<Way>)> {
    let mut best: Option<(f64, Vec<Way>)> = None;
    let mut chosen = Vec::new();
    let worst = worst_of(search, ways);
    extend(search, ways, (0, 0.0, worst), &mut chosen, &mut best);
    best
}

/// The highest potential of the nodes between which these go, as things are. What helps must not make another node worse
/// than the worst was.
fn worst_of(search: &Search<'_>, ways: &[Way]) -> f64 {
    let nodes = ways.iter().flat_map(|way| [way.from, way.to]);
    nodes.map(|node| search.field.potential_of(node)).fold(0.0, f64::max)
}

fn extend(
    search: &mut Search<'_>,
    ways: &[Way],
    (first, gain, worst): (usize, f64, f64),
    chosen: &mut Vec<Way>,
    best: &mut Option<(f64, Vec<Way>)>,
) {
    for at in first..ways.len() {
        let way = ways[at];
        let is_taken = chosen.iter().any(|other| other.copy == way.copy);
        if is_taken || !search.may_enter(way.copy, way.to) || !search.spend(1) {
            continue;
        }
        let gain = gain + gain_of(search, &way);
        chosen.push(way);
        search.put_for_now(way.copy, way.to);
        let is_better = gain > LEAST_GAIN && best.as_ref().is_none_or(|(most, _)| gain > *most);
        if is_better && worst_of(search, chosen) <= worst {
            *best = Some((gain, chosen.clone()));
        }
        if chosen.len() < MOST_TOGETHER {
            extend(search, ways, (at + 1, gain, worst), chosen, best);
        }
        search.put_for_now(way.copy, way.from);
        chosen.pop();
    }
}

/// What a move gains now, its price taken off.
fn gain_of(search: &Search<'_>, way: &Way) -> f64 {
    let mut loads = Vec::new();
    search.field.loads_of(way.copy, &mut loads);
    search.field.relief(way.copy, &loads, way.from)
        - search.field.burden(way.copy, &loads, way.to)
        - search.cost(way.copy, way.to)
}

/// The best move that burdens its destination, swap, or chain over a third node that begins with a copy of this node.
/// What gains most per byte is best.
fn best_chain(search: &mut Search<'_>, node: NodeIndex) -> Option<(f64, Vec<Way>)> {
    let mut best: Option<(f64, Vec<Way>)> = None;
    // What a partner could give: looked for once, with the first copy that comes to it, because without any it has
    // nothing to give.
    let worst = search.field.potential_of(node);
    let mut returns: BTreeMap<NodeIndex, Vec<CopyIndex>> = BTreeMap::new();
    for first in most_relieving(search, node, TRIED) {
        for partner in emptiest(search, first, node, PARTNERS) {
            if !search.may_enter(first, partner) {
                continue;
            }
            let away = Way { copy: first, from: node, to: partner };
            let first_gain = gain_of(search, &away);
            search.spend(1);
            keep_better(search, &mut best, first_gain, &[away]);
            if !search.rules.may_give(partner) {
                continue;
            }
            search.put_for_now(first, partner);
            let seconds = match returns.get(&partner) {
                Some(known) => known.clone(),
                None => most_relieving(search, partner, RETURNS),
            };
            returns.entry(partner).or_insert_with(|| seconds.clone());
            for second in seconds {
                if second == first {
                    continue;
                }
                let mut thirds = emptiest(search, second, partner, THIRDS);
                if !thirds.contains(&node) && search.field.sets.members(search.set_of(second)).contains(&node)
                {
                    thirds.push(node);
                }
                for third in thirds {
                    if !search.spend(1) || !search.may_enter(second, third) {
                        continue;
                    }
                    let on = Way { copy: second, from: partner, to: third };
                    let gain = first_gain + gain_of(search, &on);
                    if gain <= LEAST_GAIN {
                        continue;
                    }
                    search.put_for_now(second, third);
                    let worst_after = worst_of(search, &[away, on]);
                    search.put_for_now(second, partner);
                    if worst_after <= worst {
                        keep_better(search, &mut best, gain, &[away, on]);
                    }
                }
            }
            search.put_for_now(first, node);
        }
    }
    best
}

fn keep_better(search: &Search<'_>, best: &mut Option<(f64, Vec<Way>)>, gain: f64, ways: &[Way]) {
    if gain <= LEAST_GAIN {
        return;
    }
    let bytes: f64 = ways.iter().map(|way| search.bytes(way.copy)).sum();
    let is_better = best.as_ref().is_none_or(|(most, _)| gain / bytes > *most);
    if is_better {
        *best = Some((gain / bytes, ways.to_vec()));
    }
}

/// The movable copies of a node that relieve it most per byte.
fn most_relieving(search: &mut Search<'_>, node: NodeIndex, most: usize) -> Vec<CopyIndex> {
    let mut scored: Vec<(f64, CopyIndex)> = Vec::new();
    let mut loads = Vec::new();
    for copy in search.copies_on(node) {
        if !search.is_free(copy) {
            continue;
        }
        loads.clear();
        search.field.loads_of(copy, &mut loads);
        let relief = search.field.relief(copy, &loads, node);
        if relief > 0.0 {
            scored.push((relief / search.bytes(copy), copy));
        }
    }
    search.spend(scored.len());
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    // Half of them the best, half of them from all sizes: what must be exchanged is a difference.
    let step = (scored.len() / (most / 2).max(1)).max(1);
    let mut chosen: Vec<CopyIndex> = scored.iter().take(most / 2).map(|(_, copy)| *copy).collect();
    chosen.extend(scored.iter().skip(most / 2).step_by(step).take(most / 2).map(|(_, copy)| *copy));
    chosen
}

/// The nodes to which a copy could go, the emptiest first.
fn emptiest(search: &Search<'_>, copy: CopyIndex, from: NodeIndex, most: usize) -> Vec<NodeIndex> {
    let members = search.field.sets.members(search.set_of(copy)).iter();
    let others = members.filter(|node| **node != from && search.rules.may_take(**node));
    let mut nodes: Vec<(f64, NodeIndex)> = others.map(|node| (search.field.fullest(*node), *node)).collect();
    let order = |left: &(f64, NodeIndex), right: &(f64, NodeIndex)| {
        left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
    };
    if nodes.len() > most {
        nodes.select_nth_unstable_by(most, order);
        nodes.truncate(most);
    }
    nodes.sort_unstable_by(order);
    nodes.into_iter().map(|(_, node)| node).collect()
}
