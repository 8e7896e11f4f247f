//! Milvus' own HTTP pages as the observer reads them: from a simulated Milvus of each version, and from servers that lie,
//! stall, drown us or want credentials.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use milvus_rebalancer::milvus::{ConnectionSettings, MilvusClient};
use milvus_rebalancer::model::{BalancerSettings, BalancerState, BytesSource};
use milvus_rebalancer::observe::management::{ManagementReport, NodeState};
use milvus_rebalancer::observe::observation::{GapSubject, ManagementPart, Observation};
use milvus_rebalancer::observe::{ManagementSettings, MilvusObserver, NodeMetricsSettings, Observer};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::sim::profile::ALL_LINES;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimObserver, SimServer, WorldPlan, build};
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::Bytes;

use crate::cluster::{lifted_gates, memory_at_once};

fn plan(line: Line) -> WorldPlan {
    WorldPlan { nodes: 6, collections: 4, segments: 40, shards: 2, ..WorldPlan::new(Profile::of(line), 5) }
}

/// A simulated Milvus and its server.
async fn scene(line: Line) -> (SharedWorld, SimServer) {
    let shared = SharedWorld::new(build(&plan(line)));
    let server = SimServer::start(shared.clone()).await.unwrap();
    (shared, server)
}

fn observer(server: &SimServer, shared: &SharedWorld, pages: &ManagementSettings) -> MilvusObserver {
    let settings = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    let client = MilvusClient::new("simulated", &settings).unwrap();
    let clock = Arc::new(shared.clock());
    let observer = MilvusObserver::new(client, clock, &NodeMetricsSettings::default()).unwrap();
    observer.with_management(pages).unwrap()
}

fn pages(proxies: &[String]) -> ManagementSettings {
    ManagementSettings { proxies: proxies.to_vec(), ..ManagementSettings::default() }
}

async fn observe(server: &SimServer, shared: &SharedWorld) -> Observation {
    let pages = pages(&[format!("http://{}", server.http_address())]);
    observer(server, shared, &pages).observe().await.unwrap()
}

/// Gaps in what those pages should tell.
fn gaps(observation: &Observation) -> Vec<ManagementPart> {
    let part = |gap: &milvus_rebalancer::observe::observation::Gap| match &gap.subject {
        GapSubject::Management { part } => Some(*part),
        _ => None,
    };
    observation.gaps.iter().filter_map(part).collect()
}

/// What does not depend on when and where it was asked.
fn timeless(report: Option<ManagementReport>) -> Option<ManagementReport> {
    let mut report = report?;
    report.read_at = jiff::Timestamp::UNIX_EPOCH;
    report.source = String::new();
    for list in report.segments.iter_mut() {
        list.sort_by_key(|detail| (detail.segment, detail.node));
    }
    Some(report)
}

fn decide(observation: &Observation) -> Decision {
    let mut thinking = Thinking::new(&memory_at_once(), PlanSettings::default(), lifted_gates())
        .beside(BalancerSettings::default(), true);
    let now = crate::cluster::moment(0).monotonic;
    let now = milvus_rebalancer::units::Moment { wall: observation.started_at, monotonic: now };
    thinking.turn(observation, OwnMoves::default(), now)
}

#[tokio::test]
async fn each_version_tells_what_it_has_and_the_rest_is_named() {
    for line in ALL_LINES {
        let (shared, server) = scene(line).await;
        let seen = observe(&server, &shared).await;
        let expected: &[ManagementPart] = match line {
            Line::V2_2 | Line::V2_3 => &[ManagementPart::Everything],
            Line::V2_4 => &[ManagementPart::WebUi],
            _ => &[],
        };
        assert_eq!(gaps(&seen), expected, "{line}: {:?}", seen.gaps);
        let direct = SimObserver::new(shared.clone(), true).reading_management().observe().await.unwrap();
        if line >= Line::V2_4 {
            assert_eq!(timeless(seen.management), timeless(direct.management), "{line}");
        }
    }
}

#[tokio::test]
async fn bytes_channels_and_own_nodes_of_a_segment_reach_the_model() {
    for line in [Line::V2_5, Line::V2_6, Line::V3_0] {
        let (shared, server) = scene(line).await;
        let seen = observe(&server, &shared).await;
        let report = seen.management.as_ref().unwrap();
        let segments = report.segments.as_ref().unwrap();
        assert!(segments.iter().all(|detail| !detail.channel.is_empty()), "{line}");
        let owns = report
            .replicas
            .as_ref()
            .unwrap()
            .iter()
            .any(|replica| replica.exclusive.values().any(|nodes| !nodes.is_empty()));
        assert_eq!(owns, line >= Line::V2_6, "{line}: 2.6.20 is the first with channels that own nodes");
        let decision = decide(&seen);
        let snapshot = &decision.snapshot;
        assert!(snapshot.collections.iter().all(|collection| collection.bytes_source == BytesSource::Exact));
        let world = shared.lock();
        for copy in snapshot.copies.indices() {
            let segment = &world.segments()[&snapshot.copies.segment[copy.at()]];
            assert_eq!(snapshot.copies.bytes[copy.at()], Bytes(segment.bytes), "{line}");
        }
        let streaming =
            report.nodes.as_ref().unwrap().values().filter(|state| **state == NodeState::Suspended);
        assert_eq!(streaming.count() > 0, line >= Line::V2_6, "{line}");
    }
}

