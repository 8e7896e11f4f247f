//! What the journal keeps of calls and moves: the intent before the call, every later state after it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tokio::task::JoinHandle;

use super::{Journal, JournalError, amount, as_integer, read_time, time_text};
use crate::execute::operation::{BatchId, Evidence, Operation, OperationId, OperationState, Origin};
use crate::plan::Move;
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

/// One call that is about to be made. All its moves are of one collection and replica and go from one node to
/// one other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Who wants it.
    pub origin: Origin,
    /// When it was decided.
    pub at: Timestamp,
    /// Database of the collection; empty before 2.3.
    pub database: String,
    /// Name of the collection.
    pub collection_name: String,
    /// Address of the node that gives.
    pub from_address: String,
    /// What moves.
    pub moves: Vec<Move>,
    /// What was left open and unchanged since before then belongs to a process that is gone, and locks nothing.
    pub locked_since: Timestamp,
}

/// The columns of an operation, in the order in which [`read_operation`] takes them.
const OPERATION_COLUMNS: &str = "operations.id, batch, origin, database, collection, from_address, segment_id,
    collection_id, replica_id, from_node, to_node, bytes, rows, state, detail, sent_at, changed_at, server_answer, created_at";

impl Journal {
    /// Records the intent of a call: one batch, and an admitted operation for each move, except for those whose copy
    /// is on its way by an open operation, of this process or of another one: two that want the same copy in the same
    /// second never both get it. Durable when the handle's result is there; the work goes on even when nobody waits
    /// for it.
    pub fn start_intent(&self, intent: Intent) -> JoinHandle<Result<Vec<Operation>, JournalError>> {
        self.start("record the intent", move |connection| insert_intent(connection, intent))
    }

    /// Takes over operations that another instance wrote into its own journal, or what has become of them since. They are
    /// told by copy, way and time, because each journal has numbers of its own.
    pub async fn adopt(&self, operations: Vec<Operation>) -> Result<(), JournalError> {
        self.run("take over the operations of another instance", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for operation in &operations {
                adopt_operation(&transaction, operation)?;
            }
            transaction.commit()
        })
        .await
    }

    /// Records where these operations stand now. A landing is never taken back: another process may have seen
    /// it first. Without operations it still writes, to show whether that is possible.
    pub async fn save(&self, operations: Vec<Operation>) -> Result<(), JournalError> {
        self.finished(self.start_save(operations).await)
    }

    /// The same; the work goes on even when nobody waits for it.
    pub fn start_save(&self, operations: Vec<Operation>) -> JoinHandle<Result<(), JournalError>> {
        self.start("record the outcome", move |connection| {
            let transaction = connection.transaction()?;
            if operations.is_empty() {
                touch(&transaction)?;
            }
            for operation in &operations {
                update_operation(&transaction, operation)?;
            }
            transaction.commit()
        })
    }

    /// Operations whose end is not known.
    pub async fn open_operations(&self) -> Result<Vec<Operation>, JournalError> {
        self.run("read the open operations", |connection| {
            select(connection, "state IN ('admitted', 'sent', 'verifying')", [])
        })
        .await
    }

    /// Operations that were sent or that changed since then, open ones included.
    pub async fn operations_since(&self, since: Timestamp) -> Result<Vec<Operation>, JournalError> {
        self.run("read the last operations", move |connection| {
            select(
                connection,
                "changed_at >= ?1 OR state IN ('admitted', 'sent', 'verifying')",
                [time_text(since)],
            )
        })
        .await
    }

    /// Manual operations that are open or that changed since then.
    pub async fn manual_operations_since(&self, since: Timestamp) -> Result<Vec<Operation>, JournalError> {
        self.run("read the manual operations", move |connection| {
            select(
                connection,
                "origin = 'manual' AND (changed_at >= ?1 OR state IN ('admitted', 'sent', 'verifying'))",
                [time_text(since)],
            )
        })
        .await
    }
}

fn insert_intent(connection: &mut Connection, intent: Intent) -> rusqlite::Result<Vec<Operation>> {
    // The write lock is taken before it is looked, so that nobody writes in between.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut operations = Vec::with_capacity(intent.moves.len());
    let mut moves = Vec::with_capacity(intent.moves.len());
    for movement in &intent.moves {
        if !is_locked(&transaction, movement, intent.locked_since)? {
            moves.push(movement.clone());
        }
    }
    if moves.is_empty() {
        return Ok(operations);
    }
    let intent = Intent { moves, ..intent };
    let batch = insert_batch(&transaction, &intent)?;
    for movement in intent.moves {
        let id = insert_operation(&transaction, batch, &movement, intent.at)?;
        operations.push(Operation {
            id,
            batch,
            origin: intent.origin,
            database: intent.database.clone(),
            collection_name: intent.collection_name.clone(),
            from_address: intent.from_address.clone(),
            movement,
            state: OperationState::Admitted,
            intended_at: intent.at,
            sent_at: None,
            changed_at: intent.at,
            refusal: None,
            evidence: Evidence::default(),
        });
    }
    transaction.commit()?;
    Ok(operations)
}

