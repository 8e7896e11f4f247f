//! The only place that knows tonic and Milvus' status codes.

mod answers;
mod classify;
mod client;
mod error;
mod link;
mod mover;
mod refusal;
mod settings;
pub mod wire;

pub use answers::{Health, LoadedCollection};
pub use client::{INSTANCE_HEADER, MilvusClient};
pub use error::{Call, Failure, MilvusError, Remedy, Target};
pub use mover::MilvusMover;
pub use refusal::{Refusal, blames_destination};
pub use settings::{ConnectionSettings, SettingsError, TlsSettings};
