//! The moves that wait to be sent, grouped into what one call can carry: one collection and replica, one source,
//! one destination. Groups may overtake each other, moves that build on one another may not.

use std::collections::{BTreeMap, BTreeSet};

use super::ExecuteSettings;
use super::operation::{Operation, OperationId};
use crate::plan::Move;
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, SegmentId};

/// A move that the gates let through, with what a call and a message need besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedMove {
    /// The move.
    pub movement: Move,
    /// Its collection's database.
    pub database: String,
    /// Its collection's name.
    pub collection_name: String,
    /// Address of the node that it leaves.
    pub from_address: String,
}

/// What one call can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The collection.
    pub collection: CollectionId,
    /// The replica.
    pub replica: ReplicaId,
    /// The node that gives.
    pub from: NodeId,
    /// The node that takes.
    pub to: NodeId,
}

impl Route {
    /// The route of a move.
    pub fn of(movement: &Move) -> Route {
        Route {
            collection: movement.collection,
            replica: movement.replica,
            from: movement.from,
            to: movement.to,
        }
    }
}

/// A copy that moves or waits to: another replica's copy of the segment is another matter.
pub type CopyKey = (SegmentId, ReplicaId);

/// The copy that a move is about.
pub fn copy_key(movement: &Move) -> CopyKey {
    (movement.segment, movement.replica)
}

/// Waiting moves of one route, in plan order.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their route.
    pub route: Route,
    /// Database of the collection.
    pub database: String,
    /// Its name.
    pub collection_name: String,
    /// Address of the node that gives.
    pub from_address: String,
    /// The moves; never empty.
    pub moves: Vec<Waiting>,
}

/// A move that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its position in the plan.
    pub position: usize,
    /// The move.
    pub movement: Move,
}

/// How much one call may carry.
#[derive(Clone, Copy, Debug)]
pub struct CallCaps {
    /// Segments.
    pub segments: usize,
    /// Bytes; the first segment is admitted in any case.
    pub bytes: Bytes,
    /// Bytes that the budgets have left; holds for the first segment, too.
    pub budget: Bytes,
}

impl Group {
    /// How many of its first moves fit into one call.
    pub fn fitting(&self, caps: CallCaps) -> usize {
        let mut bytes = Bytes::ZERO;
        let mut count = 0;
        for waiting in self.moves.iter().take(caps.segments) {
            bytes = bytes.saturating_add(waiting.movement.bytes);
            if bytes > caps.budget || (count > 0 && bytes > caps.bytes) {
                break;
            }
            count += 1;
        }
        count
    }
}

/// All waiting moves.
#[derive(Debug, Default)]
pub struct Queue {
    groups: Vec<Group>,
    /// Moves of the same plan that were sent and have not ended.
    under_way: BTreeMap<OperationId, Waiting>,
    /// Whether every move waits for all before it.
    is_in_order: bool,
}

