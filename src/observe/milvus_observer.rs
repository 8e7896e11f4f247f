//! The reading seam on a real Milvus: one poll asks everything there is to ask, as much of it at once as the
//! client allows, and what cannot be had becomes a [`Gap`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::distribution::Distribution;
use super::gaps::{gap, with_causes};
use super::management::{Management, ManagementError, ManagementSettings};
use super::node_metrics::{NodeMetrics, NodeMetricsError};
use super::observation::{
    CollectionReport, Gap, GapSubject, NodeReport, NodeRole, Observation, ResourceGroupReport, ServerVersion,
};
use super::prometheus::{self, Prometheus};
use super::proxy_metrics::ProxyPage;
use super::proxy_metrics::{ProxyMetrics, ProxyMetricsSettings};
use super::row_estimates::{RowEstimate, RowEstimates};
use super::service::ServiceReport;
use super::signals::{NodeCounters, SignalReport};
use super::system_info::SystemInfo;
use super::{
    NodeMetricsSettings, ObserveError, Observer, SeamFuture, health, row_size, system_info, translate,
};
use crate::clock::Clock;
use crate::milvus::wire::common::LoadState;
use crate::milvus::wire::milvus::ResourceGroup;
use crate::milvus::{Failure, LoadedCollection, MilvusClient, MilvusError};
use crate::units::{CollectionId, NodeId};

/// The database of a server that has databases when none is named.
const DEFAULT_DATABASE: &str = "default";

/// A percentage that a collection must have to be worked on.
const FULLY_LOADED: u8 = 100;

/// Observes a Milvus.
pub struct MilvusObserver {
    client: MilvusClient,
    clock: Arc<Clock>,
    node_metrics: Option<NodeMetrics>,
    proxy_metrics: Option<ProxyMetrics>,
    prometheus: Option<Prometheus>,
    management: Option<Management>,
    row_estimates: RowEstimates,
    /// When `GetMetrics` was last asked, and its answer.
    system_info: Mutex<Option<(Instant, SystemInfo)>>,
    /// As of the last poll; a reread does not ask for them.
    load_percentages: Mutex<BTreeMap<CollectionId, u8>>,
}

/// The shortest time between two `GetMetrics`. The proxy answers from a cache that lives for 5 s *after the last
/// reader*: asked more often it never looks again, and hides nodes that came or went (measured on 2.3.5: the same
/// answer for 34 s when asked every 4 s, a fresh one when asked every 7 s).
pub(crate) const SYSTEM_INFO_PAUSE: Duration = Duration::from_secs(6);

/// All nodes, and what could not be read of them.
#[derive(Default)]
struct ReadNodes {
    nodes: Vec<NodeReport>,
    /// Read tasks that wait, where a node tells.
    waiting: BTreeMap<NodeId, u64>,
    /// What nodes count about themselves.
    counters: BTreeMap<NodeId, NodeCounters>,
    build_version: Option<String>,
    gaps: Vec<Gap>,
}

/// A collection as its database lists it.
struct Listed {
    database: String,
    collection: LoadedCollection,
}

impl MilvusObserver {
    /// An observer through this client. Fails only on settings; nothing is asked yet.
    pub fn new(
        client: MilvusClient,
        clock: Arc<Clock>,
        node_metrics: &NodeMetricsSettings,
    ) -> Result<MilvusObserver, NodeMetricsError> {
        Ok(MilvusObserver {
            client,
            clock,
            node_metrics: NodeMetrics::new(node_metrics)?,
            proxy_metrics: None,
            prometheus: None,
            management: None,
            row_estimates: RowEstimates::default(),
            system_info: Mutex::default(),
            load_percentages: Mutex::default(),
        })
    }

    /// Reads the proxies' own metrics, too, if there are any to read.
    pub fn with_proxy_metrics(
        mut self,
        settings: &ProxyMetricsSettings,
    ) -> Result<MilvusObserver, NodeMetricsError> {
        self.proxy_metrics = ProxyMetrics::new(settings)?;
        Ok(self)
    }

