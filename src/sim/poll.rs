//! One poll of a simulated Milvus, read as the real observer would read it: from the same answers, by the same
//! translations, with the same gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::Unanswered;
use super::seams::{METRICS_TIMEOUT, RememberedInfo, checked, failed, unanswered};
use super::server::metrics_page;
use super::world::World;
use crate::milvus::wire::milvus as rpc;
use crate::milvus::{Call, Failure, MilvusError};
use crate::observe::observation::{
    CollectionReport, Gap, GapSubject, NodeReport, NodeRole, Observation, ResourceGroupReport, ServerVersion,
};
use crate::observe::row_estimates::{RowEstimate, RowEstimates};
use crate::observe::service::ServiceReport;
use crate::observe::signals::SignalReport;
use crate::observe::system_info::SystemInfo;
use crate::observe::{ObserveError, proxy_metrics, row_size, signal_pages, system_info, translate};
use crate::units::{Bytes, CollectionId, Moment, NodeId};

fn unreachable(source: MilvusError) -> ObserveError {
    ObserveError::Unreachable { endpoint: "simulated".to_owned(), source }
}

fn gap(subject: GapSubject, cause: &MilvusError) -> Gap {
    Gap { subject, cause: cause.to_string() }
}

impl World {
    /// One poll, as the real observer would make it.
    pub(super) fn observe(
        &mut self,
        reads_metrics: bool,
        estimates: &RowEstimates,
        remembered: &RememberedInfo,
    ) -> Result<Observation, ObserveError> {
        let started_at = self.wall();
        let mut gaps = Vec::new();
        let version = checked(Call::GetVersion, self.get_version(), |answer| answer.status.as_ref());
        let databases = checked(Call::ListDatabases, self.list_databases(), |answer| answer.status.as_ref());
        let databases = match databases {
            Ok(answer) => answer.db_names,
            Err(error) if error.is_missing_call() => vec![String::new()],
            Err(error) if matches!(error.failure, Failure::Refused(_)) => {
                gaps.push(gap(GapSubject::Databases, &error));
                vec![super::DEFAULT_DATABASE.to_owned()]
            }
            Err(error) => return Err(unreachable(error)),
        };
        let collections = self.observed_collections(databases, estimates, &mut gaps)?;
        let (nodes, build_version) = self.observed_nodes(reads_metrics, remembered, &mut gaps);
        let server = version.map(|answer| answer.version).ok().or(build_version).unwrap_or_default();
        let server = ServerVersion::parse(&server);
        let resource_groups = self.observed_groups(&server, &mut gaps);
        let (service, mut signals) =
            if reads_metrics { self.observed_pages(&nodes) } else { Default::default() };
        let index_of = |report: &CollectionReport| Some((report.id, estimates.get(report.id)?.index?));
        signals.indexes = collections.iter().filter_map(index_of).collect();
        Ok(Observation {
            started_at,
            took: Duration::ZERO,
            server,
            nodes,
            resource_groups,
            collections,
            service,
            signals,
            // Where the coordinator would complain here, it refuses all reads too, and nothing is observed.
            management: None,
            complaints: Vec::new(),
            prometheus: Default::default(),
            opinions: Vec::new(),
            gaps,
        })
    }

    fn observed_collections(
        &mut self,
        databases: Vec<String>,
        estimates: &RowEstimates,
        gaps: &mut Vec<Gap>,
    ) -> Result<Vec<CollectionReport>, ObserveError> {
        let mut listed = Vec::new();
        let (mut any_was_read, mut first_error) = (databases.is_empty(), None);
        for database in databases {
            let request = rpc::ShowCollectionsRequest {
                db_name: database.clone(),
                r#type: rpc::ShowType::InMemory.into(),
            };
            let answer = self.show_collections(&request);
            match checked(Call::ShowCollections, answer, |answer| answer.status.as_ref()) {
                Ok(answer) => {
                    any_was_read = true;
                    let ids = answer.collection_ids.into_iter().zip(answer.in_memory_percentages);
                    for (name, (id, percentage)) in answer.collection_names.into_iter().zip(ids) {
                        let percentage = u8::try_from(percentage.clamp(0, 100)).unwrap_or(0);
                        listed.push((CollectionId(id), database.clone(), name, percentage));
                    }
                }
                Err(error) => {
                    gaps.push(gap(GapSubject::Collections { database }, &error));
                    first_error = first_error.or(Some(error));
                }
            }
        }
        match first_error {
            Some(error) if !any_was_read => return Err(unreachable(error)),
            _ => {}
        }
        listed.sort();
        listed.dedup_by_key(|(id, ..)| *id);
        let ids: Vec<CollectionId> = listed.iter().map(|(id, ..)| *id).collect();
        let due: BTreeSet<CollectionId> = estimates.due(&ids).into_iter().collect();
        let mut reports = Vec::new();
        for (id, database, name, percentage) in listed {
            if due.contains(&id) {
                estimates.put(id, self.row_estimate(&database, &name));
            }
            reports.push(self.observed(id, database, name, percentage, estimates, gaps));
        }
        Ok(reports)
    }

