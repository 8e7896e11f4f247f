//! What goes wrong or changes: on a schedule, or by seed. Machines are named by hostname, because ids die with a process.

use std::collections::VecDeque;
use std::time::Duration;

use super::calls::Refusal;
use super::cluster::SimTime;
use super::random::{Purpose, Stream};
use super::world::{Event, World};

/// Something that goes wrong, or changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A node's process dies.
    Crash {
        /// The machine.
        hostname: String,
        /// When it comes back, under a new id.
        back_after: Option<Duration>,
    },
    /// A node is asked to stop.
    Stop {
        /// The machine.
        hostname: String,
        /// When it comes back, under a new id.
        back_after: Option<Duration>,
    },
    /// A node is taken out of its resource group.
    Suspend {
        /// The machine.
        hostname: String,
    },
    /// A node becomes slower (or, with 1, well again).
    Slow {
        /// The machine.
        hostname: String,
        /// How many times slower.
        factor: f64,
    },
    /// A node refuses to load segments.
    RefuseLoads {
        /// The machine.
        hostname: String,
        /// How long.
        lasts: Duration,
    },
    /// A node answers GetMetrics with an error; it is listed under a made-up id.
    Erroring {
        /// The machine.
        hostname: String,
        /// How long.
        lasts: Duration,
    },
    /// The coordinator restarts: not ready at first, then without shard leaders.
    CoordinatorRestart {
        /// How long until all is well.
        lasts: Duration,
    },
    /// The proxy cannot be reached.
    ProxyAway {
        /// How long.
        lasts: Duration,
    },
    /// `LoadBalance` works, but its answer never arrives.
    LoseAnswers {
        /// For so many calls.
        calls: usize,
    },
    /// `LoadBalance` answers late.
    DelayAnswers {
        /// For so many calls.
        calls: usize,
        /// How late.
        by: Duration,
    },
    /// `LoadBalance` is refused.
    RefuseCalls {
        /// For so many calls.
        calls: usize,
    },
    /// GetMetrics goes on giving its last answer.
    StaleMetrics {
        /// How long.
        lasts: Duration,
    },
    /// Some reads fail.
    PartialPolls {
        /// How long.
        lasts: Duration,
        /// How many of a hundred.
        percent: u8,
    },
    /// A collection is released, and loaded again later.
    Release {
        /// Its name.
        collection: String,
        /// When it is loaded again.
        back_after: Duration,
    },
    /// A collection is loaded again.
    Load {
        /// Its name.
        collection: String,
    },
    /// A collection is searched more often for a while.
    HotSpell {
        /// Its name.
        collection: String,
        /// How many times more often.
        factor: f64,
        /// How long.
        lasts: Duration,
    },
    /// A role that sees too little: a part of the collections is missing from the lists.
    HideCollections {
        /// How long.
        lasts: Duration,
        /// Which part is hidden: 1 is all of them, 2 about a half.
        every: u64,
    },
}

/// What becomes of the answer to a `LoadBalance` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// It never arrives.
    Lose,
    /// It arrives late.
    Delay(Duration),
    /// The call is refused.
    Refuse,
}

/// The faults that are at work.
#[derive(Debug, Default)]
pub struct FaultState {
    answers: VecDeque<AnswerFault>,
    coordinator: Option<(SimTime, SimTime)>,
    proxy_away_until: SimTime,
    pub(super) stale_metrics_until: SimTime,
    partial: (SimTime, u8),
    hidden: (SimTime, u64),
}

/// How long a restarting coordinator is not ready at all; afterwards it lacks shard leaders.
const NOT_READY: Duration = Duration::from_secs(5);

impl FaultState {
    pub(super) fn take_answer_fault(&mut self) -> Option<AnswerFault> {
        self.answers.pop_front()
    }
}

impl World {
    /// Has something go wrong at a time; at once when it lies behind.
    pub fn schedule(&mut self, at: SimTime, fault: Fault) {
        let wait = at.saturating_sub(self.now);
        self.after(wait, Event::Fault(fault));
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        self.note(format_args!("fault {fault:?}"));
        let until = |lasts: Duration| self.now + lasts;
        match fault {
            Fault::Crash { hostname, back_after } => {
                let Some(id) = self.node_named(&hostname) else { return };
                if let Some(wait) = back_after {
                    self.restart_later(id, wait);
                }
                self.crash(id);
            }
            Fault::Stop { hostname, back_after } => {
                let Some(id) = self.node_named(&hostname) else { return };
                if let Some(wait) = back_after {
                    self.restart_later(id, wait);
                }
                self.stop_gracefully(id);
            }
            Fault::Suspend { hostname } => {
                if let Some(id) = self.node_named(&hostname) {
                    self.suspend(id);
                }
            }
            Fault::Slow { hostname, factor } => {
                self.change_node(&hostname, |node| node.slowness = factor.max(0.01));
            }
            Fault::RefuseLoads { hostname, lasts } => {
                let until = until(lasts);
                self.change_node(&hostname, |node| node.refuses_loads_until = until);
            }
            Fault::Erroring { hostname, lasts } => {
                let until = until(lasts);
                self.change_node(&hostname, |node| node.errors_until = until);
            }
            Fault::CoordinatorRestart { lasts } => {
                self.faults.coordinator = Some((self.now, until(lasts)));
                self.forget_suspension();
            }
            Fault::ProxyAway { lasts } => self.faults.proxy_away_until = until(lasts),
            Fault::LoseAnswers { calls } => self.spoil_answers(calls, AnswerFault::Lose),
            Fault::DelayAnswers { calls, by } => self.spoil_answers(calls, AnswerFault::Delay(by)),
            Fault::RefuseCalls { calls } => self.spoil_answers(calls, AnswerFault::Refuse),
            Fault::StaleMetrics { lasts } => self.faults.stale_metrics_until = until(lasts),
            Fault::PartialPolls { lasts, percent } => self.faults.partial = (until(lasts), percent),
            Fault::Release { collection, back_after } => {
                if let Some(id) = self.collection_named(&collection) {
                    self.release_collection(id);
                    self.after(back_after, Event::Fault(Fault::Load { collection }));
                }
            }
            Fault::Load { collection } => {
                if let Some(id) = self.collection_named(&collection) {
                    self.load_collection(id);
                }
            }
            Fault::HotSpell { collection, factor, lasts } => {
                let (from, until) = (self.now, until(lasts));
                if let Some(id) = self.collection_named(&collection) {
                    self.heat(id, from, until, factor.max(0.0));
                }
            }
            Fault::HideCollections { lasts, every } => self.faults.hidden = (until(lasts), every.max(1)),
        }
    }

