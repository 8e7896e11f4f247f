//! How long the planner takes, and how good its plans are.
//!
//! `cargo bench --bench planner` measures the small clusters with criterion;
//! `cargo bench --bench planner -- --table` prints the table of `docs/planner.md`: every row in processes of its
//! own, one for each seed, so that their peak memory is known too. `--seeds 5` takes fewer of them, `--rows 0,3` only
//! these rows.

#![allow(clippy::expect_used)] // nobody is there to handle an error: the printer ends, and says why

mod synthetic;

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use criterion::Criterion;
use milvus_rebalancer::plan::{self, DimensionView, Placement};
use milvus_rebalancer::units::{Bytes, Ratio};
use synthetic::{Cluster, Shape};
use tokio::time::Instant;

/// Seeds of a row: as many as the worst of them says something about the usual.
const SEEDS: u64 = 20;
/// The best of so many runs counts: other programs on the machine can only make one slower.
const RUNS: usize = 3;
/// Clusters of at most so many segments are planned many times as often.
const SMALL: usize = 20_000;
const RUNS_WHEN_SMALL: usize = 50;
/// The moves of the next waves.
const NEXT_MOVES: usize = 64;

/// A row of the table: its name, the cluster, and what it is to reach.
struct Row {
    name: &'static str,
    shape: Shape,
    goal: &'static str,
}

fn rows() -> Vec<Row> {
    let shape =
        |nodes, segments, collections, replicas: (usize, usize), groups, hot_collections, band| Shape {
            nodes,
            segments,
            collections,
            replicas_from: replicas.0,
            replicas_to: replicas.1,
            groups,
            hot_collections,
            band: Ratio(band),
        };
    let row = |name, shape, goal| Row { name, shape, goal };
    vec![
        row(
            "25 × 706 × 3, 20 collections × 1-2 replicas",
            shape(25, 706, 20, (1, 2), 2, false, 1_050_000),
            "2 ms, 1.3, inside 1.05",
        ),
        row(
            "100 × 10,000 × 3, 200 collections × 2 replicas",
            shape(100, 10_000, 200, (2, 2), 4, false, 1_050_000),
            "10 ms, 1.15, inside 1.05",
        ),
        row(
            "1,000 × 1,000,000 × 3, none, band 1.10",
            shape(1_000, 1_000_000, 1, (1, 1), 1, false, 1_100_000),
            "250 ms, 1.03, inside 1.10",
        ),
        row(
            "1,000 × 1,000,000 × 3, none, band 1.05",
            shape(1_000, 1_000_000, 1, (1, 1), 1, false, 1_050_000),
            "250 ms, 1.10, inside 1.05",
        ),
        row(
            "1,000 × 1,000,000 × 3, 20 groups × 2 replicas, 5,000 collections",
            shape(1_000, 1_000_000, 5_000, (2, 2), 20, true, 1_050_000),
            "500 ms, 1.08, inside 1.05",
        ),
        row(
            "1,000 × 1,000,000 × 3, 100 groups of 10 × 2 replicas, 5,000 collections",
            shape(1_000, 1_000_000, 5_000, (2, 2), 100, true, 1_100_000),
            "1 s, 1.25, inside 1.10",
        ),
        row(
            "1,000 × 5,000,000 × 3, 20 groups × 1 replica, 5,000 collections",
            shape(1_000, 5_000_000, 5_000, (1, 1), 20, true, 1_050_000),
            "750 × the time of 10,000 segments",
        ),
    ]
}

/// What one run on one seed gave.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    plan: Duration,
    first: Duration,
    /// Against the floor.
    bytes: f64,
    /// The worst pressure before, after, and the same of the floor.
    before: f64,
    after: f64,
    floor: f64,
    moves: usize,
    effort: u64,
    peak_kib: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(one) = value("--one") {
        let (row, seed) = one.split_once(':').expect("ROW:SEED");
        let row = &rows()[row.parse::<usize>().expect("a number")];
        print_one(&measure(&row.shape, seed.parse().expect("a number")));
        return;
    }
    if arguments.iter().any(|argument| argument == "--table") {
        let seeds = value("--seeds").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
        let chosen: Vec<usize> = match value("--rows") {
            Some(list) => list.split(',').map(|row| row.parse().expect("a number")).collect(),
            None => (0..rows().len()).collect(),
        };
        print_table(seeds, &chosen);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for row in rows().into_iter().filter(|row| row.shape.segments <= SMALL) {
        let cluster = synthetic::cluster(&row.shape, 1);
        let placement = Placement::projected(&cluster.input.snapshot, &[]);
        let views = DimensionView::all(&cluster.input.snapshot, &cluster.assessment, &placement);
        let (findings, _) = plan::find_overloads(&cluster.input, &views, &placement);
        criterion.bench_function(row.name, |bencher| {
            bencher.iter(|| plan::plan(&cluster.input, &views, &placement, &findings, &cluster.restrictions));
        });
    }
    criterion.final_summary();
}

