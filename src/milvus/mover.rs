//! The writing seam on a real Milvus.

use std::time::Duration;

use super::client::MilvusClient;
use super::error::MilvusError;
use crate::execute::{MoveCall, Mover};
use crate::observe::SeamFuture;

/// Sends moves to Milvus.
pub struct MilvusMover {
    client: MilvusClient,
    call_timeout: Option<Duration>,
}

impl MilvusMover {
    /// A mover that waits this long for each answer, or without limit. The server itself answers after 120 s
    /// (300 s in later versions) whatever happened.
    pub fn new(client: MilvusClient, call_timeout: Option<Duration>) -> MilvusMover {
        MilvusMover { client, call_timeout }
    }
}

impl Mover for MilvusMover {
    fn load_balance<'a>(&'a self, call: &'a MoveCall) -> SeamFuture<'a, Result<(), MilvusError>> {
        Box::pin(self.client.load_balance(call, self.call_timeout))
    }
}
