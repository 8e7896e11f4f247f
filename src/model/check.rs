//! Whether a snapshot that somebody else wrote makes sense: whatever passes can be planned on without surprises. What
//! [`super::fold()`] makes always does.

use super::components::link_components;
use super::copies::MOST_ROWS;
use super::fold::{LARGEST_NODE, LARGEST_SEGMENT};
use super::snapshot::{Node, Replica, Snapshot};
use crate::units::Bytes;

/// What does not make sense in a snapshot. Rows are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The columns of the copies are not of one length.
    #[error(
        "copies.{column} has {rows} rows, but copies.segment has {expected}: all columns have one for each copy"
    )]
    ColumnLength {
        /// The column.
        column: &'static str,
        /// Its length.
        rows: usize,
        /// The length of the first column.
        expected: usize,
    },
    /// The signals are not about this cluster.
    #[error("{table} has {rows} rows, but there are {expected} of what it is about")]
    SignalLength {
        /// The table.
        table: &'static str,
        /// Its length.
        rows: usize,
        /// What it should be.
        expected: usize,
    },
    /// A row refers to one that is not there.
    #[error("{table}[{row}] refers to {refers_to}[{index}], of which there are {rows}")]
    NoSuchRow {
        /// The table.
        table: &'static str,
        /// The row.
        row: usize,
        /// The other table.
        refers_to: &'static str,
        /// The index into it.
        index: usize,
        /// How many rows that has.
        rows: usize,
    },
    /// Rows are not in order, or one is there twice.
    #[error(
        "{table}[{row}] does not come after the row before it: rows are in the order of their ids, each id once"
    )]
    OutOfOrder {
        /// The table.
        table: &'static str,
        /// The row.
        row: usize,
    },
    /// More than can be.
    #[error("{table}[{row}]: {what} is {amount}, and nothing has more than {largest}")]
    TooMuch {
        /// The table.
        table: &'static str,
        /// The row.
        row: usize,
        /// The field.
        what: &'static str,
        /// What it says.
        amount: u64,
        /// The most that is believed.
        largest: u64,
    },
    /// A copy is on a node outside its replica.
    #[error("copies[{row}] is on nodes[{node}], which is no member of replicas[{replica}]")]
    OutsideReplica {
        /// The copy.
        row: usize,
        /// Where it is.
        node: usize,
        /// Its replica.
        replica: usize,
    },
    /// The components are others than the replicas make.
    #[error("the components are not those that the members of the replicas make")]
    WrongComponents,
}

impl Snapshot {
    /// Whether this makes sense.
    pub fn check(&self) -> Result<(), SnapshotError> {
        self.check_lengths()?;
        in_order("nodes", self.nodes.iter().map(|node| node.id), |before, now| before < now)?;
        in_order("collections", self.collections.iter().map(|entry| entry.id), |before, now| before < now)?;
        // The same id in two collections is strange and harmless.
        let replicas = self.replicas.iter().map(|replica| (replica.id, replica.collection));
        in_order("replicas", replicas, |before, now| before <= now)?;
        self.check_replicas()?;
        self.check_nodes()?;
        self.check_copies()
    }

    fn check_lengths(&self) -> Result<(), SnapshotError> {
        let copies = &*self.copies;
        let columns = [
            ("replica", copies.replica.len()),
            ("node", copies.node.len()),
            ("rows", copies.rows.len()),
            ("bytes", copies.bytes.len()),
            ("held", copies.held.len()),
        ];
        let expected = copies.segment.len();
        if let Some((column, rows)) = columns.into_iter().find(|(_, rows)| *rows != expected) {
            return Err(SnapshotError::ColumnLength { column, rows, expected });
        }
        let signals = &self.signals;
        for (table, rows, expected) in [
            ("signals.nodes", signals.nodes.len(), self.nodes.len()),
            ("signals.demand", signals.demand.len(), self.collections.len()),
            ("signals.copy_search", signals.copy_search.len(), expected),
        ] {
            // Empty where nothing is counted.
            if rows != 0 && rows != expected {
                return Err(SnapshotError::SignalLength { table, rows, expected });
            }
        }
        Ok(())
    }

