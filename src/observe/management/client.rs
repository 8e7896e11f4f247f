//! Asks the pages and turns what they say into a report: what is wrong, foreign or too much becomes a gap, the rest
//! stands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::lenient::{Text, Whole};
use super::{ManagementReport, ManagementSettings, NodeState, ReplicaDetail, SegmentDetail, TaskReport};
use crate::observe::NodeMetricsError;
use crate::observe::gaps::gap;
use crate::observe::node_metrics::{http_client, parse_page_address};
use crate::observe::observation::{Gap, GapSubject, ManagementPart, ServerVersion};
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

/// What is wrong with a page, or with its address.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// Not an address.
    #[error("management.proxies: {url:?} is not an address such as http://10.0.0.5:9091")]
    Url {
        /// As configured.
        url: String,
    },
    /// The HTTP client cannot be made.
    #[error("Milvus' management pages cannot be read")]
    Client(#[source] NodeMetricsError),
    /// The page was not had.
    #[error("cannot read {url}: is it the metrics port of a proxy, and open to us?")]
    Unreachable {
        /// The page.
        url: Url,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// Something else than a page.
    #[error("{url} answers with {status}{hint}")]
    Status {
        /// The page.
        url: Url,
        /// The answer.
        status: StatusCode,
        /// What that may mean.
        hint: &'static str,
    },
    /// Too much of a page.
    #[error("{url} is larger than {limit}: raise management.max_body, or set management.segments = false")]
    TooLarge {
        /// The page.
        url: Url,
        /// Our limit.
        limit: Bytes,
    },
    /// A page, but not what Milvus writes.
    #[error("{url} does not hold what Milvus writes there")]
    NotMilvus {
        /// The page.
        url: Url,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Ids that cannot be right.
    #[error(
        "{url}: {count} entries were left out, because their ids are missing or went through floating point"
    )]
    Ids {
        /// The page.
        url: Url,
        /// How many.
        count: usize,
    },
}

/// Reads Milvus' own HTTP pages.
pub(in crate::observe) struct Management {
    http: reqwest::Client,
    proxies: Vec<Url>,
    settings: ManagementSettings,
}

impl Management {
    /// A reader; `None` when the settings name no address.
    pub(in crate::observe) fn new(
        settings: &ManagementSettings,
    ) -> Result<Option<Management>, ManagementError> {
        if settings.proxies.is_empty() {
            return Ok(None);
        }
        let address = |text: &String| {
            parse_page_address(text).ok_or_else(|| ManagementError::Url { url: text.clone() })
        };
        let proxies = settings.proxies.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let http = http_client(settings.timeout).map_err(ManagementError::Client)?;
        Ok(Some(Management { http, proxies, settings: settings.clone() }))
    }

    /// Everything that this version serves, from the first proxy that answers.
    pub(in crate::observe) async fn read(
        &self,
        server: &ServerVersion,
        read_at: Timestamp,
    ) -> (Option<ManagementReport>, Vec<Gap>) {
        let mut unreachable = Vec::new();
        for proxy in &self.proxies {
            let (report, gaps, was_reached) = self.read_from(proxy, server, read_at).await;
            if was_reached {
                return (Some(report), gaps);
            }
            unreachable = gaps;
        }
        (None, unreachable)
    }