    fn observed(
        &mut self,
        id: CollectionId,
        database: String,
        name: String,
        load_percentage: u8,
        estimates: &RowEstimates,
        gaps: &mut Vec<Gap>,
    ) -> CollectionReport {
        let estimate = estimates.get(id);
        if let Some(cause) = estimate.as_ref().and_then(|estimate| estimate.gap.clone()) {
            gaps.push(Gap { subject: GapSubject::Schema { collection: id }, cause });
        }
        let replicas = self.get_replicas(&rpc::GetReplicasRequest { collection_id: id.0 });
        let replicas = checked(Call::GetReplicas, replicas, |answer| answer.status.as_ref());
        let segments = self.get_query_segment_info(&rpc::GetQuerySegmentInfoRequest {
            db_name: database.clone(),
            collection_name: name.clone(),
        });
        let segments = checked(Call::GetQuerySegmentInfo, segments, |answer| answer.status.as_ref());
        if let Err(error) = &replicas {
            gaps.push(gap(GapSubject::Replicas { collection: id }, error));
        }
        if let Err(error) = &segments {
            gaps.push(gap(GapSubject::Segments { collection: id }, error));
        }
        CollectionReport {
            database,
            name,
            id,
            load_percentage,
            read_at: self.wall(),
            replicas: replicas.ok().map(|answer| translate::replicas(answer.replicas)),
            segments: segments.ok().map(|answer| translate::segments(answer.infos)),
            estimated_row_bytes: estimate.and_then(|estimate| estimate.bytes),
        }
    }

