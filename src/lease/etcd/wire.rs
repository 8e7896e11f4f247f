//! The generated messages and clients of `proto/etcd.proto`, under short names. Nothing outside of this folder speaks
//! them.

#[allow(missing_docs, clippy::all, clippy::pedantic)] // generated; proto/ explains the messages
mod generated {
    include!(concat!(env!("OUT_DIR"), "/etcd_wire.rs"));
}

pub use generated::etcdserverpb::*;
