//! The page in headless Chromium: starts a daemon for every scene of tests/browser/page.py, which looks and presses.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::gate::ApprovalRule;
use milvus_rebalancer::journal::{Journal, Pause};
use milvus_rebalancer::sim::{SharedWorld, SimServer, WorldPlan, build};
use serde_json::json;

use super::page::{hostile_world, on, thousand_nodes, without_milvus};
use super::{PATIENCE, SPEED, Site, acting, configuration, uneven};

/// Keeps what was seen as pictures in this folder, for whoever wants to look.
const PICTURES: &str = "MILVUS_REBALANCER_PICTURES";

/// Runs a command in the package's folder; its output is part of the failure.
async fn run(mut command: Command) {
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output());
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("the browser hangs").unwrap().unwrap();
    let [said, complained] =
        [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    println!("{said}");
    assert!(ended.status.success(), "{said}\n{complained}");
}

/// A daemon that may move, and was paused before it began: what the browser resumes, it sees moving.
async fn paused() -> Site {
    let server = SimServer::start(SharedWorld::with_speed(build(&uneven()), SPEED)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = configuration(&folder, &server);
    acting(&mut config);
    config.gate.settle_time = Duration::ZERO;
    let now = Clock::system().read().wall;
    let journal = Journal::open(&config.journal, now).unwrap();
    let reason = "until the browser looks".to_owned();
    journal.pause(Pause { from: now, until: None, reason, by: "ann".to_owned() }).await.unwrap();
    drop(journal);
    let site = Site::run(folder, server, config).await;
    site.until(|state| state.last.as_ref().is_some_and(|last| !last.decision.plan.steps.is_empty())).await;
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_in_a_real_browser() {
    if !crate::system::runs("Debian's chromium, python3 with venv, and a package index") {
        return;
    }
    run(Command::new("tests/browser/install.sh")).await;
    let empty = on(build(&WorldPlan { nodes: 0, collections: 0, segments: 0, ..uneven() }));
    let thousand = Site::with(thousand_nodes(), |config| config.poll.interval = Duration::from_secs(600));
    let approving = Site::with(uneven(), |config| {
        acting(config);
        config.gate.settle_time = Duration::ZERO;
        config.gate.approval = ApprovalRule::Required;
    });
    let (moving, empty, hostile, unreachable) =
        tokio::join!(paused(), empty, on(hostile_world()), without_milvus());
    let (advising, approving) = tokio::join!(Site::start(), approving);
    let thousand = thousand.await;
    let folder = tempfile::tempdir().unwrap();
    let urls = folder.path().join("urls.json");
    let of = |site: &Site| format!("{}/", site.base);
    let scenes = json!({
        "moving": of(&moving),
        "advising": of(&advising),
        "approving": of(&approving),
        "empty": of(&empty),
        "hostile": of(&hostile),
        "unreachable": of(&unreachable),
        "thousand": of(&thousand),
    });
    std::fs::write(&urls, scenes.to_string()).unwrap();
    let mut page =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/browser/bin/python"));
    page.arg("tests/browser/page.py").arg(&urls);
    if let Some(folder) = std::env::var_os(PICTURES) {
        page.arg("--pictures").arg(folder);
    }
    run(page).await;
    for site in [moving, advising, approving, empty, hostile, unreachable, thousand] {
        site.stop().await;
    }
}