    fn check_replicas(&self) -> Result<(), SnapshotError> {
        for (row, replica) in self.replicas.iter().enumerate() {
            exists("replicas", row, "collections", replica.collection.at(), self.collections.len())?;
            for member in &replica.members {
                exists("replicas", row, "nodes", member.node.at(), self.nodes.len())?;
            }
            let members = replica.members.iter().map(|member| member.node);
            in_order("replicas.members", members, |before, now| before < now)?;
        }
        // Linking needs nothing but what was checked until here.
        let (mut nodes, mut replicas): (Vec<Node>, Vec<Replica>) =
            (self.nodes.clone(), self.replicas.clone());
        nodes.iter_mut().for_each(|node| node.component = None);
        let components = link_components(&mut nodes, &mut replicas);
        let is_same = components == self.components && replicas == self.replicas && nodes == self.nodes;
        if is_same { Ok(()) } else { Err(SnapshotError::WrongComponents) }
    }

    fn check_nodes(&self) -> Result<(), SnapshotError> {
        for (row, node) in self.nodes.iter().enumerate() {
            for (what, amount) in [
                ("memory_capacity", node.memory_capacity),
                ("memory_used", node.memory_used),
                ("growing", node.growing),
                ("unexplained_memory", node.unexplained_memory),
                ("reported_sealed", node.reported_sealed),
            ] {
                let amount = amount.unwrap_or(Bytes::ZERO).0;
                at_most("nodes", row, what, amount, 2 * LARGEST_NODE.0)?;
            }
        }
        Ok(())
    }

    fn check_copies(&self) -> Result<(), SnapshotError> {
        let mut before = None;
        for copy in self.copies.indices() {
            let at = copy.at();
            let row = self.copies.row(copy);
            if before.is_some_and(|before| before >= row.key()) {
                return Err(SnapshotError::OutOfOrder { table: "copies", row: at });
            }
            before = Some(row.key());
            exists("copies", at, "replicas", row.replica.at(), self.replicas.len())?;
            exists("copies", at, "nodes", row.node.at(), self.nodes.len())?;
            at_most("copies", at, "rows", row.rows.0, MOST_ROWS.0)?;
            at_most("copies", at, "bytes", row.bytes.0, LARGEST_SEGMENT.0)?;
            let members = &self.replica(row.replica).members;
            if members.binary_search_by_key(&row.node, |member| member.node).is_err() {
                let (node, replica) = (row.node.at(), row.replica.at());
                return Err(SnapshotError::OutsideReplica { row: at, node, replica });
            }
        }
        Ok(())
    }
}

fn in_order<Key>(
    table: &'static str,
    keys: impl Iterator<Item = Key>,
    follows: impl Fn(&Key, &Key) -> bool,
) -> Result<(), SnapshotError> {
    let mut before: Option<Key> = None;
    for (row, key) in keys.enumerate() {
        if before.as_ref().is_some_and(|before| !follows(before, &key)) {
            return Err(SnapshotError::OutOfOrder { table, row });
        }
        before = Some(key);
    }
    Ok(())
}

fn exists(
    table: &'static str,
    row: usize,
    refers_to: &'static str,
    index: usize,
    rows: usize,
) -> Result<(), SnapshotError> {
    if index < rows { Ok(()) } else { Err(SnapshotError::NoSuchRow { table, row, refers_to, index, rows }) }
}

fn at_most(
    table: &'static str,
    row: usize,
    what: &'static str,
    amount: u64,
    largest: u64,
) -> Result<(), SnapshotError> {
    if amount <= largest {
        return Ok(());
    }
    Err(SnapshotError::TooMuch { table, row, what, amount, largest })
}
