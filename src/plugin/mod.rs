//! Asks policy plug-ins: other processes that have their own idea of load (`proto/policy.proto`). All are asked at once,
//! each within its deadline, and what comes of it, answer or fault, is data for the recorded observation. Nothing here
//! judges whether an answer fits the cluster: that is done in the pure half, [`crate::policy::plugin`].

mod client;
mod request;
mod response;
pub mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Snapshot;
use crate::observe::opinion::Hearing;
use crate::policy::plugin::PluginSettings;
pub use client::EndpointError;
use client::Plugin;

/// For fuzzing: what a plug-in answers over the wire. The first byte says how much of it describes it; the rest is its
/// opinion.
pub(crate) fn read_anything(bytes: &[u8]) {
    use prost::Message;
    let Some((length, bytes)) = bytes.split_first() else { return };
    let (described, assessed) = bytes.split_at(usize::from(*length).min(bytes.len()));
    let Ok(described) = wire::DescribeResponse::decode(described) else { return };
    let (Ok(described), Ok(assessed)) =
        (response::description(described), wire::AssessResponse::decode(assessed))
    else {
        return;
    };
    drop(response::opinion(&described, assessed));
}

/// All plug-ins that are switched on. Without any, nothing costs anything.
#[derive(Default)]
pub struct Plugins {
    plugins: Vec<Plugin>,
}

/// What came of asking a plug-in, and how long it took; times are not recorded, because a replay takes none.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is recorded.
    pub hearing: Hearing,
    /// From the first call to the last answer.
    pub took: Duration,
}

impl Plugins {
    /// Those of a configuration. Nobody is asked yet; fails on an endpoint that is none.
    pub fn new(settings: &BTreeMap<String, PluginSettings>) -> Result<Plugins, EndpointError> {
        let enabled = settings.iter().filter(|(_, settings)| settings.enabled);
        let plugins: Result<Vec<Plugin>, EndpointError> =
            enabled.map(|(name, settings)| Plugin::new(name, settings)).collect();
        Ok(Plugins { plugins: plugins? })
    }

    /// Whether there is anybody to be asked.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Asks all at once. It takes as long as the slowest, and no longer than the longest deadline.
    pub async fn ask(&self, snapshot: &Snapshot) -> Vec<Asked> {
        if self.is_empty() {
            return Vec::new();
        }
        let request = request::aggregates(snapshot);
        let asking = self.plugins.iter().map(|plugin| async {
            let began = Instant::now();
            let outcome = plugin.ask(&request, snapshot).await;
            let hearing = Hearing { plugin: plugin.name().to_owned(), outcome };
            Asked { hearing, took: began.elapsed() }
        });
        futures::future::join_all(asking).await
    }
}
