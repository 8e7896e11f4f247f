//! The net-zero ledger: how much of what was moved within a day was moved for nothing, because it ended where it
//! began. It is the first figure to look at when a balancer is judged, this one or Milvus' own.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::history::ForeignMove;
use super::out_of_band::BandTime;
use crate::units::{Bytes, CollectionId, NodeId, Ratio, ReplicaId, SegmentId};

/// How far the ledger looks back: a day holds every daily pattern of use once, and the daily budget looks back as
/// far.
const NET_ZERO_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Who moved something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The daemon, by its plan.
    Daemon,
    /// A person, by `load-balance`.
    Manual,
    /// Somebody else: Milvus' own balancer, or another program.
    Foreign,
}

/// A move that was seen to have ended on its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndedMove {
    /// When it was seen there.
    pub at: Timestamp,
    /// What moved.
    pub segment: SegmentId,
    /// The replica inside which it moved.
    pub replica: ReplicaId,
    /// Its collection.
    pub collection: CollectionId,
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
    /// Its bytes, as they were known then.
    pub bytes: Bytes,
    /// Who moved it.
    pub actor: Actor,
}

impl From<&ForeignMove> for EndedMove {
    fn from(foreign: &ForeignMove) -> EndedMove {
        let ForeignMove { segment, collection, replica, from, to, bytes, at } = *foreign;
        EndedMove { at, segment, replica, collection, from, to, bytes, actor: Actor::Foreign }
    }
}

/// What became of the moves of a day, by who made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetZero {
    /// Those of the daemon.
    pub daemon: NetZeroShare,
    /// Those made by hand through this program.
    pub manual: NetZeroShare,
    /// Those of somebody else.
    pub foreign: NetZeroShare,
    /// All of them as one history: two who undo each other's work show here, and nowhere else.
    pub all: NetZeroShare,
    /// How long some node was above its band within the same day: without it, nobody could tell a quiet balancer
    /// from a lazy one.
    pub band: BandTime,
}

/// How much of some moves was for nothing, in two measures.
///
/// **Undone** is the headline. The moves of a segment within a replica, in the order of time, are a walk from node
/// to node. Whenever the walk comes back to a node where it has been, all moves since it was there are undone, with
/// all their bytes, and are taken out of the walk. A→B→A is undone as a whole; of A→B→C→B the last two moves are; of
/// A→B→C nothing is. A move that does not begin where the one before it ended begins a new walk: something else
/// happened in between, and nobody's figures shall look worse, or better, for it. Moves before the window do not
/// count, so of a round trip over its edge nothing is undone.
///
/// **Cancelled** is beside it because compaction replaces segment ids and so hides round trips. For each collection
/// and node it takes the bytes that came less those that left; what is left over in sum over all nodes is the net
/// effect, and the rest of the bytes was cancelled. It is never less than what was undone, as long as a segment's
/// bytes stay what they are.
///
/// The headline is *undone* because each of its bytes is a proven waste, whoever looks at it. *Cancelled* also
/// contains detours and the useful half of swaps (a large segment for a small one of the same collection), so that a
/// good plan can have a high share: it is an upper bound, to be looked at when collections are compacted often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetZeroShare {
    /// Moves that ended.
    pub moves: u64,
    /// Their bytes.
    pub bytes: Bytes,
    /// Moves of these that were undone.
    pub undone_moves: u64,
    /// Their bytes.
    pub undone: Bytes,
    /// Bytes that have no effect on what each node holds of each collection.
    pub cancelled: Bytes,
}

impl NetZeroShare {
    /// Share of the bytes that was undone: the headline; 0 without moves.
    pub fn ratio(&self) -> Ratio {
        Ratio::of(self.undone.0, self.bytes.0)
    }

    /// Share of the bytes that was cancelled; 0 without moves.
    pub fn cancelled_ratio(&self) -> Ratio {
        Ratio::of(self.cancelled.0, self.bytes.0)
    }

    /// Of these moves, in the order of their times.
    pub fn of<'a>(moves: impl Iterator<Item = &'a EndedMove>) -> NetZeroShare {
        let mut walks: BTreeMap<(SegmentId, ReplicaId), Walk> = BTreeMap::new();
        let mut flows: BTreeMap<(CollectionId, NodeId), i128> = BTreeMap::new();
        let mut share = NetZeroShare::default();
        for movement in moves {
            share.moves += 1;
            share.bytes = share.bytes.saturating_add(movement.bytes);
            walks.entry((movement.segment, movement.replica)).or_default().go(movement, &mut share);
            let bytes = i128::from(movement.bytes.0);
            *flows.entry((movement.collection, movement.from)).or_default() -= bytes;
            *flows.entry((movement.collection, movement.to)).or_default() += bytes;
        }
        let net: i128 = flows.values().filter(|flow| **flow > 0).sum();
        share.cancelled = share.bytes.saturating_sub(Bytes(u64::try_from(net).unwrap_or(u64::MAX)));
        share
    }
}

impl Serialize for NetZeroShare {
    /// With both shares, so that no reader divides differently.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let NetZeroShare { moves, bytes, undone_moves, undone, cancelled } = self;
        let mut fields = serializer.serialize_struct("NetZeroShare", 7)?;
        fields.serialize_field("moves", moves)?;
        fields.serialize_field("bytes", bytes)?;
        fields.serialize_field("undone_moves", undone_moves)?;
        fields.serialize_field("undone", undone)?;
        fields.serialize_field("ratio", &self.ratio())?;
        fields.serialize_field("cancelled", cancelled)?;
        fields.serialize_field("cancelled_ratio", &self.cancelled_ratio())?;
        fields.end()
    }
}

/// Where a segment has been, without what was undone.
#[derive(Default)]
struct Walk {
    /// Where it is, and the move that brought it there. The first stop was there before the window.
    stops: Vec<(NodeId, Bytes)>,
}

impl Walk {
    /// One more move. What is undone by it is booked.
    fn go(&mut self, movement: &EndedMove, share: &mut NetZeroShare) {
        if self.stops.last().is_none_or(|(node, _)| *node != movement.from) {
            self.stops = vec![(movement.from, Bytes::ZERO)];
        }
        self.stops.push((movement.to, movement.bytes));
        let Some(been) = self.stops.iter().position(|(node, _)| *node == movement.to) else { return };
        for (_, bytes) in self.stops.drain(been + 1..) {
            share.undone_moves += 1;
            share.undone = share.undone.saturating_add(bytes);
        }
    }
}

impl NetZero {
    /// Of the moves that ended within the window before now. The order in which they are given does not matter.
    pub fn account(moves: impl IntoIterator<Item = EndedMove>, band: BandTime, now: Timestamp) -> NetZero {
        let mut moves: Vec<EndedMove> =
            moves.into_iter().filter(|ended| is_in_window(ended.at, now)).collect();
        moves.sort_unstable();
        let by = |actor| NetZeroShare::of(moves.iter().filter(|ended| ended.actor == actor));
        NetZero {
            daemon: by(Actor::Daemon),
            manual: by(Actor::Manual),
            foreign: by(Actor::Foreign),
            all: NetZeroShare::of(moves.iter()),
            band,
        }
    }
}

/// Whether something that ended then still counts. What seems to come from the future does: a clock was set back.
pub fn is_in_window(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < NET_ZERO_WINDOW
}

#[cfg(test)]
mod tests;
