//! `GetMetrics(system_info)`: a JSON text about every node, five seconds old at worst by design, wrong in several
//! known ways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Unanswered;
use crate::milvus::wire::milvus as rpc;
use crate::sim::calls::Refusal;
use crate::sim::cluster::{NodeState, SimNode, SimRole, SimTime};
use crate::sim::world::World;

/// How long a proxy keeps an answer after it was last asked for: asked more often, it never renews it (measured
/// on 2.3.5; the same code is in the others).
const CACHE: Duration = Duration::from_secs(5);
/// When the coordinator asks a node again that does not answer: 0.2 s, 0.4 s, 0.8 s … later, 10 s at most
/// (measured on 2.3.5: `GetMetrics` took 22.6 s or 32.6 s when asked as a node died, 6.2 s when asked 15 s later).
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Whoever else is in the answer.
const OTHERS: [(&str, i64); 6] = [
    ("querycoord", 1003),
    ("datanode", 1005),
    ("indexnode", 1006),
    ("datacoord", 1002),
    ("rootcoord", 1001),
    ("proxy", 1004),
];

/// An answer that a proxy keeps.
#[derive(Clone, Debug)]
pub struct CachedMetrics {
    asked_at: SimTime,
    text: String,
}

impl World {
    /// `GetMetrics`.
    pub fn get_metrics(
        &mut self,
        request: &rpc::GetMetricsRequest,
    ) -> Result<rpc::GetMetricsResponse, Unanswered> {
        self.counts.metrics += 1;
        if let Err(refusal) = self.reach(true)? {
            return Ok(rpc::GetMetricsResponse { status: self.failure(&refusal), ..Default::default() });
        }
        let wanted: Option<Value> = serde_json::from_str(&request.request).ok();
        let kind = wanted.as_ref().and_then(|wanted| {
            wanted.get("metric_type").or_else(|| wanted.get("req_type")).and_then(Value::as_str)
        });
        if kind != Some("system_info") {
            let refusal = Refusal::new(1200, format!("metric not found[metric={}]", kind.unwrap_or("")));
            return Ok(rpc::GetMetricsResponse { status: self.failure(&refusal), ..Default::default() });
        }
        Ok(rpc::GetMetricsResponse {
            status: World::success(),
            response: self.system_info(),
            component_name: "proxy-1".to_owned(),
        })
    }

    /// How long the next `GetMetrics` takes: dead nodes are asked again and again until their sessions have ended.
    pub fn metrics_delay(&self) -> Duration {
        if self.is_cached() {
            return Duration::ZERO;
        }
        let session_end = |node: &SimNode| match node.state {
            NodeState::Crashed { at } => Some(at + self.settings.session_ttl),
            _ => None,
        };
        let last = self.nodes.values().filter_map(session_end).max();
        let left = last.map(|end| end.saturating_sub(self.now)).unwrap_or_default();
        let (mut waited, mut retry) = (Duration::ZERO, FIRST_RETRY);
        while waited < left {
            waited += retry;
            retry = (retry * 2).min(LONGEST_RETRY);
        }
        waited
    }

    fn is_cached(&self) -> bool {
        self.metrics_cache.as_ref().is_some_and(|cached| {
            self.now < cached.asked_at + CACHE || self.now < self.faults.stale_metrics_until
        })
    }

