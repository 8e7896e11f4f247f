//! Proofs that the daemon is safe to kill, to cut off and to confuse: it is killed at random moments, its connection
//! to Milvus is spoilt, its clock is turned. All that happens at the simulated Milvus is judged by its own record.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a scene that cannot be set should fail loudly

mod arguments;
mod clock;
#[path = "../etcd_server.rs"]
mod etcd_server;
#[path = "../harness_options.rs"]
mod harness_options;
mod journal;
mod kills;
#[path = "../kubernetes_server.rs"]
mod kubernetes_server;
mod leaders;
mod namespace;
mod network;
mod outcome;
mod process;
mod proxy;
mod referee;
mod scene;

use std::process::ExitCode;

use tokio::time::Instant;

use arguments::{Proofs, Request};
use leaders::Kind;
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
    let Proofs { seed, kills, networks, clocks, leaders } = *proofs;
    let (mut passed, mut failed) = (0, 0);
    let mut tell = |name: &str, outcome: Outcome, began: Instant| {
        println!("{name}: {outcome}, in {:.0} s", began.elapsed().as_secs_f64());
        outcome.problems.iter().for_each(|problem| println!("  {problem}"));
        *(if outcome.problems.is_empty() { &mut passed } else { &mut failed }) += 1;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let began = Instant::now();
    println!(
        "cargo test --test chaos -- --kills {kills} --networks {networks} --clocks {clocks} --leaders {leaders} --seed \
         {seed}"
    );
    // Both of them mostly wait.
    let (killed, cut_off) = runtime.block_on(async {
        tokio::join!(tokio::spawn(kills::prove(seed, kills)), tokio::spawn(network::prove(seed, networks)))
    });
    if kills > 0 {
        tell("kills", killed.unwrap_or_else(Outcome::broken_off), began);
    }
    if networks > 0 {
        tell("networks", cut_off.unwrap_or_else(Outcome::broken_off), began);
    }
    let began = Instant::now();
    if leaders > 0 && !has_etcd() {
        println!("skipped: leaders by etcd needs etcd ({SWITCH}=1)");
    } else if leaders > 0 {
        let fallen =
            runtime.block_on(async { tokio::spawn(leaders::prove(Kind::Etcd, seed, leaders)).await });
        tell("leaders by etcd", fallen.unwrap_or_else(Outcome::broken_off), began);
    }
    let began = Instant::now();
    if leaders > 0 && cfg!(feature = "kubernetes") {
        let fallen =
            runtime.block_on(async { tokio::spawn(leaders::prove(Kind::Kubernetes, seed, leaders)).await });
        tell("leaders by Kubernetes", fallen.unwrap_or_else(Outcome::broken_off), began);
    }
    drop(runtime);
    let began = Instant::now();
    if clocks > 0 {
        tell("clocks", clock::prove(seed, clocks), began);
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Set to 1 by .ci/run, where everything that tests need must be there.
const SWITCH: &str = "MILVUS_REBALANCER_SYSTEM_TESTS";

/// Whether the proofs that need a real etcd run here.
fn has_etcd() -> bool {
    std::env::var(SWITCH).is_ok_and(|value| value == "1")
}