    fn row_estimate(&mut self, database: &str, name: &str) -> RowEstimate {
        let schema = self.describe_collection(&rpc::DescribeCollectionRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
        });
        let schema = checked(Call::DescribeCollection, schema, |answer| answer.status.as_ref());
        let schema = match schema {
            Ok(schema) => schema.schema.unwrap_or_default(),
            Err(error) => return RowEstimate { bytes: None, index: None, gap: Some(error.to_string()) },
        };
        let indexes = self.describe_index(&rpc::DescribeIndexRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
        });
        match checked(Call::DescribeIndex, indexes, |answer| answer.status.as_ref()) {
            Ok(indexes) => {
                let bytes = row_size::estimate(&schema, &indexes.index_descriptions);
                let index = row_size::index_kind(&schema, &indexes.index_descriptions);
                RowEstimate { bytes: Some(bytes), index, gap: None }
            }
            Err(error) => {
                let bytes = Some(row_size::estimate(&schema, &[]));
                RowEstimate { bytes, index: None, gap: Some(error.to_string()) }
            }
        }
    }

    fn observed_nodes(
        &mut self,
        reads_metrics: bool,
        remembered: &RememberedInfo,
        gaps: &mut Vec<Gap>,
    ) -> (Vec<NodeReport>, Option<String>) {
        let mut info = match self.observed_info(remembered) {
            Ok(info) => info,
            Err(cause) => {
                gaps.push(Gap { subject: GapSubject::SystemInfo, cause });
                return (Vec::new(), None);
            }
        };
        if reads_metrics {
            let asked = |node: &&mut NodeReport| node.role == NodeRole::QueryNode && node.error.is_none();
            for node in info.nodes.iter_mut().filter(asked) {
                node.sealed_bytes = self.entity_sizes(node.id);
            }
        }
        (info.nodes, info.build_version)
    }

    /// What users feel and what is counted, as the pages of proxy and nodes tell it, read by the code that reads real
    /// ones.
    fn observed_pages(&self, nodes: &[NodeReport]) -> (ServiceReport, SignalReport) {
        let (mut service, mut signals) = (ServiceReport::default(), SignalReport::default());
        let read_at = Moment { wall: self.wall(), monotonic: self.now() };
        let target = "simulated".to_owned();
        let page = metrics_page::of_proxy(self);
        if let Some(counters) = proxy_metrics::read_proxy(&page) {
            service.proxies.insert(target.clone(), counters);
            signals.proxies.insert(target, signal_pages::read_demand(&page, read_at));
        }
        let asked = nodes.iter().filter(|node| node.role == NodeRole::QueryNode && node.error.is_none());
        for node in asked.filter_map(|node| self.nodes().get(&node.id)).filter(|node| node.is_running()) {
            service.waiting.insert(node.id, metrics_page::waiting(node));
            let page = metrics_page::of_node(self, node);
            let counters = signal_pages::read_node(&page, node.id, &node.address, read_at);
            signals.nodes.insert(node.id, counters);
        }
        (service, signals)
    }

    /// `GetMetrics`, or what it said a moment ago; otherwise why not.
    fn observed_info(&mut self, remembered: &RememberedInfo) -> Result<SystemInfo, String> {
        if let Some(info) = remembered.fresh(self.now()) {
            return Ok(info);
        }
        if self.metrics_delay() > METRICS_TIMEOUT {
            let error = failed(Call::GetMetrics, Failure::Deadline { after: METRICS_TIMEOUT });
            return Err(error.to_string());
        }
        let request = rpc::GetMetricsRequest { request: "{\"metric_type\":\"system_info\"}".to_owned() };
        let answer = checked(Call::GetMetrics, self.get_metrics(&request), |answer| answer.status.as_ref());
        let answer = answer.map_err(|error| error.to_string())?;
        let info = system_info::read(&answer.response).map_err(|error| error.to_string())?;
        remembered.put(self.now(), &info);
        Ok(info)
    }

    /// Bytes of sealed segments by collection, as the node's own /metrics give them.
    fn entity_sizes(&self, node: NodeId) -> Option<BTreeMap<CollectionId, Bytes>> {
        self.nodes().get(&node).filter(|node| node.is_running())?;
        // Before 2.3 the page can be read, and says nothing about bytes.
        let measures = self.profile().measures_entity_size;
        let shares = self.shares_of(node).filter(|(_, share)| measures && share.segments > 0);
        Some(shares.map(|(collection, share)| (collection, Bytes(share.bytes))).collect())
    }

    fn observed_groups(
        &mut self,
        server: &ServerVersion,
        gaps: &mut Vec<Gap>,
    ) -> Option<Vec<ResourceGroupReport>> {
        let names =
            checked(Call::ListResourceGroups, self.list_resource_groups(), |answer| answer.status.as_ref());
        let names = match names {
            Ok(answer) => answer.resource_groups,
            Err(error) => {
                gaps.push(gap(GapSubject::ResourceGroups, &error));
                return None;
            }
        };
        let mut groups = Vec::new();
        for name in names {
            let request = rpc::DescribeResourceGroupRequest { resource_group: name.clone() };
            let answer = self.describe_resource_group(&request);
            match checked(Call::DescribeResourceGroup, answer, |answer| answer.status.as_ref()) {
                Ok(answer) => {
                    groups
                        .extend(answer.resource_group.map(|group| translate::resource_group(group, server)));
                }
                Err(error) => gaps.push(gap(GapSubject::ResourceGroup { name }, &error)),
            }
        }
        Some(groups)
    }

    pub(super) fn reread(
        &mut self,
        database: &str,
        collection: &str,
        id: CollectionId,
        estimates: &RowEstimates,
    ) -> Result<CollectionReport, ObserveError> {
        let gone = || ObserveError::CollectionGone {
            database: database.to_owned(),
            collection: collection.to_owned(),
        };
        if self.proxy_is_away() {
            return Err(unreachable(unanswered(Call::GetQuerySegmentInfo, Unanswered::Unavailable)));
        }
        match self.resolve(database, collection) {
            Ok(found) if found == id && self.collections[&id].loaded => {}
            _ => return Err(gone()),
        }
        let segments = self.get_query_segment_info(&rpc::GetQuerySegmentInfoRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        });
        let segments = checked(Call::GetQuerySegmentInfo, segments, |answer| answer.status.as_ref());
        let segments = segments.map_err(unreachable)?;
        let replicas = self.get_replicas(&rpc::GetReplicasRequest { collection_id: id.0 });
        let replicas = checked(Call::GetReplicas, replicas, |answer| answer.status.as_ref());
        Ok(CollectionReport {
            database: database.to_owned(),
            name: collection.to_owned(),
            id,
            load_percentage: self.collections[&id].load_percentage,
            read_at: self.wall(),
            replicas: replicas.ok().map(|answer| translate::replicas(answer.replicas)),
            segments: Some(translate::segments(segments.infos)),
            estimated_row_bytes: estimates.get(id).and_then(|estimate| estimate.bytes),
        })
    }
}
