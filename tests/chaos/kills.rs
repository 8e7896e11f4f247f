//! kill -9 at random moments: each daemon finds what the one before it left, and the sum of all their lives must look
//! as if there had been one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::sim::calls::CallRecord;
use milvus_rebalancer::sim::{SharedWorld, SimServer, World, build};
use tokio::time::{Instant, sleep};

use crate::journal;
use crate::outcome::Outcome;
use crate::process::Site;
use crate::referee::Referee;
use crate::scene::{Chance, Scene};

/// Clusters at the same time: their daemons mostly wait.
const AT_ONCE: u64 = 4;

/// Kills in one cluster: then it is level, more or less.
const KILLS_IN_ONE: u64 = 25;

/// No daemon lives longer than that, whatever it was to be killed at.
const LONGEST_LIFE: Duration = Duration::from_secs(3);

/// How long a daemon needs to make its journal, more or less.
const FIRST_STEPS: Duration = Duration::from_millis(60);

/// Pause between looks for the moment at which the daemon is to die.
const WATCH: Duration = Duration::from_micros(300);

/// So many lives in a row without a call: there is nothing left to do, and the next cluster is more interesting.
const IDLE_LIVES: u32 = 5;

/// How long the last daemon may take to settle what all before it left open.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a daemon dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start, which is before it asks anything, more often than not.
    Starting(Duration),
    /// With its n-th read of this poll or a later one.
    Reading(u64),
    /// The moment its journal is written for the n-th time since its start.
    Writing(u64),
    /// So long after its n-th call has arrived.
    Calling(usize, Duration),
    /// Whenever.
    AnyTime(Duration),
}

impl Moment {
    fn of(chance: &mut Chance) -> Moment {
        match chance.count(0, 9) {
            0 => Moment::Starting(chance.up_to(2 * FIRST_STEPS)),
            1 => Moment::Reading(chance.count(1, 60)),
            2..=4 => Moment::Writing(chance.count(1, 25)),
            5..=7 => {
                let calls = usize::try_from(chance.count(1, 4)).unwrap_or(1);
                Moment::Calling(calls, chance.up_to(Duration::from_millis(900)))
            }
            _ => Moment::AnyTime(chance.up_to(Duration::from_millis(2_500))),
        }
    }
}

/// Kills so many daemons.
pub async fn prove(seed: u64, kills: u64) -> Outcome {
    let left = Arc::new(AtomicU64::new(kills));
    let next_seed = Arc::new(AtomicU64::new(seed));
    let mut clusters = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE.min(kills) {
        let (left, next_seed) = (left.clone(), next_seed.clone());
        clusters.spawn(async move {
            let mut outcome = Outcome::default();
            while left.load(Ordering::Relaxed) > 0 {
                let seed = next_seed.fetch_add(1, Ordering::Relaxed);
                outcome.add(Cluster::start(seed).await.play(&left).await);
            }
            outcome
        });
    }
    let mut sum = Outcome::default();
    while let Some(ended) = clusters.join_next().await {
        match ended {
            Ok(outcome) => sum.add(outcome),
            Err(error) => sum.add(Outcome::broken_off(error)),
        }
    }
    sum
}

/// One simulated cluster and its daemons.
struct Cluster {
    seed: u64,
    chance: Chance,
    world: SharedWorld,
    // Serves until it is dropped.
    _server: SimServer,
    site: Site,
    referee: Referee,
    outcome: Outcome,
    last_operation: i64,
}

impl Cluster {
    async fn start(seed: u64) -> Cluster {
        let scene = Scene::of(seed, Clock::system().read().wall);
        let world = SharedWorld::new(build(&scene.plan));
        for (at, fault) in &scene.faults {
            world.lock().schedule(*at, fault.clone());
        }
        let server = SimServer::start(world.clone()).await.expect("a port is free");
        let site = Site::new();
        site.configure(&scene.configuration(server.grpc_address(), &server, &site.journal()));
        let referee = Referee::new(&scene, &world.lock());
        let outcome = Outcome { clusters: 1, ..Outcome::default() };
        let chance = Chance::for_play(seed);
        Cluster { seed, chance, world, _server: server, site, referee, outcome, last_operation: 0 }
    }

