//! Model: folds observations into a [`Snapshot`], pure. Rates, calibration, doubts and the memory of what moved
//! live here; nothing here reads a clock or the network.

mod check;
mod checkpoint;
mod components;
pub mod controls;
mod copies;
mod digest;
pub mod doubt;
mod exact_bytes;
pub mod fold;
mod foreign;
pub mod guard;
pub mod held_plan;
pub mod history;
pub mod input;
mod listing;
pub mod milvus_score;
pub mod net_zero;
pub mod nodes_seen;
pub mod out_of_band;
pub mod own_balancer;
pub mod points;
pub mod restart;
pub mod server_figures;
pub mod signals;
pub mod snapshot;
pub mod spread;
mod standing;
mod unexplained;
mod visibility;

pub use check::SnapshotError;
pub use checkpoint::Checkpoint;
pub use components::link_components;
pub use controls::{Approval, Controls, Drain, Pause, Thrown};
pub use copies::CopiesMemory;
pub use digest::{SnapshotDigest, SnapshotDigestError};
pub use doubt::{Doubt, DoubtKind, Subject};
pub use fold::{ModelState, RowBytes, fold};
pub use guard::{Guard, GuardInput, GuardSettings, GuardView, Signal};
pub use held_plan::{HeldPlan, MoveKey};
pub use history::{Blame, Departure, ForeignMove, History, KnownMove, Setback};
pub use input::{InFlight, PlanningInput};
pub use net_zero::{Actor, EndedMove, NetZero, NetZeroShare};
pub use nodes_seen::NodesSeen;
pub use out_of_band::{BandTime, OutOfBand};
pub use own_balancer::{BalancerSettings, BalancerState, OwnBalancer};
pub use restart::Remembered;
pub use signals::{CapacitySettings, SignalSettings, Signals};
pub use snapshot::{
    BytesSource, Collection, CollectionIndex, Component, ComponentIndex, CopyIndex, CopyRow, Held, Member,
    Node, NodeIndex, Replica, ReplicaIndex, SegmentCopies, Snapshot, Standing,
};
