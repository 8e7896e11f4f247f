//! The moves that wait to be sent, grouped into what one call can carry: one collection and replica, one source,
//! one destination.

use std::collections::BTreeSet;

use super::operation::Operation;
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
    pub moves: Vec<Move>,
}

/// How much one call may carry.
#[derive(Clone, Copy, Debug)]
pub struct CallCaps {
    /// Segments.
    pub segments: usize,
    /// Bytes; the first segment is admitted in any case.
    pub bytes: Bytes,
    /// Bytes that today's budget has left; holds for the first segment, too.
    pub day: Bytes,
}

impl Group {
    /// How many of its first moves fit into one call.
    pub fn fitting(&self, caps: CallCaps) -> usize {
        let mut bytes = Bytes::ZERO;
        let mut count = 0;
        for movement in self.moves.iter().take(caps.segments) {
            bytes = bytes.saturating_add(movement.bytes);
            if bytes > caps.day || (count > 0 && bytes > caps.bytes) {
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
}

impl Queue {
    /// Groups moves, by the first of each group in plan order. Leaves out what is on its way already, second
    /// moves of one copy (they follow when the first has landed and is still wanted), and moves that go nowhere.
    pub fn new<'a>(moves: Vec<AdmittedMove>, open: impl Iterator<Item = &'a Operation>) -> Queue {
        let mut taken: BTreeSet<CopyKey> = open.map(|operation| copy_key(&operation.movement)).collect();
        let mut queue = Queue::default();
        for AdmittedMove { movement, database, collection_name, from_address } in moves {
            if movement.from == movement.to || !taken.insert(copy_key(&movement)) {
                continue;
            }
            let route = Route::of(&movement);
            match queue.groups.iter_mut().find(|group| group.route == route) {
                Some(group) => group.moves.push(movement),
                None => queue.groups.push(Group {
                    route,
                    database,
                    collection_name,
                    from_address,
                    moves: vec![movement],
                }),
            }
        }
        queue
    }

    /// The groups in the order in which they are to be sent.
    pub fn groups(&self) -> &[Group] {
        &self.groups
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
            self.groups.iter().any(|group| group.route == Route::of(wanted) && group.moves.contains(wanted))
        };
        moves.iter().all(waits)
    }

    /// These moves do not wait any more.
    pub fn remove(&mut self, moves: &[Move]) {
        let gone: BTreeSet<CopyKey> = moves.iter().map(copy_key).collect();
        for group in &mut self.groups {
            group.moves.retain(|movement| !gone.contains(&copy_key(movement)));
        }
        self.groups.retain(|group| !group.moves.is_empty());
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        self.groups.clear();
    }
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
        group.moves.iter().map(|movement| movement.segment.0).collect()
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
    fn a_call_is_capped_but_always_takes_one_segment() {
        let moves = (1..=4).map(|segment| admitted(segment, 1, 2, 100)).collect();
        let queue = Queue::new(moves, std::iter::empty());
        let fitting =
            |segments, bytes, day| queue.groups()[0].fitting(CallCaps { segments, bytes, day: Bytes(day) });
        assert_eq!(fitting(64, Bytes(250), 10_000), 2);
        assert_eq!(fitting(3, Bytes(10_000), 10_000), 3);
        assert_eq!(fitting(64, Bytes(50), 10_000), 1, "however large");
        assert_eq!(fitting(64, Bytes(10_000), 300), 3);
        assert_eq!(fitting(64, Bytes(10_000), 99), 0, "the day's budget has no exception here");
    }
}
