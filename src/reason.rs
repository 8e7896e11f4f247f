//! Every "no" of the project: one variant, one sentence, one counter label; one list, hence more than 500 lines. Planner,
//! gates and executor all answer with these, so that log, API, page and command line never tell different stories.

use std::fmt;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::model::{Held, Signal, Standing};
use crate::plan::PlanDigest;
use crate::units::{Bytes, CollectionId, NodeId, Ratio, ReplicaId};

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    // --- the whole cluster
    /// The mode is `advise`.
    AdviseOnly,
    /// The server is older than 2.3, or of unknown version.
    ServerTooOld,
    /// Nodes serve more than we were shown.
    VisibilityGap {
        /// The doubt, in words.
        detail: String,
    },
    /// The journal cannot record what we would do.
    JournalUnavailable {
        /// Why.
        detail: String,
    },
    /// The observation is too old to act on.
    Stale {
        /// Its age.
        age: Duration,
        /// The limit.
        limit: Duration,
    },
    /// The nodes could not be read.
    NodesUnread {
        /// Why.
        detail: String,
    },
    /// The daemon is stopping.
    Stopping,
    /// Somebody ordered a pause.
    Paused {
        /// Until when; `None` until somebody ends it.
        until: Option<Timestamp>,
        /// Who.
        by: String,
        /// Why, in their words; empty when they gave none.
        why: String,
    },
    /// The kill switch is thrown, or cannot be seen.
    KillSwitch {
        /// Its file.
        path: String,
        /// Why it cannot be seen; `None` when the file is there.
        unreadable: Option<String>,
    },
    /// Another instance leads.
    NotLeader {
        /// Its name; `None` while there is none.
        leader: Option<String>,
    },
    /// Which instance leads, or what the one before left, is not known.
    LeaderUnknown {
        /// Why.
        detail: String,
    },
    /// This instance has just taken over, and waits until the figures of nodes show what the one before did.
    TakingOver {
        /// For how much longer.
        remaining: Duration,
    },
    /// The plan must be approved before anything of it is done.
    AwaitingApproval {
        /// Its name.
        digest: PlanDigest,
    },
    /// No maintenance window is open.
    OutsideWindow {
        /// When the next one opens; `None` when none does in the next weeks.
        next: Option<Timestamp>,
    },

    // --- a component, a collection, a node
    /// Somebody else moves segments here.
    ForeignMover {
        /// How many moves were seen.
        moves: usize,
        /// Within which time.
        within: Duration,
    },
    /// The mode is `within`, and how Milvus' own balancer decides is not known.
    BalancerUnknown {
        /// What is not known.
        detail: String,
    },
    /// The mode is `within`, and Milvus' own balancer took back what we moved here.
    TakenBack {
        /// How many moves.
        moves: usize,
        /// For how much longer nothing is moved here.
        remaining: Duration,
    },
    /// Nodes of different versions: an upgrade is under way.
    MixedVersions,
    /// The collection is loading or could not be read whole.
    CollectionUnready {
        /// Which.
        collection: CollectionId,
    },
    /// The node is no live read-write member of the replica.
    NodeUnfit {
        /// Which.
        node: NodeId,
        /// What it is instead.
        standing: Standing,
    },
    /// A move from or to the node has just landed, and its figures lag behind.
    Settling {
        /// Which.
        node: NodeId,
        /// For how much longer.
        remaining: Duration,
    },
    /// The node refused a segment, or never took it, a short while ago.
    NotTaken {
        /// Which.
        node: NodeId,
        /// For how much longer it is left alone.
        remaining: Duration,
    },
    /// The node is new and gets load slowly.
    WarmingUp {
        /// Which.
        node: NodeId,
        /// How much of its fair share it may have by now.
        share: Ratio,
        /// For how much longer it is new.
        remaining: Duration,
    },
    /// So much of the collection has been moved lately that the rest waits.
    CollectionMovedEnough {
        /// Which.
        collection: CollectionId,
        /// The share of it that may be moved in that time.
        limit: Ratio,
        /// In which time.
        within: Duration,
    },
    /// So many bytes have been moved from and to the node lately that the rest waits.
    NodeMovedEnough {
        /// Which.
        node: NodeId,
        /// What may be moved in that time.
        limit: Bytes,
        /// In which time.
        within: Duration,
    },
    /// Its memory capacity is unknown, so nobody can say what fits.
    CapacityUnknown {
        /// Which.
        node: NodeId,
    },
    /// The destination would come too close to its memory limit with all copies resident.
    NoHeadroom {
        /// The destination.
        node: NodeId,
        /// What would have to fit.
        needed: Bytes,
        /// What may still arrive there.
        room: Bytes,
    },
    /// The destination would be filled above the limit of a policy.
    AboveLimit {
        /// The destination.
        node: NodeId,
        /// The dimension.
        dimension: String,
        /// The share of its capacity to which it may be filled.
        limit: Ratio,
    },
    /// A policy forbids the node as a destination.
    NeverDestination {
        /// Which.
        node: NodeId,
    },
    /// The node is being emptied.
    Draining {
        /// Which.
        node: NodeId,
    },
    /// A policy forbids to take anything off the node.
    NeverSource {
        /// Which.
        node: NodeId,
    },
    /// A policy leaves the node out of everything.
    Excluded {
        /// Which.
        node: NodeId,
    },
    /// A policy pins the collection.
    CollectionPinned {
        /// Which.
        collection: CollectionId,
    },
    /// A policy pins the replica.
    ReplicaPinned {
        /// Which.
        replica: ReplicaId,
    },

    // --- a segment, a move
    /// The copy must stay where it is.
    Held {
        /// Why.
        held: Held,
    },
    /// A policy pins the segment.
    Pinned,
    /// A policy wants the segment on another node than one that is on the destination.
    KeptApart {
        /// The destination.
        node: NodeId,
    },
    /// The segment is on its way already.
    InFlight,
    /// The segment was moved a short while ago.
    CoolingDown {
        /// For how much longer.
        remaining: Duration,
    },
    /// The segment left this node a short while ago.
    ReturnTooSoon {
        /// The node.
        node: NodeId,
        /// For how much longer.
        remaining: Duration,
    },
    /// Bytes of the collection left this node for that one a short while ago, and the move would bring them back.
    BytesReturnTooSoon {
        /// The node that they left.
        node: NodeId,
        /// How many.
        bytes: Bytes,
        /// For how much longer.
        remaining: Duration,
    },
    /// The same move came to nothing several times.
    FailedBefore {
        /// The destination.
        node: NodeId,
        /// How often.
        times: usize,
        /// For how much longer it is not tried.
        remaining: Duration,
    },
    /// The mode is `within`, and Milvus' own balancer would move segments of the collection afterwards.
    WouldBeUndone {
        /// Which.
        collection: CollectionId,
    },
    /// The mode is `within`, channels of the collection own nodes, and it could not be read which.
    ShardUnknown {
        /// Which.
        collection: CollectionId,
    },
    /// No move lowers the pressure.
    NoImprovement,
    /// The best move would lower the potential by less than its price.
    NotWorthItsPrice,
    /// All moves together would gain too little to begin with them.
    GainTooSmall {
        /// What they would take off pressures above the band, all nodes together.
        gain: Ratio,
        /// What could be taken off at all: the rest is above the band for reasons that moves cannot change.
        gainable: Ratio,
        /// What must be gained at least.
        minimum: Ratio,
    },
    /// The node is overloaded, but not yet for long enough.
    NotLongEnough {
        /// Turns in a row so far.
        turns: u32,
        /// Turns required.
        required: u32,
    },
    /// The load is uneven, but the node is used too little for that to matter.
    DoesNotMatter {
        /// How much it is used.
        utilisation: Ratio,
        /// From where it matters.
        matters_above: Ratio,
    },
    /// What makes the node stand out is not the load of segments that could go.
    OverloadImmovable {
        /// Its load, compared with an even share.
        pressure: Ratio,
        /// The share of its load that moves cannot change.
        immovable: Ratio,
    },
    /// All nodes that could help each other are full.
    Saturated {
        /// The dimension.
        dimension: String,
        /// How much the least used of them is used.
        utilisation: Ratio,
        /// From where on a node counts as full.
        full_from: Ratio,
    },
    /// Nothing on the node can move.
    NothingMovable,
    /// No other node of the replica can take it.
    NoDestination,
    /// The effort budget of the planner ran out.
    EffortSpent,
    /// An earlier step of the plan, on which this one builds, was refused.
    EarlierStepRefused,
    /// The segment is not on the node that the move takes it from any more.
    NotOnSource {
        /// The node.
        node: NodeId,
    },
    /// The segment is not listed any more.
    SegmentGone,

    // --- limits of the executor
    /// Calls failed one after the other, and nothing is sent for a while.
    BreakerOpen {
        /// For how much longer.
        remaining: Duration,
    },
    /// The same, and one move is on its way to show whether calls succeed again.
    BreakerTesting,
    /// Calls per minute.
    CallRate {
        /// The limit.
        per_minute: u32,
    },
    /// Calls whose moves have not settled.
    InFlightLimit {
        /// The limit.
        limit: u32,
    },
    /// The same, for one node.
    NodeInFlightLimit {
        /// Which.
        node: NodeId,
        /// The limit.
        limit: u32,
    },
    /// Moves on their way.
    MovesInFlight {
        /// The limit.
        limit: u32,
    },
    /// Moves on their way from one node.
    SourceMovesInFlight {
        /// Which.
        node: NodeId,
        /// The limit.
        limit: u32,
    },
    /// Moves on their way to one node.
    DestinationMovesInFlight {
        /// Which.
        node: NodeId,
        /// The limit.
        limit: u32,
    },
    /// Moves of one collection on their way.
    CollectionMovesInFlight {
        /// Which.
        collection: CollectionId,
        /// The limit.
        limit: u32,
    },
    /// Bytes per second.
    ByteRate {
        /// The limit.
        per_second: Bytes,
    },
    /// Moves per hour.
    HourlyMoves {
        /// The limit.
        limit: u32,
    },
    /// Moves per day.
    DailyMoves {
        /// The limit.
        limit: u32,
    },
    /// Bytes per hour.
    HourlyBytes {
        /// What may be moved in an hour.
        limit: Bytes,
    },
    /// Bytes per day.
    DailyBytes {
        /// What may be moved in 24 hours.
        limit: Bytes,
    },
    /// An earlier step of the plan, on which this one builds, has not landed yet.
    EarlierStepOpen,
    /// The wave is full; the next one starts when this one has settled.
    WaveFull {
        /// Moves in this wave.
        size: u32,
    },
    /// The wave has ended; the next one starts when it has been seen what it brought.
    WaveUnjudged {
        /// Moves in this wave.
        moves: u32,
    },
    /// Those who use the cluster are worse off since we began to move.
    UsersSlowed {
        /// What shows it.
        signal: Signal,
        /// Its value now, in the signal's unit.
        now: u64,
        /// What is usual, or the most that there may be.
        usual: u64,
    },
    /// What users feel must be known, and is not.
    GuardBlind,
    /// What users usually feel is still being learnt.
    GuardLearning,
    /// Several waves in a row brought no relief.
    NoRelief {
        /// How many.
        waves: u32,
        /// For how much longer nothing is moved.
        remaining: Duration,
    },
}

