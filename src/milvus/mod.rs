//! The only place that knows tonic and Milvus' status codes.

mod error;
pub mod wire;

pub use error::{MilvusError, Remedy};
