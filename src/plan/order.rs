//! The order in which a plan is carried out: the most gain per byte first, and every step worth having without those
//! that follow. What is only worth having together becomes one step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::fair_share::Placement;
use super::field::Field;
use super::finding::DimensionView;
use super::search::LEAST_GAIN;
use crate::model::{CopyIndex, NodeIndex, Snapshot};

/// A copy's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The copy.
    pub copy: CopyIndex,
    /// Where it is.
    pub from: NodeIndex,
    /// Where it goes.
    pub to: NodeIndex,
}

/// Orders the ways that were chosen, by playing them from the beginning.
pub struct Orderer<'a> {
    /// Loads after the steps so far.
    pub field: Field<'a>,
    loads: Vec<f64>,
}

/// Moves that wait for others are tried with one other at a time, and then all together. Trying pairs takes the
/// square of their number.
const MOST_PAIRED: usize = 256;

impl<'a> Orderer<'a> {
    /// From the placement at the beginning.
    pub fn new(snapshot: &'a Snapshot, views: &'a [DimensionView<'a>], placement: &Placement) -> Orderer<'a> {
        Orderer { field: Field::new(snapshot, views, placement), loads: Vec::new() }
    }

    /// What a way would gain now, its price not counted.
    pub fn gain(&mut self, way: &Way) -> f64 {
        self.loads.clear();
        self.field.loads_of(way.copy, &mut self.loads);
        self.field.relief(way.copy, &self.loads, way.from) - self.field.burden(way.copy, &self.loads, way.to)
    }

    /// What several ways gain together.
    fn gain_of_all(&mut self, ways: &[Way]) -> f64 {
        let mut gain = 0.0;
        for way in ways {
            gain += self.gain(way);
            self.field.shift(way.copy, way.to);
        }
        for way in ways.iter().rev() {
            self.field.shift(way.copy, way.from);
        }
        gain
    }

    /// Steps of ways, each of which lowers the potential by more than its price. Those that do not, even together,
    /// are given back as the second answer.
    pub fn order(
        &mut self,
        ways: Vec<Way>,
        price: impl Fn(CopyIndex) -> f64,
        bytes: impl Fn(CopyIndex) -> f64,
        mut take: impl FnMut(&mut Self, &[Way]),
    ) -> Vec<Way> {
        let mut waiting: Vec<Way> = ways;
        loop {
            let before = waiting.len();
            waiting = self.take_singly(waiting, &price, &bytes, &mut take);
            if waiting.is_empty()
                || (waiting.len() == before && !self.take_pair(&mut waiting, &price, &mut take))
            {
                break;
            }
        }
        if waiting.is_empty() {
            return waiting;
        }
        let all_prices: f64 = waiting.iter().map(|way| price(way.copy)).sum();
        if self.gain_of_all(&waiting) > all_prices + LEAST_GAIN {
            self.carry_out(&waiting, &mut take);
            waiting.clear();
        }
        waiting
    }

    fn carry_out(&mut self, ways: &[Way], take: &mut impl FnMut(&mut Self, &[Way])) {
        take(self, ways);
    }

    /// Takes all that pay by themselves: each node's in the order in which they are given, and of all nodes the one whose
    /// next gains most per byte. What is left does not pay, or not yet.
    fn take_singly(
        &mut self,
        ways: Vec<Way>,
        price: &impl Fn(CopyIndex) -> f64,
        bytes: &impl Fn(CopyIndex) -> f64,
        take: &mut impl FnMut(&mut Self, &[Way]),
    ) -> Vec<Way> {
        let mut queues: BTreeMap<NodeIndex, VecDeque<Way>> = BTreeMap::new();
        for way in ways {
            queues.entry(way.from).or_default().push_back(way);
        }
        let mut waiting = Vec::new();
        // Puts aside what does not pay, down to the first that does.
        let next = |orderer: &mut Self, queue: &mut VecDeque<Way>, waiting: &mut Vec<Way>| {
            while let Some(way) = queue.front() {
                let gain = orderer.gain(way) - price(way.copy) - LEAST_GAIN;
                if gain > 0.0 {
                    // The bits of numbers that are not negative have the numbers' order.
                    return Some((gain / bytes(way.copy)).to_bits());
                }
                waiting.extend(queue.pop_front());
            }
            None
        };
        let mut heap: BinaryHeap<(u64, Reverse<NodeIndex>)> = BinaryHeap::new();
        for (node, queue) in &mut queues {
            heap.extend(next(self, queue, &mut waiting).map(|score| (score, Reverse(*node))));
        }
        while let Some((_, Reverse(node))) = heap.pop() {
            let Some(queue) = queues.get_mut(&node) else { continue };
            let Some(score) = next(self, queue, &mut waiting) else { continue };
            let is_first = heap.peek().is_none_or(|other| *other <= (score, Reverse(node)));
            if is_first && let Some(way) = queue.pop_front() {
                take(self, &[way]);
                heap.extend(next(self, queue, &mut waiting).map(|score| (score, Reverse(node))));
            } else {
                heap.push((score, Reverse(node)));
            }
        }
        waiting
    }

    /// Takes two that pay together, the first that are found.
    fn take_pair(
        &mut self,
        waiting: &mut Vec<Way>,
        price: &impl Fn(CopyIndex) -> f64,
        take: &mut impl FnMut(&mut Self, &[Way]),
    ) -> bool {
        let count = waiting.len().min(MOST_PAIRED);
        for first in 0..count {
            for second in first + 1..count {
                let pair = [waiting[first], waiting[second]];
                let is_linked = pair[0].from == pair[1].to || pair[0].to == pair[1].from;
                if !is_linked {
                    continue;
                }
                let prices = price(pair[0].copy) + price(pair[1].copy);
                if self.gain_of_all(&pair) > prices + LEAST_GAIN {
                    self.carry_out(&pair, take);
                    waiting.remove(second);
                    waiting.remove(first);
                    return true;
                }
            }
        }
        false
    }
}
