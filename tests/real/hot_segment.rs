//! The measurement that this program exists for, on a real cluster: rows, bytes and segments are even, and two hot
//! segments share one small node. The daemon has to find the one move that helps, make it, and then keep still. Needs root
//! and control groups for the small nodes, and five quiet minutes:
//!
//! ```text
//! MILVUS_REBALANCER_MEASURE=1 cargo test --release --test real hot_segment -- --nocapture
//! ```
//!
//! It prints a table and one line of JSON. The logic alone is asserted in `cargo test` on a simulated cluster
//! (tests/it/hot_segment.rs).

use serde_json::{Value, json};

use crate::daemon::{Daemon, Site, count};
use crate::lab::{CollectionSpec, Lab, LabOptions, LoadReport, lab_is_off};

/// Cores of each small node.
const SMALL_CORES: f64 = 0.3;

/// Searches that wait for their answers at any time.
const THREADS: usize = 8;

/// So large that a search costs a few milliseconds of CPU: a small node is to be the bottleneck, and not whoever
/// searches. Without an index, which 2.3.5 would search much faster.
const ROWS: usize = 25_000;
const DIMENSIONS: usize = 128;

/// Seconds between polls, and what follows from it.
const POLL_SECONDS: usize = 5;
const TURNS_IN_A_MINUTE: usize = 60 / POLL_SECONDS;

/// Throughput must rise by at least so much.
const LEAST_GAIN: f64 = 1.4;

/// Polls every 5 s, two turns, capacities by configuration. The guard takes three looks to learn what is usual, which is
/// a quarter of the minute that two moves have. Bytes are not bounded: two of these segments are a fifth of
/// all that there is.
pub const OPTIONS: &str = r#"
[poll]
interval = "5s"
duty = 1.0
[policies.search]
enabled = true
turns = 2
[guard]
enabled = false
[execute]
bytes_per_hour = 0.0
bytes_per_day = 0.0
"#;

/// The cluster: node 0 is the large one, and holds the coordinators and the proxy too; 1 … 4 are small.
pub struct Scene {
    pub lab: Lab,
    pub names: Vec<String>,
}

impl Scene {
    /// Two collections on each node; those of the first small node are the hot ones.
    pub fn start(auto_balance: bool) -> Scene {
        let mut lab = Lab::start(LabOptions {
            nodes: 5,
            auto_balance,
            cpu_limits: (1..5).map(|index| (index, SMALL_CORES)).collect(),
            ..LabOptions::default()
        });
        let names: Vec<String> = (0..10).map(|number| format!("books_{number}")).collect();
        let spec = |name: &String| CollectionSpec { dim: DIMENSIONS, ..CollectionSpec::new(name, 1, ROWS) };
        let specs: Vec<CollectionSpec> = names.iter().map(spec).collect();
        lab.create_collections(&specs);
        let homes = [1, 2, 3, 4, 0];
        let wanted = |(number, name): (usize, &String)| (name.clone(), lab.id(homes[number / 2]));
        let wanted: Vec<(String, i64)> = names.iter().enumerate().map(wanted).collect();
        lab.arrange(&wanted);
        Scene { lab, names }
    }

    pub fn hot(&self) -> Vec<&str> {
        self.names[..2].iter().map(String::as_str).collect()
    }

    /// Where the hot segments are.
    pub fn hot_nodes(&mut self) -> Vec<i64> {
        let names: Vec<String> = self.names[..2].to_vec();
        names.iter().flat_map(|name| self.lab.segments(name)[0].nodes.clone()).collect()
    }

    /// Whether one small node holds both.
    pub fn small_node_holds_both(&mut self) -> bool {
        let hot = self.hot_nodes();
        hot[0] == hot[1] && hot[0] != self.lab.id(0)
    }

    /// The daemon's configuration, with what the nodes really have.
    pub fn site(&self, options: &str) -> Site {
        let mut text = format!(
            "{options}\n[proxy_metrics]\ntargets = [\"http://{}/metrics\"]\n",
            self.lab.nodes[0].metrics
        );
        text.push_str("[node_metrics.targets]\n");
        for node in &self.lab.nodes {
            text.push_str(&format!("\"{}\" = \"http://{}/metrics\"\n", node.address, node.metrics));
        }
        for node in &self.lab.nodes {
            let cores = if node.index == 0 { 1.0 } else { SMALL_CORES };
            let index = node.index;
            text.push_str(&format!("[capacity.node-{index}]\nmatch = \"{}\"\ncpu = {cores}\n", node.address));
        }
        Site::of(&self.lab, &text)
    }
}