impl Reason {
    /// Whether waiting alone makes it go away: then what it holds back is only late.
    pub fn passes_by_itself(&self) -> bool {
        !matches!(
            self,
            Reason::NoImprovement
                | Reason::NotWorthItsPrice
                | Reason::GainTooSmall { .. }
                | Reason::OverloadImmovable { .. }
                | Reason::Saturated { .. }
                | Reason::NothingMovable
                | Reason::NoDestination
                | Reason::WouldBeUndone { .. }
                | Reason::ShardUnknown { .. }
                | Reason::NoHeadroom { .. }
                | Reason::AboveLimit { .. }
                | Reason::Held { .. }
                | Reason::Pinned
                | Reason::CollectionPinned { .. }
                | Reason::ReplicaPinned { .. }
                | Reason::KeptApart { .. }
                | Reason::NeverDestination { .. }
                | Reason::NeverSource { .. }
                | Reason::Draining { .. }
                | Reason::Excluded { .. }
                | Reason::SegmentGone
        )
    }

    /// What is the same as long as nothing new is to be said about it: the numbers in a sentence change all the time, but
    /// another plan that waits for approval is news.
    pub fn essence(&self) -> String {
        match self {
            Reason::AwaitingApproval { digest } => format!("{} {digest}", self.code()),
            _ => self.code().to_owned(),
        }
    }