    fn collection_named(&self, name: &str) -> Option<crate::units::CollectionId> {
        self.collections.values().find(|collection| collection.name == name).map(|collection| collection.id)
    }

    fn change_node(&mut self, hostname: &str, change: impl FnOnce(&mut super::cluster::SimNode)) {
        if let Some(node) = self.node_named(hostname).and_then(|id| self.nodes.get_mut(&id)) {
            change(node);
        }
    }

    fn spoil_answers(&mut self, calls: usize, fault: AnswerFault) {
        self.faults.answers.extend(std::iter::repeat_n(fault, calls));
    }

    /// What a restarting coordinator says.
    pub(super) fn coordinator_refuses(&self) -> Option<Refusal> {
        let (began, until) = self.faults.coordinator?;
        if self.now >= until {
            None
        } else if self.now < began + NOT_READY {
            Some(Refusal::new(1, "service not ready[querycoord=1]: Initializing"))
        } else {
            Some(Refusal::new(503, "channel not available"))
        }
    }

    pub(super) fn proxy_is_away(&self) -> bool {
        self.now < self.faults.proxy_away_until
    }

    /// Whether this read fails, of those that fail by chance.
    pub(super) fn read_fails(&mut self) -> bool {
        let (until, percent) = self.faults.partial;
        self.now < until && self.answer_chance.chance(f64::from(percent) / 100.0)
    }

    /// Whether a collection is hidden from a role that sees too little.
    pub(super) fn is_hidden(&self, collection: crate::units::CollectionId) -> bool {
        let (until, every) = self.faults.hidden;
        // Ids of collections lie at regular distances: scattered, or all or none would be hidden.
        let scattered = collection.0.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.now < until && scattered.is_multiple_of(every)
    }
}

/// Faults by seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultSettings {
    /// How many there are.
    pub count: usize,
    /// When the last one begins.
    pub until: SimTime,
    /// Whether nodes die or stop for good.
    pub loses_nodes: bool,
}

/// A schedule of faults, in the order of their times. What is down comes back, unless nodes may be lost.
pub fn random_faults(seed: u64, hostnames: &[String], settings: FaultSettings) -> Vec<(SimTime, Fault)> {
    let mut chance = Stream::new(seed, Purpose::Faults);
    let mut schedule = Vec::new();
    for _ in 0..settings.count {
        let at = settings.until.mul_f64(chance.between(0.0, 1.0));
        let Some(hostname) = chance.pick(hostnames).cloned() else { break };
        let lasts = Duration::from_secs(5 + chance.below(60));
        let calls = 1 + usize::try_from(chance.below(3)).unwrap_or(0);
        let back_after = Some(Duration::from_secs(20 + chance.below(120)));
        let back_after = if settings.loses_nodes && chance.chance(0.2) { None } else { back_after };
        let fault = match chance.below(13) {
            0 => Fault::Crash { hostname, back_after },
            1 => Fault::Stop { hostname, back_after },
            2 if settings.loses_nodes => Fault::Suspend { hostname },
            2 | 3 => {
                let recovers = Fault::Slow { hostname: hostname.clone(), factor: 1.0 };
                schedule.push((at + lasts, recovers));
                Fault::Slow { hostname, factor: chance.between(2.0, 8.0) }
            }
            4 => Fault::RefuseLoads { hostname, lasts },
            5 => Fault::Erroring { hostname, lasts },
            6 => Fault::CoordinatorRestart { lasts },
            7 => Fault::ProxyAway { lasts },
            8 => Fault::LoseAnswers { calls },
            9 => Fault::DelayAnswers { calls, by: lasts },
            10 => Fault::RefuseCalls { calls },
            11 => Fault::StaleMetrics { lasts },
            _ if chance.chance(0.5) => Fault::PartialPolls { lasts, percent: 30 },
            _ => Fault::HideCollections { lasts, every: 1 + chance.below(3) },
        };
        schedule.push((at, fault));
    }
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}
