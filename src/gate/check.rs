//! Looks at a finished plan as if somebody else had made it: every rule again, from the snapshot, move by move.
//! It may drop steps, never add or change one; a component whose step is refused gets none of the later ones.

use std::collections::{BTreeMap, BTreeSet};

use super::beside::{self, Recheck};
use super::{BlastRadius, Refusal, Restrictions, Verdict, approval, component_name, orders};
use crate::model::{
    ComponentIndex, CopyIndex, NodeIndex, PlanningInput, ReplicaIndex, Snapshot, Standing, Subject,
};
use crate::plan::{Move, Plan};
use crate::reason::Reason;
use crate::units::{Bytes, Load, NodeId, ReplicaId, SegmentId};

/// What of the plan may be done.
pub fn check(input: &PlanningInput, restrictions: &Restrictions, plan: &Plan) -> Verdict {
    let mut verdict = Verdict { admitted: Vec::new(), refusals: restrictions.refusals() };
    if let Some(reason) =
        orders::stop(input).or_else(|| beside::stop(input)).or_else(|| approval::stop(input, plan))
    {
        verdict.refusals.push(Refusal { subject: Subject::Cluster, reason });
        return verdict;
    }
    if restrictions.closed.is_some() && restrictions.emergencies.is_empty() {
        return verdict;
    }
    let mut taken = Taken::default();
    let mut radius = restrictions.blast_radius.clone();
    let mut recheck = Recheck::of(restrictions);
    let mut closed: BTreeSet<ComponentIndex> = BTreeSet::new();
    for (position, step) in plan.steps.iter().enumerate() {
        let mut by_step = Taken::default();
        let mut counted: Vec<&Move> = Vec::new();
        let mut refusal = None;
        let mut component = None;
        for movement in &step.moves {
            component = component.or_else(|| component_of(&input.snapshot, movement));
            let found = check_move(input, restrictions, movement, &taken, &mut by_step)
                .and_then(|()| check_radius(&radius, movement));
            if let Err(reason) = found {
                refusal = Some(Refusal { subject: Subject::Segment(movement.segment), reason });
                break;
            }
            radius.add(movement);
            counted.push(movement);
        }
        if refusal.is_none()
            && let (Err(reason), Some(first)) =
                (recheck.allows(&input.snapshot, &step.moves), step.moves.first())
        {
            refusal = Some(Refusal { subject: Subject::Segment(first.segment), reason });
        }
        let is_closed = component.is_some_and(|component| closed.contains(&component));
        if refusal.is_none() && is_closed {
            let subject =
                step.moves.first().map_or(Subject::Cluster, |movement| Subject::Segment(movement.segment));
            refusal = Some(Refusal { subject, reason: Reason::EarlierStepRefused });
        }
        match refusal {
            Some(refusal) => {
                counted.into_iter().for_each(|movement| radius.take_back(movement));
                closed.extend(component);
                verdict.refusals.push(refusal);
            }
            None => {
                taken.add(by_step);
                recheck.admit(&input.snapshot, &step.moves);
                verdict.admitted.push(position);
            }
        }
    }
    verdict
}

/// What moves take: of the room of their destinations, and of the one move that a plan has for each copy.
#[derive(Default)]
struct Taken {
    room: BTreeMap<NodeId, Bytes>,
    /// By position of the limit, and node.
    loads: BTreeMap<(usize, NodeIndex), Load>,
    moved: BTreeSet<(SegmentId, ReplicaId)>,
}

impl Taken {
    fn room_of(&self, node: NodeId) -> Bytes {
        self.room.get(&node).copied().unwrap_or(Bytes::ZERO)
    }

    fn load_of(&self, limit: usize, node: NodeIndex) -> Load {
        self.loads.get(&(limit, node)).copied().unwrap_or(Load::ZERO)
    }

    fn add_load(&mut self, limit: usize, node: NodeIndex, load: Load) {
        let known = self.loads.entry((limit, node)).or_insert(Load::ZERO);
        *known = known.saturating_add(load);
    }

    fn add(&mut self, step: Taken) {
        for ((limit, node), load) in step.loads {
            self.add_load(limit, node, load);
        }
        for (node, bytes) in step.room {
            let room = self.room.entry(node).or_default();
            *room = room.saturating_add(bytes);
        }
        self.moved.extend(step.moved);
    }
}

fn component_of(snapshot: &Snapshot, movement: &Move) -> Option<ComponentIndex> {
    snapshot.node(snapshot.node_index(movement.from)?).component
}

