//! What a client is told, and what is lost on the way.

use serde_json::Value;

use super::*;
use crate::milvus::wire::milvus as rpc;
use crate::sim::answers::Unanswered;
use crate::sim::faults::Fault;
use crate::sim::profile::ALL_LINES;

fn system_info(world: &mut World) -> Value {
    serde_json::from_str(&world.system_info()).unwrap()
}

fn info(document: &Value, node: i64) -> Option<&Value> {
    document["nodes_info"].as_array().unwrap().iter().find(|entry| entry["identifier"] == node)
}

fn segments(world: &mut World) -> Vec<rpc::QuerySegmentInfo> {
    let collection = world.collections()[&first_collection(world)].clone();
    let request =
        rpc::GetQuerySegmentInfoRequest { db_name: collection.database, collection_name: collection.name };
    world.get_query_segment_info(&request).unwrap().infos
}

#[test]
fn every_version_lists_what_it_lists() {
    for line in ALL_LINES {
        let mut world = small(line);
        let databases = world.list_databases();
        assert_eq!(databases.is_err(), line == Line::V2_2, "{line}");
        let level0 = segments(&mut world).iter().filter(|info| info.num_rows == 0).count();
        assert_eq!(level0 > 0, world.profile().lists_level0, "{line}");
        let levels: std::collections::BTreeSet<i32> =
            segments(&mut world).iter().map(|info| info.level).collect();
        assert_eq!(levels.contains(&2), line >= Line::V2_4, "{line}: {levels:?}");
        let group = world
            .describe_resource_group(&rpc::DescribeResourceGroupRequest {
                resource_group: crate::sim::DEFAULT_RESOURCE_GROUP.to_owned(),
            })
            .unwrap()
            .resource_group
            .unwrap();
        assert_eq!(group.nodes.len(), if line >= Line::V2_4 { 4 } else { 0 }, "{line}");
        let replica = world
            .get_replicas(&rpc::GetReplicasRequest { collection_id: first_collection(&world).0 })
            .unwrap()
            .replicas
            .remove(0);
        let streaming = if line >= Line::V2_6 { 2 } else { 0 };
        assert_eq!(replica.node_ids.len(), 4 + streaming, "{line}");
        assert_eq!(replica.shard_replicas.len(), 1);
        let document = system_info(&mut world);
        let node = &info(&document, 1).unwrap()["infos"];
        assert_eq!(node["collection_metrics"].is_object(), line >= Line::V2_4, "{line}");
        assert_eq!(node["quota_metrics"]["SearchQueue"].is_object(), line <= Line::V2_3, "{line}");
        assert_eq!(node["quota_metrics"]["GrowingSegmentsSize"].is_u64(), line >= Line::V2_3, "{line}");
        let disk = &node["hardware_infos"]["disk"];
        assert_eq!(disk.is_f64(), line >= Line::V2_5, "{line}: {disk}");
        if line >= Line::V2_6 {
            assert_eq!(info(&document, 5).unwrap()["infos"]["type"], "streamingnode");
        }
    }
}

