//! One plug-in: its connection, what it last said it is, and the two or three calls of a turn.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::response::{self, Description, ResponseError, shortened};
use super::wire::policy_plugin_client::PolicyPluginClient;
use super::{request, wire};
use crate::model::{NodeIndex, Snapshot};
use crate::observe::opinion::{HearingOutcome, Opinion, PluginFault};
use crate::policy::plugin::PluginSettings;
use crate::units::{Bytes, NodeId};

/// How often a connection that lies still is tried, so that a peer whose machine is gone is noticed before the next turn.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// What tonic says of an answer above the limit.
const TOO_LARGE: &str = "message length too large";

/// An endpoint that is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "policies.plugins.{plugin}.endpoint: {endpoint:?} is neither unix:/path/of/socket nor http://host:port"
)]
pub struct EndpointError {
    /// The plug-in.
    plugin: String,
    /// As configured.
    endpoint: String,
    /// What is wrong with it.
    #[source]
    source: tonic::transport::Error,
}

pub(super) struct Plugin {
    name: String,
    rpc: PolicyPluginClient<Channel>,
    deadline: Duration,
    max_answer: Bytes,
    /// As of the last turn in which it described itself.
    described: Mutex<Option<Description>>,
}

impl Plugin {
    pub(super) fn new(name: &str, settings: &PluginSettings) -> Result<Plugin, EndpointError> {
        let wrong =
            |source| EndpointError { plugin: name.to_owned(), endpoint: settings.endpoint.clone(), source };
        let channel = Endpoint::from_shared(settings.endpoint.clone())
            .map_err(wrong)?
            .connect_timeout(settings.deadline)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(settings.deadline)
            .connect_lazy();
        let limit = usize::try_from(settings.max_answer.0).unwrap_or(usize::MAX);
        Ok(Plugin {
            name: name.to_owned(),
            rpc: PolicyPluginClient::new(channel).max_decoding_message_size(limit),
            deadline: settings.deadline,
            max_answer: settings.max_answer,
            described: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks, and gives up at the deadline.
    pub(super) async fn ask(&self, request: &wire::AssessRequest, snapshot: &Snapshot) -> HearingOutcome {
        match tokio::time::timeout(self.deadline, self.exchange(request, snapshot)).await {
            Ok(Ok(opinion)) => HearingOutcome::Heard(opinion),
            Ok(Err(fault)) => HearingOutcome::LeftOut(fault),
            Err(_) => HearingOutcome::LeftOut(PluginFault::Late { after: self.deadline }),
        }
    }

    async fn exchange(
        &self,
        request: &wire::AssessRequest,
        snapshot: &Snapshot,
    ) -> Result<Opinion, PluginFault> {
        let description = self.describe().await?;
        let mut answer = self.assess(request.clone()).await?;
        if !answer.segments_of_nodes.is_empty() {
            let nodes = asked_for(&answer.segments_of_nodes, snapshot)?;
            let segments = request::segments(snapshot, &nodes);
            answer = self.assess(wire::AssessRequest { segments, ..request.clone() }).await?;
            if !answer.segments_of_nodes.is_empty() {
                return Err(wrong("it asks for segments a second time in one turn"));
            }
        }
        response::opinion(&description, answer).map_err(malformed)
    }

    /// What it says it is, if that is what it said before.
    async fn describe(&self) -> Result<Description, PluginFault> {
        let question = wire::DescribeRequest { daemon_version: env!("CARGO_PKG_VERSION").to_owned() };
        let answer = self.rpc.clone().describe(question).await;
        let answer = answer.map_err(|status| self.fault("Describe", &status))?.into_inner();
        let now = response::description(answer).map_err(malformed)?;
        // Nothing here panics half-way through a change.
        let before = self.described.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        match before {
            Some(before) if before != now => {
                Err(PluginFault::Changed { before: before.to_string(), now: now.to_string() })
            }
            _ => Ok(now),
        }
    }

    async fn assess(&self, question: wire::AssessRequest) -> Result<wire::AssessResponse, PluginFault> {
        let answer = self.rpc.clone().assess(question).await;
        Ok(answer.map_err(|status| self.fault("Assess", &status))?.into_inner())
    }

    fn fault(&self, call: &str, status: &Status) -> PluginFault {
        if status.message().contains(TOO_LARGE) {
            return PluginFault::TooLarge { limit: self.max_answer };
        }
        let mut cause = status.message().to_owned();
        let mut source = status.source();
        while let Some(error) = source {
            cause = error.to_string();
            source = error.source();
        }
        let cause = shortened(&cause);
        if status.code() == Code::Unavailable {
            return PluginFault::Unreachable { cause };
        }
        PluginFault::CallFailed { cause: format!("{call} ended with {:?}: {cause}", status.code()) }
    }
}

/// The nodes whose segments a plug-in wants to see.
fn asked_for(ids: &[i64], snapshot: &Snapshot) -> Result<BTreeSet<NodeIndex>, PluginFault> {
    let index = |id: &i64| {
        let unknown = || wrong(&format!("it asks for the segments of node {id}, which it was not shown"));
        snapshot.node_index(NodeId(*id)).ok_or_else(unknown)
    };
    ids.iter().map(index).collect()
}

fn wrong(problem: &str) -> PluginFault {
    PluginFault::Wrong { problem: problem.to_owned() }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn malformed(error: ResponseError) -> PluginFault {
    wrong(&error.to_string())
}
