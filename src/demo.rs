//! `milvus-rebalancer demo`: a simulated Milvus on loopback, the daemon as it is shipped working on it, and the
//! story of that for somebody who watches.
//!
//! ```text
//! world ──▶ SimServer ◀── gRPC, HTTP ──▶ Daemon (settings) ── LoopState ──▶ story ──▶ output
//!   └──────────────────────── figures ──────────────────────────────────────▶ report
//! ```

mod ending;
mod figures;
mod paint;
mod report;
mod settings;
mod story;
mod world;

pub use figures::{Figures, NodeFigures};
pub use paint::Paint;
pub use report::{DEMO_REPORT_VERSION, DemoReport, Floor, MoveCounts, Outcome, WorldSummary};

use std::io::{ErrorKind, Write, stdout};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::{self, AppError, Daemon};
use crate::cli::{DemoArgs, Exit, Faults, OutputFormat, plan_view};
use crate::clock::Clock;
use crate::control_loop::LoopState;
use crate::report::ReasonSummary;
use crate::sim::{SharedWorld, SimServer, World, build};
use crate::units::{Bytes, Ratio};
use ending::Ending;
use story::Story;
use world::Trouble;

/// Pause between lines that say how far it has come.
const PROGRESS_PAUSE: Duration = Duration::from_secs(3);

/// How often the simulated cluster is looked at for what has struck it.
const TICK: Duration = Duration::from_millis(250);

/// Pause between tables of all nodes with `--keep`.
const TABLE_PAUSE: Duration = Duration::from_secs(30);

