//! What the simulated Milvus says over HTTP: its pages, its management calls with their traps, its WebUI; each in the
//! versions that have it, and nowhere else.

#![allow(clippy::unwrap_used)] // a test that cannot set its scene should fail loudly

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::sim::cluster::{CopyState, SimCopy, SimRole};
use milvus_rebalancer::sim::faults::Fault;
use milvus_rebalancer::sim::profile::ALL_LINES;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use milvus_rebalancer::units::{NodeId, SegmentId};
use reqwest::{Client, Method};
use serde_json::{Value, json};

fn plan(profile: Profile) -> WorldPlan {
    WorldPlan { nodes: 4, collections: 6, segments: 60, replicas: 2, ..WorldPlan::new(profile, 3) }
}

/// A simulated Milvus, and the ways to ask it.
struct Scene {
    shared: SharedWorld,
    server: SimServer,
    client: Client,
}

impl Scene {
    async fn of(line: Line) -> Scene {
        Scene::planned(&plan(Profile::of(line))).await
    }

    async fn planned(plan: &WorldPlan) -> Scene {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else was first: as good.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let shared = SharedWorld::new(build(plan));
        let server = SimServer::start(shared.clone()).await.unwrap();
        Scene { shared, server, client: Client::new() }
    }

    /// Asks the proxy.
    async fn proxy(&self, path: &str) -> (u16, String) {
        self.get(format!("http://{}{path}", self.server.http_address())).await
    }

