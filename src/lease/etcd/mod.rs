//! An election in etcd: a key that lives as long as its lease, and whoever made it leads.
//!
//! Everything that only a leader may write is written in one transaction with the condition that the leader's key is still
//! the one that this instance made (its creation revision). Revisions never repeat, so a key that somebody else made in
//! between is never mistaken for ours.

mod client;
mod wire;

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::announcement::Announcement;
use super::election::{Election, Leadership, LeaseError};
use super::record::SharedRecord;
use super::settings::EtcdSettings;
use crate::observe::SeamFuture;
use crate::telemetry::Chain;
pub use client::{EtcdClient, EtcdError};

/// So many times within its time to live a lease is prolonged: two may fail.
const PROLONGED_PER_LIFE: u32 = 3;

/// How long it waits after a failure before it tries again. That a lease has run out, etcd itself notices within half a
/// second, and a successor must be there within two.
const TRY_EVERY: Duration = Duration::from_millis(300);

/// Names of our keys after the prefix.
const LEADER: &str = "leader";
const RECORD: &str = "record";

/// Leader election in an etcd.
pub struct EtcdElection {
    client: EtcdClient,
    instance: String,
    prefix: String,
    time_to_live: Duration,
    announcement: Announcement,
    /// The lease that this instance holds, if it holds one.
    lease: Mutex<Option<i64>>,
    /// The revision of the record's last change that is known here. Locked while it is written: one after the other.
    record: Mutex<i64>,
}

/// What came of an attempt to become leader.
#[derive(Clone, Copy, Debug)]
enum Campaign {
    /// The key is this instance's own.
    Won {
        /// The revision that made it.
        term: i64,
    },
    /// It is somebody else's.
    Lost {
        /// The revision of the store that showed it.
        seen: i64,
    },
}

impl EtcdElection {
    /// Under this name. Nothing is asked yet; only the settings can fail.
    pub fn new(instance: String, settings: &EtcdSettings) -> Result<EtcdElection, EtcdError> {
        Ok(EtcdElection {
            client: EtcdClient::new(settings)?,
            instance,
            prefix: settings.prefix.clone(),
            time_to_live: settings.time_to_live,
            announcement: Announcement::new("etcd has not been asked yet"),
            lease: Mutex::new(None),
            record: Mutex::new(0),
        })
    }

    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    /// From the first request to the loss of what it got.
    async fn stand_once(&self) -> Result<(), EtcdError> {
        let asked_at = Instant::now();
        let deadline = asked_at + self.time_to_live;
        let (lease, granted) = timely(deadline, self.client.grant(self.time_to_live)).await?;
        *self.lease.lock().await = Some(lease);
        let time_to_live = granted.min(self.time_to_live);
        let mut until = asked_at + time_to_live;
        let pause = time_to_live / PROLONGED_PER_LIFE;
        let mut stood = Campaign::Lost { seen: 0 };
        loop {
            if let Campaign::Lost { .. } = stood {
                stood = self.campaign(lease, until).await?;
            }
            match stood {
                Campaign::Won { term } => {
                    self.announcement.leads(term, until);
                    sleep(pause).await;
                }
                Campaign::Lost { seen } => self.vacancy(seen, pause).await,
            }
            until = self.prolong(lease, until, time_to_live).await?;
        }
    }