    /// The text, from the cache where there is a fresh one.
    pub fn system_info(&mut self) -> String {
        if self.is_cached()
            && let Some(cached) = &mut self.metrics_cache
        {
            cached.asked_at = self.now;
            return cached.text.clone();
        }
        self.counts.metrics_misses += 1;
        let mut nodes = Vec::new();
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get(&id).filter(|node| node.is_running()).cloned() else { continue };
            nodes.push(if node.errors_until > self.now {
                self.erroring_info()
            } else {
                self.node_info(&node)
            });
        }
        for (role, id) in OTHERS {
            nodes.push(self.coordinator_info(role, id));
        }
        let text = json!({ "nodes_info": nodes }).to_string();
        self.metrics_cache = Some(CachedMetrics { asked_at: self.now, text: text.clone() });
        text
    }

    fn coordinator_info(&self, role: &str, id: i64) -> Value {
        json!({
            "identifier": id,
            "connected": null,
            "infos": {
                "has_error": false,
                "error_reason": "",
                "name": format!("{role}{id}"),
                "hardware_infos": {
                    "ip": "127.0.0.1:53100",
                    "cpu_core_count": 4,
                    "cpu_core_usage": self.host_use(),
                    "memory": 16_u64 << 30,
                    "memory_usage": 1_u64 << 30,
                    "disk": 104_857_600,
                    "disk_usage": 2_097_152,
                },
                "system_info": self.build_info(),
                "created_time": self.settings.begins_at.to_string(),
                "updated_time": self.settings.begins_at.to_string(),
                "type": role,
                "id": id,
            }
        })
    }

    /// A node that answered with an error: no name, and an id that belongs to nobody.
    fn erroring_info(&mut self) -> Value {
        let made_up = 1_000_000 + i64::try_from(self.answer_chance.below(1 << 40)).unwrap_or(0);
        json!({
            "identifier": made_up,
            "connected": null,
            "infos": {
                "has_error": true,
                "error_reason": "node not match",
                "name": "",
                "hardware_infos": {
                    "ip": "", "cpu_core_count": 0, "cpu_core_usage": 0.0,
                    "memory": 0, "memory_usage": 0, "disk": 0, "disk_usage": 0,
                },
                "system_info": {
                    "system_version": "", "deploy_mode": "", "build_version": "", "build_time": "",
                    "used_go_version": "",
                },
                "created_time": "",
                "updated_time": "",
                "type": "querynode",
                "id": made_up,
            }
        })
    }

    fn build_info(&self) -> Value {
        json!({
            "system_version": self.profile.build_version,
            "deploy_mode": "DISTRIBUTED",
            "build_version": format!("v{}", self.profile.build_version),
            "build_time": "",
            "used_go_version": "",
        })
    }

    /// CPU use as Milvus reports it: the machine's, not the process's, so about the same for all.
    fn host_use(&self) -> f64 {
        let (used, cores) = self.nodes.values().fold((0.0, 0.0), |(used, cores), node| {
            (used + node.demand.min(1.0) * node.cores, cores + node.cores)
        });
        if cores > 0.0 { (used / cores * 1000.0).round() / 10.0 } else { 0.0 }
    }

    fn hardware(&self, node: &SimNode) -> Map<String, Value> {
        let mut hardware = Map::new();
        let mut put = |key: &str, value: Value| hardware.insert(key.to_owned(), value);
        put("ip", json!(node.address));
        #[allow(clippy::cast_possible_truncation)] // a node has few cores
        put("cpu_core_count", json!(node.cores.ceil() as i64));
        put("cpu_core_usage", json!(self.host_use()));
        put("memory", json!(node.memory));
        put("memory_usage", json!(node.memory_used()));
        if self.profile.disk_is_constant {
            put("disk", json!(104_857_600));
            put("disk_usage", json!(2_097_152));
        } else {
            #[allow(clippy::cast_precision_loss)] // the server sends gigabytes as floating point
            let gigabytes = |bytes: u64| bytes as f64 / 1e9;
            put("disk", json!(gigabytes(node.disk)));
            put("disk_usage", json!(gigabytes(node.mapped_disk)));
            put("io_wait_percentage", json!(0.0));
        }
        hardware
    }

    fn node_info(&self, node: &SimNode) -> Value {
        let is_streaming = node.role == SimRole::Streaming;
        let kind =
            if is_streaming && self.profile.names_streaming_nodes { "streamingnode" } else { "querynode" };
        let mut infos = Map::new();
        let mut put = |key: &str, value: Value| infos.insert(key.to_owned(), value);
        put("has_error", json!(false));
        put("error_reason", json!(""));
        put("name", json!(format!("querynode{}", node.id)));
        put("hardware_infos", Value::Object(self.hardware(node)));
        put("system_info", self.build_info());
        put("created_time", json!(self.settings.begins_at.to_string()));
        put("updated_time", json!(self.settings.begins_at.to_string()));
        put("type", json!(kind));
        put("id", json!(node.id.0));
        put("system_configurations", json!({ "simd_type": "auto" }));
        put("quota_metrics", self.quota_metrics(node, is_streaming));
        if self.profile.reports_collection_rows {
            let rows: BTreeMap<String, u64> =
                self.rows_by_collection(node).into_iter().map(|(id, rows)| (id.to_string(), rows)).collect();
            put("collection_metrics", json!({ "CollectionRows": rows }));
        }
        json!({ "identifier": node.id.0, "connected": null, "infos": infos })
    }

    /// Sealed and growing rows on a node, level 0 included, for each collection.
    fn rows_by_collection(&self, node: &SimNode) -> BTreeMap<i64, u64> {
        let first = crate::units::CollectionId(i64::MIN);
        let last = crate::units::CollectionId(i64::MAX);
        let mut rows: BTreeMap<i64, u64> = self
            .shares
            .range((node.id, first)..=(node.id, last))
            .filter(|(_, share)| share.segments > 0)
            .map(|((_, collection), share)| (collection.0, share.rows))
            .collect();
        for collection in self.collections.values() {
            let growing = self.growing_rows_on(node.id, collection.id);
            if growing > 0 {
                *rows.entry(collection.id.0).or_default() += growing;
            }
        }
        rows
    }

    fn quota_metrics(&self, node: &SimNode, is_streaming: bool) -> Value {
        // The proxy of 2.6 and later passes numbers through floating point: the last digits are lost.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        let through_proxy = |id: i64| if self.profile.json_loses_precision { id as f64 as i64 } else { id };
        let rows = self.rows_by_collection(node);
        let growing: u64 = self
            .collections
            .values()
            .map(|collection| self.growing_rows_on(node.id, collection.id) * collection.row_bytes)
            .sum();
        let led = self
            .collections
            .values()
            .flat_map(|collection| &collection.replicas)
            .flat_map(|replica| &replica.leaders)
            .filter(|leader| **leader == Some(node.id))
            .count();
        let mut quota = Map::new();
        let mut put = |key: &str, value: Value| quota.insert(key.to_owned(), value);
        put("Hms", Value::Object(self.hardware(node)));
        let mut rates = vec![
            json!({ "Label": "InsertConsumeThroughput", "Rate": 0 }),
            json!({ "Label": "DeleteConsumeThroughput", "Rate": 0 }),
        ];
        if self.profile.reports_queues {
            // Counted on the delegator alone: workers show 0.
            rates.insert(0, json!({ "Label": "SearchThroughput", "Rate": 0 }));
            rates.insert(0, json!({ "Label": "NQPerSecond", "Rate": 0 }));
        }
        put("Rms", json!(rates));
        let fgm = json!({
            "MinFlowGraphChannel": "",
            "MinFlowGraphTt": through_proxy(455_000_000_000_000_123),
            "NumFlowGraph": led,
        });
        put("Fgm", fgm);
        if self.profile.reports_queues {
            let queue = json!({
                "UnsolvedQueue": 0, "ReadyQueue": 0, "ReceiveChan": 0, "ExecuteChan": 0, "AvgQueueDuration": 0,
            });
            put("SearchQueue", queue.clone());
            put("QueryQueue", queue);
        }
        if self.profile.reports_growing_bytes {
            put("GrowingSegmentsSize", json!(growing));
            let ids: Vec<i64> = rows.keys().map(|id| through_proxy(*id)).collect();
            put("Effect", json!({ "NodeID": node.id.0, "CollectionIDs": ids }));
        }
        if self.profile.reports_collection_rows {
            let buffers = json!({ "CollectionDeleteBufferNum": {}, "CollectionDeleteBufferSize": {} });
            put("DeleteBufferInfo", buffers);
        }
        if self.profile.has_streaming_nodes {
            put("LoadedBinlogSize", json!(0));
            put("StreamingQuota", if is_streaming { json!({ "WALs": [] }) } else { Value::Null });
        }
        Value::Object(quota)
    }
}
