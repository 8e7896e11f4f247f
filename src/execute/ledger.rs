//! The operations in memory: those whose end is not known, and those that ended a short while ago.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::operation::{BatchId, Event, Operation, OperationId, OperationState, Origin, Patience};
use super::queue::{CopyKey, copy_key};
use super::steady::Steady;
use crate::model::net_zero::is_in_window;
use crate::model::{Actor, Blame, Departure, EndedMove, InFlight, KnownMove, Setback};
use crate::plan::Move;
use crate::units::{Moment, NodeId};

/// For how long an ended operation is remembered: a call that the server takes up late lands within minutes, and
/// what landed between two polls must still be known as ours at the second.
pub const ENDED_KEPT: Duration = Duration::from_secs(60 * 60);

/// For how long departures and setbacks are remembered: a week of doubling pauses.
pub const DEPARTURES_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An operation that changed its state.
#[derive(Clone, Debug)]
pub struct Change {
    /// The state before.
    pub before: OperationState,
    /// The operation now.
    pub operation: Operation,
}

/// Operations, and what of them the journal has not got yet.
#[derive(Debug, Default)]
pub struct Ledger {
    operations: BTreeMap<OperationId, Operation>,
    unsaved: BTreeSet<OperationId>,
    departures: BTreeMap<OperationId, (Steady, Departure)>,
    setbacks: BTreeMap<OperationId, (Steady, Setback)>,
    landed: BTreeMap<OperationId, (Steady, EndedMove)>,
    ended: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Takes an operation in as the journal has it, its departure included.
    pub fn insert(&mut self, mut operation: Operation, now: Moment) {
        operation.place_in_time(now);
        self.note_end(&operation);
        if !is_forgotten(&operation, Steady::of(now)) {
            self.operations.insert(operation.id, operation);
        }
    }

    /// One operation.
    pub fn get(&self, id: OperationId) -> Option<&Operation> {
        self.operations.get(&id)
    }

    /// The last operation for this move.
    pub fn newest_of(&self, movement: &Move) -> Option<&Operation> {
        self.operations.values().rev().find(|operation| operation.movement == *movement)
    }

    /// Operations whose end is not known, by number.
    pub fn open(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values().filter(|operation| !operation.state.is_ended())
    }

    /// All operations that are remembered, by number.
    pub fn known(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }

    /// Numbers of a call's operations.
    pub fn of_batch(&self, batch: BatchId) -> Vec<OperationId> {
        self.ids(|operation| operation.batch == batch)
    }

    /// Numbers of all operations that a look may still change: open ones, and those that may land late. A landing
    /// is that of the last operation with that destination, and whatever came before a landing is over.
    pub fn watched(&self) -> Vec<OperationId> {
        let mut newest: BTreeMap<(CopyKey, NodeId), OperationId> = BTreeMap::new();
        let mut last_landed: BTreeMap<CopyKey, OperationId> = BTreeMap::new();
        for operation in self.operations.values() {
            let copy = copy_key(&operation.movement);
            newest.insert((copy, operation.movement.to), operation.id);
            if operation.state == OperationState::Landed {
                last_landed.insert(copy, operation.id);
            }
        }
        self.ids(|operation| {
            let copy = copy_key(&operation.movement);
            let is_newest = newest.get(&(copy, operation.movement.to)) == Some(&operation.id);
            let is_over = last_landed.get(&copy).is_some_and(|landed| *landed > operation.id);
            !operation.state.is_ended() || (operation.may_land_late() && is_newest && !is_over)
        })
    }

    fn ids(&self, wanted: impl Fn(&Operation) -> bool) -> Vec<OperationId> {
        self.operations.values().filter(|operation| wanted(operation)).map(|operation| operation.id).collect()
    }

    /// Lets something happen to an operation. `Some` when its state changed.
    pub fn apply(
        &mut self,
        id: OperationId,
        event: &Event,
        now: Moment,
        patience: Patience,
    ) -> Option<Change> {
        let before = self.operations.get(&id)?;
        let after = before.advance(event, now, patience)?;
        let old = self.operations.insert(id, after.clone())?;
        if old.state == after.state {
            return None;
        }
        self.unsaved.insert(id);
        if after.state.is_ended() {
            *self.ended.entry(after.state.code()).or_default() += 1;
            self.note_end(&after);
        }
        Some(Change { before: old.state, operation: after })
    }

    fn note_end(&mut self, operation: &Operation) {
        match operation.state {
            OperationState::Landed => {
                self.note_departure(operation);
                self.note_landing(operation);
            }
            // It left, whoever moved it. As a rule that was an earlier call of ours, given up too soon.
            OperationState::Contradicted { .. } => self.note_departure(operation),
            OperationState::Refused { .. } | OperationState::Expired => self.note_setback(operation),
            _ => {}
        }
    }

