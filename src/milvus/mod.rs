//! The only place that knows tonic and Milvus' status codes.

mod error;
mod settings;

pub use error::{MilvusError, Remedy};
pub use settings::{ConnectionSettings, TlsSettings};
