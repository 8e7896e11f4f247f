//! What the journal keeps of moves by somebody else, so that a restart does not forget that another actor is at
//! work.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{Journal, JournalError, amount, as_integer, read_time, time_text};
use crate::model::ForeignMove;
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, SegmentId};

impl Journal {
    /// Records moves that somebody else made. The work goes on even when nobody waits for it.
    pub async fn record_foreign_moves(&self, moves: Vec<ForeignMove>) -> Result<(), JournalError> {
        self.run("record the foreign moves", move |connection| {
            let transaction = connection.transaction()?;
            for foreign in &moves {
                insert(&transaction, foreign)?;
            }
            transaction.commit()
        })
        .await
    }

    /// Moves by somebody else that were noticed at that time or later, oldest first.
    pub async fn foreign_moves_since(&self, since: Timestamp) -> Result<Vec<ForeignMove>, JournalError> {
        self.run("read the foreign moves", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT segment_id, collection_id, replica_id, from_node, to_node, bytes, noticed_at
                 FROM foreign_moves WHERE noticed_at >= ?1 ORDER BY noticed_at, id",
            )?;
            statement.query_map([time_text(since)], read_foreign_move)?.collect()
        })
        .await
    }
}

fn insert(connection: &Connection, foreign: &ForeignMove) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO foreign_moves (noticed_at, segment_id, collection_id, replica_id, from_node, to_node, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            time_text(foreign.at),
            foreign.segment.0,
            foreign.collection.0,
            foreign.replica.0,
            foreign.from.0,
            foreign.to.0,
            as_integer(foreign.bytes.0)
        ],
    )?;
    Ok(())
}

fn read_foreign_move(row: &Row<'_>) -> rusqlite::Result<ForeignMove> {
    Ok(ForeignMove {
        segment: SegmentId(row.get(0)?),
        collection: CollectionId(row.get(1)?),
        replica: ReplicaId(row.get(2)?),
        from: NodeId(row.get(3)?),
        to: NodeId(row.get(4)?),
        bytes: Bytes(amount(row, 5)?),
        at: read_time(6, row.get_ref(6)?.as_str()?)?,
    })
}