/// Whether measurements are asked for.
pub fn is_asked_for() -> bool {
    let asked = std::env::var("MILVUS_REBALANCER_MEASURE").is_ok_and(|value| value == "1");
    if !asked {
        println!("skipped: needs root, control groups and quiet: MILVUS_REBALANCER_MEASURE=1");
    }
    asked
}

/// What was measured.
pub struct Measured {
    pub before: LoadReport,
    pub after: LoadReport,
    pub moves: usize,
    pub turns_to_relief: usize,
}

/// Plays the scene with a daemon in some mode and checks all of it.
pub fn play(scene: &mut Scene, options: &str, mode: &str) -> Measured {
    assert!(scene.small_node_holds_both(), "the scene is not set");
    let hot: Vec<String> = scene.hot().into_iter().map(str::to_owned).collect();
    let hot: Vec<&str> = hot.iter().map(String::as_str).collect();
    scene.lab.start_load(&hot, THREADS);
    let site = scene.site(options);
    // What advises moves nothing: it measures the time before.
    let mut adviser = site.start(&["--mode", "advise"]);
    adviser.turns(2);
    scene.lab.load_window();
    adviser.turns(4);
    let before = scene.lab.load_window();
    drop(adviser);

    let mut daemon = site.start(&["--mode", mode]);
    let (mut moves, mut turns_to_relief) = (0, None);
    for turn in 1..=TURNS_IN_A_MINUTE {
        let events = daemon.turns(1);
        moves += count(&events, "move landed");
        if turns_to_relief.is_none() && !scene.small_node_holds_both() {
            turns_to_relief = Some(turn);
        }
    }
    let turns_to_relief = turns_to_relief.unwrap_or_else(|| panic!("one small node still holds both"));
    assert!((1..=2).contains(&moves), "{moves} moves");

    scene.lab.load_window();
    let homes = scene.hot_nodes();
    let quiet = daemon.turns(2 * TURNS_IN_A_MINUTE);
    let after = scene.lab.load_window();
    assert_eq!(count(&quiet, "sending LoadBalance"), 0, "moved under steady load: {quiet:#?}");
    assert_eq!(scene.hot_nodes(), homes, "somebody moved them");
    scene.lab.stop_load();
    no_moves_without_load(&mut daemon);
    assert!(!scene.small_node_holds_both());
    Measured { before, after, moves, turns_to_relief }
}

fn no_moves_without_load(daemon: &mut Daemon) {
    let idle = daemon.turns(TURNS_IN_A_MINUTE);
    assert_eq!(count(&idle, "sending LoadBalance"), 0, "moved without load: {idle:#?}");
}

impl Measured {
    fn gain(&self) -> f64 {
        self.after.per_second / self.before.per_second
    }

    /// As a table, and as one line of JSON.
    pub fn tell(&self, title: &str) {
        let Measured { before, after, moves, turns_to_relief } = self;
        println!("{title}: {moves} moves, relief seen after {} s", turns_to_relief * POLL_SECONDS);
        println!("              searches/s   mean ms    p99 ms   failed");
        for (name, report) in [("before", before), ("after", after)] {
            let LoadReport { per_second, mean_ms, p99_ms, failures, .. } = report;
            println!("{name:<12}{per_second:>12.1}{mean_ms:>10.1}{p99_ms:>10.1}{failures:>9}");
        }
        println!("throughput × {:.2}", self.gain());
        let report = |report: &LoadReport| -> Value {
            let LoadReport { per_second, mean_ms, p99_ms, failures, .. } = report;
            json!({ "per_second": per_second, "mean_ms": mean_ms, "p99_ms": p99_ms, "failures": failures })
        };
        let document = json!({
            "scenario": title,
            "moves": moves,
            "seconds_to_relief": turns_to_relief * POLL_SECONDS,
            "before": report(before),
            "after": report(after),
            "gain": self.gain(),
        });
        println!("{document}");
    }

    pub fn check(&self) {
        assert_eq!((self.before.failures, self.after.failures), (0, 0), "{:?}", self.after.errors);
        assert!(self.gain() >= LEAST_GAIN, "{} → {}", self.before.per_second, self.after.per_second);
    }
}

#[test]
fn act_relieves_the_small_node_and_then_keeps_still() {
    if lab_is_off() || !is_asked_for() {
        return;
    }
    let mut scene = Scene::start(false);
    let measured = play(&mut scene, OPTIONS, "act");
    measured.tell("act, autoBalance off");
    measured.check();
}