    /// Asks this Prometheus server, too.
    pub fn with_prometheus(mut self, prometheus: Option<Prometheus>) -> MilvusObserver {
        self.prometheus = prometheus;
        self
    }

    /// Reads Milvus' own HTTP pages, too, if there are any to read.
    pub fn with_management(mut self, its: &ManagementSettings) -> Result<MilvusObserver, ManagementError> {
        self.management = Management::new(its)?;
        Ok(self)
    }

    async fn poll(&self) -> Result<Observation, ObserveError> {
        let began = Instant::now();
        let started_at = self.clock.read().wall;
        let mut gaps = Vec::new();
        let (version, databases) = futures::join!(self.client.version(), self.client.list_databases());
        let databases = self.databases(databases, &mut gaps)?;
        let listed = self.list(databases, &mut gaps).await?;
        self.remember_load(&listed);

        let (collections, nodes, groups, proxies, (prometheus, query_gaps), (complaints, health_gap)) = futures::join!(
            Box::pin(self.collections(listed, &version)),
            Box::pin(self.nodes()),
            Box::pin(self.resource_groups()),
            Box::pin(self.proxies()),
            Box::pin(prometheus::read(self.prometheus.as_ref(), started_at)),
            Box::pin(health::read(&self.client)),
        );
        let (collections, collection_gaps) = collections;
        let ReadNodes { nodes, waiting, counters, build_version, gaps: node_gaps } = nodes;
        let (groups, group_gaps) = groups;
        let (proxy_pages, proxy_gaps) = proxies;
        let index_of =
            |report: &CollectionReport| Some((report.id, self.row_estimates.get(report.id)?.index?));
        let indexes = collections.iter().filter_map(index_of).collect();
        let mut signals = SignalReport { nodes: counters, indexes, ..SignalReport::default() };
        let mut proxies = BTreeMap::new();
        for (target, page) in proxy_pages {
            signals.proxies.insert(target.clone(), page.demand);
            proxies.insert(target, page.counters);
        }
        gaps.extend(collection_gaps.into_iter().chain(node_gaps).chain(group_gaps));
        gaps.extend(proxy_gaps.into_iter().chain(query_gaps).chain(health_gap));
        let server = version.ok().filter(|text| !text.is_empty()).or(build_version).unwrap_or_default();
        let server = ServerVersion::parse(&server);
        // Last, because what it says is about the segments that were listed just now.
        let (management, of_management) = match &self.management {
            Some(pages) => pages.read(&server, self.clock.read().wall).await,
            None => (None, Vec::new()),
        };
        gaps.extend(of_management);
        let resource_groups = groups.map(|groups| resource_group_reports(groups, &server));
        Ok(Observation {
            started_at,
            took: began.elapsed(),
            server,
            nodes,
            resource_groups,
            collections,
            service: ServiceReport { proxies, waiting },
            management,
            signals,
            complaints,
            prometheus,
            opinions: Vec::new(),
            gaps,
        })
    }

    /// The pages of all proxies that could be read.
    async fn proxies(&self) -> (BTreeMap<String, ProxyPage>, Vec<Gap>) {
        let (mut proxies, mut gaps) = (BTreeMap::new(), Vec::new());
        let Some(proxy_metrics) = &self.proxy_metrics else { return (proxies, gaps) };
        for (target, answer) in proxy_metrics.read(&self.clock).await {
            match answer {
                Ok(page) => drop(proxies.insert(target, page)),
                Err(error) => gaps.push(gap(GapSubject::ProxyMetrics { target }, &error)),
            }
        }
        (proxies, gaps)
    }

