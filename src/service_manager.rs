//! Tells the service manager (systemd, or whoever listens on `NOTIFY_SOCKET`) how the daemon is: ready, alive,
//! reloading, stopping. The protocol is that of `sd_notify(3)`; without a socket nothing is said.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::telemetry::{Chain, shown};

/// The service manager wants a sign of life within its watchdog time; three tries are made within it, so that one
/// late wake-up is no death.
const SIGNS_WITHIN_WATCHDOG: u32 = 3;

/// A status line is for one line of `systemctl status`; errors of servers can be pages.
const LONGEST_STATUS: usize = 400;

type Send = dyn Fn(&[NotifyState<'_>]) -> io::Result<()> + std::marker::Send + Sync;

/// Whoever started us and watches us.
pub struct ServiceManager {
    send: Box<Send>,
    watchdog: Option<Duration>,
    status: Mutex<String>,
    has_failed: AtomicBool,
}

impl fmt::Debug for ServiceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceManager").field("watchdog", &self.watchdog).finish_non_exhaustive()
    }
}

impl ServiceManager {
    /// The one that the environment of this process names, or nobody.
    pub fn of_process() -> ServiceManager {
        ServiceManager::new(sd_notify::watchdog_enabled(), sd_notify::notify)
    }

    /// Nobody watches.
    pub fn nobody() -> ServiceManager {
        ServiceManager::new(None, |_| Ok(()))
    }

    /// One that is told through `send`, and restarts us after `watchdog` without a sign of life.
    pub fn new(
        watchdog: Option<Duration>,
        send: impl Fn(&[NotifyState<'_>]) -> io::Result<()> + std::marker::Send + Sync + 'static,
    ) -> ServiceManager {
        ServiceManager {
            send: Box::new(send),
            watchdog,
            status: Mutex::new(String::new()),
            has_failed: AtomicBool::new(false),
        }
    }

    /// How often it wants a sign of life, if it watches.
    pub fn wants_signs_every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / SIGNS_WITHIN_WATCHDOG)
    }

    /// The configuration is valid, the journal open and the listener bound.
    pub fn ready(&self, status: &str) {
        let line = one_line(status);
        let mut said = self.said();
        self.tell(&[NotifyState::Ready, NotifyState::Status(&line)]);
        *said = line;
    }

    /// The control loop lives.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// A new configuration is being looked at. [`ServiceManager::ready`] must follow.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // Since systemd 253 a reload without the time is taken for a failure.
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the service manager is not told of the reload")
            }
        }
    }

    /// The daemon ends in good order.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping: running calls may finish")]);
    }

    /// One sentence for people who ask the service manager; told when it has changed.
    pub fn status(&self, sentence: &str) {
        let line = one_line(sentence);
        let mut said = self.said();
        if *said != line {
            self.tell(&[NotifyState::Status(&line)]);
            *said = line;
        }
    }

    /// The status that was told last.
    fn said(&self) -> MutexGuard<'_, String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        let Err(error) = (self.send)(state) else { return };
        // Once is enough: it is told every few seconds.
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %Chain(&error), "the service manager cannot be told how the daemon is");
        }
    }
}

/// A line break would begin another assignment of the protocol.
fn one_line(text: &str) -> String {
    shown(text).chars().take(LONGEST_STATUS).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn recorded(watchdog: Option<Duration>) -> (ServiceManager, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let ears = told.clone();
        let manager = ServiceManager::new(watchdog, move |states| {
            ears.lock().unwrap().extend(states.iter().map(ToString::to_string));
            Ok(())
        });
        (manager, told)
    }

    #[test]
    fn signs_of_life_are_given_only_to_who_wants_them() {
        let (manager, told) = recorded(None);
        manager.alive();
        assert_eq!((manager.wants_signs_every(), told.lock().unwrap().len()), (None, 0));
        let (manager, told) = recorded(Some(Duration::from_secs(60)));
        manager.alive();
        assert_eq!(manager.wants_signs_every(), Some(Duration::from_secs(20)));
        assert_eq!(*told.lock().unwrap(), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_status_is_one_short_line_and_told_once() {
        let (manager, told) = recorded(None);
        manager.status("a\nREADY=1");
        manager.status("a\nREADY=1");
        manager.status(&"é".repeat(10_000));
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], "STATUS=a\\nREADY=1");
        assert_eq!(told[1].chars().count(), LONGEST_STATUS + "STATUS=".len());
    }

    #[test]
    fn after_a_reload_the_same_status_is_told_again() {
        let (manager, told) = recorded(None);
        manager.status("8 nodes");
        manager.ready("new configuration in force");
        manager.status("8 nodes");
        assert_eq!(told.lock().unwrap().last().map(String::as_str), Some("STATUS=8 nodes"));
    }

    #[test]
    fn a_service_manager_that_went_away_harms_nobody() {
        let manager = ServiceManager::new(Some(Duration::from_secs(1)), |_| Err(io::Error::other("gone")));
        manager.ready("started");
        manager.alive();
        manager.reloading();
        manager.stopping();
    }
}