#[tokio::test]
async fn settings_and_state_of_the_balancer_are_read_and_a_restart_resumes_it() {
    let (shared, server) = scene(Line::V2_5).await;
    let change = ("queryCoord.globalRowCountFactor".to_owned(), Some("0.3".to_owned()));
    shared.lock().alter_configs(&[change]).unwrap();
    shared.lock().switch_own_balancer(true);
    shared.lock().suspend_own_balancer(true);
    let balancer = decide(&observe(&server, &shared).await).input.own_balancer.clone();
    assert_eq!(balancer.state, BalancerState::Suspended);
    let settings = balancer.settings.unwrap();
    assert_eq!(settings.global_row_count_factor, 0.3);
    assert!(settings.auto_balance);
    shared.lock().suspend_own_balancer(false);
    let balancer = decide(&observe(&server, &shared).await).input.own_balancer.clone();
    assert_eq!(balancer.state, BalancerState::On, "whoever resumed it, a person or a restart");
}

#[tokio::test]
async fn the_next_proxy_is_asked_when_one_is_gone() {
    let (shared, server) = scene(Line::V2_5).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let alive = format!("http://{}/", server.http_address());
    let pages = pages(&[dead.clone(), alive]);
    let seen = observer(&server, &shared, &pages).observe().await.unwrap();
    assert!(seen.management.is_some());
    assert_eq!(gaps(&seen), []);
    let pages = ManagementSettings { proxies: vec![dead], ..pages };
    let seen = observer(&server, &shared, &pages).observe().await.unwrap();
    assert_eq!(seen.management, None);
    assert!(!gaps(&seen).is_empty());
    assert!(!seen.collections.is_empty(), "the rest of the turn goes on");
}

/// Serves one answer on every path.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn wrong_hostile_huge_and_late_answers_are_named_and_the_rest_goes_on() {
    let (shared, server) = scene(Line::V2_5).await;
    let huge = "[".to_owned() + &"{\"segment_id\":\"1\"},".repeat(100_000);
    let fallback = |answer: &'static str| Router::new().fallback(get(move || async move { answer }));
    let late = Router::new().fallback(get(std::future::pending::<String>));
    let elsewhere = Router::new().fallback(get(|| async { Redirect::temporary("http://127.0.0.1:1/") }));
    let locked = Router::new().fallback(get(|| async { StatusCode::UNAUTHORIZED }));
    let cases = [
        ("no JSON", fallback("<html>hello</html>"), "does not hold what Milvus writes"),
        ("nothing", fallback(""), "does not hold what Milvus writes"),
        ("a number", fallback("7"), "does not hold what Milvus writes"),
        ("cut short", fallback("[{\"segment_id\":\"1\""), "does not hold what Milvus writes"),
        (
            "deep",
            Router::new().fallback(get(|| async { "[".repeat(100_000) })),
            "does not hold what Milvus writes",
        ),
        ("too much", Router::new().fallback(get(move || async move { huge })), "raise management.max_body"),
        ("nobody answers", late, "cannot read"),
        ("sent elsewhere", elsewhere, "307"),
        ("locked", locked, "credentials"),
    ];
    for (name, router, cause) in cases {
        let pages = ManagementSettings {
            timeout: Duration::from_millis(500),
            max_body: Bytes(1 << 20),
            ..pages(&[serve(router).await])
        };
        let seen = observer(&server, &shared, &pages).observe().await.unwrap();
        assert!(gaps(&seen).contains(&ManagementPart::Segments), "{name}: {:?}", seen.gaps);
        let causes: Vec<&str> = seen.gaps.iter().map(|gap| gap.cause.as_str()).collect();
        assert!(causes.iter().any(|text| text.contains(cause)), "{name}: {causes:?}");
        let decision = decide(&seen);
        assert_eq!(decision.snapshot.collections.len(), 4, "{name}: the rest of the turn goes on");
        assert_eq!(
            decision.input.own_balancer.settings.as_ref().unwrap().global_row_count_factor,
            0.1,
            "{name}: the default"
        );
    }
}

#[tokio::test]
async fn ids_that_went_through_floating_point_are_left_out_and_counted() {
    let (shared, server) = scene(Line::V2_5).await;
    let rows = r#"[
        {"segment_id": 4.49e17, "collection_id": "1", "node_id": 1, "mem_size": "5"},
        {"segment_id": "7", "collection_id": "1", "node_id": 1, "mem_size": -5, "num_of_rows": {"a": 1}},
        {"collection_id": "1"},
        {}
    ]"#;
    let router = Router::new()
        .route("/api/v1/_qn/segments", get(move || async move { rows }))
        .fallback(get(|| async { StatusCode::NOT_FOUND }));
    let seen = observer(&server, &shared, &pages(&[serve(router).await])).observe().await.unwrap();
    let segments = seen.management.as_ref().unwrap().segments.as_ref().unwrap();
    assert_eq!((segments.len(), segments[0].segment.0, segments[0].bytes), (1, 7, Bytes(0)));
    assert!(seen.gaps.iter().any(|gap| gap.cause.contains("3 entries were left out")), "{:?}", seen.gaps);
}