    /// The databases to look into.
    fn databases(
        &self,
        answer: Result<Vec<String>, MilvusError>,
        gaps: &mut Vec<Gap>,
    ) -> Result<Vec<String>, ObserveError> {
        match answer {
            Ok(mut names) => {
                names.sort_unstable();
                names.dedup();
                Ok(names)
            }
            // Before databases: the only one has no name.
            Err(error) if error.is_missing_call() => Ok(vec![String::new()]),
            Err(error) => match error.failure {
                Failure::PermissionDenied { .. } | Failure::Refused(_) | Failure::Rpc { .. } => {
                    gaps.push(gap(GapSubject::Databases, &error));
                    Ok(vec![self.client.default_database().unwrap_or(DEFAULT_DATABASE).to_owned()])
                }
                _ => Err(self.unreachable(error)),
            },
        }
    }

    /// The loaded collections of these databases, by id. Fails when not one of the databases could be read.
    async fn list(&self, databases: Vec<String>, gaps: &mut Vec<Gap>) -> Result<Vec<Listed>, ObserveError> {
        let mut answers: Vec<_> = stream::iter(databases)
            .map(|database| async move {
                let answer = self.client.loaded_collections(&database).await;
                (database, answer)
            })
            .buffer_unordered(self.client.concurrency())
            .collect()
            .await;
        answers.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut listed = Vec::new();
        let mut any_was_read = answers.is_empty();
        let mut first_error = None;
        for (database, answer) in answers {
            match answer {
                Ok(collections) => {
                    any_was_read = true;
                    let in_database = |collection| Listed { database: database.clone(), collection };
                    listed.extend(collections.into_iter().map(in_database));
                }
                Err(error) if error.collection_is_gone() => any_was_read = true,
                Err(error) => {
                    gaps.push(gap(GapSubject::Collections { database }, &error));
                    first_error = first_error.or(Some(error));
                }
            }
        }
        if !any_was_read && let Some(error) = first_error {
            return Err(self.unreachable(error));
        }
        // A server that does not know databases lists the same collections under each.
        listed.sort_by_key(|entry| entry.collection.id);
        listed.dedup_by_key(|entry| entry.collection.id);
        Ok(listed)
    }

    fn remember_load(&self, listed: &[Listed]) {
        let percentage = |entry: &Listed| Some((entry.collection.id, entry.collection.load_percentage?));
        let percentages = listed.iter().filter_map(percentage).collect();
        // Nothing here panics half-way through a change.
        *self.load_percentages.lock().unwrap_or_else(PoisonError::into_inner) = percentages;
    }

    /// Reads all collections, and the schemas of those that are new.
    async fn collections(
        &self,
        listed: Vec<Listed>,
        version: &Result<String, MilvusError>,
    ) -> (Vec<CollectionReport>, Vec<Gap>) {
        let version = ServerVersion::parse(version.as_deref().unwrap_or_default());
        let existing: Vec<CollectionId> = listed.iter().map(|entry| entry.collection.id).collect();
        let due: BTreeSet<CollectionId> = self.row_estimates.due(&existing).into_iter().collect();
        let (due, version) = (&due, &version);
        let answers: Vec<_> = stream::iter(listed)
            .map(|entry| async move {
                if due.contains(&entry.collection.id) {
                    self.estimate_rows(&entry).await;
                }
                self.collection(entry, version).await
            })
            .buffer_unordered(self.client.concurrency())
            .collect()
            .await;
        let (mut collections, mut gaps) = (Vec::new(), Vec::new());
        for (collection, of_collection) in answers.into_iter().flatten() {
            collections.push(collection);
            gaps.extend(of_collection);
        }
        collections.sort_by_key(|collection: &CollectionReport| collection.id);
        gaps.sort_by(|a: &Gap, b: &Gap| a.subject.cmp(&b.subject));
        (collections, gaps)
    }