    async fn read_from(
        &self,
        proxy: &Url,
        server: &ServerVersion,
        read_at: Timestamp,
    ) -> (ManagementReport, Vec<Gap>, bool) {
        let mut report = ManagementReport {
            read_at,
            source: proxy.to_string(),
            is_suspended: None,
            settings: None,
            segments: None,
            replicas: None,
            nodes: None,
            tasks: None,
        };
        let mut notes = Notes::default();
        // An unknown version is asked for everything: it says itself what it has not.
        let is_at_least = |minor| server.number.is_none() || server.at_least(2, minor);
        if !is_at_least(4) {
            notes.absent(ManagementPart::Everything, "Milvus serves it from 2.4 on");
            return (report, notes.gaps, true);
        }
        let (status, nodes) = futures::join!(
            self.get::<StatusPage>(proxy, "management/querycoord/balance/status"),
            self.get::<NodesPage>(proxy, "management/querycoord/node/list"),
        );
        report.is_suspended =
            notes.take(ManagementPart::BalancerState, status).and_then(|page| page.is_suspended());
        report.nodes = notes.take(ManagementPart::Nodes, nodes).map(NodesPage::states);
        if !is_at_least(5) {
            notes.absent(ManagementPart::WebUi, "Milvus serves it from 2.5 on");
            return (report, notes.gaps, notes.was_reached);
        }
        let (configs, replicas, tasks, segments) = futures::join!(
            self.get::<BTreeMap<String, Text>>(proxy, "api/v1/_cluster/configs"),
            self.get::<Vec<ReplicaRow>>(proxy, "api/v1/_qc/replica"),
            self.get::<Vec<TaskRow>>(proxy, "api/v1/_qc/tasks"),
            self.segments(proxy),
        );
        report.settings = notes.take(ManagementPart::Settings, configs).map(balancer_settings);
        let url = page(proxy, "api/v1/_qc/replica");
        report.replicas = notes
            .take(ManagementPart::Replicas, replicas)
            .map(|rows| notes.with_ids(ManagementPart::Replicas, &url, rows, ReplicaRow::detail));
        report.tasks = notes
            .take(ManagementPart::Tasks, tasks)
            .map(|rows| rows.into_iter().map(TaskRow::report).collect());
        let url = page(proxy, "api/v1/_qn/segments");
        report.segments = segments.and_then(|answer| {
            let rows = notes.take(ManagementPart::Segments, answer)?;
            Some(notes.with_ids(ManagementPart::Segments, &url, rows, SegmentRow::detail))
        });
        (report, notes.gaps, notes.was_reached)
    }

    async fn segments(&self, proxy: &Url) -> Option<Result<Vec<SegmentRow>, ManagementError>> {
        if !self.settings.segments {
            return None;
        }
        Some(self.get(proxy, "api/v1/_qn/segments").await)
    }

    async fn get<T: DeserializeOwned>(&self, proxy: &Url, path: &str) -> Result<T, ManagementError> {
        let url = page(proxy, path);
        // The address stands in our own message.
        let unreachable = |error: reqwest::Error| ManagementError::Unreachable {
            url: url.clone(),
            source: error.without_url(),
        };
        let mut response = self.http.get(url.clone()).send().await.map_err(unreachable)?;
        let status = response.status();
        if status != StatusCode::OK {
            let hint = match status {
                StatusCode::NOT_FOUND => ": this version does not serve it",
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    ": Milvus wants credentials for it, which we do not send there"
                }
                _ => "",
            };
            return Err(ManagementError::Status { url, status, hint });
        }
        let limit = usize::try_from(self.settings.max_body.0).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(ManagementError::TooLarge { url, limit: self.settings.max_body });
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|source| ManagementError::NotMilvus { url, source })
    }
}

fn page(proxy: &Url, path: &str) -> Url {
    let mut url = proxy.clone();
    url.set_path(&format!("{}/{path}", proxy.path().trim_end_matches('/')));
    url
}

/// What went wrong so far, and whether anything answered at all.
#[derive(Default)]
struct Notes {
    gaps: Vec<Gap>,
    was_reached: bool,
}

impl Notes {
    fn take<T>(&mut self, part: ManagementPart, answer: Result<T, ManagementError>) -> Option<T> {
        match answer {
            Ok(page) => {
                self.was_reached = true;
                Some(page)
            }
            Err(error) => {
                self.was_reached |= !matches!(error, ManagementError::Unreachable { .. });
                self.gaps.push(gap(GapSubject::Management { part }, &error));
                None
            }
        }
    }

    /// The rows whose ids can be trusted; the others are counted in a gap.
    fn with_ids<R, T>(
        &mut self,
        part: ManagementPart,
        url: &Url,
        rows: Vec<R>,
        read: impl Fn(R) -> Option<T>,
    ) -> Vec<T> {
        let all = rows.len();
        let read: Vec<T> = rows.into_iter().filter_map(read).collect();
        if read.len() < all {
            let error = ManagementError::Ids { url: url.clone(), count: all - read.len() };
            self.gaps.push(gap(GapSubject::Management { part }, &error));
        }
        read
    }

