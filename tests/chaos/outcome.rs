//! What a proof came to: figures for the documentation, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::journal::Pages;

/// Figures and problems.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Simulated clusters.
    pub clusters: u64,
    /// Daemons that were killed.
    pub kills: u64,
    /// … while a call waited for its answer.
    pub kills_in_a_call: u64,
    /// … with an intent in the journal that was not yet marked as sent.
    pub kills_at_an_intent: u64,
    /// … while it looked what had become of a call.
    pub kills_while_looking: u64,
    /// Calls that arrived.
    pub calls: usize,
    /// Intents without a call.
    pub unsent: usize,
    /// Ends of moves, by state.
    pub ends: BTreeMap<String, usize>,
    /// Turns that a reason held back, by its code.
    pub limited: BTreeMap<String, u64>,
    /// Connections that were spoilt.
    pub spoilt: u64,
    /// Steps of the clock.
    pub steps: u64,
    /// … while moves were under way.
    pub steps_in_moves: u64,
    /// Leaders that were stopped and continued.
    pub stops: u64,
    /// Leaders that were cut off from etcd and not from Milvus.
    pub cut_off: u64,
    /// Calls that those still sent when another one led.
    pub stale_calls: u64,
    /// The longest that nobody led.
    pub slowest_takeover: Duration,
    /// Takeovers that took longer than the life of a lease and two seconds.
    pub late_takeovers: u64,
    /// What must never happen, and did.
    pub problems: Vec<String>,
}

impl Outcome {
    /// Of a proof that panicked.
    pub fn broken_off(error: tokio::task::JoinError) -> Outcome {
        Outcome { problems: vec![format!("it broke off: {error}")], ..Outcome::default() }
    }

    /// Both together.
    pub fn add(&mut self, other: Outcome) {
        self.clusters += other.clusters;
        self.kills += other.kills;
        self.kills_in_a_call += other.kills_in_a_call;
        self.kills_at_an_intent += other.kills_at_an_intent;
        self.kills_while_looking += other.kills_while_looking;
        self.calls += other.calls;
        self.unsent += other.unsent;
        for (state, count) in other.ends {
            *self.ends.entry(state).or_default() += count;
        }
        for (reason, count) in other.limited {
            *self.limited.entry(reason).or_default() += count;
        }
        self.stops += other.stops;
        self.cut_off += other.cut_off;
        self.stale_calls += other.stale_calls;
        self.slowest_takeover = self.slowest_takeover.max(other.slowest_takeover);
        self.late_takeovers += other.late_takeovers;
        self.spoilt += other.spoilt;
        self.steps += other.steps;
        self.steps_in_moves += other.steps_in_moves;
        self.problems.extend(other.problems);
    }

    /// Counts how the moves of a journal ended, and what held them back.
    pub fn count(&mut self, pages: &Pages) {
        for (reason, count) in &pages.limited {
            *self.limited.entry(reason.clone()).or_default() += count;
        }
        for entry in &pages.entries {
            *self.ends.entry(entry.state.clone()).or_default() += 1;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clusters", self.clusters)?;
        if self.kills > 0 {
            write!(
                f,
                ", {} kills ({} while a call waited for its answer, {} with an intent not yet marked as sent, {} \
                 while looking what became of a call)",
                self.kills, self.kills_in_a_call, self.kills_at_an_intent, self.kills_while_looking
            )?;
        }
        if !self.slowest_takeover.is_zero() {
            let slowest = self.slowest_takeover.as_secs_f64();
            write!(
                f,
                ", {} leaders stopped and continued, {} cut off from what decides and not from Milvus ({} calls of theirs \
                 after that); slowest takeover {slowest:.1} s, {} late",
                self.stops, self.cut_off, self.stale_calls, self.late_takeovers
            )?;
        }
        if self.spoilt > 0 {
            write!(f, ", {} connections spoilt", self.spoilt)?;
        }
        if self.steps > 0 {
            write!(f, ", {} steps of the clock ({} with moves under way)", self.steps, self.steps_in_moves)?;
        }
        write!(f, "; {} calls arrived, {} intents without a call", self.calls, self.unsent)?;
        if !self.ends.is_empty() {
            let ends: Vec<String> =
                self.ends.iter().map(|(state, count)| format!("{count} {state}")).collect();
            write!(f, ", moves: {}", ends.join(", "))?;
        }
        if !self.limited.is_empty() {
            let reasons = self.limited.iter().map(|(reason, count)| format!("{count} by {reason}"));
            write!(f, "; turns held back: {}", reasons.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
