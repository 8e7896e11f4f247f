//! Reads the JSON of `GetMetrics(system_info)`. Every version writes it a little differently and no version
//! documents it, so nothing in it is relied on: what is missing, of another type or impossible is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::observation::{HardwareReport, NodeReport, NodeRole};
use crate::units::{Bytes, CollectionId, NodeId, Rows};

/// What `system_info` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemInfo {
    /// Its nodes by id, those with an error last.
    pub nodes: Vec<NodeReport>,
    /// The version that the first node with one reports.
    pub build_version: Option<String>,
}

/// Why the text is no `system_info`.
#[derive(Debug, thiserror::Error)]
pub enum SystemInfoError {
    /// Not JSON.
    #[error("system_info is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON of another shape.
    #[error("system_info holds no list of nodes (nodes_info)")]
    NoNodes,
}

/// Reads the text.
pub fn read(json: &str) -> Result<SystemInfo, SystemInfoError> {
    let document: Value = serde_json::from_str(json).map_err(SystemInfoError::NotJson)?;
    let entries = document.get("nodes_info").and_then(Value::as_array).ok_or(SystemInfoError::NoNodes)?;
    let mut nodes: Vec<NodeReport> = entries.iter().map(node).collect();
    let build_version = nodes.iter().map(|node| &node.version).find(|text| !text.is_empty()).cloned();
    // Ids of failing nodes are made up, so only the others can be told apart by them. The roles of a standalone
    // share one id.
    nodes.sort_by(|a, b| (a.error.is_some(), a.id, &a.role).cmp(&(b.error.is_some(), b.id, &b.role)));
    let mut seen = BTreeSet::new();
    nodes.retain(|node| node.error.is_some() || seen.insert((node.id, node.role.clone())));
    Ok(SystemInfo { nodes, build_version })
}

fn node(entry: &Value) -> NodeReport {
    let infos = &entry["infos"];
    let hardware = &infos["hardware_infos"];
    let role = role(&text(&infos["type"]));
    // Data nodes have such figures too, of other things.
    let holds_segments = !matches!(role, NodeRole::Other(_));
    let quota = if holds_segments { &infos["quota_metrics"] } else { &Value::Null };
    let id = integer(&entry["identifier"]).or_else(|| integer(&infos["id"]));
    // A capacity of nothing is a capacity that is not known, and so is the use of it.
    let memory_capacity = amount(&hardware["memory"]).filter(|bytes| *bytes > 0).map(Bytes);
    NodeReport {
        id: NodeId(id.unwrap_or_default()),
        address: text(&hardware["ip"]),
        role,
        error: error(infos, id),
        memory_used: memory_capacity.and(amount(&hardware["memory_usage"]).map(Bytes)),
        memory_capacity,
        growing: amount(&quota["GrowingSegmentsSize"]).map(Bytes),
        collections: collections(&quota["Effect"]),
        collection_rows: collection_rows(&infos["collection_metrics"]["CollectionRows"]),
        sealed_bytes: None,
        hardware: hardware_of(hardware),
        version: text(&infos["system_info"]["build_version"]),
    }
}

/// Constants that versions before 2.5 send instead of disk figures.
const MADE_UP_DISK: (u64, u64) = (104_857_600, 2_097_152);

/// Since 2.5 the disk is given in GB of 10^9 bytes.
const GIGABYTE: f64 = 1e9;

/// More cores than any machine has: such a figure is nonsense.
const MOST_CORES: u64 = 1 << 16;

fn hardware_of(hardware: &Value) -> HardwareReport {
    let cpu_cores = amount(&hardware["cpu_core_count"]).filter(|cores| (1..=MOST_CORES).contains(cores));
    let is_made_up = amount(&hardware["disk"]) == Some(MADE_UP_DISK.0)
        && amount(&hardware["disk_usage"]) == Some(MADE_UP_DISK.1);
    if is_made_up {
        return HardwareReport { cpu_cores, ..HardwareReport::default() };
    }
    let gigabytes = |value: &Value| {
        let bytes = value.as_f64()? * GIGABYTE;
        amount(&serde_json::json!(bytes)).map(Bytes)
    };
    let disk_capacity = gigabytes(&hardware["disk"]).filter(|bytes| bytes.0 > 0);
    HardwareReport {
        cpu_cores,
        disk_used: disk_capacity.and(gigabytes(&hardware["disk_usage"])),
        disk_capacity,
    }
}