    /// One collection; `None` when it was dropped, released or made anew since it was listed.
    async fn collection(
        &self,
        listed: Listed,
        version: &ServerVersion,
    ) -> Option<(CollectionReport, Vec<Gap>)> {
        let Listed { database, collection: LoadedCollection { id, name, load_percentage } } = listed;
        let read_at = self.clock.read().wall;
        let distribution = Distribution::read(&self.client, &database, &name, id).await;
        if distribution.is_gone(id) {
            return None;
        }
        let load_percentage = match load_percentage {
            Some(percentage) => percentage,
            None => self.load_percentage(&database, &name, version).await,
        };
        let mut gaps = Vec::new();
        if let Err(error) = &distribution.replicas {
            gaps.push(gap(GapSubject::Replicas { collection: id }, error));
        }
        if let Err(error) = &distribution.segments {
            gaps.push(gap(GapSubject::Segments { collection: id }, error));
        }
        let estimate = self.row_estimates.get(id);
        if let Some(cause) = estimate.as_ref().and_then(|estimate| estimate.gap.clone()) {
            gaps.push(Gap { subject: GapSubject::Schema { collection: id }, cause });
        }
        let report = CollectionReport {
            database,
            name,
            id,
            load_percentage,
            read_at,
            replicas: distribution.replicas.ok().map(translate::replicas),
            segments: distribution.segments.ok().map(translate::segments),
            estimated_row_bytes: estimate.and_then(|estimate| estimate.bytes),
        };
        Some((report, gaps))
    }

    /// The load of a collection whose listing does not say it. Older servers always say it, and would ask for a
    /// privilege here that a reader should not have; unknown counts as not loaded.
    async fn load_percentage(&self, database: &str, name: &str, version: &ServerVersion) -> u8 {
        if !version.at_least(2, 4) {
            return 0;
        }
        match self.client.load_state(database, name).await {
            Ok(LoadState::Loaded) => FULLY_LOADED,
            _ => 0,
        }
    }

    /// Makes the estimate of a collection's row size. Without the indexes it is one of the raw values.
    async fn estimate_rows(&self, listed: &Listed) {
        let (database, name) = (&listed.database, &listed.collection.name);
        let (schema, indexes) = futures::join!(
            self.client.describe_collection(database, name),
            self.client.describe_index(database, name),
        );
        let estimate = match (schema, indexes) {
            (Ok(schema), Ok(indexes)) => RowEstimate {
                bytes: Some(row_size::estimate(&schema, &indexes)),
                index: row_size::index_kind(&schema, &indexes),
                gap: None,
            },
            (Ok(schema), Err(error)) => {
                let bytes = Some(row_size::estimate(&schema, &[]));
                RowEstimate { bytes, index: None, gap: Some(with_causes(&error)) }
            }
            (Err(error), _) => RowEstimate { bytes: None, index: None, gap: Some(with_causes(&error)) },
        };
        self.row_estimates.put(listed.collection.id, estimate);
    }

    /// All nodes, with their own figures where those are to be read, and the version that they report.
    async fn nodes(&self) -> ReadNodes {
        match self.system_info().await {
            Ok(info) => {
                let mut read = ReadNodes {
                    nodes: info.nodes,
                    build_version: info.build_version,
                    ..ReadNodes::default()
                };
                self.read_figures(&mut read).await;
                read
            }
            Err(gap) => ReadNodes { gaps: vec![gap], ..ReadNodes::default() },
        }
    }