    fn absent(&mut self, part: ManagementPart, why: &str) {
        self.gaps.push(Gap { subject: GapSubject::Management { part }, cause: why.to_owned() });
    }
}

#[derive(Deserialize)]
struct StatusPage {
    #[serde(default)]
    status: Text,
}

impl StatusPage {
    fn is_suspended(&self) -> Option<bool> {
        match self.status.0.as_str() {
            "active" => Some(false),
            "suspended" => Some(true),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct NodesPage {
    #[serde(rename = "nodeInfos", default)]
    nodes: Vec<NodeRow>,
}

#[derive(Deserialize)]
struct NodeRow {
    #[serde(rename = "ID", default)]
    id: Whole,
    #[serde(default)]
    state: Text,
}

impl NodesPage {
    fn states(self) -> BTreeMap<NodeId, NodeState> {
        let state = |row: NodeRow| {
            let state = match row.state.0.as_str() {
                "active" => NodeState::Active,
                "stopping" => NodeState::Stopping,
                "suspended" => NodeState::Suspended,
                _ => NodeState::Other,
            };
            Some((NodeId(row.id.0?), state))
        };
        self.nodes.into_iter().filter_map(state).collect()
    }
}

#[derive(Deserialize)]
struct ReplicaRow {
    #[serde(rename = "ID", default)]
    id: Whole,
    #[serde(default)]
    ro_nodes: Option<Vec<Whole>>,
    #[serde(default)]
    channel_to_rw_nodes: Option<BTreeMap<String, Option<Vec<Whole>>>>,
}

impl ReplicaRow {
    /// `None` without an id. `rw_nodes` is not read: Milvus fills it from the list of all nodes.
    fn detail(self) -> Option<ReplicaDetail> {
        let ids = |nodes: Option<Vec<Whole>>| -> Vec<NodeId> {
            nodes.into_iter().flatten().filter_map(|node| node.0.map(NodeId)).collect()
        };
        let exclusive = self.channel_to_rw_nodes.into_iter().flatten();
        Some(ReplicaDetail {
            replica: ReplicaId(self.id.0?),
            read_only: ids(self.ro_nodes),
            exclusive: exclusive.map(|(channel, nodes)| (channel, ids(nodes))).collect(),
        })
    }
}

#[derive(Deserialize)]
struct TaskRow {
    #[serde(default)]
    collection_id: Whole,
    #[serde(default)]
    task_type: Text,
    #[serde(default)]
    task_status: Text,
    #[serde(default)]
    reason: Text,
}

impl TaskRow {
    fn report(self) -> TaskReport {
        TaskReport {
            collection: self.collection_id.0.map(CollectionId),
            kind: self.task_type.0,
            status: self.task_status.0,
            reason: self.reason.0,
        }
    }
}

#[derive(Deserialize)]
struct SegmentRow {
    #[serde(default)]
    segment_id: Whole,
    #[serde(default)]
    collection_id: Whole,
    #[serde(default)]
    node_id: Whole,
    #[serde(default)]
    channel: Text,
    #[serde(default)]
    num_of_rows: Whole,
    #[serde(default)]
    mem_size: Whole,
    #[serde(default)]
    state: Text,
}

impl SegmentRow {
    fn detail(self) -> Option<SegmentDetail> {
        Some(SegmentDetail {
            segment: SegmentId(self.segment_id.0?),
            collection: CollectionId(self.collection_id.0?),
            node: NodeId(self.node_id.0?),
            channel: self.channel.0,
            rows: Rows(self.num_of_rows.amount()),
            bytes: Bytes(self.mem_size.amount()),
            is_growing: self.state.0 == "Growing",
        })
    }
}

/// The settings of the query coordinator by bare names: how they are written differs from version to version, and the
/// rest is nobody's business here.
fn balancer_settings(all: BTreeMap<String, Text>) -> BTreeMap<String, String> {
    let bare = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let of_coordinator =
        |(name, value): (String, Text)| Some((bare(&name).strip_prefix("querycoord")?.to_owned(), value.0));
    all.into_iter().filter_map(of_coordinator).collect()
}
