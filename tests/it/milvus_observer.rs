//! The observer on a scripted Milvus: what one poll sees, what it does without, and when it gives up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::milvus::wire::milvus::{
    CheckHealthResponse, DescribeCollectionRequest, DescribeCollectionResponse,
    DescribeResourceGroupResponse, GetMetricsResponse, GetQuerySegmentInfoRequest,
    GetQuerySegmentInfoResponse, GetReplicasRequest, GetReplicasResponse, ListDatabasesResponse,
    QuerySegmentInfo, ReplicaInfo, ShowCollectionsRequest, ShowCollectionsResponse,
};
use milvus_rebalancer::milvus::{ConnectionSettings, MilvusClient, Remedy};
use milvus_rebalancer::model::{ModelState, fold};
use milvus_rebalancer::observe::observation::{
    CollectionReport, GapSubject, NodeRole, Observation, SegmentLevel,
};
use milvus_rebalancer::observe::{MilvusObserver, NodeMetricsSettings, ObserveError, Observer};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, Rows, SegmentId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::{Request, Status};

use crate::fake_milvus::{COLLECTION, FakeMilvus, Script, Serving, loaded, old_refusal, refusal};

fn observer_with(server: &Serving, node_metrics: &NodeMetricsSettings) -> MilvusObserver {
    let settings = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    let client = MilvusClient::new("default", &settings).unwrap();
    MilvusObserver::new(client, Arc::new(Clock::system()), node_metrics).unwrap()
}

fn observer(server: &Serving) -> MilvusObserver {
    observer_with(server, &NodeMetricsSettings::default())
}

async fn observe(fake: FakeMilvus) -> Observation {
    let server = fake.start().await;
    observer(&server).observe().await.unwrap()
}

fn subjects(observation: &Observation) -> Vec<GapSubject> {
    observation.gaps.iter().map(|gap| gap.subject.clone()).collect()
}

fn names(observation: &Observation) -> Vec<(&str, &str)> {
    observation.collections.iter().map(|report| (report.database.as_str(), report.name.as_str())).collect()
}

#[tokio::test]
async fn a_poll_sees_everything() {
    let seen = observe(FakeMilvus::small_cluster()).await;
    assert_eq!(subjects(&seen), []);
    assert_eq!(seen.server.number, Some((2, 4, 13)));
    let nodes: Vec<_> = seen.nodes.iter().map(|node| (node.id, &node.role, node.memory_used)).collect();
    let query_node = &NodeRole::QueryNode;
    let expected = [(NodeId(1), query_node, Some(Bytes(1000))), (NodeId(2), query_node, Some(Bytes(2000)))];
    assert_eq!(nodes, expected);
    let group = &seen.resource_groups.as_ref().unwrap()[0];
    let members: Vec<_> = group.nodes.as_ref().unwrap().iter().map(|node| node.hostname.as_str()).collect();
    assert_eq!((group.name.as_str(), members), ("group", vec!["pod-1", "pod-2"]));

    let [collection] = &seen.collections[..] else { panic!("{:?}", seen.collections) };
    assert_eq!((collection.id, collection.load_percentage), (CollectionId(COLLECTION), 100));
    assert_eq!(collection.estimated_row_bytes, Some(16), "no fields but the system's");
    let replica = &collection.replicas.as_ref().unwrap()[0];
    assert_eq!((&replica.nodes, &*replica.resource_group), (&vec![NodeId(1), NodeId(2)], "group"));
    let segments = collection.segments.as_ref().unwrap();
    let ids: Vec<_> = segments.iter().map(|segment| (segment.id, segment.nodes[0])).collect();
    assert_eq!(ids, [(SegmentId(5), NodeId(1)), (SegmentId(6), NodeId(2))], "in order");
    assert_eq!((segments[0].rows, segments[0].level), (Rows(1000), SegmentLevel::L1));
}

#[tokio::test]
async fn an_old_server_is_read_with_one_nameless_database() {
    let only_without_name = |request: Request<ShowCollectionsRequest>| {
        let database = request.into_inner().db_name;
        if database.is_empty() {
            Ok(loaded(&[("vectors", COLLECTION)]))
        } else {
            Err(Status::internal(database))
        }
    };
    let fake = FakeMilvus {
        list_databases: Script::Missing,
        list_resource_groups: Script::Missing,
        show_collections: Script::says(only_without_name),
        ..FakeMilvus::small_cluster()
    };
    let seen = observe(fake).await;
    assert_eq!(names(&seen), [("", "vectors")]);
    assert_eq!(subjects(&seen), [GapSubject::ResourceGroups]);
    assert_eq!(seen.resource_groups, None);
}