    /// The stable name: metric label and JSON `reason`.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::AdviseOnly => "advise_only",
            Reason::ServerTooOld => "server_too_old",
            Reason::VisibilityGap { .. } => "visibility_gap",
            Reason::JournalUnavailable { .. } => "journal_unavailable",
            Reason::Stale { .. } => "stale",
            Reason::NodesUnread { .. } => "nodes_unread",
            Reason::Stopping => "stopping",
            Reason::Paused { .. } => "paused",
            Reason::KillSwitch { .. } => "kill_switch",
            Reason::NotLeader { .. } => "not_leader",
            Reason::LeaderUnknown { .. } => "leader_unknown",
            Reason::TakingOver { .. } => "taking_over",
            Reason::AwaitingApproval { .. } => "awaiting_approval",
            Reason::OutsideWindow { .. } => "outside_window",
            Reason::ForeignMover { .. } => "foreign_mover",
            Reason::BalancerUnknown { .. } => "balancer_unknown",
            Reason::TakenBack { .. } => "taken_back",
            Reason::WouldBeUndone { .. } => "would_be_undone",
            Reason::ShardUnknown { .. } => "shard_unknown",
            Reason::MixedVersions => "mixed_versions",
            Reason::CollectionUnready { .. } => "collection_unready",
            Reason::NodeUnfit { .. } => "node_unfit",
            Reason::Settling { .. } => "settling",
            Reason::NotTaken { .. } => "not_taken",
            Reason::WarmingUp { .. } => "warming_up",
            Reason::CollectionMovedEnough { .. } => "collection_moved_enough",
            Reason::NodeMovedEnough { .. } => "node_moved_enough",
            Reason::CapacityUnknown { .. } => "capacity_unknown",
            Reason::NoHeadroom { .. } => "no_headroom",
            Reason::AboveLimit { .. } => "above_limit",
            Reason::NeverDestination { .. } => "never_destination",
            Reason::Draining { .. } => "draining",
            Reason::NeverSource { .. } => "never_source",
            Reason::Excluded { .. } => "excluded",
            Reason::CollectionPinned { .. } => "collection_pinned",
            Reason::ReplicaPinned { .. } => "replica_pinned",
            Reason::Held { .. } => "held",
            Reason::Pinned => "pinned",
            Reason::KeptApart { .. } => "kept_apart",
            Reason::InFlight => "in_flight",
            Reason::CoolingDown { .. } => "cooling_down",
            Reason::ReturnTooSoon { .. } => "return_too_soon",
            Reason::BytesReturnTooSoon { .. } => "bytes_return_too_soon",
            Reason::FailedBefore { .. } => "failed_before",
            Reason::NoImprovement => "no_improvement",
            Reason::NotWorthItsPrice => "not_worth_its_price",
            Reason::GainTooSmall { .. } => "gain_too_small",
            Reason::NotLongEnough { .. } => "not_long_enough",
            Reason::DoesNotMatter { .. } => "does_not_matter",
            Reason::OverloadImmovable { .. } => "overload_immovable",
            Reason::Saturated { .. } => "saturated",
            Reason::NothingMovable => "nothing_movable",
            Reason::NoDestination => "no_destination",
            Reason::EffortSpent => "effort_spent",
            Reason::EarlierStepRefused => "earlier_step_refused",
            Reason::NotOnSource { .. } => "not_on_source",
            Reason::SegmentGone => "segment_gone",
            Reason::BreakerOpen { .. } => "breaker_open",
            Reason::BreakerTesting => "breaker_testing",
            Reason::CallRate { .. } => "call_rate",
            Reason::InFlightLimit { .. } => "in_flight_limit",
            Reason::NodeInFlightLimit { .. } => "node_in_flight_limit",
            Reason::MovesInFlight { .. } => "moves_in_flight",
            Reason::SourceMovesInFlight { .. } => "source_moves_in_flight",
            Reason::DestinationMovesInFlight { .. } => "destination_moves_in_flight",
            Reason::CollectionMovesInFlight { .. } => "collection_moves_in_flight",
            Reason::ByteRate { .. } => "byte_rate",
            Reason::HourlyMoves { .. } => "hourly_moves",
            Reason::DailyMoves { .. } => "daily_moves",
            Reason::HourlyBytes { .. } => "hourly_bytes",
            Reason::DailyBytes { .. } => "daily_bytes",
            Reason::EarlierStepOpen => "earlier_step_open",
            Reason::WaveFull { .. } => "wave_full",
            Reason::WaveUnjudged { .. } => "wave_unjudged",
            Reason::NoRelief { .. } => "no_relief",
            Reason::UsersSlowed { .. } => "users_slowed",
            Reason::GuardBlind => "guard_blind",
            Reason::GuardLearning => "guard_learning",
        }
    }
}