    fn note_setback(&mut self, operation: &Operation) {
        let setback = Setback {
            segment: operation.movement.segment,
            collection: operation.movement.collection,
            to: operation.movement.to,
            blame: blame_of(&operation.state),
            at: operation.changed_at,
        };
        self.setbacks.insert(operation.id, (operation.evidence.changed, setback));
    }

    fn note_landing(&mut self, operation: &Operation) {
        let Move { segment, collection, replica, from, to, bytes, rows: _ } = operation.movement;
        let actor = match operation.origin {
            Origin::Daemon => Actor::Daemon,
            Origin::Manual => Actor::Manual,
        };
        let landed =
            EndedMove { at: operation.changed_at, segment, replica, collection, from, to, bytes, actor };
        self.landed.insert(operation.id, (operation.evidence.changed, landed));
    }

    fn note_departure(&mut self, operation: &Operation) {
        // A late landing: it came to something after all.
        self.setbacks.remove(&operation.id);
        let departure = Departure {
            segment: operation.movement.segment,
            collection: operation.movement.collection,
            from: operation.movement.from,
            from_address: operation.from_address.clone(),
            to: operation.movement.to,
            bytes: operation.movement.bytes,
            at: operation.changed_at,
        };
        self.departures.insert(operation.id, (operation.evidence.changed, departure));
    }

    /// Copies of what the journal has not got yet.
    pub fn unsaved(&self) -> Vec<Operation> {
        self.unsaved.iter().filter_map(|id| self.operations.get(id)).cloned().collect()
    }

    /// The journal has these now.
    pub fn saved(&mut self, operations: &[Operation]) {
        for operation in operations {
            if self.operations.get(&operation.id).is_none_or(|now| now.state == operation.state) {
                self.unsaved.remove(&operation.id);
            }
        }
    }

    /// Marks an operation as not saved.
    pub fn save_again(&mut self, id: OperationId) {
        self.unsaved.insert(id);
    }

    /// Forgets what ended long ago and is in the journal.
    pub fn forget(&mut self, now: Moment) {
        let unsaved = &self.unsaved;
        let steady = Steady::of(now);
        self.operations.retain(|id, operation| unsaved.contains(id) || !is_forgotten(operation, steady));
        self.departures.retain(|_, (at, _)| at.age(steady) < DEPARTURES_KEPT);
        self.setbacks.retain(|_, (at, _)| at.age(steady) < DEPARTURES_KEPT);
        self.landed.retain(|_, (at, _)| is_in_window(at.wall(now), now.wall));
    }

    /// Moves whose end is not known.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let in_flight = |operation: &Operation| InFlight {
            segment: operation.movement.segment,
            collection: operation.movement.collection,
            replica: operation.movement.replica,
            from: operation.movement.from,
            to: operation.movement.to,
            bytes: operation.movement.bytes,
            rows: operation.movement.rows,
        };
        self.open().map(in_flight).collect()
    }

    /// Moves of ours that are open or ended lately.
    pub fn known_moves(&self) -> Vec<KnownMove> {
        let known = |operation: &Operation| KnownMove {
            segment: operation.movement.segment,
            from: operation.movement.from,
            to: operation.movement.to,
        };
        self.operations.values().map(known).collect()
    }

    /// Moves that landed within the window of the net-zero ledger, by number; their times like those of departures.
    pub fn landed_moves(&self, now: Moment) -> Vec<EndedMove> {
        self.landed.values().map(|(at, landed)| EndedMove { at: at.wall(now), ..*landed }).collect()
    }

    /// Departures that are remembered, oldest first. Their times are told by the calendar as it is now.
    pub fn departures(&self, now: Moment) -> Vec<Departure> {
        let mut departures: Vec<(Steady, &Departure)> =
            self.departures.values().map(|(at, departure)| (*at, departure)).collect();
        departures.sort_by_key(|(at, departure)| (*at, departure.segment));
        let told =
            |(at, departure): (Steady, &Departure)| Departure { at: at.wall(now), ..departure.clone() };
        departures.into_iter().map(told).collect()
    }

    /// Moves that came to nothing and are remembered, by number; their times like those of departures.
    pub fn setbacks(&self, now: Moment) -> Vec<Setback> {
        self.setbacks.values().map(|(at, setback)| Setback { at: at.wall(now), ..*setback }).collect()
    }

    /// Ends since the start, by code.
    pub fn ended(&self) -> &BTreeMap<&'static str, u64> {
        &self.ended
    }
}

/// Whose fault an end without a landing seems to be. The server's words are all that is kept of its answer.
fn blame_of(end: &OperationState) -> Blame {
    match end {
        OperationState::Refused { cause } if !crate::milvus::blames_destination(cause) => Blame::Nobody,
        _ => Blame::Destination,
    }
}

fn is_forgotten(operation: &Operation, now: Steady) -> bool {
    operation.state.is_ended() && operation.evidence.changed.age(now) >= ENDED_KEPT
}
