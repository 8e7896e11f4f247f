//! What a demo came to: one document for programs, and the summary for people that is written from it.

use serde::Serialize;

use super::figures::Figures;
use super::paint::Paint;
use crate::cli::net_zero_view;
use crate::control_loop::LastTurn;
use crate::model::NetZero;
use crate::plan::DimensionProof;
use crate::report::ReasonSummary;
use crate::units::{Bytes, Ratio};

/// Below what the worst pressure cannot get, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// The pressure.
    pub pressure: Ratio,
    /// What makes it.
    pub cause: String,
}

impl Floor {
    /// The highest of a turn.
    pub(super) fn of(turn: &LastTurn) -> Option<Floor> {
        let proofs = &turn.decision.plan.proof.dimensions;
        let highest: Option<&DimensionProof> = proofs.iter().max_by_key(|proof| proof.floor);
        highest.map(|proof| Floor { pressure: proof.floor, cause: proof.floor_cause.to_string() })
    }
}

/// What became of the moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MoveCounts {
    /// Moves that went out.
    pub sent: u64,
    /// Those that were seen to have arrived.
    pub landed: u64,
    /// Those that ended otherwise: refused, overtaken, expired.
    pub failed: u64,
    /// Those whose end is not known yet.
    pub open: u64,
    /// Bytes of those that landed, as the daemon estimates them.
    pub bytes: Bytes,
    /// `LoadBalance` calls that carried them.
    pub calls: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every node is inside its band, or as close as it can get.
    Balanced,
    /// Time is up, or nothing more can be done.
    NotBalanced,
    /// Somebody else moves segments, so the daemon does not.
    SomebodyElseMoves,
    /// It was told to stop.
    Stopped,
}

/// The cluster that was played.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorldSummary {
    /// Which Milvus it plays.
    pub milvus: String,
    /// Everything that chance decided.
    pub seed: u64,
    /// Query nodes.
    pub nodes: usize,
    /// Collections.
    pub collections: usize,
    /// Sealed segments.
    pub segments: usize,
    /// Their bytes, copies included.
    pub bytes: Bytes,
}

/// The version of [`DemoReport`] as JSON.
pub const DEMO_REPORT_VERSION: u32 = 1;

/// What a demo came to: the document of `--format json`, and what the summary for people is written from.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// [`DEMO_REPORT_VERSION`].
    pub version: u32,
    /// The cluster.
    pub world: WorldSummary,
    /// How it ended.
    pub outcome: Outcome,
    /// What held the daemon back at the end, if anything did.
    pub limited_by: Option<ReasonSummary>,
    /// Seconds until the first plan.
    pub first_plan_seconds: Option<f64>,
    /// Seconds until the cluster was balanced for the first time.
    pub balanced_seconds: Option<f64>,
    /// Seconds until the end.
    pub seconds: f64,
    /// At the start.
    pub before: Figures,
    /// At the end.
    pub after: Figures,
    /// The pressure above which a node counts as overloaded.
    pub enter: Ratio,
    /// Below what the worst pressure could not get, at the end.
    pub floor: Option<Floor>,
    /// What was moved.
    pub moves: MoveCounts,
    /// Moves by Milvus' own balancer.
    pub moves_by_milvus: u64,
    /// How much of all that came back, as the daemon saw it.
    pub net_zero: NetZero,
}

impl DemoReport {
    /// The summary for people.
    pub fn summary(&self, paint: Paint) -> String {
        let mut text = String::new();
        self.headline(&mut text, paint);
        self.comparison(&mut text, paint);
        self.costs(&mut text);
        self.waste(&mut text);
        text.push_str(NEXT_STEPS);
        text
    }

    fn headline(&self, text: &mut String, paint: Paint) {
        let reason = self.limited_by.as_ref().map(|reason| reason.sentence.as_str());
        let seconds = self.balanced_seconds.unwrap_or(self.seconds);
        let headline = match self.outcome {
            Outcome::Balanced => paint.good(format!("Balanced after {seconds:.1} s.")),
            Outcome::NotBalanced => {
                let why = reason.unwrap_or("nothing holds it back, it needs more time (--give-up)");
                paint.bad(format!("Not balanced after {:.1} s: {why}.", self.seconds))
            }
            Outcome::SomebodyElseMoves => paint.bad(format!(
                "Gave way after {:.1} s: {}.",
                self.seconds,
                reason.unwrap_or("somebody else moves segments here")
            )),
            Outcome::Stopped => paint.bold(format!("Stopped after {:.1} s.", self.seconds)),
        };
        text.push_str(&format!("\n{headline}\n"));
        if self.outcome == Outcome::SomebodyElseMoves {
            text.push_str(&format!(
                "Milvus' own balancer has moved {} segments. Two balancers undo each other's work, so the\n\
                 daemon does not move anything while the other one does. On a cluster of yours, either set\n\
                 queryCoord.autoBalance=false, or let the daemon only advise (mode = \"advise\").\n",
                self.moves_by_milvus
            ));
        }
    }

