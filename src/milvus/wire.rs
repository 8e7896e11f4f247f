//! The generated messages, client and server of `proto/`, under short names. Nothing outside `milvus`, the
//! simulated Milvus and the tests speaks it.

#[allow(missing_docs, clippy::all, clippy::pedantic)] // generated; proto/ explains the messages
mod generated {
    include!(concat!(env!("OUT_DIR"), "/milvus_wire.rs"));
}

pub use generated::milvus::proto::{common, milvus, schema};
