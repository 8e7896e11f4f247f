//! What reading the API costs at the size that everything is designed for: 1,000 nodes with 1,000,000 segments. Prints the
//! table of docs/api.md.
//!
//! `cargo bench --bench rates`. A million segments take minutes where the code is not optimised.

mod running;

use std::error::Error;
use std::time::Duration;

use milvus_rebalancer::sim::{Line, Profile, WorldPlan};
use running::Running;
use serde_json::Value;
use tokio::time::Instant;

/// Requests of each kind; what a question goes over all segments for is asked less often.
const REQUESTS: u32 = 200;
const QUESTIONS: u32 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let began = Instant::now();
    let daemon = Running::start(&WorldPlan {
        nodes: 1_000,
        collections: 500,
        segments: 1_000_000,
        ..WorldPlan::new(Profile::of(Line::V2_5), 11)
    })?;
    println!("cluster made, and the first turn over, after {:.0?}", began.elapsed());
    let json = |path: &str| -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_slice(&daemon.get(path, &[])?.good()?.body)?)
    };
    let id = |list: &Value| list["items"][0]["id"].as_str().unwrap_or_default().to_owned();
    let (node, segment) = (id(&json("/v1/nodes?limit=1")?), id(&json("/v1/segments?limit=1")?));
    // A page in the middle of all.
    let after = json("/v1/segments?limit=1000")?["next"].as_str().unwrap_or_default().to_owned();
    println!("| path | bytes | ms | a second | ms, unchanged |\n|---|---|---|---|---|");
    for path in [
        "/v1/status".to_owned(),
        "/v1/nodes".to_owned(),
        "/v1/nodes?limit=1000".to_owned(),
        format!("/v1/nodes/{node}"),
        "/v1/collections".to_owned(),
        "/v1/segments".to_owned(),
        format!("/v1/segments?limit=1000&after={after}"),
        format!("/v1/segments?node={node}"),
        "/v1/plan".to_owned(),
        "/v1/verdicts".to_owned(),
        "/v1/policies".to_owned(),
        "/v1/net-zero".to_owned(),
        format!("/v1/why/segments/{segment}"),
        format!("/v1/why/nodes/{node}"),
        "/".to_owned(),
    ] {
        measure(&daemon, &path)?;
    }
    let began = Instant::now();
    let answer = daemon.get("/v1/what-if?changes=add-node=64GiB", &[])?;
    println!("what-if: status {} after {:.1?}, {} bytes", answer.status, began.elapsed(), answer.body.len());
    daemon.stop()
}

/// One row of the table.
fn measure(daemon: &Running, path: &str) -> Result<(), Box<dyn Error>> {
    let first = daemon.get(path, &[])?.good()?;
    let tag = first.header("etag").ok_or("no ETag")?;
    let requests = if path.contains("/why/") { QUESTIONS } else { REQUESTS };
    let whole = each(requests, || daemon.get(path, &[])?.good().map(drop))?;
    let unchanged = each(requests, || match daemon.get(path, &[("If-None-Match", tag)])?.status {
        304 => Ok(()),
        other => Err(format!("{path} answers {other} to its own ETag").into()),
    })?;
    println!(
        "| `{path}` | {} | {:.1} | {:.0} | {:.1} |",
        first.body.len(),
        whole.as_secs_f64() * 1_000.0,
        1.0 / whole.as_secs_f64(),
        unchanged.as_secs_f64() * 1_000.0,
    );
    Ok(())
}

/// The time that one of so many takes, one after the other.
fn each(
    requests: u32,
    mut request: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    for _ in 0..requests {
        request()?;
    }
    Ok(began.elapsed() / requests)
}