#[tokio::test]
async fn without_the_right_to_list_databases_the_default_one_is_read() {
    let fake = FakeMilvus {
        list_databases: Script::fails(Status::permission_denied("deny to reader")),
        ..FakeMilvus::small_cluster()
    };
    let seen = observe(fake).await;
    assert_eq!(names(&seen), [("default", "vectors")]);
    assert_eq!(subjects(&seen), [GapSubject::Databases]);
    assert!(seen.gaps[0].cause.contains("privilege ListDatabases"), "{}", seen.gaps[0].cause);
}

#[tokio::test]
async fn one_unreadable_database_does_not_hide_the_others() {
    let mut fake = FakeMilvus::small_cluster();
    fake.list_databases = Script::always(ListDatabasesResponse {
        db_names: vec!["b".to_owned(), "dropped".to_owned(), "a".to_owned()],
        ..Default::default()
    });
    fake.show_collections = Script::says(|request: Request<ShowCollectionsRequest>| {
        match request.into_inner().db_name.as_str() {
            "a" => Err(Status::permission_denied("deny")),
            "b" => Ok(loaded(&[("vectors", COLLECTION)])),
            _ => Ok(ShowCollectionsResponse {
                status: refusal(800, "database not found"),
                ..Default::default()
            }),
        }
    });
    let seen = observe(fake).await;
    assert_eq!(names(&seen), [("b", "vectors")]);
    assert_eq!(subjects(&seen), [GapSubject::Collections { database: "a".to_owned() }]);
}

#[tokio::test]
async fn a_server_that_lists_nothing_at_all_cannot_be_observed() {
    for show_collections in [
        Script::fails(Status::permission_denied("deny")),
        Script::always(ShowCollectionsResponse { status: refusal(1, "not ready"), ..Default::default() }),
    ] {
        let server = FakeMilvus { show_collections, ..FakeMilvus::small_cluster() }.start().await;
        let error = observer(&server).observe().await.unwrap_err();
        let ObserveError::Unreachable { endpoint, source } = error else { panic!("{error}") };
        assert_eq!(endpoint, server.endpoint());
        assert!(matches!(source.remedy(), Remedy::FixAccess | Remedy::RetryLater), "{source}");
    }
}

#[tokio::test]
async fn an_empty_cluster_is_no_error() {
    let fake = FakeMilvus {
        show_collections: Script::always(loaded(&[])),
        get_metrics: Script::always(GetMetricsResponse {
            response: r#"{"nodes_info": []}"#.to_owned(),
            ..Default::default()
        }),
        ..FakeMilvus::small_cluster()
    };
    let seen = observe(fake).await;
    assert_eq!((seen.collections.len(), seen.nodes.len(), seen.gaps.len()), (0, 0, 0));
}

#[tokio::test]
async fn nonsense_for_system_info_is_a_gap() {
    for nonsense in ["", "<html></html>", "{\"nodes_info\": {}}", "[1, 2"] {
        let fake = FakeMilvus {
            get_metrics: Script::always(GetMetricsResponse {
                response: nonsense.to_owned(),
                ..Default::default()
            }),
            ..FakeMilvus::small_cluster()
        };
        let seen = observe(fake).await;
        assert_eq!(subjects(&seen), [GapSubject::SystemInfo], "{nonsense}");
        assert_eq!((seen.nodes.len(), seen.collections.len()), (0, 1));
    }
}

#[tokio::test]
async fn the_version_comes_from_the_nodes_when_the_server_does_not_say() {
    let seen = observe(FakeMilvus { get_version: Script::Missing, ..FakeMilvus::small_cluster() }).await;
    assert_eq!(seen.server.number, Some((2, 4, 13)));
    let fake = FakeMilvus {
        get_version: Script::Missing,
        get_metrics: Script::Missing,
        ..FakeMilvus::small_cluster()
    };
    let seen = observe(fake).await;
    assert!(seen.server.is_too_old_to_act_on(), "unknown: {}", seen.server);
}

