//! Orders over the API: they go the way of the command line's, survive a restart and are written down.

use milvus_rebalancer::gate::ApprovalRule;
use milvus_rebalancer::lease::LeaseEngine;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Site, acting, configuration, read, uneven};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_the_daemon_until_it_is_ended() {
    let site =
        Site::with(uneven(), |config| config.poll.interval = std::time::Duration::from_secs(600)).await;
    let held = site.order("/v1/pause", &json!({"reason": "load test", "for": "2h"})).await;
    assert_eq!(
        (&held["pause"]["by"], &held["pause"]["reason"]),
        (&json!("ann (no token)"), &json!("load test"))
    );
    // No turn is due for ten minutes: the order itself brings the next one.
    site.until(|state| {
        let last = state.last.as_ref().and_then(|last| last.limited_by.clone());
        matches!(last, Some(Reason::Paused { .. }))
    })
    .await;
    assert_eq!(site.json("/v1/status").await["limited_by"]["code"], "paused");
    assert_eq!(site.json("/v1/status").await["pause"]["reason"], "load test");
    let ended = site.order("/v1/resume", &json!({})).await;
    assert_eq!(ended["pause"], Value::Null);
    site.until(|state| {
        let last = state.last.as_ref().and_then(|last| last.limited_by.clone());
        matches!(last, Some(Reason::AdviseOnly))
    })
    .await;

    for (order, status, named) in [
        (json!({"for": "2h", "until": "2030-01-01T00:00:00Z"}), 400, "not both"),
        (json!({"for": "soon"}), 400, "soon"),
        (json!({"for": "0s"}), 400, "0s"),
        (json!({"until": "2020-01-01T00:00:00Z"}), 422, "over already"),
        (json!({"until": "tomorrow"}), 400, "until"),
        (json!({"forever": true}), 400, "forever"),
        (json!({"reason": "x".repeat(1001)}), 400, "reason"),
        (json!([]), 400, ""),
    ] {
        let detail = site.post("/v1/pause", &order).await.problem(status);
        assert!(detail.contains(named), "{order}: {detail}");
    }
    assert_eq!(site.json("/v1/controls").await["pause"], Value::Null);
    let audit = site.json("/v1/audit").await;
    let actions: Vec<&str> =
        audit["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["resume", "pause"], "what was refused was not done: {audit}");
    let entry = &audit["items"][1];
    assert_eq!(entry["who"], "ann (no token)");
    assert!(entry["origin"].as_str().unwrap().starts_with("127.0.0.1:"), "{entry}");
    assert_eq!(entry["detail"], json!({"for": "2h", "reason": "load test"}));
    assert_eq!(
        site.ask_journal("SELECT action FROM audit WHERE who LIKE 'ann%' ORDER BY id LIMIT 1"),
        "pause"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_becomes_a_directive_and_survives_a_restart() {
    let server = SimServer::start(SharedWorld::with_speed(build(&uneven()), super::SPEED)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&folder, &server);
    let site = Site::run(folder, server, config).await;
    site.until(|state| state.last.is_some()).await;
    let node = site.json("/v1/nodes?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    let ordered = site.order(&format!("/v1/nodes/{node}/drain"), &json!({"reason": "new disk"})).await;
    assert_eq!(
        (&ordered["drains"][0]["node"], &ordered["drains"][0]["reason"]),
        (&json!(node), &json!("new disk"))
    );
    assert!(
        ordered["lines"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().starts_with("drain:"))
    );
    site.two_turns().await;
    assert_eq!(site.json("/v1/policies").await["evacuated"], json!([node]));
    assert_eq!(site.json(&format!("/v1/nodes/{node}")).await["drained"], true);

    let endpoint = site.endpoint.clone();
    // The simulated Milvus ends with its site; the order is in the journal.
    let folder = site.stop().await;
    let journal = rusqlite::Connection::open(folder.path().join("it.db")).unwrap();
    let open: i64 = journal
        .query_row("SELECT count(*) FROM drains WHERE ended_at IS NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(open, 1, "{endpoint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_taken_back() {
    let site = Site::start().await;
    let node = site.json("/v1/nodes?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    site.order(&format!("/v1/nodes/{node}/drain"), &json!({})).await;
    let ended = site.order(&format!("/v1/nodes/{node}/undrain"), &json!({})).await;
    assert_eq!(ended["drains"], json!([]));
    site.two_turns().await;
    assert_eq!(site.json("/v1/policies").await["evacuated"], json!([]));
    let twice = site.post(&format!("/v1/nodes/{node}/undrain"), &json!({})).await.problem(404);
    assert!(twice.contains("was not ordered"), "{twice}");
    assert!(site.post("/v1/nodes/424242/drain", &json!({})).await.problem(404).contains("424242"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_approved() {
    let site = Site::with(uneven(), |config| {
        acting(config);
        config.gate.approval = ApprovalRule::Required;
    })
    .await;
    site.two_turns().await;
    let waiting = site.json("/v1/controls").await["waiting_plan"].as_str().unwrap().to_owned();
    assert_eq!(site.json("/v1/plan").await["digest"], json!(waiting));
    assert_eq!(site.json("/v1/operations").await["items"], json!([]), "nothing moves before");
    let nonsense = site.post("/v1/plan/approve", &json!({"digest": "all"})).await.problem(400);
    assert!(nonsense.contains("digest"), "{nonsense}");
    site.order("/v1/plan/approve", &json!({"digest": waiting})).await;
    site.until(|state| state.ended_count > 0).await;
    let operations = site.json("/v1/operations").await;
    let newest = &operations["items"][0];
    assert!(newest["segment"].is_string() && newest["state"].is_string(), "{newest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_moved_by_hand_within_the_rules() {
    let site = Site::start().await;
    let from = site.json("/v1/nodes?state=overloaded").await["items"][0]["id"].as_str().unwrap().to_owned();
    let segments = site.json(&format!("/v1/segments?node={from}")).await;
    let segment = segments["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|segment| segment["held"].is_null())
        .unwrap()
        .clone();
    let collections = site.json("/v1/collections").await;
    let collection =
        collections["items"].as_array().unwrap().iter().find(|known| known["id"] == segment["collection"]);
    let collection = collection.unwrap();
    let order = json!({
        "collection": collection["name"], "database": collection["database"], "src_node": from,
        "segments": [segment["id"]], "timeout": "60s",
    });
    let moved = site.order("/v1/load-balance", &order).await;
    let outcome = &moved["segments"][0];
    assert_eq!((&outcome["segment"], &outcome["outcome"]), (&segment["id"], &json!("moved")), "{moved}");
    let operations = site.json(&format!("/v1/operations?segment={}", segment["id"].as_str().unwrap())).await;
    assert_eq!(operations["items"][0]["origin"], "manual");
    assert_eq!(operations["items"][0]["state"], "landed");

    let wrong = json!({"collection": "no such collection", "src_node": from});
    let detail = site.post("/v1/load-balance", &wrong).await.problem(422);
    assert!(detail.contains("no loaded collection"), "{detail}");
    let wrong = json!({"collection": collection["name"], "src_node": 7});
    let detail = site.post("/v1/load-balance", &wrong).await.problem(400);
    assert!(detail.contains("src_node"), "ids are texts: {detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead_moves_nothing_by_hand_either() {
    let site = Site::with(uneven(), |config| {
        acting(config);
        config.gate.approval = ApprovalRule::Required;
        config.lease.engine = LeaseEngine::Etcd;
        // Nobody is there, so nobody leads.
        config.lease.etcd.endpoints = vec!["http://127.0.0.1:1".to_owned()];
    })
    .await;
    let from = site.json("/v1/nodes?state=overloaded").await["items"][0]["id"].as_str().unwrap().to_owned();
    let collection = site.json("/v1/collections").await["items"][0].clone();
    let order =
        json!({"collection": collection["name"], "database": collection["database"], "src_node": from});
    let answer = site.post("/v1/load-balance", &order).await;
    answer.problem(409);
    assert_eq!(answer.json()["type"], "urn:milvus-rebalancer:problem:leader-unknown");
    assert_eq!(site.json("/v1/operations").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_run_when_somebody_asks() {
    let site =
        Site::with(uneven(), |config| config.poll.interval = std::time::Duration::from_secs(600)).await;
    let before = site.state.borrow().turns;
    site.order("/v1/turn", &json!({})).await;
    site.until(|state| state.turns > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_that_is_none_is_refused() {
    let site = Site::start().await;
    let put = |level: &str| read(site.request(Method::PUT, "/v1/log-level").json(&json!({"level": level})));
    assert!(put("a=b=c").await.problem(422).contains("no log filter"));
    // This test's process does not log, so there is nothing to be changed: only refusals are seen here.
    assert!(put("debug").await.problem(422).contains("does not log"));
}
