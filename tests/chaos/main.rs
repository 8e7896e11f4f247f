//! Proofs that the daemon is safe to kill, to cut off and to confuse: it is killed at random moments, its connection
//! to Milvus is spoilt, its clock is turned. All that happens at the simulated Milvus is judged by its own record.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a scene that cannot be set should fail loudly

mod arguments;
mod clock;
#[path = "../harness_options.rs"]
mod harness_options;
mod journal;
mod kills;
mod network;
mod outcome;
mod process;
mod proxy;
mod referee;
mod scene;

use std::process::ExitCode;

use tokio::time::Instant;

use arguments::{Proofs, Request};
use outcome::Outcome;

fn main() -> ExitCode {
    match arguments::read(std::env::args().skip(1)) {
        Ok(Request::Help) => println!("{}", arguments::HELP),
        Ok(Request::List) => println!("kills: test"),
        Ok(Request::Prove(proofs)) => return prove(&proofs),
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn prove(proofs: &Proofs) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut failed = 0;
    let mut passed = 0;
    let Proofs { seed, kills, networks, clocks } = *proofs;
    let began = Instant::now();
    if kills > 0 {
        println!("kill -9: cargo test --test chaos -- --kills {kills} --seed {seed}");
        let outcome = runtime.block_on(kills::prove(seed, kills));
        tell(&outcome, began, &mut passed, &mut failed);
    }
    let began = Instant::now();
    if networks > 0 {
        println!("bad network: cargo test --test chaos -- --networks {networks} --seed {seed}");
        let outcome = runtime.block_on(network::prove(seed, networks));
        tell(&outcome, began, &mut passed, &mut failed);
    }
    drop(runtime);
    let began = Instant::now();
    if clocks > 0 {
        println!("clock: cargo test --test chaos -- --clocks {clocks} --seed {seed}");
        tell(&clock::prove(seed, clocks), began, &mut passed, &mut failed);
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(outcome: &Outcome, began: Instant, passed: &mut u32, failed: &mut u32) {
    println!("  {outcome}, in {:.0} s", began.elapsed().as_secs_f64());
    for problem in &outcome.problems {
        println!("  {problem}");
    }
    if outcome.problems.is_empty() {
        *passed += 1;
    } else {
        *failed += 1;
    }
}
