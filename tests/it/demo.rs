//! `demo`, through the library and through the binary: small simulated clusters, ten times faster than real time.

use std::process::{Command, Output};

use clap::Parser;
use milvus_rebalancer::cli::{Cli, Command as Subcommand, DemoArgs};
use milvus_rebalancer::demo::{DemoReport, Outcome, Paint, play};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A cluster that is level after a few moves. The patience is for machines that are busy with other tests.
const SMALL: [&str; 10] =
    ["--nodes", "3", "--collections", "4", "--segments", "40", "--speed", "10", "--give-up", "90s"];

fn arguments(more: &[&str]) -> DemoArgs {
    let line = ["milvus-rebalancer", "demo"].iter().chain(&SMALL).chain(more);
    let Subcommand::Demo(args) = Cli::try_parse_from(line).unwrap().command else { panic!("wrong command") };
    args
}

/// Plays a small cluster; the report and the story.
async fn played(more: &[&str]) -> (DemoReport, String) {
    let mut output = Vec::new();
    let args = arguments(more);
    let report = Box::pin(play(&args, &mut output, Paint::Plain, CancellationToken::new())).await.unwrap();
    (report, String::from_utf8(output).unwrap())
}

/// Runs the binary in an empty folder, which it must leave empty, with an environment that no other command
/// would accept.
fn run(more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"))
        .arg("demo")
        .args(more)
        .current_dir(&folder)
        .env_clear()
        .env("TMPDIR", folder.path())
        .env("STATE_DIRECTORY", folder.path())
        .env("MILVUS_REBALANCER__POLL__DUTY", "7")
        .output()
        .unwrap();
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(left.is_empty(), "{left:?} is left behind");
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_cluster_is_balanced_and_the_story_says_how() {
    let (report, story) = Box::pin(played(&[])).await;
    assert_eq!(report.outcome, Outcome::Balanced, "{story}");
    assert_eq!((report.world.nodes, report.world.collections, report.world.segments), (3, 4, 40));
    assert!(report.before.worst_pressure > report.enter, "{report:?}");
    assert!(report.after.worst_pressure < report.before.worst_pressure, "{report:?}");
    assert!(report.after.fullest < report.before.fullest, "{report:?}");
    assert!(report.after.emptiest > report.before.emptiest, "{report:?}");
    let moves = report.moves;
    assert!(moves.landed > 0 && moves.bytes.0 > 0, "{moves:?}");
    assert_eq!((moves.landed + moves.failed, moves.open), (moves.sent, 0), "{moves:?}");
    assert!((1..=moves.sent).contains(&moves.calls), "{moves:?}");

    for part in ["3 query nodes, 4 collections", "/metrics", "first plan: ", "a search takes", "████████|"]
    {
        assert!(story.contains(part), "{part} is missing in {story}");
    }
    let told = story.lines().filter(|line| line.contains(" rows   ")).count();
    let counted: usize = story
        .lines()
        .filter_map(|line| line.split("… and ").nth(1)?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(told + counted, usize::try_from(moves.sent).unwrap(), "{story}");
    assert!(!story.contains('\u{1b}'), "no colours for a file: {story:?}");
    assert!(story.contains("of the relief predicted"), "{story}");
    assert!(!story.contains("no more is moved until"), "the guard held something that nobody felt: {story}");
}

#[test]
fn the_binary_needs_nothing_leaves_nothing_and_speaks_json() {
    let output = run(&[&SMALL[..], &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["version"], &report["outcome"]), (&Value::from(1), &Value::from("balanced")));
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap();
    assert!(number("/after/worst_pressure") < number("/before/worst_pressure"));
    assert!(number("/floor/pressure") <= number("/after/worst_pressure"));
    assert!(number("/first_plan_seconds") <= number("/balanced_seconds"));
    assert!(number("/balanced_seconds") <= number("/seconds"));
    assert!(number("/moves/landed") > 0.0 && number("/moves/landed") <= number("/moves/sent"));
    assert_eq!(report["before"]["nodes"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_binary_tells_the_story_and_how_to_go_on() {
    let output = run(&SMALL);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let story = String::from_utf8(output.stdout).unwrap();
    for part in
        ["first plan: ", "Balanced after ", "worst memory pressure", "LoadBalance calls", "rebalancer plan"]
    {
        assert!(story.contains(part), "{part} is missing in {story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_seed_gives_the_same_cluster_and_time_that_is_up_is_said() {
    let at_once = ["--give-up", "1ms", "--seed"];
    let mut starts = Vec::new();
    for seed in ["7", "7", "8"] {
        let args = [&SMALL[..8], &at_once, &[seed]].concat();
        let line = ["milvus-rebalancer", "demo"].into_iter().chain(args);
        let Subcommand::Demo(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        let report = Box::pin(play(&args, &mut std::io::sink(), Paint::Plain, CancellationToken::new()))
            .await
            .unwrap();
        assert_eq!((report.outcome, report.balanced_seconds), (Outcome::NotBalanced, None));
        assert!(report.summary(Paint::Plain).contains("Not balanced after"));
        starts.push((
            report.world.bytes,
            report.before.nodes.iter().map(|node| node.memory_used).collect::<Vec<_>>(),
        ));
    }
    assert_eq!(starts[0], starts[1]);
    assert_ne!(starts[0].1, starts[2].1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_milvus_own_balancer_it_gives_way_and_says_so() {
    let (report, story) = Box::pin(played(&["--milvus-balancer", "on"])).await;
    assert_eq!(report.outcome, Outcome::SomebodyElseMoves, "{story}");
    assert_eq!(report.limited_by.as_ref().map(|reason| reason.code), Some("foreign_mover"));
    assert!(report.moves_by_milvus >= 3, "{story}");
    assert!(story.contains("somebody else moved"), "{story}");
    assert!(report.summary(Paint::Plain).contains("queryCoord.autoBalance=false"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_in_good_order_when_it_is_told_to() {
    let stop = CancellationToken::new();
    stop.cancel();
    let args = arguments(&["--keep"]);
    let report = Box::pin(play(&args, &mut std::io::sink(), Paint::Plain, stop)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Stopped);
    assert!(report.summary(Paint::Plain).contains("Stopped after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_keep_it_goes_on_after_it_was_balanced() {
    let (report, story) = Box::pin(played(&["--keep", "--for", "1s"])).await;
    assert_eq!(report.outcome, Outcome::Stopped, "{story}");
    assert!(report.balanced_seconds.is_some(), "{story}");
    assert!(story.contains("balanced; now it goes on"), "{story}");
}

#[test]
fn every_version_is_played() {
    for version in ["2.3", "2.4", "2.5", "3.0"] {
        let output = run(&[&SMALL[..], &["--profile", version, "--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{version}: {}", String::from_utf8_lossy(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["world"]["milvus"].as_str().unwrap().trim_start_matches('v').starts_with(version));
    }
}

#[test]
fn wrong_flags_are_usage_errors_that_name_themselves() {
    for (line, named) in [
        (vec!["--nodes", "1"], "--nodes"),
        (vec!["--profile", "2.2"], "--profile"),
        (vec!["--for", "2m"], "--keep"),
        (vec!["--config", "own.toml"], "--config"),
        (vec!["--mode", "act"], "--mode"),
    ] {
        let output = run(&line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        assert!(stderr(&output).contains(named) && output.stdout.is_empty(), "{}", stderr(&output));
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"))
        .arg("demo")
        .args(SMALL)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}