fn measure(shape: &Shape, seed: u64) -> Outcome {
    let Cluster { input, assessment, restrictions } = synthetic::cluster(shape, seed);
    let placement = Placement::projected(&input.snapshot, &[]);
    let views = DimensionView::all(&input.snapshot, &assessment, &placement);
    let (findings, _) = plan::find_overloads(&input, &views, &placement);
    let mut outcome = Outcome { plan: Duration::MAX, first: Duration::MAX, ..Outcome::default() };
    let runs = if shape.segments <= SMALL { RUNS_WHEN_SMALL } else { RUNS };
    for _ in 0..runs {
        let began = Instant::now();
        let first = plan::plan_next(&input, &views, &placement, &findings, &restrictions, NEXT_MOVES);
        outcome.first = outcome.first.min(began.elapsed());
        drop(first);
        let began = Instant::now();
        let plan = plan::plan(&input, &views, &placement, &findings, &restrictions);
        outcome.plan = outcome.plan.min(began.elapsed());
        let proof = &plan.proof;
        outcome.bytes = Ratio::of(proof.bytes_moved.0, proof.bytes_floor.0).decimal();
        let worst = |of: &dyn Fn(&plan::DimensionProof) -> Ratio| {
            proof.dimensions.iter().map(of).max().unwrap_or(Ratio::ZERO).decimal()
        };
        outcome.before = worst(&|proof| proof.before);
        outcome.after = worst(&|proof| proof.after);
        outcome.floor = worst(&|proof| proof.floor);
        outcome.moves = plan.moves().count();
        outcome.effort = proof.effort_used;
        if std::env::var_os("DETAILS").is_some() {
            eprintln!("{:?} {} left alone", outcome, proof.left_alone.len());
        }
    }
    outcome.peak_kib = peak_kib();
    outcome
}

/// The most memory that this process has had, as Linux counts it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

fn print_one(outcome: &Outcome) {
    let Outcome { plan, first, bytes, before, after, floor, moves, effort, peak_kib } = outcome;
    let (plan, first) = (plan.as_nanos(), first.as_nanos());
    println!("{plan} {first} {bytes} {before} {after} {floor} {moves} {effort} {peak_kib}");
}

fn read_one(line: &str) -> Outcome {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| fields[at].parse::<u64>().expect("a whole number");
    let decimal = |at: usize| fields[at].parse::<f64>().expect("a number");
    Outcome {
        plan: Duration::from_nanos(number(0)),
        first: Duration::from_nanos(number(1)),
        bytes: decimal(2),
        before: decimal(3),
        after: decimal(4),
        floor: decimal(5),
        moves: usize::try_from(number(6)).expect("it fits"),
        effort: number(7),
        peak_kib: number(8),
    }
}

fn print_table(seeds: u64, chosen: &[usize]) {
    let program = std::env::current_exe().expect("this program has a path");
    println!(
        "| nodes × segments × dimensions, constraint | full plan, median (worst) | first {NEXT_MOVES} moves | \
         bytes / floor | worst pressure before → after (floor) | moves | peak memory | goal |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut medians: Vec<(usize, Duration)> = Vec::new();
    for (position, row) in rows().iter().enumerate().filter(|(position, _)| chosen.contains(position)) {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for seed in 1..=seeds {
            let child = Command::new(&program).args(["--one", &format!("{position}:{seed}")]).output();
            let child = child.expect("this program can be started again");
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
            outcomes.push(read_one(&String::from_utf8_lossy(&child.stdout)));
            std::io::stderr().write_all(&child.stderr).expect("there is a terminal or a file");
        }
        let median_and_worst = |of: &dyn Fn(&Outcome) -> f64| {
            let mut values: Vec<f64> = outcomes.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            (values[values.len() / 2], values[values.len() - 1])
        };
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        let plan = median_and_worst(&|outcome| milliseconds(outcome.plan));
        let first = median_and_worst(&|outcome| milliseconds(outcome.first));
        let bytes = median_and_worst(&|outcome| outcome.bytes);
        let before = median_and_worst(&|outcome| outcome.before);
        let after = median_and_worst(&|outcome| outcome.after);
        let floor = median_and_worst(&|outcome| outcome.floor);
        #[allow(clippy::cast_precision_loss)]
        let moves = median_and_worst(&|outcome| outcome.moves as f64);
        let peak = Bytes(outcomes.iter().map(|outcome| outcome.peak_kib).max().unwrap_or(0) << 10);
        println!(
            "| {} | {:.2} ms ({:.2} ms) | {:.2} ms ({:.2} ms) | {:.3} ({:.3}) | {:.2} → {:.3} ({:.3}) (floor {:.3}) \
             | {} | {peak} | {} |",
            row.name,
            plan.0,
            plan.1,
            first.0,
            first.1,
            bytes.0,
            bytes.1,
            before.0,
            after.0,
            after.1,
            floor.1,
            moves.0,
            row.goal
        );
        medians.push((row.shape.segments, Duration::from_secs_f64(plan.0 / 1e3)));
    }
    let of =
        |segments: usize| medians.iter().find(|(known, _)| *known == segments).map(|(_, median)| *median);
    if let (Some(large), Some(small)) = (of(5_000_000), of(10_000)) {
        println!(
            "\n5,000,000 segments take {:.0} times as long as 10,000.",
            large.as_secs_f64() / small.as_secs_f64()
        );
    }
}