/// Plays the demo to its end and prints it.
pub async fn run(args: DemoArgs) -> Result<Exit, AppError> {
    let stop = CancellationToken::new();
    app::stop_on_signals(stop.clone())?;
    let paint = Paint::for_stdout();
    let played = match args.format {
        OutputFormat::Table => Box::pin(print(&args, paint, stop)).await,
        OutputFormat::Json => Box::pin(print_json(&args, stop)).await,
    };
    match played {
        Ok(report) => Ok(exit(&report)),
        // Somebody has seen enough of it (`| head`).
        Err(AppError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(error),
    }
}

async fn print(args: &DemoArgs, paint: Paint, stop: CancellationToken) -> Result<DemoReport, AppError> {
    let report = Box::pin(play(args, &mut stdout(), paint, stop)).await?;
    stdout().write_all(report.summary(paint).as_bytes())?;
    Ok(report)
}

async fn print_json(args: &DemoArgs, stop: CancellationToken) -> Result<DemoReport, AppError> {
    let report = Box::pin(play(args, &mut std::io::sink(), Paint::Plain, stop)).await?;
    stdout().write_all(plan_view::json(&report).as_bytes())?;
    Ok(report)
}

fn exit(report: &DemoReport) -> Exit {
    match report.outcome {
        Outcome::Balanced => Exit::Done,
        // Whoever goes on after the end has seen what there was to see.
        Outcome::Stopped if report.balanced_seconds.is_some() => Exit::Done,
        Outcome::NotBalanced | Outcome::SomebodyElseMoves | Outcome::Stopped => Exit::NotEverythingMoved,
    }
}

/// Plays the demo to its end: writes the story as it happens, and gives back what it came to.
pub async fn play(
    args: &DemoArgs,
    output: &mut impl Write,
    paint: Paint,
    stop: CancellationToken,
) -> Result<DemoReport, AppError> {
    let began = Instant::now();
    let world = build(&world::plan(args, Clock::system().read().wall));
    let summary = world_summary(&world, args);
    let before = Figures::of_world(&world);
    let shared = SharedWorld::with_speed(world, args.speed);
    let server = SimServer::start(shared.clone()).await?;
    let folder = tempfile::Builder::new().prefix("milvus-rebalancer-demo").tempdir()?;
    let config = settings::configuration(args, &server, folder.path());
    let enter = config.policies.memory.enter;

    // Stopping the daemon is our affair: it goes on until the summary is complete.
    let stop_daemon = CancellationToken::new();
    let daemon = Daemon::assemble(config, Arc::new(shared.clock()), stop_daemon.clone()).await?;
    let state = daemon.watch();
    writeln!(output, "{}", paint.bold(introduction(&summary)))?;
    writeln!(
        output,
        "gRPC http://{}, metrics http://{}/metrics",
        server.grpc_address(),
        daemon.metrics_address()
    )?;
    if let Some(place) = daemon.admin_place() {
        writeln!(output, "{}", paint.bold(format!("look at it: http://{place}/")))?;
    }
    let running = tokio::spawn(daemon.run());

    let mut show = Show {
        args,
        paint,
        began,
        enter,
        shared,
        state,
        story: Story::new(paint, enter),
        before,
        is_begun: false,
        first_plan: None,
        balanced: None,
        summary,
    };
    let outcome = show.go(output, &stop).await;
    stop_daemon.cancel();
    ended(running).await?;
    show.finish(outcome?, output)
}

/// What the daemon ended with.
async fn ended(running: JoinHandle<Result<(), AppError>>) -> Result<(), AppError> {
    running.await.map_err(|source| AppError::Task { task: "the daemon", source })?
}

fn world_summary(world: &World, args: &DemoArgs) -> WorldSummary {
    let segments = world.segments().values().filter(|segment| !segment.level0);
    WorldSummary {
        milvus: world.profile().build_version.clone(),
        seed: args.seed,
        nodes: world.nodes().values().filter(|node| node.resource_group.is_some()).count(),
        collections: world.collections().len(),
        segments: segments.clone().count(),
        bytes: Bytes(segments.map(|segment| segment.bytes * segment.copies.len() as u64).sum()),
    }
}

fn introduction(summary: &WorldSummary) -> String {
    format!(
        "A simulated Milvus {}: {} query nodes, {} collections, {} segments, {} (seed {})",
        summary.milvus, summary.nodes, summary.collections, summary.segments, summary.bytes, summary.seed
    )
}

/// What holds the daemon back: it cannot look at the cluster, or the reason that its last turn gives.
fn limited_by(state: &LoopState) -> Option<ReasonSummary> {
    if let Some(failure) = &state.failure {
        return Some(ReasonSummary { code: "not_observed", sentence: failure.clone() });
    }
    let turn = state.last.as_ref()?;
    ending::somebody_else(turn).or(turn.limited_by.as_ref()).map(ReasonSummary::from)
}

/// The demo while it is played.
struct Show<'a> {
    args: &'a DemoArgs,
    paint: Paint,
    began: Instant,
    enter: Ratio,
    shared: SharedWorld,
    state: watch::Receiver<LoopState>,
    story: Story,
    before: Figures,
    is_begun: bool,
    first_plan: Option<Duration>,
    balanced: Option<Duration>,
    summary: WorldSummary,
}