impl Queue {
    /// Groups moves, by the first of each group in plan order. Leaves out what is on its way already, second
    /// moves of one copy (they follow when the first has landed and is still wanted), and moves that go nowhere.
    pub fn new<'a>(moves: Vec<AdmittedMove>, open: impl Iterator<Item = &'a Operation>) -> Queue {
        let mut taken: BTreeSet<CopyKey> = open.map(|operation| copy_key(&operation.movement)).collect();
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of: BTreeMap<Route, usize> = BTreeMap::new();
        for (position, admitted) in moves.into_iter().enumerate() {
            let AdmittedMove { movement, database, collection_name, from_address } = admitted;
            if movement.from == movement.to || !taken.insert(copy_key(&movement)) {
                continue;
            }
            let route = Route::of(&movement);
            let at = *group_of.entry(route).or_insert(groups.len());
            if at == groups.len() {
                groups.push(Group { route, database, collection_name, from_address, moves: Vec::new() });
            }
            groups[at].moves.push(Waiting { position, movement });
        }
        Queue { groups, under_way: BTreeMap::new(), is_in_order: false }
    }

    /// The one or the other.
    pub fn of<'a>(
        moves: Vec<AdmittedMove>,
        open: impl Iterator<Item = &'a Operation>,
        is_in_order: bool,
    ) -> Queue {
        if is_in_order { Queue::in_order(moves, open) } else { Queue::new(moves, open) }
    }

    /// The same for moves each of which was found good only on top of all before it: one at a time, after what is on its
    /// way already, and none after one that fails.
    pub fn in_order<'a>(moves: Vec<AdmittedMove>, open: impl Iterator<Item = &'a Operation>) -> Queue {
        let open: Vec<&Operation> = open.collect();
        let mut queue = Queue::new(moves, open.iter().copied());
        queue.is_in_order = true;
        for waiting in queue.groups.iter_mut().flat_map(|group| &mut group.moves) {
            waiting.position += 1;
        }
        let under_way = |operation: &&Operation| {
            (operation.id, Waiting { position: 0, movement: operation.movement.clone() })
        };
        queue.under_way = open.iter().map(under_way).collect();
        queue
    }

    /// The groups in the order in which they are to be sent.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// All waiting moves, by groups.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.groups.iter().flat_map(|group| &group.moves)
    }

    /// Number of waiting moves.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.moves.len()).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether all these moves still wait.
    pub fn contains_all(&self, moves: &[Move]) -> bool {
        let waits = |wanted: &Move| {
            self.groups.iter().any(|group| {
                group.route == Route::of(wanted)
                    && group.moves.iter().any(|waiting| waiting.movement == *wanted)
            })
        };
        moves.iter().all(waits)
    }

    /// These moves do not wait any more.
    pub fn remove(&mut self, gone: &BTreeSet<CopyKey>) {
        for group in &mut self.groups {
            group.moves.retain(|waiting| !gone.contains(&copy_key(&waiting.movement)));
        }
        self.groups.retain(|group| !group.moves.is_empty());
    }

    /// This move does not wait any more: it is on its way as that operation.
    pub fn sent(&mut self, movement: &Move, operation: OperationId) {
        let found = self.waiting().find(|waiting| waiting.movement == *movement).cloned();
        if let Some(waiting) = found {
            self.under_way.insert(operation, waiting);
            self.remove(&BTreeSet::from([copy_key(movement)]));
        }
    }

    /// The operation ended. Without having landed it takes along what was planned on top of it, which this answers
    /// with.
    pub fn ended(&mut self, operation: OperationId, has_landed: bool) -> Vec<Move> {
        match self.under_way.remove(&operation) {
            Some(ended) if !has_landed => self.drop_those_after(vec![ended]),
            _ => Vec::new(),
        }
    }

    /// These moves will not be sent, nor will those that were planned on top of them, which this answers with.
    pub fn give_up(&mut self, gone: &BTreeSet<CopyKey>) -> Vec<Move> {
        let is_gone = |waiting: &&Waiting| gone.contains(&copy_key(&waiting.movement));
        let gone_moves: Vec<Waiting> = self.waiting().filter(is_gone).cloned().collect();
        self.remove(gone);
        self.drop_those_after(gone_moves)
    }

    fn drop_those_after(&mut self, mut missing: Vec<Waiting>) -> Vec<Move> {
        let mut dropped = Vec::new();
        while !missing.is_empty() {
            let builds_on = |waiting: &Waiting, earlier: &Waiting| {
                waiting.builds_on(earlier) || self.is_in_order && waiting.position > earlier.position
            };
            let builds_on_missing =
                |waiting: &&Waiting| missing.iter().any(|earlier| builds_on(waiting, earlier));
            let next: Vec<Waiting> = self.waiting().filter(builds_on_missing).cloned().collect();
            self.remove(&next.iter().map(|waiting| copy_key(&waiting.movement)).collect());
            dropped.extend(next.iter().map(|waiting| waiting.movement.clone()));
            missing = next;
        }
        dropped
    }

    /// What must land first.
    pub fn order(&self) -> Order {
        let mut order = Order::default();
        for Waiting { position, movement } in self.waiting().chain(self.under_way.values()) {
            for (earliest, node) in [(&mut order.into, movement.to), (&mut order.out_of, movement.from)] {
                let known = earliest.entry(node).or_insert(*position);
                *known = (*position).min(*known);
            }
            if self.is_in_order {
                order.next = Some(order.next.map_or(*position, |next| next.min(*position)));
            }
        }
        order
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.under_way.clear();
    }
}