fn role(kind: &str) -> NodeRole {
    match kind {
        "querynode" => NodeRole::QueryNode,
        "streamingnode" => NodeRole::StreamingNode,
        other => NodeRole::Other(other.to_owned()),
    }
}

fn error(infos: &Value, id: Option<i64>) -> Option<String> {
    if id.is_none() {
        return Some("it is listed without an id".to_owned());
    }
    if !infos.is_object() {
        return Some("it is listed without any information".to_owned());
    }
    if infos["has_error"].as_bool() != Some(true) {
        return None;
    }
    let reason = text(&infos["error_reason"]);
    Some(if reason.is_empty() { "it reports an error without a reason".to_owned() } else { reason })
}

/// Collections that a node serves. Go writes a list of nothing as null.
fn collections(effect: &Value) -> Option<Vec<CollectionId>> {
    let listed = effect.as_object()?.get("CollectionIDs")?;
    let mut ids: Vec<CollectionId> =
        listed.as_array().into_iter().flatten().filter_map(integer).map(CollectionId).collect();
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

fn collection_rows(rows: &Value) -> Option<BTreeMap<CollectionId, Rows>> {
    let by_id = rows.as_object()?;
    let mut rows = BTreeMap::new();
    for (id, count) in by_id {
        if let (Ok(id), Some(count)) = (id.parse(), amount(count)) {
            rows.insert(id, Rows(count));
        }
    }
    Some(rows)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An id. 2.6 and later write large ones as floating point, with the last digits lost.
fn integer(value: &Value) -> Option<i64> {
    // 2^63 itself does not fit, and the largest number below it does.
    let fits = |float: &f64| float.is_finite() && (-9.2e18..9.2e18).contains(float);
    #[allow(clippy::cast_possible_truncation)]
    value.as_i64().or_else(|| value.as_f64().filter(fits).map(|float| float as i64))
}

/// An amount: integer or floating point by version, never negative.
fn amount(value: &Value) -> Option<u64> {
    let fits = |float: &f64| float.is_finite() && (0.0..1.8e19).contains(float);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    value.as_u64().or_else(|| value.as_f64().filter(fits).map(|float| float as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One query node as 2.4 writes it.
    fn query_node(id: i64) -> Value {
        serde_json::json!({
            "identifier": id,
            "connected": null,
            "infos": {
                "has_error": false,
                "name": format!("querynode{id}"),
                "hardware_infos": {"ip": format!("10.0.0.{id}:21123"), "memory": 8_000, "memory_usage": 1_000},
                "system_info": {"build_version": "v2.4.13"},
                "type": "querynode",
                "id": id,
                "quota_metrics": {
                    "Hms": {"memory": 8_000},
                    "GrowingSegmentsSize": 77,
                    "Effect": {"NodeID": id, "CollectionIDs": [9_007_199_254_740_993_i64, 5]},
                },
                "collection_metrics": {"CollectionRows": {"9007199254740993": 12, "5": 3}},
            },
        })
    }

    fn read_nodes(entries: &[Value]) -> SystemInfo {
        read(&serde_json::json!({ "nodes_info": entries }).to_string()).unwrap()
    }

    #[test]
    fn a_query_node_is_read_whole() {
        let info = read_nodes(&[query_node(3)]);
        let big = CollectionId(9_007_199_254_740_993);
        assert_eq!(info.build_version.as_deref(), Some("v2.4.13"));
        assert_eq!(
            info.nodes,
            [NodeReport {
                id: NodeId(3),
                address: "10.0.0.3:21123".to_owned(),
                role: NodeRole::QueryNode,
                error: None,
                memory_capacity: Some(Bytes(8_000)),
                memory_used: Some(Bytes(1_000)),
                growing: Some(Bytes(77)),
                collections: Some(vec![CollectionId(5), big]),
                collection_rows: Some(BTreeMap::from([(big, Rows(12)), (CollectionId(5), Rows(3))])),
                sealed_bytes: None,
                hardware: HardwareReport::default(),
                version: "v2.4.13".to_owned(),
            }]
        );
    }

    #[test]
    fn numbers_may_be_floating_point_and_fields_may_be_missing() {
        let sparse = serde_json::json!({
            "identifier": 4.0,
            "infos": {"type": "streamingnode", "hardware_infos": {"memory": 8.5e9, "memory_usage": -3}},
        });
        let node = &read_nodes(&[sparse]).nodes[0];
        assert_eq!((node.id, &node.role, &node.error), (NodeId(4), &NodeRole::StreamingNode, &None));
        assert_eq!((node.memory_capacity, node.memory_used), (Some(Bytes(8_500_000_000)), None));
        assert_eq!((node.growing, &node.collections, &node.collection_rows), (None, &None, &None));
    }

    #[test]
    fn impossible_numbers_are_unknown() {
        for memory in ["0", "-1", "1e300", "\"8 GB\"", "null", "{}"] {
            let json = format!(
                r#"{{"nodes_info": [{{"identifier": 1, "infos": {{"type": "querynode",
                    "hardware_infos": {{"memory": {memory}, "memory_usage": 5}}}}}}]}}"#
            );
            let node = &read(&json).unwrap().nodes[0];
            assert_eq!((node.memory_capacity, node.memory_used), (None, None), "{memory}");
        }
    }

    #[test]
    fn failing_nodes_are_kept_beside_the_node_whose_id_they_borrow() {
        let failing = serde_json::json!({
            "identifier": 3, "connected": null,
            "infos": {"has_error": true, "error_reason": "context deadline exceeded", "name": "", "id": 0},
        });
        let nameless = serde_json::json!({"infos": {"type": "querynode"}});
        let empty = serde_json::json!({"identifier": 8});
        let info = read_nodes(&[failing, query_node(3), query_node(3), nameless, empty, Value::Null]);
        let errors: Vec<_> = info.nodes.iter().map(|node| (node.id.0, node.error.as_deref())).collect();
        assert_eq!(
            errors,
            [
                (3, None),
                (0, Some("it is listed without an id")),
                (0, Some("it is listed without an id")),
                (3, Some("context deadline exceeded")),
                (8, Some("it is listed without any information")),
            ]
        );
    }

    #[test]
    fn nodes_without_collections_are_told_from_nodes_that_do_not_say() {
        let with = |effect: Value| {
            let mut entry = query_node(1);
            entry["infos"]["quota_metrics"]["Effect"] = effect;
            read_nodes(&[entry]).nodes[0].collections.clone()
        };
        assert_eq!(with(serde_json::json!({"NodeID": 1, "CollectionIDs": null})), Some(Vec::new()));
        assert_eq!(with(serde_json::json!({"NodeID": 1})), None);
        assert_eq!(with(Value::Null), None);
    }

    #[test]
    fn what_is_no_system_info_is_an_error() {
        let deep = "[".repeat(100_000);
        for garbage in ["", "<html>", "null", "[]", "{\"nodes_info\": 7}", "{\"nodes_info\": [", &deep] {
            assert!(read(garbage).is_err(), "{}", &garbage[..garbage.len().min(20)]);
        }
    }

    #[test]
    fn the_answer_of_a_real_2_3_5_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/milvus-2.3.5/system_info.json");
        let info = read(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(info.build_version.as_deref().unwrap().contains("2.3.5"));
        // The standalone process is a node of every role under one id.
        let query_nodes: Vec<_> = info.nodes.iter().filter(|node| node.role == NodeRole::QueryNode).collect();
        let ids: Vec<_> = query_nodes.iter().map(|node| node.id.0).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert!(info.nodes.iter().any(|node| node.role == NodeRole::Other("proxy".to_owned())));
        for node in query_nodes {
            assert!(node.address.starts_with("127.0.0.1:"), "{}", node.address);
            assert!(node.memory_used < node.memory_capacity, "{node:?}");
            assert!(node.memory_used > Some(Bytes(10 << 20)), "{node:?}");
            assert!(node.growing > Some(Bytes::ZERO), "{node:?}");
            assert!(node.collections.as_ref().unwrap().len() >= 2, "{node:?}");
            assert_eq!((&node.error, &node.collection_rows), (&None, &None), "rows are told since 2.4");
        }
    }
}
