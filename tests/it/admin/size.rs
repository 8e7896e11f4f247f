//! A cluster that is large enough to show that a page costs a page, whatever stands behind it.

use milvus_rebalancer::sim::{Line, Profile, WorldPlan};

use super::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_large_cluster_is_a_page() {
    let plan = WorldPlan {
        nodes: 200,
        collections: 20,
        segments: 20_000,
        ..WorldPlan::new(Profile::of(Line::V2_5), 11)
    };
    let site = Site::with(plan, |config| config.poll.interval = std::time::Duration::from_secs(600)).await;
    let nodes = site.get("/v1/nodes").await;
    assert!(nodes.text.len() < 100_000, "{} bytes", nodes.text.len());
    let page = nodes.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 100);
    let next = page["next"].as_str().unwrap();
    let rest = site.json(&format!("/v1/nodes?after={next}&limit=1000")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 100);
    assert!(rest.get("next").is_none());
    let segments = site.get("/v1/segments?limit=1000").await;
    assert_eq!(segments.json()["items"].as_array().unwrap().len(), 1000);
    assert!(segments.text.len() < 300_000, "{} bytes", segments.text.len());
    let status = site.get("/v1/status").await;
    assert!(status.text.len() < 4_000, "{}", status.text);
    let plan = site.get("/v1/plan?limit=1").await;
    assert!(plan.json()["steps"]["items"].as_array().unwrap().len() <= 1);
}