impl Waiting {
    /// Whether this one makes sense only after the earlier one: it gives what that one brought, or fills what that
    /// one emptied. Half a swap is worse than none.
    fn builds_on(&self, earlier: &Waiting) -> bool {
        self.position > earlier.position
            && (self.movement.from == earlier.movement.to || self.movement.to == earlier.movement.from)
    }
}

/// By node, the first move of the plan that goes there or comes from there and has not landed.
#[derive(Debug, Default)]
pub struct Order {
    into: BTreeMap<NodeId, usize>,
    out_of: BTreeMap<NodeId, usize>,
    /// The only one that may go, where all wait for those before them.
    next: Option<usize>,
}

impl Order {
    /// Whether nothing that must land before this move is still to land.
    pub fn allows(&self, waiting: &Waiting) -> bool {
        let is_first = |earliest: &BTreeMap<NodeId, usize>, node| {
            earliest.get(&node).is_none_or(|position| *position >= waiting.position)
        };
        self.next.is_none_or(|next| next == waiting.position)
            && is_first(&self.into, waiting.movement.from)
            && is_first(&self.out_of, waiting.movement.to)
    }
}

/// The fewest calls that can carry these moves by the limits of one call, grouped as they would be sent.
pub fn calls_needed(settings: &ExecuteSettings, moves: &[Move]) -> usize {
    let admitted = moves.iter().map(|movement| AdmittedMove {
        movement: movement.clone(),
        database: String::new(),
        collection_name: String::new(),
        from_address: String::new(),
    });
    let caps = CallCaps {
        segments: match settings.segments_per_call {
            0 => usize::MAX,
            limit => limit as usize,
        },
        bytes: match settings.bytes_per_call {
            Bytes::ZERO => Bytes(u64::MAX),
            limit => limit,
        },
        budget: Bytes(u64::MAX),
    };
    let mut calls = 0;
    for mut group in Queue::new(admitted.collect(), std::iter::empty()).groups {
        while !group.moves.is_empty() {
            group.moves.drain(..group.fitting(caps));
            calls += 1;
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rows;

    fn admitted(segment: i64, from: i64, to: i64, bytes: u64) -> AdmittedMove {
        AdmittedMove {
            movement: Move {
                segment: SegmentId(segment),
                collection: CollectionId(1),
                replica: ReplicaId(1),
                from: NodeId(from),
                to: NodeId(to),
                bytes: Bytes(bytes),
                rows: Rows(1),
            },
            database: "default".into(),
            collection_name: "books".into(),
            from_address: "host:1".into(),
        }
    }

    fn segments(group: &Group) -> Vec<i64> {
        group.moves.iter().map(|waiting| waiting.movement.segment.0).collect()
    }

    #[test]
    fn moves_are_grouped_by_route_in_the_order_of_the_first() {
        let moves = vec![
            admitted(1, 1, 2, 5),
            admitted(2, 1, 3, 5),
            admitted(3, 1, 2, 5),
            admitted(3, 2, 3, 5),
            admitted(4, 2, 2, 5),
        ];
        let queue = Queue::new(moves, std::iter::empty());
        let grouped: Vec<_> = queue.groups().iter().map(segments).collect();
        assert_eq!(grouped, [vec![1, 3], vec![2]], "no second move of 3 and none from a node to itself");
    }

    #[test]
    fn calls_are_counted_as_they_would_be_sent() {
        let settings = ExecuteSettings {
            segments_per_call: 2,
            bytes_per_call: Bytes(250),
            ..ExecuteSettings::default()
        };
        let moves = |bytes: u64| -> Vec<Move> {
            (1..=4).map(|segment| admitted(segment, 1, 2, bytes).movement).collect()
        };
        assert_eq!(calls_needed(&settings, &[]), 0);
        assert_eq!(calls_needed(&settings, &moves(100)), 2);
        assert_eq!(calls_needed(&settings, &moves(300)), 4, "one segment is always carried");
        let unlimited = ExecuteSettings { segments_per_call: 0, bytes_per_call: Bytes::ZERO, ..settings };
        assert_eq!(calls_needed(&unlimited, &moves(u64::MAX / 8)), 1);
    }

    #[test]
    fn a_call_is_capped_but_always_takes_one_segment() {
        let moves = (1..=4).map(|segment| admitted(segment, 1, 2, 100)).collect();
        let queue = Queue::new(moves, std::iter::empty());
        let fitting = |segments, bytes, budget| {
            queue.groups()[0].fitting(CallCaps { segments, bytes, budget: Bytes(budget) })
        };
        assert_eq!(fitting(64, Bytes(250), 10_000), 2);
        assert_eq!(fitting(3, Bytes(10_000), 10_000), 3);
        assert_eq!(fitting(64, Bytes(50), 10_000), 1, "however large");
        assert_eq!(fitting(64, Bytes(10_000), 300), 3);
        assert_eq!(fitting(64, Bytes(10_000), 99), 0, "the day's budget has no exception here");
    }

    fn allowed(queue: &Queue) -> Vec<i64> {
        let order = queue.order();
        queue
            .waiting()
            .filter(|waiting| order.allows(waiting))
            .map(|waiting| waiting.movement.segment.0)
            .collect()
    }

    #[test]
    fn what_builds_on_an_earlier_step_waits_until_that_has_landed() {
        // A swap of 1 and 2 between nodes 1 and 2, and 3 from elsewhere to elsewhere.
        let swap = || vec![admitted(1, 1, 2, 5), admitted(2, 2, 1, 5), admitted(3, 3, 4, 5)];
        let mut queue = Queue::new(swap(), std::iter::empty());
        assert_eq!(allowed(&queue), [1, 3]);
        queue.sent(&swap()[0].movement, OperationId(7));
        assert_eq!(allowed(&queue), [3], "on its way is not there");
        assert_eq!(queue.ended(OperationId(7), true), []);
        assert_eq!(allowed(&queue), [2, 3]);
        assert_eq!(queue.ended(OperationId(99), false), [], "of another plan");

        let mut queue = Queue::new(swap(), std::iter::empty());
        queue.sent(&swap()[0].movement, OperationId(7));
        let dropped = queue.ended(OperationId(7), false);
        assert_eq!(dropped, [swap()[1].movement.clone()], "half a swap is worse than none");
        assert_eq!(allowed(&queue), [3]);
    }

    #[test]
    fn a_chain_falls_with_its_first_link() {
        let chain = vec![
            admitted(1, 1, 2, 5),
            admitted(2, 2, 3, 5),
            admitted(3, 3, 4, 5),
            admitted(4, 1, 5, 5),
            admitted(5, 6, 2, 5),
        ];
        let mut queue = Queue::new(chain, std::iter::empty());
        assert_eq!(allowed(&queue), [1, 4], "5 fills what 2 emptied");
        let gone = BTreeSet::from([(SegmentId(1), ReplicaId(1))]);
        let dropped: Vec<i64> = queue.give_up(&gone).iter().map(|movement| movement.segment.0).collect();
        assert_eq!(dropped, [2, 3, 5]);
        assert_eq!(allowed(&queue), [4]);
    }

    #[test]
    fn in_order_means_one_at_a_time_and_none_after_one_that_fails() {
        let moves = || vec![admitted(1, 1, 2, 5), admitted(2, 1, 2, 5), admitted(3, 3, 4, 5)];
        let mut queue = Queue::in_order(moves(), std::iter::empty());
        assert_eq!(allowed(&queue), [1], "not even what goes the same way");
        queue.sent(&moves()[0].movement, OperationId(7));
        assert_eq!(allowed(&queue), Vec::<i64>::new());
        assert_eq!(queue.ended(OperationId(7), true), []);
        assert_eq!(allowed(&queue), [2]);
        queue.sent(&moves()[1].movement, OperationId(8));
        assert_eq!(queue.ended(OperationId(8), false), [moves()[2].movement.clone()]);
        assert!(queue.is_empty());
    }
}
