//! What the page costs the daemon at 1,000 nodes: CPU time of one refresh, and the bytes of a first view.
//!
//! `cargo bench --bench page`. It needs Linux, whose `/proc` tells the CPU time of this process; the client's own part in it
//! is a few system calls.

mod running;

use std::error::Error;
use std::time::Duration;

use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, WorldPlan};
use running::Running;
use tokio::time::Instant;

/// The size that the page is made for.
const NODES: usize = 1_000;

/// As many as the simulator serves in a few seconds.
const SEGMENTS: usize = 100_000;

/// Enough that a tick of the kernel's clock (10 ms) is nothing.
const REFRESHES: u32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let daemon = Running::start(&WorldPlan {
        nodes: NODES,
        collections: 100,
        segments: SEGMENTS,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 1)
    })?;
    // Bytes of an answer's body, which comes compressed.
    let get =
        |path| Ok::<_, Box<dyn Error>>(daemon.get(path, &[("Accept-Encoding", "gzip")])?.good()?.body.len());

    let began = Instant::now();
    let first = get("/")?;
    println!("first view after a turn: {:?}", began.elapsed());
    let others = get("/page.css")? + get("/page.js")?;
    println!("first view: {} bytes compressed, {first} of them the page", first + others);
    let (cpu, wall) = (cpu_time()?, Instant::now());
    for _ in 0..REFRESHES {
        get("/")?;
    }
    let (cpu, wall) = ((cpu_time()? - cpu) / REFRESHES, wall.elapsed() / REFRESHES);
    println!("a refresh: {cpu:?} of CPU, {wall:?} by the clock ({NODES} nodes, {SEGMENTS} segments)");

    daemon.stop()
}

/// CPU time of this process, all threads.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
    // utime and stime are the 14th and 15th field of all, in hundredths of a second on Linux.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