#[test]
fn ids_lose_their_last_digits_in_the_json_of_2_6() {
    for line in [Line::V2_5, Line::V2_6] {
        let mut plan = small_plan(Profile::of(line));
        plan.collections = 8;
        let mut world = build(&plan);
        let known: Vec<i64> = world.collections().keys().map(|id| id.0).collect();
        let document = system_info(&mut world);
        let node = &info(&document, 1).unwrap()["infos"];
        let told: Vec<i64> = node["quota_metrics"]["Effect"]["CollectionIDs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap())
            .collect();
        let wrong = told.iter().filter(|id| !known.contains(id)).count();
        assert_eq!(wrong > 0, line == Line::V2_6, "{line}: {told:?}");
        let rows = node["collection_metrics"]["CollectionRows"].as_object().unwrap();
        assert!(rows.keys().all(|id| known.contains(&id.parse().unwrap())), "keys stay exact");
    }
}

#[test]
fn metrics_are_five_seconds_old_and_dead_nodes_are_not_in_them() {
    let mut world = small(Line::V2_3);
    let fresh = world.system_info();
    world.crash(NodeId(2));
    run(&mut world, 4.0);
    for _ in 0..5 {
        assert_eq!(world.system_info(), fresh, "the proxy's cache, which never ends while it is asked");
        run(&mut world, 4.0);
    }
    run(&mut world, 1.5);
    // 28 s of session, 25.5 s of which have passed.
    assert_eq!(world.metrics_delay(), Duration::from_secs(3));
    let document = system_info(&mut world);
    assert!(info(&document, 2).is_none() && info(&document, 3).is_some());
    assert!(segments(&mut world).iter().any(|info| info.node_ids == [2]), "the distribution still has it");

    world.strike(Fault::StaleMetrics { lasts: Duration::from_secs(60) });
    let frozen = world.system_info();
    run(&mut world, 40.0);
    assert_eq!(world.system_info(), frozen);
    let misses = world.counts().metrics_misses;
    run(&mut world, 40.0);
    assert_ne!(world.system_info(), frozen);
    assert_eq!(world.counts().metrics_misses, misses + 1);
}

#[test]
fn an_erroring_node_has_an_id_that_belongs_to_nobody() {
    let mut world = small(Line::V2_4);
    world.strike(Fault::Erroring { hostname: "querynode-0".to_owned(), lasts: Duration::from_secs(30) });
    let document = system_info(&mut world);
    assert!(info(&document, 1).is_none());
    let entries = document["nodes_info"].as_array().unwrap();
    let erroring: Vec<_> = entries.iter().filter(|entry| entry["infos"]["has_error"] == true).collect();
    assert_eq!(erroring.len(), 1);
    assert!(erroring[0]["identifier"].as_i64().unwrap() >= 1_000_000);
    assert_eq!(erroring[0]["infos"]["name"], "");
}

#[test]
fn a_restarting_coordinator_is_not_ready_and_then_leaderless() {
    let mut world = small(Line::V2_5);
    let id = first_collection(&world);
    world.strike(Fault::CoordinatorRestart { lasts: Duration::from_secs(28) });
    let status = |world: &mut World| {
        let replicas = world.get_replicas(&rpc::GetReplicasRequest { collection_id: id.0 });
        replicas.unwrap().status.unwrap()
    };
    assert_eq!((status(&mut world).code, status(&mut world).retriable), (1, true));
    run(&mut world, 6.0);
    assert_eq!(status(&mut world).code, 503);
    run(&mut world, 23.0);
    assert_eq!(status(&mut world).code, 0);
    world.strike(Fault::ProxyAway { lasts: Duration::from_secs(5) });
    assert_eq!(world.get_version(), Err(Unanswered::Unavailable));
}

#[test]
fn hidden_collections_are_missing_and_nothing_says_so() {
    let mut world = small(Line::V2_5);
    let show = |world: &mut World| {
        let request = rpc::ShowCollectionsRequest {
            db_name: "default".to_owned(),
            r#type: rpc::ShowType::InMemory.into(),
        };
        let answer = world.show_collections(&request).unwrap();
        assert_eq!(answer.status.unwrap().code, 0);
        answer.collection_ids.len()
    };
    assert_eq!(show(&mut world), 2);
    world.strike(Fault::HideCollections { lasts: Duration::from_secs(60), every: 1 });
    assert_eq!(show(&mut world), 0);
    let document = system_info(&mut world);
    let rows = &info(&document, 1).unwrap()["infos"]["collection_metrics"]["CollectionRows"];
    assert_eq!(rows.as_object().unwrap().len(), 2, "the nodes still report their rows");
}

#[test]
fn what_is_scanned_is_counted() {
    for (line, per_call) in [(Line::V2_3, 18), (Line::V2_5, 9)] {
        let mut world = small(line);
        segments(&mut world);
        segments(&mut world);
        assert_eq!(world.counts().segment_info, 2);
        assert_eq!(world.counts().segments_scanned, 2 * per_call, "{line}");
    }
}

#[test]
fn nonsense_is_answered_with_an_error() {
    let mut world = small(Line::V2_5);
    for text in ["", "{", "[]", "{\"metric_type\":7}", "{\"metric_type\":\"dist\"}"] {
        let answer = world.get_metrics(&rpc::GetMetricsRequest { request: text.to_owned() }).unwrap();
        assert_eq!(answer.status.unwrap().code, 1200, "{text}");
    }
    let nowhere = rpc::GetQuerySegmentInfoRequest {
        db_name: "nowhere".to_owned(),
        collection_name: "collection_0".to_owned(),
    };
    assert_eq!(world.get_query_segment_info(&nowhere).unwrap().status.unwrap().code, 800);
    let nobody = rpc::GetReplicasRequest { collection_id: -1 };
    assert_eq!(world.get_replicas(&nobody).unwrap().status.unwrap().code, 100);
    let group = rpc::DescribeResourceGroupRequest { resource_group: "none".to_owned() };
    assert_eq!(world.describe_resource_group(&group).unwrap().status.unwrap().code, 300);
}