    /// Waits until the leader's key is gone, or for so long. A watch costs etcd nothing; every attempt to make the key is
    /// written to the disks of all its members.
    async fn vacancy(&self, seen: i64, longest: Duration) {
        match timeout(longest, self.client.deletion(self.key(LEADER), seen)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %Chain(&error), "the leader's key cannot be watched; trying again");
                sleep(TRY_EVERY.min(longest)).await;
            }
        }
    }

    /// Tries to make the leader's key.
    async fn campaign(&self, lease: i64, until: Instant) -> Result<Campaign, EtcdError> {
        let (key, name) = (self.key(LEADER), self.instance.as_bytes().to_vec());
        let outcome = timely(until, self.client.create(key, name, lease)).await?;
        match outcome {
            client::Created::Ours { revision } => {
                tracing::info!(term = revision, "this instance leads");
                Ok(Campaign::Won { term: revision })
            }
            client::Created::Theirs { value, lease: other, revision, .. } if other == lease => {
                // The answer to an earlier try was lost.
                tracing::info!(term = revision, leader = %String::from_utf8_lossy(&value), "this instance leads");
                Ok(Campaign::Won { term: revision })
            }
            client::Created::Theirs { value, seen, .. } => {
                self.announcement.follows(&String::from_utf8_lossy(&value));
                Ok(Campaign::Lost { seen })
            }
        }
    }

    /// Prolongs the lease, trying again until it has run out; since when it counts is when the request went out.
    async fn prolong(&self, lease: i64, until: Instant, life: Duration) -> Result<Instant, EtcdError> {
        loop {
            let sent_at = Instant::now();
            let wait = (life / PROLONGED_PER_LIFE).max(TRY_EVERY);
            let failure = match timely(until.min(sent_at + wait), self.client.keep_alive(lease)).await {
                Ok(Some(left)) => return Ok(sent_at + left.min(life)),
                Ok(None) => return Err(EtcdError::LeaseLost),
                Err(error) => error,
            };
            if Instant::now() + TRY_EVERY >= until {
                return Err(failure);
            }
            tracing::debug!(error = %Chain(&failure), "the lease was not prolonged; trying again");
            sleep(TRY_EVERY).await;
        }
    }

    /// Writes the record while this term lasts. Whether it does.
    async fn put(&self, term: i64, value: Option<Vec<u8>>) -> Result<bool, EtcdError> {
        let mut seen = self.record.lock().await;
        loop {
            let leader = (self.key(LEADER), term);
            match self.client.put_while(leader, (self.key(RECORD), *seen), value.clone()).await? {
                client::Put::Done { changed_at } => {
                    *seen = changed_at;
                    return Ok(true);
                }
                // By the leader before, or by a request of ours that was given up.
                client::Put::Raced { changed_at } => *seen = changed_at,
                client::Put::Lost => return Ok(false),
            }
        }
    }

    fn term(&self) -> Option<(i64, Instant)> {
        match *self.announcement.state().borrow() {
            Leadership::Leading { term, until } if Instant::now() < until => Some((term, until)),
            _ => None,
        }
    }
}

impl Election for EtcdElection {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.announcement.state()
    }

    fn write<'a>(&'a self, record: &'a SharedRecord) -> SeamFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let Some((term, until)) = self.term() else { return Err(LeaseError::NotLeader) };
            let value = if record.is_empty() { None } else { Some(record.encode()?) };
            match timely(until, self.put(term, value)).await {
                Ok(true) if Instant::now() < until => Ok(()),
                Ok(_) => Err(LeaseError::NotLeader),
                Err(error) => Err(failed("write the shared record", error)),
            }
        })
    }

    fn read(&self) -> SeamFuture<'_, Result<Option<SharedRecord>, LeaseError>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.time_to_live;
            let value = timely(deadline, self.client.get(self.key(RECORD))).await;
            let value = value.map_err(|error| failed("read the shared record", error))?;
            Ok(value.map(|text| SharedRecord::decode(&text)).transpose()?)
        })
    }

    fn run(&self) -> SeamFuture<'_, ()> {
        Box::pin(async move {
            loop {
                if let Err(error) = self.stand_once().await {
                    self.announcement.is_unknown(Chain(&error).to_string());
                }
                sleep(TRY_EVERY).await;
            }
        })
    }

    fn resign(&self) -> SeamFuture<'_, ()> {
        Box::pin(async move {
            self.announcement.steps_down();
            let Some(lease) = self.lease.lock().await.take() else { return };
            let deadline = Instant::now() + TRY_EVERY;
            if let Err(error) = timely(deadline, self.client.revoke(lease)).await {
                let life = self.time_to_live;
                tracing::warn!(error = %Chain(&error), ?life, "the lease is not handed over: it runs out");
            }
        })
    }
}

fn failed(operation: &'static str, error: EtcdError) -> LeaseError {
    LeaseError::Engine { operation, source: Box::new(error) }
}

/// Gives up at a deadline.
async fn timely<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, EtcdError>>,
) -> Result<T, EtcdError> {
    timeout_at(deadline, answer).await.unwrap_or(Err(EtcdError::Late))
}