#[tokio::test]
async fn collections_that_vanish_during_the_poll_are_left_out() {
    // Dropped, released on 2.3, released on 2.4, dropped on 2.2, made anew under the same name.
    let mut fake = FakeMilvus::small_cluster();
    fake.show_collections = Script::always(loaded(&[
        ("dropped", 1),
        ("released", 2),
        ("released_later", 3),
        ("old", 4),
        ("anew", 5),
        ("vectors", COLLECTION),
    ]));
    fake.get_replicas = Script::says(|request: Request<GetReplicasRequest>| {
        let id = request.into_inner().collection_id;
        let status = match id {
            1 => refusal(100, "collection not found"),
            2 => refusal(400, "replica not found"),
            4 => old_refusal(1, "can't find collection"),
            _ => None,
        };
        let is_loaded = id == 5 || id == COLLECTION;
        let replica = ReplicaInfo { collection_id: id, ..ReplicaInfo::default() };
        Ok(GetReplicasResponse { status, replicas: if is_loaded { vec![replica] } else { Vec::new() } })
    });
    fake.get_query_segment_info = Script::says(|request: Request<GetQuerySegmentInfoRequest>| {
        let segment = |collection_id| QuerySegmentInfo { segment_id: 1, collection_id, ..Default::default() };
        let (status, infos) = match request.into_inner().collection_name.as_str() {
            "dropped" => (refusal(100, "collection not found"), vec![]),
            "old" => (old_refusal(1, "can't find collection"), vec![]),
            "anew" => (None, vec![segment(6)]),
            "vectors" => (None, vec![segment(COLLECTION)]),
            _ => (None, vec![]),
        };
        Ok(GetQuerySegmentInfoResponse { status, infos })
    });
    let seen = observe(fake).await;
    assert_eq!(names(&seen), [("default", "vectors")]);
    assert_eq!(subjects(&seen), []);
}

#[tokio::test]
async fn what_cannot_be_read_of_a_collection_is_a_gap_in_it() {
    let id = CollectionId(COLLECTION);
    let lost_leader = GetReplicasResponse {
        status: refusal(901, "failed to get shard leader"),
        ..GetReplicasResponse::default()
    };
    let fake = FakeMilvus {
        get_replicas: Script::always(lost_leader),
        describe_index: Script::fails(Status::permission_denied("deny")),
        ..FakeMilvus::small_cluster()
    };
    let seen = observe(fake).await;
    let expected = [GapSubject::Replicas { collection: id }, GapSubject::Schema { collection: id }];
    assert_eq!(subjects(&seen), expected);
    let collection = &seen.collections[0];
    assert_eq!((&collection.replicas, collection.segments.as_ref().unwrap().len()), (&None, 2));
    assert_eq!(collection.estimated_row_bytes, Some(16), "of the schema alone");
}

#[tokio::test]
async fn an_unreadable_resource_group_is_a_gap() {
    let fake = FakeMilvus {
        describe_resource_group: Script::always(DescribeResourceGroupResponse {
            status: refusal(300, "resource group not found"),
            ..Default::default()
        }),
        ..FakeMilvus::small_cluster()
    };
    let seen = observe(fake).await;
    assert_eq!(subjects(&seen), [GapSubject::ResourceGroup { name: "group".to_owned() }]);
    assert_eq!(seen.resource_groups, Some(Vec::new()));
}

#[tokio::test]
async fn schemas_are_read_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let count = move |_: Request<DescribeCollectionRequest>| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(DescribeCollectionResponse { schema: Some(Default::default()), ..Default::default() })
    };
    let fake = FakeMilvus { describe_collection: Script::says(count), ..FakeMilvus::small_cluster() };
    let server = fake.start().await;
    let observer = observer(&server);
    for _ in 0..3 {
        observer.observe().await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_collection_is_read_again_by_itself() {
    let server = FakeMilvus::small_cluster().start().await;
    let observer = observer(&server);
    let id = CollectionId(COLLECTION);
    let polled = observer.observe().await.unwrap().collections.remove(0);
    let reread = observer.reread("default", "vectors", id).await.unwrap();
    assert_eq!(reread, CollectionReport { read_at: reread.read_at, ..polled });
    let other = observer.reread("default", "vectors", CollectionId(1)).await.unwrap_err();
    assert!(matches!(other, ObserveError::CollectionGone { .. }), "another of the same name: {other}");
}

/// A page of metrics for every request, until the test ends.
async fn metrics_page(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0_u8; 4096];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(page.as_bytes()).await;
        }
    });
    format!("http://{address}/metrics")
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// What the poll knows of the first node's bytes, and the gap's cause if there is one.
async fn sealed_bytes_from(answer: String) -> (Option<BTreeMap<CollectionId, Bytes>>, Option<String>) {
    let server = FakeMilvus::small_cluster().start().await;
    let settings = NodeMetricsSettings {
        targets: BTreeMap::from([("127.0.0.1:11".to_owned(), metrics_page(answer).await)]),
        max_body: Bytes(1000),
        ..NodeMetricsSettings::default()
    };
    let mut seen = observer_with(&server, &settings).observe().await.unwrap();
    assert_eq!(seen.nodes[1].sealed_bytes, None, "it has no target");
    let cause = seen.gaps.pop().map(|gap| {
        assert_eq!(gap.subject, GapSubject::NodeMetrics { address: "127.0.0.1:11".to_owned() });
        gap.cause
    });
    (seen.nodes.swap_remove(0).sealed_bytes, cause)
}

