//! Plays a scenario: the cluster, its faults, the daemon, its crashes, and all the while the look-out for what must
//! never happen.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use milvus_rebalancer::execute::operation::{Operation, OperationState};
use milvus_rebalancer::sim::{SharedWorld, build};

use crate::daemon::Daemon;
use crate::polls::Polls;
use crate::rest::{self, BESIDE_THE_OTHER, PATIENCE, Rest};
use crate::scenario::Scenario;
use crate::watch::{Evidence, Problem, Watch};

/// Between two looks while calls are under way; sooner when something happens in the world before that.
const CLOSE_LOOK: Duration = Duration::from_secs(1);

/// Between two looks while nothing is under way: what is looked for is made by calls alone.
const FAR_LOOK: Duration = Duration::from_secs(5);

/// What became of a scenario.
#[derive(Debug, Default)]
pub struct Played {
    /// What went wrong; nothing after that was played.
    pub problems: Vec<Problem>,
    /// What happened in the world before.
    pub trace: Vec<String>,
    /// Time that passed in the world.
    pub lasted: Duration,
    /// Calls that reached the server.
    pub calls: usize,
    /// Moves that landed.
    pub landed: usize,
    /// How often the daemon was killed.
    pub crashes: usize,
    /// Why nodes were left above their band at the end.
    pub reasons: BTreeSet<&'static str>,
    /// Stands for all that happened in the world.
    pub digest: u64,
}

/// Plays it, on a runtime of its own whose time is the world's.
pub fn play(scenario: &Scenario) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir_in(scratch()).expect("a folder for the journal");
        // The world begins inside the runtime: outside of it, it is real time that is read.
        runtime.block_on(async { Play::new(scenario, folder.path()).run().await })
    }));
    played.unwrap_or_else(|_| Played {
        problems: vec![Problem::new("panic", "the code panicked; its message is above")],
        ..Played::default()
    })
}

/// A folder in memory where there is one: nobody pulls the plug here, and the journal waits for its disk at every
/// write.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

struct Play<'a> {
    scenario: &'a Scenario,
    folder: &'a Path,
    world: SharedWorld,
    polls: Polls,
    daemon: Option<Daemon>,
    watch: Watch,
    calls_seen: usize,
    operations: Vec<Operation>,
    played: Played,
}

