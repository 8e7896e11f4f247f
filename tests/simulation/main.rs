//! Deterministic simulation: the real control loop against simulated clusters, by seed. A failing seed is reduced
//! to what it needs and printed with the command that repeats it.
//!
//! A look-out that never turns red proves nothing. Each of these rules was taken out of the code once, and seeds
//! turned red with the problem behind it:
//!
//! | rule taken out | problem |
//! |---|---|
//! | the gate's check that a destination is a usable member (`gate/check.rs`) | unfit destination |
//! | level-0 segments are held (`model/copies.rs`) | held segment |
//! | segments without rows are held (`model/copies.rs`) | held segment |
//! | growing segments are not reported (`observe/translate.rs`) | held segment |

#![allow(clippy::unwrap_used, clippy::expect_used)] // a scene that cannot be set should fail loudly

mod arguments;
mod budget;
mod daemon;
#[path = "../harness_options.rs"]
mod harness_options;
mod play;
mod polls;
mod rest;
mod scenario;
mod shrink;
mod sloppy;
mod watch;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

use arguments::{Request, Seeds};
use play::{Played, play};
use scenario::{Reduction, Scenario};

/// One seed in so many is played a second time, to see that the same happens.
const TWICE_EVERY: u64 = 20;

/// How often a long run says that it is alive.
const PROGRESS_EVERY: u64 = 100;

fn main() -> ExitCode {
    match arguments::read(std::env::args().skip(1)) {
        Ok(Request::Help) => println!("{}", arguments::HELP),
        Ok(Request::List) => println!("simulation: test"),
        Ok(Request::Nothing) => println!("0 passed, 0 failed"),
        Ok(Request::One { seed, reduction, trace }) => return play_one(seed, &reduction, trace),
        Ok(Request::Seeds(seeds)) => return play_all(&seeds),
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn play_one(seed: u64, reduction: &Reduction, trace: usize) -> ExitCode {
    let scenario = Scenario::of(seed).reduced(reduction);
    print!("seed {seed}\n{scenario}");
    let played = play(&scenario);
    print_end(&played, trace);
    println!(
        "{} calls, {} moves landed, {} crashes in {:.0} s; left above the band: {:?}; digest {:016x}",
        played.calls,
        played.landed,
        played.crashes,
        played.lasted.as_secs_f64(),
        played.reasons,
        played.digest
    );
    let failed = usize::from(!played.problems.is_empty());
    println!("{} passed, {failed} failed", 1 - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_end(played: &Played, trace: usize) {
    let skipped = played.trace.len().saturating_sub(trace);
    for line in &played.trace[skipped..] {
        println!("  {line}");
    }
    for problem in &played.problems {
        println!("  {}: {}", problem.kind, problem.text);
    }
}

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    passed: u64,
    failed: Vec<u64>,
    calls: usize,
    landed: usize,
    crashes: usize,
    lasted: Duration,
    reasons: BTreeMap<&'static str, u64>,
    with_reason: u64,
}

fn play_all(seeds: &Seeds) -> ExitCode {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(seeds.first);
    let (sender, results) = mpsc::channel();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = seed.saturating_sub(seeds.first) >= seeds.count;
                    if is_enough && began.elapsed() >= seeds.lasts {
                        break;
                    }
                    if sender.send((seed, play_seed(seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (seed, played) in results {
            sum.add(seed, &played);
            if !played.problems.is_empty() {
                tell_failure(seed, &played, seeds.trace);
            }
            let done = sum.passed + sum.failed.len() as u64;
            if done.is_multiple_of(PROGRESS_EVERY) {
                println!("{done} seeds played in {:.0} s", began.elapsed().as_secs_f64());
            }
        }
    });
    sum.print(began.elapsed());
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays a seed, some of them twice.
fn play_seed(seed: u64) -> Played {
    let scenario = Scenario::of(seed);
    let mut played = play(&scenario);
    if seed.is_multiple_of(TWICE_EVERY)
        && played.problems.is_empty()
        && play(&scenario).digest != played.digest
    {
        let text = "played twice, it goes two ways";
        played.problems.push(watch::Problem::new("not repeatable", text));
    }
    played
}

/// Prints the smallest part of a scenario that still fails.
fn tell_failure(seed: u64, played: &Played, trace: usize) {
    let (reduction, smallest) = shrink::shrink(seed, played);
    println!("\nseed {seed} FAILED\n{}", Scenario::of(seed).reduced(&reduction));
    print_end(smallest.as_ref().unwrap_or(played), trace);
    println!("  again: cargo test --test simulation -- --seed {seed}{reduction}\n");
}

impl Sum {
    fn add(&mut self, seed: u64, played: &Played) {
        if played.problems.is_empty() {
            self.passed += 1;
        } else {
            self.failed.push(seed);
        }
        self.calls += played.calls;
        self.landed += played.landed;
        self.crashes += played.crashes;
        self.lasted += played.lasted;
        self.with_reason += u64::from(!played.reasons.is_empty());
        for reason in &played.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    fn print(&self, took: Duration) {
        println!(
            "{:.0} simulated hours, {} calls, {} moves landed, {} crashes of the daemon, in {:.0} s",
            self.lasted.as_secs_f64() / 3600.0,
            self.calls,
            self.landed,
            self.crashes,
            took.as_secs_f64()
        );
        println!(
            "in {} seeds a node stayed above its band and its floor, for these reasons: {:?}",
            self.with_reason, self.reasons
        );
        if !self.failed.is_empty() {
            println!("failed: {:?}", self.failed);
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
    }
}
