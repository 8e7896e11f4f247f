//! How much is on its way at once: calls and moves whose end is not known, in total and by where they go.

use std::collections::{BTreeMap, BTreeSet};

use super::ExecuteSettings;
use super::operation::{BatchId, Operation};
use super::queue::Route;
use crate::reason::Reason;
use crate::units::{CollectionId, NodeId};

/// Calls and moves that have not settled. A call counts once, however many segments it carries; a move is one
/// segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    calls: BTreeSet<BatchId>,
    calls_by_node: BTreeMap<NodeId, BTreeSet<BatchId>>,
    moves: u32,
    by_source: BTreeMap<NodeId, u32>,
    by_destination: BTreeMap<NodeId, u32>,
    by_collection: BTreeMap<CollectionId, u32>,
}

impl UnderWay {
    /// Counts open operations.
    pub fn of<'a>(open: impl Iterator<Item = &'a Operation>) -> UnderWay {
        let mut under_way = UnderWay::default();
        for operation in open {
            let movement = &operation.movement;
            under_way.calls.insert(operation.batch);
            for node in [movement.from, movement.to] {
                under_way.calls_by_node.entry(node).or_default().insert(operation.batch);
            }
            under_way.moves += 1;
            *under_way.by_source.entry(movement.from).or_default() += 1;
            *under_way.by_destination.entry(movement.to).or_default() += 1;
            *under_way.by_collection.entry(movement.collection).or_default() += 1;
        }
        under_way
    }

    /// Calls.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Moves.
    pub fn moves(&self) -> u32 {
        self.moves
    }

    /// Calls at the node that takes part in most of them.
    pub fn most_calls_at_a_node(&self) -> usize {
        self.calls_by_node.values().map(BTreeSet::len).max().unwrap_or(0)
    }

    /// Moves from the busiest source, to the busiest destination, and of the busiest collection.
    pub fn most_moves(&self) -> [u32; 3] {
        let most = |counts: &BTreeMap<NodeId, u32>| counts.values().copied().max().unwrap_or(0);
        let of_collection = self.by_collection.values().copied().max().unwrap_or(0);
        [most(&self.by_source), most(&self.by_destination), of_collection]
    }

    /// Why nothing at all may be added.
    pub fn refusal(&self, settings: &ExecuteSettings) -> Option<Reason> {
        let limit = settings.calls_in_flight;
        if limit != 0 && self.calls.len() >= limit as usize {
            return Some(Reason::InFlightLimit { limit });
        }
        let limit = settings.moves_in_flight;
        (limit != 0 && self.moves >= limit).then_some(Reason::MovesInFlight { limit })
    }

    /// How many moves may go this way now, or why none.
    pub fn room(&self, settings: &ExecuteSettings, route: &Route) -> Result<u32, Reason> {
        let limit = settings.calls_in_flight_per_node;
        let calls_at = |node: &NodeId| self.calls_by_node.get(node).map_or(0, BTreeSet::len);
        if let Some(node) =
            [route.from, route.to].into_iter().find(|node| limit != 0 && calls_at(node) >= limit as usize)
        {
            return Err(Reason::NodeInFlightLimit { node, limit });
        }
        let at = |counts: &BTreeMap<NodeId, u32>, node| counts.get(&node).copied().unwrap_or(0);
        let of_collection = self.by_collection.get(&route.collection).copied().unwrap_or(0);
        let (source, destination) =
            (settings.moves_in_flight_per_source, settings.moves_in_flight_per_destination);
        let collection = settings.moves_in_flight_per_collection;
        let counted = [
            (settings.moves_in_flight, self.moves, Reason::MovesInFlight { limit: settings.moves_in_flight }),
            (
                source,
                at(&self.by_source, route.from),
                Reason::SourceMovesInFlight { node: route.from, limit: source },
            ),
            (
                destination,
                at(&self.by_destination, route.to),
                Reason::DestinationMovesInFlight { node: route.to, limit: destination },
            ),
            (
                collection,
                of_collection,
                Reason::CollectionMovesInFlight { collection: route.collection, limit: collection },
            ),
        ];
        let mut room = u32::MAX;
        for (limit, used, reason) in counted {
            if limit == 0 {
                continue;
            }
            if used >= limit {
                return Err(reason);
            }
            room = room.min(limit - used);
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::operation::tests::sent;
    use crate::plan::Move;
    use crate::units::{Bytes, ReplicaId, Rows, SegmentId};

    fn movement(collection: i64, from: i64, to: i64) -> Move {
        Move {
            segment: SegmentId(1),
            collection: CollectionId(collection),
            replica: ReplicaId(collection),
            from: NodeId(from),
            to: NodeId(to),
            bytes: Bytes(1),
            rows: Rows(1),
        }
    }

    fn under_way(open: &[(i64, i64, i64, i64)]) -> UnderWay {
        let operations: Vec<Operation> = open
            .iter()
            .map(|(batch, collection, from, to)| Operation {
                batch: BatchId(*batch),
                ..sent(movement(*collection, *from, *to))
            })
            .collect();
        UnderWay::of(operations.iter())
    }

    fn limits(settings: [u32; 4]) -> ExecuteSettings {
        let [total, source, destination, collection] = settings;
        ExecuteSettings {
            calls_in_flight: 0,
            calls_in_flight_per_node: 0,
            moves_in_flight: total,
            moves_in_flight_per_source: source,
            moves_in_flight_per_destination: destination,
            moves_in_flight_per_collection: collection,
            ..ExecuteSettings::default()
        }
    }

    #[test]
    fn each_limit_is_about_its_own_subject() {
        // Two segments of collection 1 from node 1 to 2 by one call, one of collection 2 from node 3 to 2.
        let busy = under_way(&[(1, 1, 1, 2), (1, 1, 1, 2), (2, 2, 3, 2)]);
        assert_eq!((busy.calls(), busy.moves(), busy.most_calls_at_a_node()), (2, 3, 2));
        assert_eq!(busy.most_moves(), [2, 3, 2]);
        let room = |settings, collection, from, to| {
            busy.room(&limits(settings), &Route::of(&movement(collection, from, to)))
        };
        assert_eq!(room([0, 0, 0, 0], 1, 1, 2), Ok(u32::MAX));
        assert_eq!(room([9, 4, 8, 7], 1, 1, 2), Ok(2), "the narrowest");
        assert_eq!(room([3, 0, 0, 0], 5, 5, 6), Err(Reason::MovesInFlight { limit: 3 }));
        let source = Reason::SourceMovesInFlight { node: NodeId(1), limit: 2 };
        assert_eq!(room([0, 2, 0, 0], 1, 1, 4), Err(source));
        assert_eq!(room([0, 2, 0, 0], 1, 3, 4), Ok(1));
        let destination = Reason::DestinationMovesInFlight { node: NodeId(2), limit: 3 };
        assert_eq!(room([0, 0, 3, 0], 9, 9, 2), Err(destination));
        assert_eq!(room([0, 0, 3, 0], 9, 2, 9), Ok(3), "what it gives does not count");
        let collection = Reason::CollectionMovesInFlight { collection: CollectionId(1), limit: 2 };
        assert_eq!(room([0, 0, 0, 2], 1, 8, 9), Err(collection));
        let per_node = ExecuteSettings { calls_in_flight_per_node: 2, ..limits([0; 4]) };
        let node = Reason::NodeInFlightLimit { node: NodeId(2), limit: 2 };
        assert_eq!(busy.room(&per_node, &Route::of(&movement(9, 2, 9))), Err(node));
        let calls = ExecuteSettings { calls_in_flight: 2, ..limits([0; 4]) };
        assert_eq!(busy.refusal(&calls), Some(Reason::InFlightLimit { limit: 2 }));
        assert_eq!(busy.refusal(&limits([3, 0, 0, 0])), Some(Reason::MovesInFlight { limit: 3 }));
        assert_eq!(busy.refusal(&limits([4, 1, 1, 1])), None);
    }
}
