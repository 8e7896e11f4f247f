//! Model: folds observations into a [`Snapshot`], pure. Rates, calibration, doubts and the memory of what moved
//! live here; nothing here reads a clock or the network.

mod components;
mod copies;
pub mod doubt;
pub mod fold;
mod foreign;
pub mod guard;
pub mod history;
pub mod input;
pub mod milvus_score;
pub mod snapshot;
mod standing;
mod unexplained;
mod visibility;

pub use doubt::{Doubt, DoubtKind, Subject};
pub use fold::{ModelState, RowBytes, fold};
pub use guard::{Guard, GuardInput, GuardSettings, GuardView, Signal};
pub use history::{Departure, ForeignMove, History, KnownMove, Setback};
pub use input::{InFlight, PlanningInput};
pub use snapshot::{
    BytesSource, Collection, CollectionIndex, Component, ComponentIndex, CopyIndex, Held, Member, Node,
    NodeIndex, Replica, ReplicaIndex, SegmentCopies, Snapshot, Standing,
};
