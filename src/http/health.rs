//! Whether the control loop lives, and whether what it says is fresh. The loop reports, the listener asks.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::duration::display;
use crate::service_manager::ServiceManager;

/// A turn may be late by this many of its own intervals before anybody worries.
const LATE_INTERVALS: u32 = 3;

/// With short intervals, one slow answer of Milvus is no death.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

/// How often the loop shows that it is alive while it waits for something long; more often where the service manager
/// is less patient.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Shared between the control loop and the listener. What the loop reports, the service manager is told, too.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
    service_manager: ServiceManager,
}

#[derive(Debug)]
struct State {
    /// When the loop was last seen alive.
    beat: Instant,
    /// When it promised to be seen again, counted from then.
    next_within: Duration,
    /// When the last successful turn ended.
    succeeded: Option<Instant>,
    /// Why the last turn failed, if it did.
    failure: Option<String>,
    /// Whether the process is ending.
    stopping: bool,
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}

impl Health {
    /// Of a loop that starts now.
    pub fn new() -> Health {
        Health::watched_by(ServiceManager::nobody())
    }

    /// Of a loop that starts now and is watched by a service manager.
    pub fn watched_by(service_manager: ServiceManager) -> Health {
        let state = State {
            beat: Instant::now(),
            next_within: Duration::ZERO,
            succeeded: None,
            failure: None,
            stopping: false,
        };
        Health { state: Mutex::new(state), service_manager }
    }

    /// How often the loop must be seen alive, whatever it waits for.
    pub fn heartbeat(&self) -> Duration {
        let wanted = self.service_manager.wants_signs_every().unwrap_or(HEARTBEAT);
        // An interval of nothing is no interval.
        wanted.clamp(Duration::from_millis(1), HEARTBEAT)
    }

    /// Waits for something long and shows meanwhile that the loop is alive.
    pub async fn alive_while<T>(&self, next_within: Duration, long: impl Future<Output = T>) -> T {
        let mut heartbeat = tokio::time::interval(self.heartbeat());
        tokio::pin!(long);
        loop {
            tokio::select! {
                biased;
                done = &mut long => return done,
                _ = heartbeat.tick() => self.beat(next_within),
            }
        }
    }

    /// Configuration, journal and listener are there; Milvus may still be down.
    pub fn started(&self, status: &str) {
        self.service_manager.ready(status);
    }

    /// A new configuration is being looked at; [`Health::started`] must follow.
    pub fn reloading(&self) {
        self.service_manager.reloading();
    }

    /// One sentence on how things stand, for people who ask the service manager.
    pub fn tell(&self, status: &str) {
        self.service_manager.status(status);
    }

    /// The loop lives, and will say so again within this time (its pause, back-off included).
    pub fn beat(&self, next_within: Duration) {
        let mut state = self.state();
        state.beat = Instant::now();
        state.next_within = next_within;
        drop(state);
        self.service_manager.alive();
    }

    /// A turn succeeded just now.
    pub fn turn_succeeded(&self) {
        let mut state = self.state();
        state.succeeded = Some(Instant::now());
        state.failure = None;
    }

    /// A turn failed just now; one sentence says why.
    pub fn turn_failed(&self, why: impl Into<String>) {
        let why = why.into();
        self.service_manager.status(&format!("Milvus cannot be observed: {why}"));
        self.state().failure = Some(why);
    }

    /// The process is ending: alive, but no longer ready.
    pub fn stopping(&self) {
        self.state().stopping = true;
        self.service_manager.stopping();
    }

    /// Whether the loop lives, and a sentence on that.
    pub fn alive(&self) -> Result<String, String> {
        let state = self.state();
        let silent = state.beat.elapsed();
        if silent > state.patience() {
            return Err(format!(
                "the control loop has given no sign of life for {}: restart the process",
                whole_seconds(silent)
            ));
        }
        Ok("the control loop is alive".to_owned())
    }

    /// Whether the last turn succeeded and is fresh, and a sentence on that.
    pub fn ready(&self) -> Result<String, String> {
        let state = self.state();
        if state.stopping {
            return Err("the process is stopping".to_owned());
        }
        if let Some(why) = &state.failure {
            return Err(format!("the last turn failed: {why}"));
        }
        let Some(succeeded) = state.succeeded else {
            return Err("no turn has ended yet".to_owned());
        };
        let age = succeeded.elapsed();
        if age > state.patience() {
            return Err(format!("the last successful turn ended {} ago", whole_seconds(age)));
        }
        Ok(format!("the last turn succeeded {} ago", whole_seconds(age)))
    }

    /// A panic elsewhere must not take the health check along.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long silence is nothing to worry about.
    fn patience(&self) -> Duration {
        LEAST_PATIENCE.max(self.next_within.saturating_mul(LATE_INTERVALS))
    }
}

/// Fractions of a second interest nobody here.
fn whole_seconds(duration: Duration) -> String {
    display(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_silent_loop_is_dead_after_three_intervals_but_not_before_a_minute() {
        let health = Health::new();
        health.beat(Duration::from_secs(1));
        advance(Duration::from_secs(60)).await;
        assert!(health.alive().is_ok());
        advance(Duration::from_secs(1)).await;
        assert_eq!(
            health.alive(),
            Err("the control loop has given no sign of life for 1m1s: restart the process".to_owned())
        );
        health.beat(Duration::from_secs(300));
        advance(Duration::from_secs(900)).await;
        assert!(health.alive().is_ok());
        advance(Duration::from_secs(1)).await;
        assert!(health.alive().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn ready_means_that_the_last_turn_succeeded_and_is_fresh() {
        let health = Health::new();
        assert_eq!(health.ready(), Err("no turn has ended yet".to_owned()));
        health.beat(Duration::from_secs(30));
        health.turn_succeeded();
        assert!(health.ready().is_ok());
        health.turn_failed("Milvus at http://127.0.0.1:19530 refused the connection");
        assert_eq!(
            health.ready(),
            Err("the last turn failed: Milvus at http://127.0.0.1:19530 refused the connection".to_owned())
        );
        health.turn_succeeded();
        advance(Duration::from_secs(90)).await;
        assert!(health.ready().is_ok());
        advance(Duration::from_secs(1)).await;
        assert_eq!(health.ready(), Err("the last successful turn ended 1m31s ago".to_owned()));
        health.turn_succeeded();
        health.beat(Duration::from_secs(30));
        health.stopping();
        assert_eq!(health.ready(), Err("the process is stopping".to_owned()));
        assert!(health.alive().is_ok());
    }
}
