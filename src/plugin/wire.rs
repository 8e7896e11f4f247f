//! The generated messages, client and server of `proto/policy.proto`. The server is what tests pretend to be.

#[allow(missing_docs, clippy::all, clippy::pedantic)] // generated; proto/ explains the messages
mod generated {
    include!(concat!(env!("OUT_DIR"), "/policy_wire.rs"));
}

pub use generated::milvus_rebalancer::policy::v1::*;