/// A duration as people say it: "12m 30s".
fn spoken(duration: &Duration) -> String {
    let rounded = Duration::from_secs(duration.as_secs().max(u64::from(!duration.is_zero())));
    jiff::SignedDuration::try_from(rounded)
        .map(|span| format!("{span:#}"))
        .unwrap_or_else(|_| "ever".to_owned())
}

/// A time as people read it: to the second.
fn to_the_second(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}

/// A small difference of pressures, in which two digits would all be zeros.
fn fine(ratio: Ratio) -> String {
    format!("{:.4}", ratio.decimal())
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::AdviseOnly => {
                f.write_str("the mode is advise: plans are made and explained, never carried out")
            }
            Reason::ServerTooOld => {
                f.write_str("this Milvus is older than 2.3 or of unknown version; it is never acted on")
            }
            Reason::VisibilityGap { detail } => write!(f, "nodes serve more than we can see: {detail}"),
            Reason::JournalUnavailable { detail } => {
                write!(f, "the journal cannot record what would be done: {detail}")
            }
            Reason::Stale { age, limit } => {
                write!(f, "what was seen is {} old, the limit is {}", spoken(age), spoken(limit))
            }
            Reason::NotLeader { leader: Some(leader) } => {
                write!(f, "another instance leads: {leader}; this one watches and plans, and moves nothing")
            }
            Reason::NotLeader { leader: None } => f.write_str("no instance leads at the moment"),
            Reason::LeaderUnknown { detail } => {
                write!(f, "it is not known for sure that this instance leads: {detail}")
            }
            Reason::TakingOver { remaining } => write!(
                f,
                "this instance has just taken over and waits {} until the figures of nodes have settled",
                spoken(remaining)
            ),
            Reason::NodesUnread { detail } => write!(f, "the nodes could not be read: {detail}"),
            Reason::Stopping => f.write_str("the daemon is stopping"),
            Reason::Paused { until, by, why } => {
                write!(f, "paused by {by}")?;
                match until {
                    Some(until) => write!(f, " until {}", to_the_second(*until))?,
                    None => f.write_str(" until `milvus-rebalancer resume`")?,
                }
                if why.is_empty() { Ok(()) } else { write!(f, ": {why}") }
            }
            Reason::KillSwitch { path, unreadable: None } => {
                write!(f, "the kill switch {path} exists: remove that file to go on")
            }
            Reason::KillSwitch { path, unreadable: Some(cause) } => {
                write!(
                    f,
                    "it cannot be seen whether the kill switch {path} exists, which stops everything: {cause}"
                )
            }
            Reason::AwaitingApproval { digest } => {
                write!(f, "the plan waits for approval: milvus-rebalancer approve {digest}")
            }
            Reason::OutsideWindow { next: Some(next) } => {
                write!(f, "outside the maintenance windows; the next one opens at {}", to_the_second(*next))
            }
            Reason::OutsideWindow { next: None } => {
                f.write_str("outside the maintenance windows, and none opens in the next weeks")
            }
            Reason::ForeignMover { moves, within } => write!(
                f,
                "somebody else moved {moves} segments here within {} (is Milvus' own balancer on?)",
                spoken(within)
            ),
            Reason::BalancerUnknown { detail } => {
                write!(f, "the mode is within, but {detail}: plans are made and explained, not carried out")
            }
            Reason::TakenBack { moves, remaining } => write!(
                f,
                "Milvus' own balancer took back {moves} of our moves here; nothing is moved for another {}",
                spoken(remaining)
            ),
            Reason::WouldBeUndone { collection } => write!(
                f,
                "Milvus' own balancer would move segments of collection {collection} afterwards, and the mode is within"
            ),
            Reason::ShardUnknown { collection } => write!(
                f,
                "channels of collection {collection} own nodes, and it could not be read which (is [management] set?)"
            ),
            Reason::MixedVersions => f.write_str("its nodes run different versions: an upgrade is under way"),
            Reason::CollectionUnready { collection } => {
                write!(f, "collection {collection} is not fully loaded or could not be read whole")
            }
            Reason::NodeUnfit { node, standing } => write!(f, "node {node} is {standing}"),
            Reason::Settling { node, remaining } => {
                write!(
                    f,
                    "a move from or to node {node} has just landed; its figures settle for another {}",
                    spoken(remaining)
                )
            }
            Reason::NotTaken { node, remaining } => {
                write!(
                    f,
                    "node {node} did not take a segment a short while ago and is left alone for another {}",
                    spoken(remaining)
                )
            }
            Reason::WarmingUp { node, share, remaining } => write!(
                f,
                "node {node} is new: it may have {} of its fair share by now, and all of it in {}",
                share.percent(),
                spoken(remaining)
            ),
            Reason::CollectionMovedEnough { collection, limit, within } => write!(
                f,
                "of collection {collection}, at most {} may be moved within {}",
                limit.percent(),
                spoken(within)
            ),
            Reason::NodeMovedEnough { node, limit, within } => {
                write!(f, "at most {limit} may be moved from and to node {node} within {}", spoken(within))
            }
            Reason::CapacityUnknown { node } => write!(f, "the memory capacity of node {node} is not known"),
            Reason::NoHeadroom { node, needed, room } => {
                write!(
                    f,
                    "node {node} has room for {room} more below its limit, and {needed} would have to fit"
                )
            }
            Reason::AboveLimit { node, dimension, limit } => write!(
                f,
                "node {node} would be filled above {} of its capacity, which is the limit of the policy {dimension}",
                limit.percent()
            ),
            Reason::NeverDestination { node } => write!(f, "a policy forbids node {node} as a destination"),
            Reason::Draining { node } => write!(f, "node {node} is being emptied"),
            Reason::NeverSource { node } => write!(f, "a policy forbids to take anything off node {node}"),
            Reason::Excluded { node } => write!(f, "a policy leaves node {node} out of everything"),
            Reason::CollectionPinned { collection } => {
                write!(f, "a policy keeps collection {collection} where it is")
            }
            Reason::ReplicaPinned { replica } => write!(f, "a policy keeps replica {replica} where it is"),
            Reason::Held { held } => held.fmt(f),
            Reason::Pinned => f.write_str("a policy pins the segment"),
            Reason::KeptApart { node } => {
                write!(f, "a policy wants it apart from a segment that is on node {node}")
            }
            Reason::InFlight => f.write_str("the segment is on its way already"),
            Reason::CoolingDown { remaining } => {
                write!(
                    f,
                    "the segment was moved a short while ago and stays for another {}",
                    spoken(remaining)
                )
            }
            Reason::ReturnTooSoon { node, remaining } => {
                write!(
                    f,
                    "the segment left node {node} a short while ago and may return in {}",
                    spoken(remaining)
                )
            }
            Reason::BytesReturnTooSoon { node, bytes, remaining } => write!(
                f,
                "{bytes} of the collection came from node {node} a short while ago and may return in {}",
                spoken(remaining)
            ),
            Reason::FailedBefore { node, times, remaining } => {
                write!(
                    f,
                    "the segment could not be moved to node {node} {times} times; it is not tried for another {}",
                    spoken(remaining)
                )
            }
            Reason::NoImprovement => {
                f.write_str("no move lowers the pressure: the segments are too large for a better split")
            }
            Reason::NotWorthItsPrice => f.write_str("the best move would gain less than it costs"),
            Reason::GainTooSmall { gain, gainable, minimum } => write!(
                f,
                "all moves together would lower pressures by {} of the {} that can be gained, and less than {} is not \
                 worth the unrest",
                fine(*gain),
                fine(*gainable),
                fine(*minimum)
            ),
            Reason::NotLongEnough { turns, required } => {
                write!(f, "overloaded for {turns} of the {required} turns in a row that are required")
            }
            Reason::DoesNotMatter { utilisation, matters_above } => write!(
                f,
                "only {} used, and unevenness matters from {} on",
                utilisation.percent(),
                matters_above.percent()
            ),
            Reason::OverloadImmovable { pressure, immovable } => write!(
                f,
                "its load is {pressure} times an even share, but {} of it is nothing that moves can change",
                immovable.percent()
            ),
            Reason::Saturated { dimension, utilisation, full_from } => write!(
                f,
                "all nodes that could share with it are full ({dimension}: each used by at least {}, full is {}): add \
                 query nodes",
                utilisation.percent(),
                full_from.percent()
            ),
            Reason::NothingMovable => f.write_str("nothing on the node can be moved"),
            Reason::NoDestination => f.write_str("no other node of the replica can take it"),
            Reason::EffortSpent => f.write_str("the effort budget of the planner ran out"),
            Reason::EarlierStepRefused => f.write_str("an earlier step of the plan was refused"),
            Reason::NotOnSource { node } => write!(f, "the segment is not on node {node} any more"),
            Reason::SegmentGone => f.write_str("the segment is not listed any more"),
            Reason::BreakerOpen { remaining } => write!(
                f,
                "calls failed one after the other, and nothing is sent for another {}",
                spoken(remaining)
            ),
            Reason::BreakerTesting => {
                f.write_str("calls failed one after the other, and one move must land before others are sent")
            }
            Reason::CallRate { per_minute } => write!(f, "at most {per_minute} calls a minute"),
            Reason::InFlightLimit { limit } => write!(f, "{limit} calls are in flight, which is the limit"),
            Reason::NodeInFlightLimit { node, limit } => {
                write!(f, "node {node} takes part in {limit} calls in flight, which is the limit for a node")
            }
            Reason::MovesInFlight { limit } => {
                write!(f, "{limit} segments are on their way, which is the limit")
            }
            Reason::SourceMovesInFlight { node, limit } => {
                write!(
                    f,
                    "{limit} segments are on their way from node {node}, which is the limit for a source"
                )
            }
            Reason::DestinationMovesInFlight { node, limit } => {
                write!(
                    f,
                    "{limit} segments are on their way to node {node}, which is the limit for a destination"
                )
            }
            Reason::CollectionMovesInFlight { collection, limit } => write!(
                f,
                "{limit} segments of collection {collection} are on their way, which is the limit for a collection"
            ),
            Reason::ByteRate { per_second } => write!(f, "at most {per_second} a second"),
            Reason::HourlyMoves { limit } => {
                write!(f, "{limit} segments may be moved in an hour, and that is spent")
            }
            Reason::DailyMoves { limit } => {
                write!(f, "{limit} segments may be moved in 24 hours, and that is spent")
            }
            Reason::HourlyBytes { limit } => write!(f, "{limit} may be moved in an hour, and that is spent"),
            Reason::EarlierStepOpen => {
                f.write_str("an earlier step of the plan, on which this one builds, has not landed yet")
            }
            Reason::DailyBytes { limit } => write!(f, "{limit} may be moved in 24 hours, and that is spent"),
            Reason::WaveFull { size } => {
                write!(f, "the wave of {size} {} is full and must settle first", moves_in_words(size))
            }
            Reason::WaveUnjudged { moves } => {
                let what = moves_in_words(moves);
                write!(f, "the wave of {moves} {what} has ended; what it brought must be seen first")
            }
            Reason::UsersSlowed { signal, now, usual } => write!(
                f,
                "{signal} is {}, where {} is {}: no more is moved until that is over",
                signal.shown(*now),
                signal.shown(*usual),
                if *signal == Signal::DestinationMemory { "the most" } else { "usual" }
            ),
            Reason::GuardBlind => f.write_str(
                "guard.required is set, and how long searches take is not known: is [proxy_metrics] right, and does \
                 anybody search?",
            ),
            Reason::GuardLearning => f.write_str(
                "how long searches usually take is still being learnt; that takes a few looks without moves",
            ),
            Reason::NoRelief { waves, remaining } => write!(
                f,
                "{waves} waves of moves in a row brought no relief; nothing is moved for another {}",
                spoken(remaining)
            ),
        }
    }
}
/// The noun for so many moves.
fn moves_in_words(number: &impl ToString) -> &'static str {
    if number.to_string() == "1" { "move" } else { "moves" }
}
