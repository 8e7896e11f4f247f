//! Keeps the query nodes of a Milvus cluster evenly loaded.
//!
//! ```text
//!                I/O                ┌───────────────── pure ─────────────────┐              I/O
//!  Milvus gRPC ──▶ observe ──▶  model ──▶ policy ──▶ plan ──▶ gate ──▶ execute ──▶ Milvus LoadBalance
//!  node /metrics ─────▶ ▲      fold into  what load   steps    may we?    batches, limits,
//!                       │      a Snapshot is          + proof  verdict    verify, journal
//!                       └──────────────── next turn ◀──── journal · metrics · health
//! ```
//!
//! One turn of the control loop goes through this line once. The folders have the same names.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control_loop;
pub mod demo;
pub mod execute;
#[doc(hidden)]
pub mod foreign;
pub mod gate;
pub mod http;
pub mod journal;
pub mod kill_switch;
pub mod lease;
pub mod metrics;
pub mod milvus;
pub mod model;
pub mod observe;
pub mod plan;
pub mod plugin;
pub mod policy;
pub mod reason;
pub mod replay;
pub mod report;
pub mod service_manager;
pub mod sim;
pub mod situation;
pub mod telemetry;
pub mod turn;
pub mod units;
pub mod version;
mod watched_files;
