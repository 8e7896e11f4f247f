//! What reading costs at the size that everything is designed for: 1,000 nodes with 1,000,000 segments.

use std::time::Duration;

use milvus_rebalancer::sim::{Line, Profile, WorldPlan};
use reqwest::Method;
use tokio::time::Instant;

use super::{Site, read};

/// Requests of each kind.
const REQUESTS: u32 = 200;

/// Prints the table of docs/api.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --release --test it admin::rates -- --ignored --nocapture"]
async fn a_million_segments_are_read() {
    let plan = WorldPlan {
        nodes: 1_000,
        collections: 500,
        segments: 1_000_000,
        ..WorldPlan::new(Profile::of(Line::V2_5), 11)
    };
    let began = Instant::now();
    let site = Site::with(plan, |config| config.poll.interval = Duration::from_secs(3_600)).await;
    println!("the first turn is over after {:.0?}", began.elapsed());
    let node = site.json("/v1/nodes?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    let segment = site.json("/v1/segments?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    let next = site.json("/v1/segments?limit=1000").await["next"].as_str().unwrap().to_owned();
    for path in [
        "/v1/status".to_owned(),
        "/v1/nodes".to_owned(),
        "/v1/nodes?limit=1000".to_owned(),
        format!("/v1/nodes/{node}"),
        "/v1/collections".to_owned(),
        "/v1/segments".to_owned(),
        format!("/v1/segments?limit=1000&after={next}"),
        format!("/v1/segments?node={node}"),
        "/v1/plan".to_owned(),
        "/v1/policies".to_owned(),
        "/v1/net-zero".to_owned(),
        format!("/v1/why/segments/{segment}"),
        format!("/v1/why/nodes/{node}"),
    ] {
        let first = site.get(&path).await;
        assert_eq!(first.status, 200, "{path}: {}", first.text);
        // What a question goes over all segments for is asked less often.
        let requests = if path.contains("/why/") { REQUESTS / 20 } else { REQUESTS };
        let began = Instant::now();
        for _ in 0..requests {
            assert_eq!(site.get(&path).await.status, 200);
        }
        let whole = began.elapsed() / requests;
        let tag = first.headers["etag"].clone();
        let (mut unchanged, began) = (0, Instant::now());
        for _ in 0..requests {
            let request = site.request(Method::GET, &path).header("if-none-match", &tag);
            unchanged += u32::from(read(request).await.status == 304);
        }
        let tagged = began.elapsed() / requests;
        println!(
            "| `{path}` | {} | {:.1} | {:.0} | {:.1} | {} % |",
            first.text.len(),
            whole.as_secs_f64() * 1_000.0,
            1.0 / whole.as_secs_f64(),
            tagged.as_secs_f64() * 1_000.0,
            unchanged * 100 / requests
        );
    }
    let began = Instant::now();
    let answer = site.get("/v1/what-if?changes=add-node=64GiB").await;
    println!("what-if: status {} after {:.1?}, {} bytes", answer.status, began.elapsed(), answer.text.len());
}
