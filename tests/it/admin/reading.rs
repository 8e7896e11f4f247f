//! Every path that can be read, what it says, and that the description knows exactly these paths.

use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, WorldPlan};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Site, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_told_in_a_sentence_and_in_numbers() {
    let site = Site::start().await;
    let status = site.json("/v1/status").await;
    assert_eq!((status["mode"].as_str(), status["state"].as_str()), (Some("advise"), Some("overloaded")));
    let verdict = status["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("Not balanced: ") && verdict.contains("moves are proposed"), "{verdict}");
    assert_eq!(status["nodes"], 3);
    assert_eq!(status["limited_by"]["code"], "advise_only");
    let rows = &status["dimensions"][0];
    assert_eq!(rows["dimension"], "rows");
    assert!(rows["before"].as_f64().unwrap() > rows["after"].as_f64().unwrap());
    assert!(rows["floor"].as_f64().unwrap() >= 1.0);

    let nodes = site.json("/v1/nodes").await;
    let nodes = nodes["items"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let segments: u64 = nodes.iter().map(|node| node["segments"].as_u64().unwrap()).sum();
    assert_eq!(Some(segments), status["segments"].as_u64());
    assert!(segments >= 30, "{segments}");
    let full = nodes.iter().find(|node| node["pressures"][0]["state"] == "overloaded").unwrap();
    assert!(full["pressures"][0]["load_text"].as_str().unwrap().ends_with(" rows"));
    let id = full["id"].as_str().expect("ids are texts");
    assert_eq!(site.json(&format!("/v1/nodes/{id}")).await, *full);
    let overloaded = site.json("/v1/nodes?state=overloaded").await;
    assert!(overloaded["items"].as_array().unwrap().contains(full));

    let plan = site.json("/v1/plan").await;
    assert_eq!(plan["moves"], status["plan"]["moves"]);
    assert_eq!(plan["digest"].as_str().unwrap().len(), 16);
    let first = &plan["steps"]["items"][0];
    assert!(first["moves"][0]["segment"].is_string() && first["moves"][0]["collection_name"].is_string());
    assert!(first["source_before"].as_f64().unwrap() > first["source_after"].as_f64().unwrap());

    let policies = site.json("/v1/policies").await;
    assert_eq!(
        (&policies["dimensions"][0]["name"], &policies["dimensions"][0]["turns"]),
        (&"rows".into(), &1.into())
    );
    let history = site.json("/v1/history?limit=1").await;
    assert_eq!(history["items"][0]["result"], "planned");
    assert!(site.json("/v1/net-zero").await["figures"]["daemon"].is_object());
    assert_eq!(site.json("/v1/controls").await["pause"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_is_what_there_is() {
    let site = Site::start().await;
    let described = site.json("/v1/openapi.json").await;
    assert_eq!(described["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{paths:?}");
    let node = site.json("/v1/nodes?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    for (path, methods) in paths {
        let address = path.replace("{node}", &node);
        for method in methods.as_object().unwrap().keys() {
            assert!(methods[method]["summary"].is_string(), "{method} {path} has no summary");
            if method == "get" && !path.ends_with("/events") {
                let answer = site.get(&address).await;
                assert_ne!(answer.status, 404, "{path}: {}", answer.text);
                assert_ne!(answer.status, 405, "{path}: {}", answer.text);
            } else if method != "get" {
                // An order without a body is refused before it does anything, but it is found.
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                read(site.request(method, &address)).await.problem(415);
            }
        }
        read(site.request(Method::DELETE, &address)).await.problem(405);
    }
    assert!(site.get("/v1/nothing").await.problem(404).contains("openapi.json"));
    assert!(site.get("/v2/status").await.problem(404).contains("openapi.json"));
    let schemas = &described["components"]["schemas"];
    for name in ["StatusView", "Problem", "TurnEvent", "NodeView"] {
        assert!(schemas[name].is_object(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages_and_pages_join_without_gaps() {
    let site = Site::start().await;
    let mut seen: Vec<String> = Vec::new();
    let mut address = "/v1/segments?limit=7".to_owned();
    loop {
        let page = site.json(&address).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 7);
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        address = format!("/v1/segments?limit=7&after={next}");
    }
    let all = site.json("/v1/status").await["segments"].as_u64().unwrap();
    assert_eq!(seen.len() as u64, all);
    let mut sorted: Vec<i64> = seen.iter().map(|id| id.parse().unwrap()).collect();
    sorted.dedup();
    assert!(sorted.is_sorted() && sorted.len() == seen.len(), "{sorted:?}");

    let node = site.json("/v1/nodes?limit=1").await;
    let id = node["items"][0]["id"].as_str().unwrap();
    assert_eq!(node["next"], node["items"][0]["id"]);
    let on_it = site.json(&format!("/v1/segments?node={id}&limit=1000")).await;
    assert_eq!(
        on_it["items"].as_array().unwrap().len() as u64,
        node["items"][0]["segments"].as_u64().unwrap()
    );
    assert!(on_it.get("next").is_none());
    let of_none = site.json("/v1/segments?collection=1").await;
    assert_eq!(of_none["items"], serde_json::json!([]));

    for (address, named) in [
        ("/v1/segments?limit=0", "limit"),
        ("/v1/segments?limit=1001", "1000"),
        ("/v1/segments?limit=many", "limit"),
        ("/v1/segments?after=7", "after"),
        ("/v1/segments?node=seven", "a node"),
        ("/v1/segments?nodes=7", "nodes"),
        ("/v1/nodes?state=fine", "fine"),
        ("/v1/nodes?after=x", "after"),
        ("/v1/nodes/x", "a node"),
        ("/v1/history?after=99999999999999999999", "after"),
    ] {
        let detail = site.get(address).await.problem(400);
        assert!(detail.contains(named), "{address}: {detail}");
    }
    assert!(site.get("/v1/nodes/424242").await.problem(404).contains("424242"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_an_answer_already_is_told_so() {
    let site = Site::start().await;
    let answer = site.get("/v1/configuration").await;
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let asked = |tag: &str| site.request(Method::GET, "/v1/configuration").header("if-none-match", tag);
    for known in [tag.clone(), format!("\"0\", W/{tag}"), "*".to_owned()] {
        let again = read(asked(&known)).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
        assert_eq!(again.headers["etag"], *tag);
    }
    assert_eq!(read(asked("\"0\"")).await.status, 200);
    assert!(answer.text.contains("mode = "), "{}", answer.text);
    assert_eq!(site.get("/v1/configuration").await.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_not_in_the_configuration() {
    let site = Site::with(super::uneven(), |config| {
        let connection = config.connections.get_mut("default").unwrap();
        connection.user = Some("rebalancer".to_owned());
        connection.password = Some("planted-secret".to_owned().into());
    })
    .await;
    let shown = site.json("/v1/configuration").await;
    let toml = shown["toml"].as_str().unwrap();
    assert!(toml.contains("rebalancer") && !toml.contains("planted-secret"), "{toml}");
}

/// Streaming nodes stand in the list of nodes, hold nothing, and are not counted as if they could.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_hold_no_segments_are_not_counted() {
    let plan = WorldPlan {
        nodes: 3,
        collections: 2,
        segments: 30,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_6), 7)
    };
    let site = Site::with(plan, |_| {}).await;
    let nodes = site.json("/v1/nodes").await["items"].as_array().unwrap().clone();
    let streaming = nodes.iter().filter(|node| node["standing"] == "a streaming node").count();
    assert!(streaming > 0, "{nodes:?}");
    let status = site.json("/v1/status").await;
    assert_eq!((&status["nodes"], nodes.len()), (&json!(3), 3 + streaming));
    assert!(status["verdict"].as_str().unwrap().contains(" of 3 query nodes are overloaded"), "{status}");
    let page = site.get("/").await.text;
    assert!(page.contains("<b>3</b> query nodes"), "{page}");
    for node in &nodes {
        assert!(
            page.contains(&format!("?node={}#ask", node["id"].as_str().unwrap())),
            "all of them are shown"
        );
    }
    assert!(page.contains("<a href=\"#doubts\">doubts</a>") && page.contains("id=\"doubts\""));
}
