//! A bad network between the daemon and Milvus: answers are lost, late, or cut off in the middle, and whether a call
//! has arrived cannot be told. Then it heals, and the daemon must get on with its work.

use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use tokio::time::{Instant, sleep};

use crate::journal;
use crate::outcome::Outcome;
use crate::process::{Process, Site};
use crate::proxy::Proxy;
use crate::referee::Referee;
use crate::scene::{Chance, Scene};

/// Clusters at the same time.
const AT_ONCE: usize = 4;

/// For how long the network is bad.
const BAD: Duration = Duration::from_secs(12);

/// How long the daemon may take to move something again when the network has healed, and to settle what is open.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the daemon says when there is more to do and it may not.
const SPENT: [&str; 4] = ["daily_bytes", "hourly_bytes", "hourly_moves", "call_rate"];

/// Pause between looks.
const LOOK: Duration = Duration::from_millis(500);

/// Plays so many clusters.
pub async fn prove(first: u64, count: u64) -> Outcome {
    let mut sum = Outcome::default();
    let mut playing = tokio::task::JoinSet::new();
    let mut seeds = first..first + count;
    loop {
        while playing.len() < AT_ONCE
            && let Some(seed) = seeds.next()
        {
            playing.spawn(play(seed));
        }
        match playing.join_next().await {
            Some(Ok(outcome)) => sum.add(outcome),
            Some(Err(error)) => sum.add(Outcome::broken_off(error)),
            None => return sum,
        }
    }
}

async fn play(seed: u64) -> Outcome {
    let mut scene = Scene::of(seed, Clock::system().read().wall);
    // The network is bad enough, and what it does to answers is more.
    scene.faults.clear();
    let world = SharedWorld::new(build(&scene.plan));
    let server = SimServer::start(world.clone()).await.expect("a port is free");
    let proxy = Proxy::start(server.grpc_address(), Chance::for_play(seed)).await;
    let site = Site::new();
    site.configure(&scene.configuration(proxy.address(), &server, &site.journal()));
    let referee = Referee::new(&scene, &world.lock());
    let mut cluster =
        Cluster { world, site, referee, outcome: Outcome { clusters: 1, ..Outcome::default() } };

    let mut process = cluster.site.start("act");
    cluster.watch(&mut process, Instant::now() + BAD).await;
    proxy.heal();
    cluster.outcome.spoilt = proxy.spoilt();
    let until_it_acts = cluster.last_operation();
    cluster.recover(&mut process, until_it_acts).await;
    process.kill();
    cluster.settle().await;
    cluster.report(seed)
}

/// One simulated cluster and its daemon.
struct Cluster {
    world: SharedWorld,
    site: Site,
    referee: Referee,
    outcome: Outcome,
}

impl Cluster {
    /// Looks for what must never happen.
    fn look(&mut self) -> Option<journal::Pages> {
        let calls = self.world.lock().calls().len();
        match journal::read(&self.site.journal()) {
            Ok(pages) => {
                let problems = self.referee.check(&self.world.lock(), calls, &pages);
                self.outcome.problems.extend(problems);
                Some(pages)
            }
            // It is made when the daemon starts.
            Err(_) if calls == 0 => None,
            Err(error) => {
                self.outcome.problems.push(error);
                None
            }
        }
    }

    async fn watch(&mut self, process: &mut Process, until: Instant) {
        while Instant::now() < until && self.outcome.problems.is_empty() {
            sleep(LOOK).await;
            self.look();
            if !process.is_running() {
                self.outcome.problems.push("the daemon ended by itself".to_owned());
            }
        }
    }

    fn last_operation(&self) -> i64 {
        journal::read(&self.site.journal())
            .map_or(0, |pages| pages.entries.last().map_or(0, |entry| entry.id))
    }

    /// Until a move that began later has landed, or what may be moved is spent.
    async fn recover(&mut self, process: &mut Process, last: i64) {
        let ends = Instant::now() + PATIENCE;
        while self.outcome.problems.is_empty() {
            self.watch(process, Instant::now() + LOOK).await;
            let Some(pages) = self.look() else { continue };
            let limit = pages.last_limit.as_deref();
            let is_spent = limit.is_some_and(|limit| SPENT.contains(&limit));
            let works = pages.entries.iter().any(|entry| entry.id > last && entry.state == "landed");
            if works || is_spent {
                return;
            }
            if Instant::now() >= ends {
                let text = format!("nothing was moved within {PATIENCE:?} after the network had healed");
                self.outcome.problems.push(text);
            }
        }
    }

    /// The last daemon may not move anything: it settles what is open.
    async fn settle(&mut self) {
        let mut process = self.site.start("advise");
        let ends = Instant::now() + PATIENCE;
        while self.outcome.problems.is_empty() && Instant::now() < ends {
            sleep(LOOK).await;
            if self.look().is_some_and(|pages| !pages.entries.iter().any(journal::Entry::is_open)) {
                break;
            }
        }
        process.kill();
        if let Some(pages) = self.look() {
            self.outcome.problems.extend(self.referee.check_end(&pages));
            self.outcome.calls = self.referee.calls();
            self.outcome.unsent = self.referee.unsent(&pages);
            self.outcome.count(&pages);
        }
    }

    fn report(mut self, seed: u64) -> Outcome {
        if !self.outcome.problems.is_empty() {
            println!("seed {seed} FAILED\n{}", self.site.last_said());
            for line in self.world.lock().trace() {
                println!("{line}");
            }
            let again = format!("again: cargo test --test chaos -- --networks 1 --seed {seed}");
            self.outcome.problems.push(again);
        }
        self.outcome
    }
}