/// Every rule for one move after the steps that were admitted and the moves of its own step before it.
fn check_move(
    input: &PlanningInput,
    restrictions: &Restrictions,
    movement: &Move,
    taken: &Taken,
    by_step: &mut Taken,
) -> Result<(), Reason> {
    let snapshot = &input.snapshot;
    if let Some(reason) = restrictions.leaving(movement.from) {
        return Err(reason.clone());
    }
    let component = component_of(snapshot, movement);
    let name = component.and_then(|component| component_name(snapshot, component));
    if let Some(reason) = name.and_then(|name| restrictions.components.get(&name)) {
        return Err(reason.clone());
    }
    let absent = |node: NodeId| Reason::NodeUnfit { node, standing: Standing::Absent };
    let replica = snapshot.replica_index(movement.replica).ok_or(absent(movement.from))?;
    check_member(snapshot, replica, movement.from)?;
    let to = check_member(snapshot, replica, movement.to)?;
    if movement.from == movement.to {
        return Err(Reason::NoDestination);
    }
    if let Some(reason) = restrictions.sources.get(&movement.from) {
        return Err(reason.clone());
    }
    if let Some(reason) = restrictions.destinations.get(&movement.to) {
        return Err(reason.clone());
    }
    let copy = snapshot.copy_index(movement.segment, replica).ok_or(Reason::NothingMovable)?;
    check_copy(input, restrictions, movement, copy)?;
    let key = (movement.segment, movement.replica);
    if taken.moved.contains(&key) || !by_step.moved.insert(key) {
        return Err(Reason::InFlight);
    }
    let needed = snapshot.copies.bytes[copy.at()];
    let room = restrictions.room_of(movement.to);
    let left = room.saturating_sub(taken.room_of(movement.to)).saturating_sub(by_step.room_of(movement.to));
    if needed > left {
        return Err(restrictions.no_room(movement.to, needed, left));
    }
    for (position, limit) in restrictions.limits.iter().enumerate() {
        let arrived = taken.load_of(position, to).saturating_add(by_step.load_of(position, to));
        if let Some(reason) = limit.refusal(snapshot, copy, to, arrived) {
            return Err(reason);
        }
    }
    for (position, limit) in restrictions.limits.iter().enumerate() {
        by_step.add_load(position, to, limit.load_of(copy));
    }
    let by_step = by_step.room.entry(movement.to).or_default();
    *by_step = by_step.saturating_add(needed);
    Ok(())
}

fn check_member(snapshot: &Snapshot, replica: ReplicaIndex, node: NodeId) -> Result<NodeIndex, Reason> {
    let absent = Reason::NodeUnfit { node, standing: Standing::Absent };
    let index = snapshot.node_index(node).ok_or(absent.clone())?;
    let members = &snapshot.replica(replica).members;
    let member = members.iter().find(|member| member.node == index).ok_or(absent)?;
    if !member.standing.is_usable() {
        return Err(Reason::NodeUnfit { node, standing: member.standing });
    }
    Ok(index)
}

fn check_copy(
    input: &PlanningInput,
    restrictions: &Restrictions,
    movement: &Move,
    copy: CopyIndex,
) -> Result<(), Reason> {
    let copies = &input.snapshot.copies;
    if let Some(held) = copies.held[copy.at()] {
        return Err(Reason::Held { held });
    }
    if input.snapshot.node(copies.node[copy.at()]).id != movement.from {
        return Err(Reason::NothingMovable);
    }
    let in_flight = input
        .in_flight
        .iter()
        .any(|flight| flight.segment == movement.segment && flight.replica == movement.replica);
    if in_flight {
        return Err(Reason::InFlight);
    }
    if let Some(reason) = restrictions.copy_refusal(&input.snapshot, copy) {
        return Err(reason);
    }
    if let Some(reason) = restrictions.returns.get(&(movement.segment, movement.to)) {
        return Err(reason.clone());
    }
    let way = (movement.from, movement.to);
    match restrictions.not_that_way(movement.collection, way, copies.bytes[copy.at()]) {
        Some(reason) => Err(reason),
        None => Ok(()),
    }
}

/// Whether enough of the collection, from the one node or to the other has been moved by now, the moves of this plan
/// included.
fn check_radius(radius: &BlastRadius, movement: &Move) -> Result<(), Reason> {
    let refusal = radius
        .collection_refusal(movement.collection, movement.bytes)
        .or_else(|| radius.node_refusal(movement.from, movement.bytes))
        .or_else(|| radius.node_refusal(movement.to, movement.bytes));
    refusal.map_or(Ok(()), Err)
}
