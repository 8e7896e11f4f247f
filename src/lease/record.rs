//! The record that a leader leaves to its successor: which moves are under way, which have just ended, and what has been
//! spent of the budgets. It is small and bounded, because it lives in an etcd that other people need.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::execute::operation::Operation;
use crate::model::{Drain, Pause};
use crate::units::Bytes;

/// The most bytes of a record. etcd takes 1.5 MiB in one request and some GiB in all; this is what a few hundred moves
/// need, and no reason for anybody to worry about their etcd.
pub const LARGEST_RECORD: usize = 64 << 10;

/// So much of it may be ended moves, which a successor can do without: the rest is kept free for open ones.
const LARGEST_PAST: usize = LARGEST_RECORD / 2;

/// The format that is written. 1 did not say when a move was intended.
const VERSION: u32 = 2;

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not one of ours, or a damaged one.
    #[error("it is not a record of this program")]
    Unreadable(#[source] serde_json::Error),
    /// Of another version of this program.
    #[error(
        "it has format {found}, and this program knows format {VERSION}: run the same version everywhere"
    )]
    Version {
        /// Its format.
        found: u32,
    },
    /// More than it may be.
    #[error("{open} moves under way do not fit into {LARGEST_RECORD} bytes: lower execute.moves_in_flight")]
    TooLarge {
        /// How many there are.
        open: usize,
    },
}

/// What instances share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRecord {
    /// Format.
    version: u32,
    /// Moves whose end is not known.
    pub open: Vec<Operation>,
    /// The newest of those that ended, as far as there is room, newest first.
    pub ended: Vec<Operation>,
    /// What was spent, hour by hour, for the last day.
    pub spent: Vec<SpentHour>,
    /// What the leader was told by people.
    #[serde(flatten)]
    pub orders: SharedOrders,
}

/// What people told the leader, and its successor obeys as well: whoever stopped one stopped all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedOrders {
    /// The pause that nobody has taken back.
    pub pause: Option<Pause>,
    /// The nodes that are to be emptied.
    pub drains: Vec<Drain>,
}

/// What was sent within an hour of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentHour {
    /// When the last of it was sent.
    pub until: Timestamp,
    /// Moves.
    pub moves: u64,
    /// Their bytes.
    pub bytes: Bytes,
}

impl SharedRecord {
    /// A record of these operations, of which as many ended ones are kept as there is room for.
    pub fn new(open: Vec<Operation>, ended: Vec<Operation>, spent: Vec<SpentHour>) -> SharedRecord {
        let mut room = LARGEST_PAST;
        let mut kept = Vec::new();
        for operation in ended {
            let size = serde_json::to_string(&operation).map_or(usize::MAX, |text| text.len() + 1);
            if size > room {
                break;
            }
            room -= size;
            kept.push(operation);
        }
        SharedRecord { version: VERSION, open, ended: kept, spent, orders: SharedOrders::default() }
    }

    /// The same with what people ordered.
    pub fn with_orders(self, orders: SharedOrders) -> SharedRecord {
        SharedRecord { orders, ..self }
    }

    /// Whether there is nothing in it that a successor would need.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
            && self.ended.is_empty()
            && self.spent.is_empty()
            && self.orders == SharedOrders::default()
    }

    /// As it is kept, in bytes.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        self.encode_text().map(String::into_bytes)
    }

    /// As it is kept.
    pub fn encode_text(&self) -> Result<String, RecordError> {
        let text = serde_json::to_string(self).map_err(RecordError::Unreadable)?;
        if text.len() > LARGEST_RECORD {
            return Err(RecordError::TooLarge { open: self.open.len() });
        }
        Ok(text)
    }

    /// As it was kept.
    pub fn decode(text: &[u8]) -> Result<SharedRecord, RecordError> {
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let Format { version: found } = serde_json::from_slice(text).map_err(RecordError::Unreadable)?;
        if found != VERSION {
            return Err(RecordError::Version { found });
        }
        serde_json::from_slice(text).map_err(RecordError::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::operation::OperationId;
    use crate::execute::operation::tests::sent;
    use crate::plan::Move;
    use crate::units::{CollectionId, NodeId, ReplicaId, Rows, SegmentId};

    fn operations(count: i64) -> Vec<Operation> {
        let movement = |number| Move {
            segment: SegmentId(number),
            collection: CollectionId(449_023_041_245_184_001),
            replica: ReplicaId(1),
            from: NodeId(1),
            to: NodeId(2),
            bytes: Bytes(1 << 30),
            rows: Rows(1_000_000),
        };
        (0..count).map(|number| Operation { id: OperationId(number), ..sent(movement(number)) }).collect()
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let spent = vec![SpentHour { until: Timestamp::UNIX_EPOCH, moves: 3, bytes: Bytes(5) }];
        let drain = Drain {
            node: NodeId(7),
            address: "10.0.0.7:21123".to_owned(),
            from: Timestamp::UNIX_EPOCH,
            reason: "its disk fails".to_owned(),
            by: "operator".to_owned(),
        };
        let orders = SharedOrders { pause: None, drains: vec![drain] };
        let record = SharedRecord::new(operations(3), operations(2), spent).with_orders(orders);
        let back = SharedRecord::decode(&record.encode().unwrap()).unwrap();
        let ids = |operations: &[Operation]| operations.iter().map(|one| one.id.0).collect::<Vec<i64>>();
        assert_eq!((ids(&back.open), ids(&back.ended)), (vec![0, 1, 2], vec![0, 1]));
        assert_eq!((back.spent, back.orders), (record.spent, record.orders));
    }

    #[test]
    fn it_stays_small_whatever_has_ended_and_refuses_too_much_at_once() {
        let record = SharedRecord::new(operations(32), operations(100_000), Vec::new());
        let size = record.encode().unwrap().len();
        assert!(
            size <= LARGEST_RECORD && record.ended.len() > 20,
            "{size} bytes, {} ended",
            record.ended.len()
        );
        let too_much = SharedRecord::new(operations(1_000), Vec::new(), Vec::new());
        assert!(matches!(too_much.encode(), Err(RecordError::TooLarge { open: 1_000 })));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["", "{", "[]", "{\"version\":\"2\"}", "{\"version\":2}", "\u{0}"] {
            assert!(
                matches!(SharedRecord::decode(text.as_bytes()), Err(RecordError::Unreadable(_))),
                "{text:?}"
            );
        }
        let newer = SharedRecord::decode(b"{\"version\":3,\"open\":7}");
        assert!(matches!(newer, Err(RecordError::Version { found: 3 })));
    }
}