#[tokio::test]
async fn nodes_tell_their_own_bytes() {
    let page =
        "milvus_querynode_entity_size{collection_id=\"449\",node_id=\"1\",segment_state=\"Sealed\"} 5e+06\n";
    let (sealed, cause) = sealed_bytes_from(http("200 OK", page)).await;
    assert_eq!(sealed, Some(BTreeMap::from([(CollectionId(449), Bytes(5_000_000))])));
    assert_eq!(cause, None);
}

#[tokio::test]
async fn a_page_that_is_none_is_a_gap() {
    let long = "x".repeat(1001);
    for (answer, expected) in [
        (http("404 Not Found", ""), "404"),
        (http("302 Found\r\nLocation: http://169.254.169.254/", ""), "302"),
        (http("200 OK", "hello"), "no metrics of Milvus"),
        (http("200 OK", &long), "larger than"),
        ("garbage\r\n\r\n".to_owned(), "is it a metrics port"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nmilvus_".to_owned(), "is it a metrics port"),
    ] {
        let (sealed, cause) = sealed_bytes_from(answer).await;
        assert_eq!(sealed, None);
        let cause = cause.expect(expected);
        assert!(cause.contains(expected) && cause.contains("/metrics"), "{cause}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_cannot_be_observed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    drop(listener);
    let settings = ConnectionSettings { endpoint: endpoint.clone(), ..ConnectionSettings::default() };
    let client = MilvusClient::new("default", &settings).unwrap();
    let no_metrics = NodeMetricsSettings::default();
    let observer = MilvusObserver::new(client, Arc::new(Clock::system()), &no_metrics).unwrap();
    let error = observer.observe().await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot observe Milvus at {endpoint}"));
}

#[tokio::test]
async fn what_milvus_says_of_its_own_health_is_part_of_the_picture() {
    let well = observe(FakeMilvus::small_cluster()).await;
    assert_eq!((well.complaints.len(), well.gaps), (0, Vec::new()));

    let unhealthy = CheckHealthResponse {
        is_healthy: false,
        reasons: vec!["check health fail for querycoord".to_owned()],
        ..CheckHealthResponse::default()
    };
    let complains = FakeMilvus { check_health: Script::always(unhealthy), ..FakeMilvus::small_cluster() };
    let seen = observe(complains).await;
    assert_eq!(seen.complaints, ["check health fail for querycoord"]);
    assert_eq!(seen.collections.len(), 1, "everything else is read all the same");
    let (_, snapshot) = fold(ModelState::default(), &seen, &[]);
    let doubts: Vec<String> = snapshot.doubts.iter().map(ToString::to_string).collect();
    let expected = "the cluster: Milvus says that it is not well: check health fail for querycoord";
    assert!(doubts.iter().any(|doubt| doubt == expected), "{doubts:?}");
}

#[tokio::test]
async fn a_health_that_cannot_be_had_is_a_gap_and_a_missing_call_is_none() {
    let without = FakeMilvus { check_health: Script::Missing, ..FakeMilvus::small_cluster() };
    assert_eq!(subjects(&observe(without).await), []);
    let status = Status::internal("no");
    let failing = FakeMilvus { check_health: Script::fails(status), ..FakeMilvus::small_cluster() };
    let seen = observe(failing).await;
    assert_eq!((subjects(&seen), seen.complaints.len()), (vec![GapSubject::Health], 0));
}
