//! What the page costs the daemon at 1,000 nodes: CPU time of one refresh, and the bytes of a first view.
//!
//! `cargo bench --bench page`. It needs Linux, whose `/proc` tells the CPU time of this process; the client's own part in it
//! is a few system calls.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::admin::AdminSettings;
use milvus_rebalancer::app::Daemon;
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::config::{Config, HttpSettings, PollSettings};
use milvus_rebalancer::journal::JournalSettings;
use milvus_rebalancer::milvus::ConnectionSettings;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
    let runtime = tokio::runtime::Runtime::new()?;
    let stop = CancellationToken::new();
    let folder = tempfile::tempdir()?;
    let (daemon, server) = runtime.block_on(assemble(folder.path(), stop.clone()))?;
    let place = daemon.admin_place().ok_or("no admin listener")?.to_string();
    let mut state = daemon.watch();
    let running = runtime.spawn(daemon.run());
    runtime.block_on(state.wait_for(|state| state.last.is_some()))?;

    let began = Instant::now();
    let first = get(&place, "/")?;
    println!("first view after a turn: {:?}", began.elapsed());
    let others = get(&place, "/page.css")? + get(&place, "/page.js")?;
    println!("first view: {} bytes compressed, {first} of them the page", first + others);
    let (cpu, wall) = (cpu_time()?, Instant::now());
    for _ in 0..REFRESHES {
        get(&place, "/")?;
    }
    let (cpu, wall) = ((cpu_time()? - cpu) / REFRESHES, wall.elapsed() / REFRESHES);
    println!("a refresh: {cpu:?} of CPU, {wall:?} by the clock ({NODES} nodes, {SEGMENTS} segments)");

    stop.cancel();
    runtime.block_on(running)??;
    drop(server);
    Ok(())
}

async fn assemble(
    folder: &std::path::Path,
    stop: CancellationToken,
) -> Result<(Daemon, SimServer), Box<dyn Error>> {
    let plan = WorldPlan {
        nodes: NODES,
        collections: 100,
        segments: SEGMENTS,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 1)
    };
    let server = SimServer::start(SharedWorld::new(build(&plan))).await?;
    let mut config = Config {
        // One look is enough, and none shall come in between.
        poll: PollSettings {
            interval: Duration::from_secs(3_600),
            timeout: Duration::from_secs(300),
            ..PollSettings::default()
        },
        journal: JournalSettings { path: folder.join("page.db"), ..JournalSettings::default() },
        http: HttpSettings { listen: "127.0.0.1:0".to_owned() },
        admin: AdminSettings { listen: "127.0.0.1:0".to_owned(), ..AdminSettings::default() },
        ..Config::default()
    };
    let connection = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    config.connections.insert("default".to_owned(), connection);
    let daemon = Daemon::assemble(config, Arc::new(Clock::system()), stop).await?;
    Ok((daemon, server))
}

/// Bytes of an answer's body, which comes compressed.
fn get(place: &str, path: &str) -> Result<usize, Box<dyn Error>> {
    let mut stream = TcpStream::connect(place)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {place}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&answer[..head]).into_owned().into());
    }
    Ok(answer.len() - head - 4)
}

/// CPU time of this process, all threads.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
    // utime and stime are the 14th and 15th field of all, in hundredths of a second on Linux.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