    async fn get(&self, url: String) -> (u16, String) {
        let response = self.client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Asks the proxy's WebUI.
    async fn web_ui(&self, path: &str) -> Value {
        let (status, body) = self.proxy(&format!("/api/v1/{path}")).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Asks the coordinator; without a body it is a GET.
    async fn coordinator(&self, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let url = format!("http://{}/management/{path}", self.server.coordinator_address());
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn look(&self, path: &str) -> Value {
        let (status, body) = self.coordinator(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn put(&self, path: &str, body: Value) -> u16 {
        self.coordinator(Method::PUT, path, Some(body)).await.0
    }

    async fn post(&self, path: &str, body: Value) -> u16 {
        self.coordinator(Method::POST, path, Some(body)).await.0
    }

    /// Lets the world's time pass.
    fn pass(&self, seconds: u64) {
        let mut world = self.shared.lock();
        let to = world.now() + Duration::from_secs(seconds);
        world.advance(to);
    }

    fn streaming_nodes(&self) -> Vec<NodeId> {
        let world = self.shared.lock();
        let nodes = world.nodes().values().filter(|node| node.role == SimRole::Streaming);
        nodes.map(|node| node.id).collect()
    }

    /// A segment that node 1 serves, and another node of its replica.
    fn segment_on_node_1(&self) -> (SegmentId, NodeId) {
        let world = self.shared.lock();
        let serves = |copy: &&SimCopy| copy.node == NodeId(1) && copy.state == CopyState::Serving;
        let mut found = world.segments().values().filter(|segment| segment.rows > 0);
        let (segment, copy) =
            found.find_map(|segment| Some((segment, segment.copies.iter().find(serves)?))).unwrap();
        let members = &world.collections()[&segment.collection].replicas[copy.replica].read_write;
        (segment.id, *members.iter().find(|node| **node != NodeId(1)).unwrap())
    }
}

#[tokio::test]
async fn pages_have_the_names_and_labels_of_each_version() {
    for line in ALL_LINES {
        let scene = Scene::of(line).await;
        scene.pass(60);
        let (status, page) = scene.get(scene.server.node_pages().values().next().unwrap().clone()).await;
        assert_eq!(status, 200);
        assert!(page.contains("\nprocess_cpu_seconds_total "), "{line}: {page}");
        assert_eq!(page.contains("milvus_querynode_entity_size{"), line >= Line::V2_3, "{line}");
        assert_eq!(page.contains("scope=\"FromLeader\""), line >= Line::V2_3, "{line}");
        let by_collection = page
            .lines()
            .any(|row| row.starts_with("milvus_querynode_sq_req_count{") && row.contains("collection_id"));
        assert_eq!(by_collection, line >= Line::V2_4, "{line}");
        let (_, proxy) = scene.proxy("/metrics").await;
        assert!(proxy.contains("milvus_proxy_req_count{"), "{line}: {proxy}");
    }
}

/// Every path, with the first line of versions that has it, and whether it is the coordinator's.
#[tokio::test]
async fn paths_are_where_and_when_they_were_made() {
    let paths = [
        ("/management/querycoord/balance/status", Line::V2_4, false),
        ("/management/querycoord/node/list", Line::V2_4, false),
        ("/api/v1/_qc/replica", Line::V2_5, false),
        ("/api/v1/_qc/target", Line::V2_5, false),
        ("/api/v1/_qn/channels", Line::V2_5, false),
        ("/api/v1/_db/list", Line::V2_5, false),
        ("/api/v1/_collection/list", Line::V2_5, false),
        ("/management/batch/balance/status", Line::V2_6, true),
        ("/management/batch/nodes", Line::V2_6, true),
        ("/management/streaming/balance/status", Line::V2_6, true),
        ("/management/streaming/nodes", Line::V2_6, true),
        ("/management/config/get?keys=queryCoord.autoBalance", Line::V2_6, true),
    ];
    for line in ALL_LINES {
        let scene = Scene::of(line).await;
        let (proxy, coordinator) = (scene.server.http_address(), scene.server.coordinator_address());
        for (path, since, is_coordinators) in paths {
            for (address, is_there) in [(proxy, !is_coordinators), (coordinator, is_coordinators)] {
                let (status, body) = scene.get(format!("http://{address}{path}")).await;
                let expected = if is_there && line >= since { 200 } else { 404 };
                assert_eq!(status, expected, "{line}: {path}: {body}");
            }
        }
    }
    let early = Scene::planned(&plan(Profile::early_2_6())).await;
    assert_eq!(early.coordinator(Method::GET, "batch/nodes", None).await.0, 404);
    assert_eq!(early.coordinator(Method::GET, "config/get?keys=a", None).await.0, 404);
}

#[tokio::test]
async fn the_proxys_management_answers_and_refuses() {
    let scene = Scene::of(Line::V2_6).await;
    scene.proxy("/management/querycoord/balance/suspend").await;
    let (_, status) = scene.proxy("/management/querycoord/balance/status").await;
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["status"], "suspended");
    let (_, nodes) = scene.proxy("/management/querycoord/node/list").await;
    let nodes: Value = serde_json::from_str(&nodes).unwrap();
    let states: Vec<&str> =
        nodes["nodeInfos"].as_array().unwrap().iter().map(|node| node["state"].as_str().unwrap()).collect();
    let suspended = states.iter().filter(|state| **state == "suspended").count();
    assert_eq!(suspended, 2, "streaming nodes: {states:?}");
    for (path, expected) in [
        ("distribution/get?node_id=x", 400),
        ("node/suspend?node_id=77", 500),
        ("distribution/check?source_node_id=1&target_node_id=2", 500),
        ("distribution/get?node_id=1", 200),
        ("node/resume?node_id=1", 200),
        ("transfer/segment?source_node_id=1&target_node_id=99", 500),
        // A streaming node, which LoadBalance accepts.
        ("transfer/segment?source_node_id=1&target_node_id=5", 500),
        ("transfer/segment?source_node_id=1&segment_id=x", 400),
        ("transfer/channel?source_node_id=1&target_node_id=", 400),
    ] {
        let (status, body) = scene.proxy(&format!("/management/querycoord/{path}")).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
}

/// The same request to both: the proxy copies what the coordinator moves. (One collection alone: with several on the
/// node the first one that does not hold the segment ends the call.)
#[tokio::test]
async fn the_two_transfers_differ_in_what_they_do_unasked() {
    for moves in [false, true] {
        let plan = WorldPlan { collections: 1, ..plan(Profile::of(Line::V2_6)) };
        let scene = Scene::planned(&plan).await;
        let (segment, to) = scene.segment_on_node_1();
        let status = if moves {
            let body = json!({ "source_node_id": 1, "target_node_id": to.0, "segment_id": segment.0 });
            scene.post("batch/transfer", body).await
        } else {
            let asked = format!("source_node_id=1&target_node_id={to}&segment_id={segment}");
            scene.proxy(&format!("/management/querycoord/transfer/segment?{asked}")).await.0
        };
        assert_eq!(status, 200);
        let world = scene.shared.lock();
        let queued: Vec<Option<NodeId>> = world.pending_tasks().map(|task| task.from).collect();
        assert_eq!(queued, [moves.then_some(NodeId(1))], "it only queues");
    }
}

#[tokio::test]
async fn a_transfer_of_one_segment_fails_at_the_first_other_collection() {
    let scene = Scene::of(Line::V2_6).await;
    let segment = {
        let world = scene.shared.lock();
        let last = *world.collections().keys().next_back().unwrap();
        let on_node_1 = world.segments().values().find(|segment| {
            segment.collection == last && segment.copies.iter().any(|copy| copy.node == NodeId(1))
        });
        on_node_1.unwrap().id
    };
    let body = json!({ "source_node_id": 1, "target_node_id": 2, "segment_id": segment.0 });
    let (status, text) = scene.coordinator(Method::POST, "batch/transfer", Some(body)).await;
    assert_eq!(status, 500);
    assert!(text.contains("segment not found"), "{text}");
}

#[tokio::test]
async fn the_coordinators_management_reads_strictly() {
    let scene = Scene::of(Line::V2_6).await;
    let id = scene.segment_on_node_1().0.to_string();
    for (method, path, body, expected) in [
        (Method::POST, "batch/balance/status", json!({ "status": "suspended" }), 405),
        (Method::PUT, "batch/balance/status", json!({ "status": "off" }), 400),
        (Method::PUT, "batch/balance/status", json!("suspended"), 400),
        (Method::PUT, "batch/nodes/status", json!({ "status": "suspended" }), 400),
        (Method::PUT, "batch/nodes/status", json!({ "status": "suspended", "node_id": "1" }), 400),
        (Method::PUT, "batch/nodes/status", json!({ "status": "suspended", "node_id": 77 }), 500),
        (Method::PUT, "streaming/nodes/status", json!({ "status": "resumed", "node_id": 5 }), 400),
        (Method::PUT, "streaming/nodes/status", json!({ "status": "active", "node_id": 77 }), 200),
        (Method::POST, "batch/transfer", json!({ "target_node_id": 2 }), 400),
        // The ids that the coordinator writes as strings it does not read as such.
        (Method::POST, "batch/transfer", json!({ "source_node_id": 1, "segment_id": id }), 400),
        (Method::POST, "batch/transfer", json!({ "source_node_id": 99 }), 500),
        (Method::PUT, "streaming/transfer", json!({ "source_node_id": 5 }), 405),
        (Method::POST, "streaming/transfer", json!({ "source_node_id": 1 }), 500),
        (Method::GET, "config/alter", json!({}), 405),
        (Method::POST, "config/alter", json!({}), 400),
        (Method::POST, "config/alter", json!({ "key": "queryCoord.autoBalnce", "value": "false" }), 400),
        (Method::POST, "config/alter", json!({ "configs": [{ "value": "false" }] }), 400),
        (Method::POST, "config/alter", json!({ "configs": [{ "key": "a" }, { "key": "a" }] }), 400),
    ] {
        let (status, text) = scene.coordinator(method, path, Some(body.clone())).await;
        assert_eq!(status, expected, "{path} {body}: {text}");
        let said: Value = serde_json::from_str(&text).unwrap();
        assert!(said["msg"].is_string(), "{path}: {text}");
    }
    for path in ["batch/nodes/status", "batch/nodes/distribution", "streaming/nodes/distribution"] {
        assert_eq!(scene.coordinator(Method::GET, path, None).await.0, 400, "{path} without a node");
        let path = format!("{path}?node_id=x");
        assert_eq!(scene.coordinator(Method::GET, &path, None).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn suspending_is_forgotten_by_a_restart_and_settings_are_not() {
    let scene = Scene::of(Line::V2_6).await;
    let off = json!({ "key": "querycoord.AUTO_balance", "value": "false" });
    assert_eq!(scene.post("config/alter", off).await, 200);
    for (path, active) in [("batch/balance/status", "active"), ("streaming/balance/status", "activate")] {
        assert_eq!(scene.look(path).await["status"], active);
        assert_eq!(scene.put(path, json!({ "status": "suspended" })).await, 200);
        assert_eq!(scene.look(path).await["status"], "suspended");
    }
    scene.shared.lock().schedule(Duration::ZERO, Fault::CoordinatorRestart { lasts: Duration::from_secs(9) });
    scene.pass(10);
    assert_eq!(scene.look("batch/balance/status").await["status"], "active");
    assert_eq!(scene.look("streaming/balance/status").await["status"], "activate");
    let keys = "config/get?keys=queryCoord.autoBalance,%20queryCoord.globalRowCountFactor,nonsense";
    let configs = scene.look(keys).await;
    assert_eq!(
        configs["configs"],
        json!([
            { "key": "queryCoord.autoBalance", "value": "false", "source": "EtcdSource" },
            { "key": "queryCoord.globalRowCountFactor", "value": "0.1", "source": "FileSource" },
            { "key": "nonsense", "error": "access to unregistered config key is denied" },
        ])
    );
}

#[tokio::test]
async fn an_altered_setting_takes_effect_until_it_is_reset() {
    let mut plan = plan(Profile::of(Line::V2_6));
    plan.settings.own_balancer = true;
    let scene = Scene::planned(&plan).await;
    let alter = |value: Value| scene.post("config/alter", json!({ "configs": [value] }));
    let is_on = || scene.shared.lock().own_balancer_settings().auto_balance;
    assert!(is_on());
    assert_eq!(alter(json!({ "key": "queryCoord.autoBalance", "value": "false" })).await, 200);
    assert!(!is_on());
    // What means nothing is stored all the same, and the default holds.
    assert_eq!(alter(json!({ "key": "queryCoord.autoBalance", "value": "perhaps" })).await, 200);
    assert!(is_on());
    assert_eq!(scene.web_ui("_cluster/configs").await["querycoord.autobalance"], "perhaps");
    assert_eq!(alter(json!({ "key": "queryCoord.autoBalance", "value": null })).await, 200);
    assert_eq!(scene.web_ui("_cluster/configs").await["querycoord.autobalance"], "true");
    let both = json!({ "configs": [
        { "key": "queryCoord.channelExclusiveNodeFactor", "value": "9" },
        { "key": "no.such.key", "value": "1" },
    ] });
    assert_eq!(scene.post("config/alter", both).await, 400);
    let factor = scene.shared.lock().own_balancer_settings().channel_exclusive_node_factor;
    assert_eq!(factor, 3, "all or none");
}

#[tokio::test]
async fn nodes_are_suspended_frozen_and_let_go() {
    let scene = Scene::planned(&WorldPlan { replicas: 1, ..plan(Profile::of(Line::V2_6)) }).await;
    let [first, second] = scene.streaming_nodes()[..] else { panic!("two streaming nodes") };
    let status = async |node: NodeId| {
        let batch = scene.look(&format!("batch/nodes/status?node_id={node}")).await["status"].clone();
        (batch, scene.look(&format!("streaming/nodes/status?node_id={node}")).await["status"].clone())
    };
    // The coordinator of the query nodes takes every streaming node for suspended.
    assert_eq!(status(first).await, (json!("suspended"), json!("suspended")));
    assert_eq!(status(NodeId(1)).await, (json!("active"), json!("active")));
    assert_eq!(scene.put("batch/nodes/status", json!({ "status": "suspended", "node_id": 1 })).await, 200);
    assert_eq!(status(NodeId(1)).await, (json!("suspended"), json!("suspended")));
    assert_eq!(scene.put("batch/nodes/status", json!({ "status": "resumed", "node_id": 1 })).await, 200);
    assert_eq!(status(NodeId(1)).await, (json!("active"), json!("active")));

    let channels = async |node: NodeId| {
        let answer = scene.look(&format!("streaming/nodes/distribution?node_id={node}")).await;
        assert_eq!(answer["sealed_segmentIDs"], Value::Null);
        answer["channel_names"].as_array().unwrap().len()
    };
    assert_eq!((channels(first).await, channels(second).await), (3, 3));
    let freeze = json!({ "status": "suspended", "node_id": first.0 });
    assert_eq!(scene.put("streaming/nodes/status", freeze).await, 200);
    let nodes = scene.look("streaming/nodes").await;
    let states: Vec<(i64, &str)> = nodes["nodeInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["ID"].as_i64().unwrap(), node["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [(first.0, "suspended"), (second.0, "active")]);
    scene.pass(3);
    assert_eq!((channels(first).await, channels(second).await), (0, 6));
    let freeze = json!({ "status": "suspended", "node_id": second.0 });
    assert_eq!(scene.put("streaming/nodes/status", freeze).await, 200);
    scene.pass(3);
    assert_eq!(channels(second).await, 6, "there is nobody else to take them");
    let unknown = scene.look("streaming/nodes/distribution?node_id=99").await;
    assert_eq!(unknown, json!({ "channel_names": [], "sealed_segmentIDs": [] }));
    let held = scene.look("batch/nodes/distribution?node_id=2").await;
    assert!(held["sealed_segmentIDs"][0].is_string(), "{held}");
}

#[tokio::test]
async fn the_web_ui_shows_what_grpc_hides() {
    let mut plan = plan(Profile::of(Line::V2_5));
    plan.ingest_rows_per_second = 600.0;
    let scene = Scene::planned(&plan).await;
    scene.pass(20);
    let all = scene.web_ui("_qn/segments").await;
    let all = all.as_array().unwrap();
    let sealed = all.iter().find(|segment| segment["level"] == "L1").unwrap();
    assert!(sealed["mem_size"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(sealed["segment_id"].is_string() && sealed["node_id"].is_i64());
    let level0 = all.iter().find(|segment| segment["level"] == "L0").unwrap();
    assert_eq!(level0.get("num_of_rows"), None, "zeros are left out: {level0}");
    let growing: Vec<&Value> = all.iter().filter(|segment| segment["state"] == "Growing").collect();
    assert_eq!(growing.len(), 6 * 2, "one for each shard and replica");

    let dist = scene.web_ui("_qc/dist").await;
    let view = &dist["leader_views"][0];
    assert!(view["leader_id"].is_string() && dist["dm_channels"][0]["node_id"].is_i64(), "{view}");
    let listed = &view["growing_segments"][0]["segment_id"];
    assert!(growing.iter().any(|segment| segment["segment_id"] == *listed), "{view}");
    let sealed = scene.web_ui("_qc/segments").await;
    assert!(sealed.as_array().unwrap().iter().all(|segment| segment["segment_id"] != *listed));

    let id = view["collection_id"].as_str().unwrap();
    let target = scene.web_ui(&format!("_qc/target?collection_id={id}")).await;
    assert_eq!(target.as_array().unwrap().len(), 1);
    assert_eq!(target[0]["collection_id"], id);
    assert_eq!(target[0]["segments"].as_array().unwrap().len(), 11, "ten, and one of level 0");
    assert_eq!(target[0]["segments"][0].get("node_id"), None, "a target has no places");
    assert_eq!(scene.web_ui("_qc/target").await.as_array().unwrap().len(), 6);
    let channels = scene.web_ui("_qn/channels").await;
    assert!(channels[0]["node_id"].is_string() && channels[0]["watch_state"] == "Healthy", "{channels}");
    assert!(scene.web_ui("_qc/tasks").await.is_array());
    assert_eq!(scene.proxy("/api/v1/_qc/channels").await.0, 404, "there is none");
}

#[tokio::test]
async fn the_two_targets_differ_while_the_next_one_is_loaded() {
    let mut plan = plan(Profile::of(Line::V2_5));
    plan.ingest_rows_per_second = 60_000.0;
    plan.settings.load_bytes_per_second = 1 << 20;
    let scene = Scene::planned(&plan).await;
    scene.pass(25);
    let ids = async |scope: &str| -> BTreeSet<String> {
        let target = scene.web_ui(&format!("_qc/target?target_scope={scope}")).await;
        let collections = target.as_array().unwrap().iter();
        let segments = collections.flat_map(|collection| collection["segments"].as_array().unwrap());
        segments.map(|segment| segment["segment_id"].as_str().unwrap().to_owned()).collect()
    };
    let (current, next) = (ids("1").await, ids("2").await);
    assert!(!next.is_subset(&current), "{} and {}", current.len(), next.len());
}

#[tokio::test]
async fn databases_and_collections_are_described() {
    let scene = Scene::of(Line::V2_5).await;
    let databases = scene.web_ui("_db/list").await;
    assert_eq!(databases["db_names"], json!(["default", "team_1"]));
    assert_eq!(databases["db_ids"], json!(["1", "2"]));
    assert_eq!(scene.web_ui("_db/desc?db_name=team_1").await["dbID"], "2");
    let first = *scene.shared.lock().collections().keys().next().unwrap();
    scene.shared.lock().release_collection(first);
    let listed = scene.web_ui("_collection/list").await;
    assert_eq!(listed["collection_ids"][0], first.to_string());
    assert_eq!(listed["inMemory_percentages"], json!(["unknown", "100", "100"]));
    assert_eq!(listed["query_service_available"], json!([false, true, true]));
    let others = scene.web_ui("_collection/list?db_name=team_1").await;
    assert_eq!(others["collection_names"].as_array().unwrap().len(), 3);
    let described = scene.web_ui("_collection/desc?collection_name=collection_0").await;
    assert_eq!(described["collection_id"], first.to_string());
    assert_eq!((&described["shards_num"], &described["num_partitions"]), (&json!(1), &json!("1")));
    assert!(described["fields"][1]["type_params"]["dim"].is_string(), "{described}");
    for (path, expected) in [
        ("_db/desc", 400),
        ("_db/desc?db_name=nowhere", 500),
        ("_collection/list?db_name=nowhere", 500),
        ("_collection/desc", 400),
        ("_collection/desc?collection_name=nobody", 500),
    ] {
        let (status, body) = scene.proxy(&format!("/api/v1/{path}")).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["message"].is_string());
    }
}
