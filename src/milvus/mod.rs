//! The only place that knows tonic and Milvus' status codes.

mod error;

pub use error::{MilvusError, Remedy};