    /// Kills daemons until there are enough, something is wrong, or nothing is left to do.
    async fn play(mut self, left: &AtomicU64) -> Outcome {
        let mut idle = 0;
        for _ in 0..KILLS_IN_ONE {
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
                break;
            }
            let calls = self.outcome.calls;
            self.live_and_die().await;
            idle = if self.outcome.calls == calls { idle + 1 } else { 0 };
            if !self.outcome.problems.is_empty() || idle >= IDLE_LIVES {
                break;
            }
        }
        if self.outcome.problems.is_empty() {
            self.settle().await;
        }
        if !self.outcome.problems.is_empty() {
            let trace: Vec<String> = self.world.lock().trace().map(str::to_owned).collect();
            let trace = trace[trace.len().saturating_sub(40)..].join("\n");
            println!("seed {} FAILED\n{}\n{trace}", self.seed, self.site.last_said());
            let again =
                format!("again: cargo test --test chaos -- --kills {KILLS_IN_ONE} --seed {}", self.seed);
            self.outcome.problems.push(again);
        }
        self.outcome
    }

    async fn live_and_die(&mut self) {
        // The first one makes the journal, which happens once only.
        let is_first = !self.site.journal().exists() && self.chance.happens(0.5);
        let moment = if is_first {
            Moment::Starting(self.chance.up_to(FIRST_STEPS))
        } else {
            Moment::of(&mut self.chance)
        };
        let mut process = self.site.start("act");
        self.wait_for(moment).await;
        let unanswered = {
            let waits = |call: &&CallRecord| call.answered.is_none() && !call.disconnected;
            self.world.lock().calls().iter().filter(waits).count()
        };
        if !process.kill() {
            self.outcome.problems.push("the daemon ended by itself".to_owned());
            return;
        }
        let calls = self.world.lock().calls().len();
        if !self.site.journal().exists() {
            // It died before it had a journal.
            self.outcome.kills += 1;
            return;
        }
        match journal::read_copy(&self.site.journal(), self.site.path()) {
            Err(error) => self.outcome.problems.push(error),
            Ok(pages) => self.book(unanswered, calls, &pages),
        }
    }

    fn book(&mut self, unanswered: usize, calls: usize, pages: &journal::Pages) {
        let problems = self.referee.check(&self.world.lock(), calls, pages);
        self.outcome.problems.extend(problems);
        self.outcome.kills += 1;
        self.outcome.kills_in_a_call += u64::from(unanswered > 0);
        let is_new = |entry: &&journal::Entry| entry.id > self.last_operation;
        let has_intent = pages.entries.iter().filter(is_new).any(|entry| entry.state == "admitted");
        self.outcome.kills_at_an_intent += u64::from(has_intent);
        let verifies = pages.entries.iter().any(|entry| entry.state == "verifying");
        self.outcome.kills_while_looking += u64::from(verifies);
        self.outcome.calls = self.referee.calls();
        self.outcome.unsent = self.referee.unsent(pages);
        self.last_operation = pages.entries.last().map_or(0, |entry| entry.id);
    }

    /// Until the moment has come.
    async fn wait_for(&self, moment: Moment) {
        let ends = Instant::now() + LONGEST_LIFE;
        let (reads_before, calls_before) = {
            let world = self.world.lock();
            (reads(&world), world.calls().len())
        };
        let has_come = || match moment {
            Moment::Starting(_) | Moment::AnyTime(_) => true,
            Moment::Reading(count) => reads(&self.world.lock()) >= reads_before + count,
            Moment::Calling(count, _) => self.world.lock().calls().len() >= calls_before + count,
            Moment::Writing(_) => false,
        };
        if let Moment::Writing(count) = moment {
            return self.wait_for_writes(count, ends).await;
        }
        while !has_come() && Instant::now() < ends {
            sleep(WATCH).await;
        }
        if let Moment::Starting(wait) | Moment::AnyTime(wait) | Moment::Calling(_, wait) = moment {
            sleep(wait).await;
        }
    }

    async fn wait_for_writes(&self, count: u64, ends: Instant) {
        let log = self.site.path().join("journal.db-wal");
        let mut last = written(&log);
        let mut writes = 0;
        while writes < count && Instant::now() < ends {
            sleep(WATCH).await;
            let now = written(&log);
            writes += u64::from(now != last);
            last = now;
        }
    }

    /// The last daemon may not move anything: it settles what all before it left open.
    async fn settle(&mut self) {
        let mut process = self.site.start("advise");
        let ends = Instant::now() + PATIENCE;
        while self.is_anything_open() && process.is_running() && Instant::now() < ends {
            sleep(Duration::from_millis(250)).await;
        }
        if !process.kill() {
            self.outcome.problems.push("the last daemon ended by itself".to_owned());
        }
        let calls = self.world.lock().calls().len();
        let pages = match journal::read_copy(&self.site.journal(), self.site.path()) {
            Ok(pages) => pages,
            Err(error) => return self.outcome.problems.push(error),
        };
        let problems = self.referee.check(&self.world.lock(), calls, &pages);
        self.outcome.problems.extend(problems);
        self.outcome.problems.extend(self.referee.check_end(&pages));
        self.outcome.calls = self.referee.calls();
        self.outcome.unsent = self.referee.unsent(&pages);
        self.outcome.count(&pages);
    }

    /// Whether the journal has an open move, or cannot tell yet.
    fn is_anything_open(&self) -> bool {
        match journal::read(&self.site.journal()) {
            Ok(pages) => pages.entries.iter().any(journal::Entry::is_open),
            Err(_) => true,
        }
    }
}

/// Reads that arrived.
fn reads(world: &World) -> u64 {
    let counts = world.counts();
    counts.segment_info + counts.replicas + counts.metrics + counts.definitions
}

/// Stands for what was written to a file so far.
fn written(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()?))
}