impl<'a> Play<'a> {
    fn new(scenario: &'a Scenario, folder: &'a Path) -> Play<'a> {
        let polls = Polls::default();
        Play {
            scenario,
            folder,
            world: SharedWorld::new(build(&scenario.world)),
            watch: Watch::new(scenario, polls.clone()),
            polls,
            daemon: None,
            calls_seen: 0,
            operations: Vec::new(),
            played: Played::default(),
        }
    }

    async fn run(mut self) -> Played {
        for (at, fault) in &self.scenario.faults {
            self.world.lock().schedule(*at, fault.clone());
        }
        self.start();
        let mut rest = Rest::default();
        let mut drifts = true;
        let mut other_works = self.scenario.world.settings.own_balancer;
        let mut crashes = self.scenario.crashes.iter().peekable();
        loop {
            self.wait().await;
            self.look().await;
            let now = self.world.lock().now();
            if !self.played.problems.is_empty() {
                break;
            }
            if let Some(crash) = crashes.next_if(|crash| crash.calls <= self.calls_seen) {
                tokio::time::sleep(crash.delay).await;
                self.kill().await;
                tokio::time::sleep(crash.away).await;
                self.start();
            }
            if now < self.scenario.trouble_ends {
                continue;
            }
            if drifts {
                drifts = false;
                self.world.lock().end_churn();
            }
            let rests = self.daemon.as_ref().is_some_and(|daemon| rest.look(&daemon.state.borrow(), now));
            if rests {
                self.check_end().await;
                break;
            }
            if other_works && now > self.scenario.trouble_ends + BESIDE_THE_OTHER {
                other_works = false;
                self.world.lock().switch_own_balancer(false);
            }
            let alone_since =
                if self.scenario.world.settings.own_balancer { BESIDE_THE_OTHER } else { Duration::ZERO };
            if now > self.scenario.trouble_ends + alone_since + PATIENCE {
                self.complain_of_restlessness();
                break;
            }
        }
        self.finish().await
    }

    fn start(&mut self) {
        self.daemon = Some(Daemon::start(self.scenario, &self.world, self.folder, &self.polls));
    }

    async fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
            self.played.crashes += 1;
        }
    }

    /// Until the next look.
    async fn wait(&mut self) {
        let is_busy = self.operations.iter().any(|operation| !operation.state.is_ended());
        let wait = {
            let world = self.world.lock();
            let next = world.next_event_at().map(|at| at.saturating_sub(world.now()));
            match next {
                // A moment later, or it would be looked at before it happens.
                Some(next) if is_busy => CLOSE_LOOK.min(next + Duration::from_millis(1)),
                _ if is_busy => CLOSE_LOOK,
                _ => FAR_LOOK,
            }
        };
        tokio::time::sleep(wait).await;
    }

    async fn look(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.has_ended() {
            self.played.problems.push(Problem::new("ended", "the control loop ended by itself"));
            return;
        }
        let calls = self.world.lock().calls().len();
        let is_new = daemon.state.has_changed().unwrap_or(true) || calls != self.calls_seen;
        if !is_new {
            return;
        }
        let last = daemon.state.borrow_and_update().last.clone();
        let begins_at = self.scenario.world.settings.begins_at;
        match daemon.journal.operations_since(begins_at).await {
            Ok(operations) => self.operations = operations,
            Err(error) => {
                self.played.problems.push(Problem::new("journal", error.to_string()));
                return;
            }
        }
        self.calls_seen = calls;
        let snapshot = last.as_ref().map(|last| &*last.decision.snapshot);
        let evidence = Evidence { operations: &self.operations, snapshot };
        let problems = self.watch.check(&self.world.lock(), calls, &evidence);
        self.played.problems.extend(problems);
    }

    /// What must be true when everything is quiet.
    async fn check_end(&mut self) {
        self.look().await;
        let open = self.operations.iter().find(|operation| !operation.state.is_ended());
        if let Some(forgotten) = open {
            let text = format!("operation {} is open for ever: {forgotten:?}", forgotten.id.0);
            self.played.problems.push(Problem::new("forgotten", text));
        }
        let last = self.daemon.as_ref().and_then(|daemon| daemon.state.borrow().last.clone());
        if let Some(last) = last {
            let (reasons, problems) = rest::reasons(self.scenario, &last);
            self.played.reasons = reasons;
            self.played.problems.extend(problems);
        }
        self.played.problems.extend(rest::think_twice(self.scenario, &self.polls));
    }

    fn complain_of_restlessness(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let state = daemon.state.borrow();
        let last = state.last.as_ref();
        let text = format!(
            "after {PATIENCE:?} without trouble {} moves are planned, {} on their way, limited by {:?}; last failure {:?}",
            last.map_or(0, |last| last.decision.plan.moves().count()),
            state.open.len(),
            last.and_then(|last| last.limited_by.clone()),
            state.failure,
        );
        self.played.problems.push(Problem::new("no rest", text));
    }

    async fn finish(mut self) -> Played {
        if let Some(daemon) = self.daemon.take()
            && let Some(why) = daemon.stop().await
            && self.played.problems.is_empty()
        {
            self.played.problems.push(Problem::new("ended", why));
        }
        let world = self.world.lock();
        self.played.lasted = world.now();
        self.played.calls = world.calls().len();
        let has_landed = |operation: &&Operation| operation.state == OperationState::Landed;
        self.played.landed = self.operations.iter().filter(has_landed).count();
        self.played.digest = world.digest();
        self.played.trace = world.trace().map(str::to_owned).collect();
        drop(world);
        self.played
    }
}