    /// `GetMetrics`, or what it said a moment ago.
    async fn system_info(&self) -> Result<SystemInfo, Gap> {
        let remembered = self.system_info.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((asked_at, info)) = remembered
            && asked_at.elapsed() < SYSTEM_INFO_PAUSE
        {
            return Ok(info);
        }
        let asked_at = Instant::now();
        let json = self.client.system_info().await.map_err(|error| gap(GapSubject::SystemInfo, &error))?;
        let info = system_info::read(&json).map_err(|error| gap(GapSubject::SystemInfo, &error))?;
        *self.system_info.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked_at, info.clone()));
        Ok(info)
    }

    /// After `GetMetrics`, which makes the nodes refresh their figures.
    async fn read_figures(&self, read: &mut ReadNodes) {
        let Some(node_metrics) = &self.node_metrics else { return };
        let mut asked = Vec::new();
        for (position, node) in read.nodes.iter().enumerate() {
            if node.role == NodeRole::QueryNode && node.error.is_none() {
                asked.push((position, node.id, node.address.clone()));
            }
        }
        let answers: Vec<_> = stream::iter(asked)
            .map(|(position, id, address)| async move {
                let answer = node_metrics.figures(id, &address, &self.clock).await;
                (position, address, answer)
            })
            .buffer_unordered(node_metrics.concurrency())
            .collect()
            .await;
        for (position, address, answer) in answers {
            match answer {
                None => {}
                Some(Ok(figures)) => {
                    let node = &mut read.nodes[position];
                    node.sealed_bytes = Some(figures.sealed_bytes);
                    read.waiting.extend(figures.waiting.map(|waiting| (node.id, waiting)));
                    read.counters.insert(node.id, figures.counters);
                }
                Some(Err(error)) => read.gaps.push(gap(GapSubject::NodeMetrics { address }, &error)),
            }
        }
        read.gaps.sort_by(|a: &Gap, b: &Gap| a.subject.cmp(&b.subject));
    }

    /// The resource groups that could be read; `None` when not even their names could.
    async fn resource_groups(&self) -> (Option<Vec<ResourceGroup>>, Vec<Gap>) {
        let names = match self.client.list_resource_groups().await {
            Ok(names) => names,
            Err(error) => return (None, vec![gap(GapSubject::ResourceGroups, &error)]),
        };
        let answers: Vec<_> = stream::iter(names)
            .map(|name| async move {
                let answer = self.client.describe_resource_group(&name).await;
                (name, answer)
            })
            .buffer_unordered(self.client.concurrency())
            .collect()
            .await;
        let (mut groups, mut gaps) = (Vec::new(), Vec::new());
        for (name, answer) in answers {
            match answer {
                Ok(group) => groups.push(group),
                Err(error) => gaps.push(gap(GapSubject::ResourceGroup { name }, &error)),
            }
        }
        gaps.sort_by(|a: &Gap, b: &Gap| a.subject.cmp(&b.subject));
        (Some(groups), gaps)
    }

    fn unreachable(&self, source: MilvusError) -> ObserveError {
        ObserveError::Unreachable { endpoint: self.client.target().endpoint.clone(), source }
    }
}

impl Observer for MilvusObserver {
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>> {
        Box::pin(self.poll())
    }

    fn reread<'a>(
        &'a self,
        database: &'a str,
        collection: &'a str,
        id: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>> {
        Box::pin(async move {
            let read_at = self.clock.read().wall;
            let distribution = Distribution::read(&self.client, database, collection, id).await;
            if distribution.is_gone(id) {
                let (database, collection) = (database.to_owned(), collection.to_owned());
                return Err(ObserveError::CollectionGone { database, collection });
            }
            let segments = distribution.segments.map_err(|error| self.unreachable(error))?;
            if let Err(error) = &distribution.replicas {
                tracing::debug!(%error, "segments were read again, replicas were not");
            }
            // Nothing here panics half-way through a change.
            let percentages = self.load_percentages.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(CollectionReport {
                database: database.to_owned(),
                name: collection.to_owned(),
                id,
                load_percentage: percentages.get(&id).copied().unwrap_or(0),
                read_at,
                replicas: distribution.replicas.ok().map(translate::replicas),
                segments: Some(translate::segments(segments)),
                estimated_row_bytes: self.row_estimates.get(id).and_then(|estimate| estimate.bytes),
            })
        })
    }
}

fn resource_group_reports(groups: Vec<ResourceGroup>, server: &ServerVersion) -> Vec<ResourceGroupReport> {
    let mut reports: Vec<ResourceGroupReport> =
        groups.into_iter().map(|group| translate::resource_group(group, server)).collect();
    reports.sort_by(|a, b| a.name.cmp(&b.name));
    reports
}