impl Show<'_> {
    /// Tells what happens until it is over.
    async fn go(&mut self, output: &mut impl Write, stop: &CancellationToken) -> Result<Outcome, AppError> {
        let mut trouble = self.trouble(self.args.faults.unwrap_or(Faults::None));
        let mut ending = Ending::default();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut progress_at, mut table_at) = (PROGRESS_PAUSE, TABLE_PAUSE);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(Outcome::Stopped),
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return Err(AppError::EndedByItself);
                    }
                    self.tell(output)?;
                }
                _ = tick.tick() => {}
            }
            let at = self.began.elapsed();
            for struck in trouble.strike(&self.shared) {
                for line in self.story.struck(struck, at) {
                    writeln!(output, "{line}")?;
                }
            }
            if at >= progress_at && self.balanced.is_none() {
                progress_at = at + PROGRESS_PAUSE;
                let figures = self.figures();
                if let Some(line) = self.story.progress(&figures, &self.state.borrow(), at) {
                    writeln!(output, "{line}")?;
                }
            }
            if at >= table_at && self.balanced.is_some() {
                table_at = at + TABLE_PAUSE;
                self.table(&self.figures(), output)?;
                writeln!(output)?;
            }
            if let Some(outcome) = self.judge(&mut ending, trouble.is_any()) {
                if !self.args.keep || outcome != Outcome::Balanced {
                    return Ok(outcome);
                }
                trouble = self.trouble(self.args.faults.unwrap_or(Faults::Some));
                table_at = at;
                let line = "balanced; now it goes on: data grows and things fail";
                writeln!(output, "{:>6.1}s  {}", at.as_secs_f64(), self.paint.good(line))?;
            }
        }
    }

    fn trouble(&self, faults: Faults) -> Trouble {
        Trouble::new(self.args, faults, &self.shared.lock())
    }

    /// Prints what the loop shows; the first time, the cluster too.
    fn tell(&mut self, output: &mut impl Write) -> Result<(), AppError> {
        let state = self.state.borrow_and_update().clone();
        let at = self.began.elapsed();
        if let Some(turn) = state.last.as_deref().filter(|_| !self.is_begun) {
            self.is_begun = true;
            self.before = self.before.clone().seen_in(turn);
            self.table(&self.before, output)?;
            writeln!(output)?;
        }
        for line in self.story.news(&state, at) {
            writeln!(output, "{line}")?;
        }
        if self.first_plan.is_none() && self.story.has_plan() {
            self.first_plan = Some(at);
        }
        Ok(())
    }

    fn table(&self, figures: &Figures, output: &mut impl Write) -> Result<(), AppError> {
        writeln!(output)?;
        for line in self.story.nodes(figures) {
            writeln!(output, "{line}")?;
        }
        writeln!(output, "       a search takes {:.1} ms on average", figures.latency_ms)?;
        Ok(())
    }

    fn figures(&self) -> Figures {
        // Before the world is locked: the loop asks the world's clock while others wait for its state.
        let last = self.state.borrow().last.clone();
        Figures::new(&self.shared.lock(), last.as_deref())
    }

    /// Whether it is over, and how.
    fn judge(&mut self, ending: &mut Ending, may_change: bool) -> Option<Outcome> {
        let at = self.began.elapsed();
        if self.balanced.is_some() {
            return self.args.keep_for.filter(|limit| at >= *limit).map(|_| Outcome::Stopped);
        }
        if let Some(verdict) = ending.look(&self.state.borrow(), at, self.enter, may_change) {
            if verdict.outcome == Outcome::Balanced {
                self.balanced = Some(verdict.since);
            }
            return Some(verdict.outcome);
        }
        (at >= self.args.give_up).then_some(Outcome::NotBalanced)
    }

    /// The last words, when the daemon has stopped.
    fn finish(mut self, outcome: Outcome, output: &mut impl Write) -> Result<DemoReport, AppError> {
        self.tell(output)?;
        let after = self.figures();
        self.table(&after, output)?;
        let state = self.state.borrow();
        let turn = state.last.as_deref();
        let seconds = |at: Duration| (at.as_secs_f64() * 10.0).round() / 10.0;
        let report = DemoReport {
            version: DEMO_REPORT_VERSION,
            world: self.summary.clone(),
            outcome,
            limited_by: limited_by(&state),
            first_plan_seconds: self.first_plan.map(seconds),
            balanced_seconds: self.balanced.map(seconds),
            seconds: seconds(self.began.elapsed()),
            before: self.before.clone(),
            after,
            enter: self.enter,
            floor: turn.and_then(Floor::of),
            moves: self.story.counts(),
            moves_by_milvus: self.shared.lock().own_balancer_moves(),
            net_zero: turn.map(|turn| turn.decision.net_zero).unwrap_or_default(),
        };
        Ok(report)
    }
}