    fn comparison(&self, text: &mut String, paint: Paint) {
        let (before, after) = (&self.before, &self.after);
        text.push_str(&format!("\n{}\n", paint.bold(format!("{:<34}{:>10}{:>10}", "", "before", "after"))));
        let mut row = |title: &str, before: String, after: String, note: String| {
            let line = format!("{title:<34}{before:>10}{after:>10}   {note}");
            text.push_str(&format!("{}\n", line.trim_end()));
        };
        let floor = match &self.floor {
            Some(floor) => {
                format!("{} is fine; at best {}: {}", self.enter, floor.pressure, floor.cause)
            }
            None => format!("{} is fine", self.enter),
        };
        row(
            "worst memory pressure",
            before.worst_pressure.to_string(),
            after.worst_pressure.to_string(),
            floor,
        );
        let spread = "of its memory".to_owned();
        row("fullest node", before.fullest.percent(), after.fullest.percent(), spread.clone());
        row("emptiest node", before.emptiest.percent(), after.emptiest.percent(), spread);
        let asked = "of its CPU asked for".to_owned();
        row("busiest node", before.busiest.percent(), after.busiest.percent(), asked);
        let milliseconds = |latency: f64| format!("{latency:.1} ms");
        let faster = faster(before.latency_ms, after.latency_ms);
        row(
            "a search takes on average",
            milliseconds(before.latency_ms),
            milliseconds(after.latency_ms),
            faster,
        );
    }

    /// The other half of the costs: what of it was for nothing.
    fn waste(&self, text: &mut String) {
        let lines = net_zero_view::lines(&self.net_zero);
        if !lines.is_empty() {
            text.push_str("What of all that was for nothing:\n");
        }
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
    }

    fn costs(&self, text: &mut String) {
        let MoveCounts { sent, landed, failed, open, bytes, calls } = self.moves;
        if sent == 0 {
            text.push_str("\nThe daemon has moved nothing.\n");
            return;
        }
        let share = Ratio::of(bytes.0, self.world.bytes.0).percent();
        let mut ends = format!("{landed} of {sent} moves landed");
        if failed > 0 {
            ends.push_str(&format!(", {failed} ended otherwise"));
        }
        if open > 0 {
            ends.push_str(&format!(", {open} are still open"));
        }
        text.push_str(&format!("\n{ends}: {bytes} ({share} of the data) in {calls} LoadBalance calls.\n"));
        if let Some(seconds) = self.first_plan_seconds {
            text.push_str(&format!("The first plan was there after {seconds:.1} s.\n"));
        }
    }
}

/// How the second latency compares to the first.
fn faster(before: f64, after: f64) -> String {
    if before <= 0.0 || after <= 0.0 {
        return String::new();
    }
    let change = (1.0 - after / before) * 100.0;
    if change >= 0.0 { format!("{change:.0} % less") } else { format!("{:.0} % more", -change) }
}

/// How to go on from here.
const NEXT_STEPS: &str = "
On a cluster of your own, which moves nothing and only reads:
  MILVUS_REBALANCER__CONNECTIONS__DEFAULT__ENDPOINT=http://milvus:19530 milvus-rebalancer plan
Then let it watch and explain (run), and when you trust it, act (run --mode act).
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetZeroShare;

    fn figures(worst: u64, latency_ms: f64) -> Figures {
        Figures {
            worst_pressure: Ratio(worst),
            fullest: Ratio(720_000),
            emptiest: Ratio::ZERO,
            busiest: Ratio(1_080_000),
            latency_ms,
            nodes: Vec::new(),
        }
    }

    fn report(outcome: Outcome) -> DemoReport {
        let daemon = NetZeroShare { moves: 6, bytes: Bytes(25 << 30), ..NetZeroShare::default() };
        DemoReport {
            version: DEMO_REPORT_VERSION,
            world: WorldSummary {
                milvus: "2.6.20".to_owned(),
                seed: 1,
                nodes: 8,
                collections: 40,
                segments: 400,
                bytes: Bytes(100 << 30),
            },
            outcome,
            limited_by: Some(ReasonSummary { code: "held", sentence: "because of that".to_owned() }),
            first_plan_seconds: Some(1.1),
            balanced_seconds: (outcome == Outcome::Balanced).then_some(25.0),
            seconds: 28.5,
            before: figures(2_040_000, 90.0),
            after: figures(1_060_000, 36.0),
            enter: Ratio(1_200_000),
            floor: Some(Floor { pressure: Ratio::ONE, cause: "an even spread".to_owned() }),
            moves: MoveCounts { sent: 9, landed: 6, failed: 2, open: 1, bytes: Bytes(25 << 30), calls: 7 },
            moves_by_milvus: 20,
            net_zero: NetZero { daemon, all: daemon, ..NetZero::default() },
        }
    }

    #[test]
    fn the_summary_compares_and_counts() {
        let text = report(Outcome::Balanced).summary(Paint::Plain);
        for part in [
            "Balanced after 25.0 s.",
            "2.04      1.06   1.20 is fine; at best 1.00: an even spread",
            "90.0 ms   36.0 ms   60 % less",
            "6 of 9 moves landed, 2 ended otherwise, 1 are still open: 25.0 GiB (25 % of the data) in 7",
            "the daemon: 6 moves, 25.0 GiB, of which 0 % came back",
            "milvus-rebalancer plan",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(!text.contains("because of that") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_did_not_end_well_says_why() {
        let text = report(Outcome::NotBalanced).summary(Paint::Plain);
        assert!(text.contains("Not balanced after 28.5 s: because of that."), "{text}");
        let text = report(Outcome::SomebodyElseMoves).summary(Paint::Plain);
        assert!(
            text.contains("moved 20 segments") && text.contains("queryCoord.autoBalance=false"),
            "{text}"
        );
        let hurried = DemoReport { limited_by: None, ..report(Outcome::NotBalanced) };
        assert!(hurried.summary(Paint::Plain).contains("--give-up"));
    }

    #[test]
    fn slower_is_said_too_and_nothing_is_compared_with_nothing() {
        assert_eq!(faster(10.0, 15.0), "50 % more");
        assert_eq!(faster(0.0, 15.0), "");
    }
}
