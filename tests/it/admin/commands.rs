//! The commands that ask a running daemon, by the binary.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

use milvus_rebalancer::sim::WorldPlan;
use milvus_rebalancer::sim::build::Placement;
use serde_json::Value;

use super::{Site, uneven};

/// Runs the program beside a daemon whose API is at the site's address.
async fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
    let set = |option: &str| format!("MILVUS_REBALANCER__{option}");
    command.args(arguments).env_clear().env("USER", "ann");
    command.env(set("ADMIN__LISTEN"), site.base.trim_start_matches("http://"));
    command.env(set("JOURNAL__PATH"), site.folder.path().join("it.db"));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a command prints that must succeed.
async fn say(site: &Site, arguments: &[&str]) -> String {
    let output = run(site, arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_asked_for_its_state_and_its_reasons() {
    let site = Site::start().await;
    let status = say(&site, &["status"]).await;
    assert!(status.starts_with("Not balanced: ") && status.contains("rows: worst pressure "), "{status}");
    assert!(status.contains("held back (advise_only)"), "{status}");
    let json: Value = serde_json::from_str(&say(&site, &["status", "--format", "json"]).await).unwrap();
    assert_eq!(json["mode"], "advise");

    let nodes = say(&site, &["nodes"]).await;
    assert!(nodes.starts_with("NODE  ADDRESS") && nodes.contains("overloaded"), "{nodes}");
    let plan = say(&site, &["plan", "--live"]).await;
    assert!(plan.starts_with("Plan ") && plan.contains("rows: node "), "{plan}");
    let live: Value =
        serde_json::from_str(&say(&site, &["plan", "--live", "--format", "json"]).await).unwrap();
    let movement = &live["steps"]["items"][0]["moves"][0];
    let (segment, to) = (movement["segment"].as_str().unwrap(), movement["to"].as_str().unwrap());
    let why = say(&site, &["why", "segment", segment]).await;
    assert!(why.contains(&format!("the plan moves it to node {to}")), "{why}");
    let why = say(&site, &["why", "node", movement["from"].as_str().unwrap()]).await;
    assert!(why.contains("times its fair share"), "{why}");
    let not = say(&site, &["why-not", "--segment", segment, "--to", to]).await;
    assert!(not.contains("the plan does that"), "{not}");
    assert!(say(&site, &["history"]).await.starts_with("TURN  AT"));
    assert!(say(&site, &["history", "waves", "--last", "5"]).await.starts_with("WAVE  AT"));
    assert!(say(&site, &["events"]).await.starts_with("turn "));
}

/// A page of the API has 1,000 steps at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_several_pages_is_printed_whole() {
    let plan = WorldPlan { nodes: 2, segments: 6_000, placement: Placement::OneNode, ..uneven() };
    let site = Site::with(plan, |config| config.poll.interval = Duration::from_secs(600)).await;
    let first = site.json("/v1/plan?limit=1000").await;
    let moves = first["moves"].as_u64().unwrap();
    assert!(moves > 1_000 && first["steps"]["next"].is_string(), "{moves} moves fit a page");
    let live: Value =
        serde_json::from_str(&say(&site, &["plan", "--live", "--format", "json"]).await).unwrap();
    let steps = live["steps"]["items"].as_array().unwrap();
    let segments: BTreeSet<&str> = steps
        .iter()
        .flat_map(|step| step["moves"].as_array().unwrap())
        .map(|movement| movement["segment"].as_str().unwrap())
        .collect();
    assert_eq!(segments.len() as u64, moves, "each move once");
    assert_eq!((&live["digest"], &live["steps"]["next"]), (&first["digest"], &Value::Null));
    let table = say(&site, &["plan", "--live"]).await;
    assert!(table.lines().count() as u64 > moves, "{} lines", table.lines().count());
    assert!(segments.iter().all(|segment| table.contains(segment)), "the table lacks some");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_reach_the_daemon_and_are_written_down() {
    let site = Site::start().await;
    let said = say(&site, &["pause", "--reason", "load test"]).await;
    assert!(
        said.starts_with("the daemon has taken the order; in force now:\npause:       paused by ann"),
        "{said}"
    );
    let node = site.json("/v1/nodes?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    let said = say(&site, &["drain", &node, "--reason", "new disk"]).await;
    assert!(said.contains(&format!("drain:       node {node} (")) && said.contains("new disk"), "{said}");
    assert!(!say(&site, &["undrain", &node]).await.contains("drain:"));
    assert!(say(&site, &["resume"]).await.contains("pause:       none"));
    let audit = say(&site, &["history", "audit"]).await;
    for action in ["pause", "drain", "undrain", "resume"] {
        assert!(audit.contains(action) && audit.contains("ann (no token)"), "{audit}");
    }
    let refused = run(&site, &["undrain", &node]).await;
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("was not ordered to be emptied"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_gone_is_no_reason_to_lose_an_order() {
    let site = Site::with(uneven(), |_| {}).await;
    let base = site.base.clone();
    let folder = site.stop().await;
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        command.args(arguments).env_clear().env("USER", "ann");
        command.env("MILVUS_REBALANCER__ADMIN__LISTEN", base.trim_start_matches("http://"));
        command.env("MILVUS_REBALANCER__JOURNAL__PATH", folder.path().join("it.db"));
        command.output().unwrap()
    };
    let asked = command(&["status"]);
    assert_eq!(asked.status.code(), Some(6), "{}", String::from_utf8_lossy(&asked.stderr));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("no daemon answers at 127.0.0.1:"));
    let ordered = command(&["drain", "7"]);
    let said = String::from_utf8_lossy(&ordered.stdout).into_owned();
    assert!(
        said.starts_with("node 7 is to be emptied, ordered by ann") && said.contains("no daemon works"),
        "{said}"
    );
    let controls = command(&["controls"]);
    assert!(String::from_utf8_lossy(&controls.stdout).contains("drain:       node 7"));
    let ended = command(&["undrain", "7"]);
    assert!(String::from_utf8_lossy(&ended.stdout).starts_with("ended: node 7"));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        let output = command.args(["completions", shell]).env_clear().output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for name in ["why-not", "drain", "events", "load-balance"] {
            assert!(script.contains(name), "{shell} does not know {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_if_is_asked_and_recordings_are_explained() {
    let site = Site::start().await;
    site.two_turns().await;
    let text = say(&site, &["what-if", "add-node=64GiB"]).await;
    assert!(text.contains("one more node") && text.contains("worst rows pressure now"), "{text}");
    let json: Value =
        serde_json::from_str(&say(&site, &["what-if", "threshold=1.5", "--format", "json"]).await).unwrap();
    assert_eq!(json["before"]["nodes"], 3);
    let wrong = run(&site, &["what-if", "drain=424242"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there is no node 424242"));

    // The daemon's own recording is asked the same, without it.
    let live: Value =
        serde_json::from_str(&say(&site, &["plan", "--live", "--format", "json"]).await).unwrap();
    let movement = &live["steps"]["items"][0]["moves"][0];
    let [segment, from, to] = ["segment", "from", "to"].map(|key| movement[key].as_str().unwrap());
    let out = site.folder.path().join("it.jsonl.zst").display().to_string();
    say(&site, &["record", "export", "--out", &out]).await;
    let recorded = ["--recording", out.as_str()];
    let why = say(&site, &[&["why", "segment", segment], &recorded[..]].concat()).await;
    assert!(why.contains(&format!("the plan moves it to node {to}")), "{why}");
    let why = say(&site, &[&["why", "node", from], &recorded[..]].concat()).await;
    assert!(why.contains("times its fair share"), "{why}");
    let not = say(&site, &[&["why-not", "--segment", segment, "--to", to], &recorded[..]].concat()).await;
    assert!(not.contains("the plan does that"), "{not}");
    let none = run(&site, &[&["why", "segment", "1"], &recorded[..]].concat()).await;
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("segment 1 is not in this file"));
    let early = [&["why", "node", from, "--at", "2001-01-01T00:00:00Z"], &recorded[..]].concat();
    assert!(String::from_utf8_lossy(&run(&site, &early).await.stderr).contains("there is no turn"));
}
