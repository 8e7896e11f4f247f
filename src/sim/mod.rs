//! A simulated Milvus that behaves like the real one, its faults included, on a clock that it is given.
//!
//! ```text
//!  build ──▶ world ── advance(to) ──▶ tasks, lifecycle, churn, traffic, own_balancer, faults
//!              │
//!              ├── answers ──▶ server (gRPC, HTTP on loopback)
//!              │          └──▶ seams  (Observer, Mover, for fast tests)
//!              └── invariants
//! ```
//!
//! The world is pure: no clock, no tasks, no chance but its seed. What sets the versions of Milvus apart is a
//! table (`profile`). 2.2 and 2.3 were measured on real clusters, the others are read from Milvus' sources.

pub mod answers;
pub mod build;
pub mod calls;
mod churn;
pub mod cluster;
pub mod configs;
pub mod faults;
pub mod invariants;
mod lifecycle;
mod made_to_order;
mod management;
pub mod operator;
mod own_balancer;
mod poll;
pub mod profile;
mod random;
pub mod seams;
pub mod server;
pub mod tasks;
#[cfg(test)]
mod tests;
mod traffic;
pub mod world;

pub use build::{WorldPlan, build};
pub use made_to_order::CollectionOrder;
pub use profile::{Line, Profile};
pub use seams::{SharedWorld, SimMover, SimObserver};
pub use server::SimServer;

pub use world::{World, WorldSettings};

/// Milvus' name for the resource group that everything belongs to unless told otherwise.
pub const DEFAULT_RESOURCE_GROUP: &str = "__default_resource_group";
/// Milvus' name for the database that is meant when none is named.
pub const DEFAULT_DATABASE: &str = "default";