/// Writes down what another instance knows of an operation: over what is known of it, or as a new one.
fn adopt_operation(connection: &Connection, operation: &Operation) -> rusqlite::Result<()> {
    let Move { segment, replica, from, to, .. } = operation.movement;
    // It is written down before it is sent, again when it is, and again when a successor has looked what became of it.
    let known: Option<i64> = connection
        .prepare_cached(
            "SELECT operations.id FROM operations JOIN batches ON batches.id = operations.batch
             WHERE segment_id = ?1 AND replica_id = ?2 AND from_node = ?3 AND to_node = ?4
                   AND created_at = ?5",
        )?
        .query_row(params![segment.0, replica.0, from.0, to.0, time_text(operation.intended_at)], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(id) = known {
        return update_operation(connection, &Operation { id: OperationId(id), ..operation.clone() });
    }
    let batch = insert_batch(connection, &intent_of(operation))?;
    let id = insert_operation(connection, batch, &operation.movement, operation.changed_at)?;
    update_operation(connection, &Operation { id, ..operation.clone() })
}

fn intent_of(operation: &Operation) -> Intent {
    Intent {
        origin: operation.origin,
        at: operation.intended_at,
        database: operation.database.clone(),
        collection_name: operation.collection_name.clone(),
        from_address: operation.from_address.clone(),
        moves: vec![operation.movement.clone()],
        locked_since: Timestamp::MIN,
    }
}

/// Writes the call of these moves, which are all of one way.
fn insert_batch(connection: &Connection, intent: &Intent) -> rusqlite::Result<BatchId> {
    let Some(first) = intent.moves.first() else { return Err(rusqlite::Error::QueryReturnedNoRows) };
    connection.execute(
        "INSERT INTO batches (origin, created_at, database, collection, collection_id, replica_id, from_node,
                              from_address, to_node)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            intent.origin.code(),
            time_text(intent.at),
            intent.database,
            intent.collection_name,
            first.collection.0,
            first.replica.0,
            first.from.0,
            intent.from_address,
            first.to.0
        ],
    )?;
    Ok(BatchId(connection.last_insert_rowid()))
}

fn insert_operation(
    connection: &Connection,
    batch: BatchId,
    movement: &Move,
    at: Timestamp,
) -> rusqlite::Result<OperationId> {
    connection.execute(
        "INSERT INTO operations (batch, segment_id, bytes, rows, state, detail, changed_at)
         VALUES (?1, ?2, ?3, ?4, 'admitted', '', ?5)",
        params![
            batch.0,
            movement.segment.0,
            as_integer(movement.bytes.0),
            as_integer(movement.rows.0),
            time_text(at)
        ],
    )?;
    Ok(OperationId(connection.last_insert_rowid()))
}

/// Whether an open operation moves this copy already.
fn is_locked(connection: &Connection, movement: &Move, since: Timestamp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM operations JOIN batches ON batches.id = operations.batch
             WHERE state IN ('admitted', 'sent', 'verifying') AND segment_id = ?1 AND replica_id = ?2
                   AND changed_at >= ?3)",
        )?
        .query_row(params![movement.segment.0, movement.replica.0, time_text(since)], |row| row.get(0))
}

/// Writes the format over itself, which dirties the first page.
fn touch(connection: &Connection) -> rusqlite::Result<()> {
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    connection.pragma_update(None, "user_version", format)
}

fn update_operation(connection: &Connection, operation: &Operation) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE operations
         SET state = ?2, detail = ?3, server_answer = ?4, sent_at = ?5, changed_at = ?6
         WHERE id = ?1 AND state <> 'landed'",
        params![
            operation.id.0,
            operation.state.code(),
            operation.state.detail(),
            operation.refusal,
            operation.sent_at.map(time_text),
            time_text(operation.changed_at)
        ],
    )?;
    Ok(())
}

pub(super) fn select(
    connection: &Connection,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Operation>> {
    let query = format!(
        "SELECT {OPERATION_COLUMNS} FROM operations JOIN batches ON batches.id = operations.batch
         WHERE {condition} ORDER BY operations.id"
    );
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_map(parameters, read_operation)?.collect()
}

fn read_operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    let sent_at: Option<String> = row.get(15)?;
    Ok(Operation {
        id: OperationId(row.get(0)?),
        batch: BatchId(row.get(1)?),
        origin: if row.get_ref(2)?.as_str()? == "manual" { Origin::Manual } else { Origin::Daemon },
        database: row.get(3)?,
        collection_name: row.get(4)?,
        from_address: row.get(5)?,
        movement: Move {
            segment: SegmentId(row.get(6)?),
            collection: CollectionId(row.get(7)?),
            replica: ReplicaId(row.get(8)?),
            from: NodeId(row.get(9)?),
            to: NodeId(row.get(10)?),
            bytes: Bytes(amount(row, 11)?),
            rows: Rows(amount(row, 12)?),
        },
        state: read_state(row)?,
        sent_at: sent_at.map(|text| read_time(15, &text)).transpose()?,
        changed_at: read_time(16, row.get_ref(16)?.as_str()?)?,
        refusal: row.get(17)?,
        intended_at: read_time(18, row.get_ref(18)?.as_str()?)?,
        evidence: Evidence::default(),
    })
}

fn read_state(row: &Row<'_>) -> rusqlite::Result<OperationState> {
    let code = row.get_ref(13)?.as_str()?;
    let detail = row.get_ref(14)?.as_str()?;
    OperationState::from_code(code, detail).ok_or_else(|| {
        let unknown = format!("no operation can be in state {code:?}");
        rusqlite::Error::FromSqlConversionFailure(13, rusqlite::types::Type::Text, unknown.into())
    })
}
