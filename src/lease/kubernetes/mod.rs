//! An election in Kubernetes: a Lease that its holder prolongs, and whoever holds it leads.
//!
//! The API server changes one object at a time, so there is no transaction over the Lease and the record. Instead whoever
//! has taken the Lease claims the record before it leads, by a change of its own; from then on every write of the leader
//! before names a version that is no longer the latest, and is refused. What that leader wrote before the claim is in the
//! record that the claim has read.
//!
//! Nobody compares clocks: a follower counts, by its own, for how long it has seen the same version of the Lease. The leader
//! counts from the sending of its last change, which was earlier.

mod objects;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell, watch};
use tokio::time::{Instant, sleep, timeout_at};

pub use self::objects::KubernetesError;
use self::objects::{Changed, Objects, Seen};
use super::announcement::Announcement;
use super::election::{Election, Leadership, LeaseError};
use super::record::SharedRecord;
use super::settings::KubernetesSettings;
use crate::clock::Clock;
use crate::observe::SeamFuture;
use crate::telemetry::Chain;

/// So many times within its life a lease is prolonged: two may fail.
const PROLONGED_PER_LIFE: u32 = 3;

/// How often a follower looks at the Lease. A change is seen that much late, and its end noticed that much late again: a
/// successor must be there within two seconds of it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Leader election by a Lease of Kubernetes.
pub struct KubernetesElection {
    settings: KubernetesSettings,
    /// The instance, and what tells this process from an earlier one of that name: a restarted pod has the same.
    identity: String,
    clock: Arc<Clock>,
    objects: OnceCell<Objects>,
    announcement: Announcement,
    /// The Lease as this instance holds it, while it does.
    held: Mutex<Option<Seen>>,
    /// The version of the record that this instance claimed or wrote last.
    record: Mutex<Option<String>>,
    last_term: AtomicI64,
}

/// For how long a follower has seen the same version of a Lease.
struct Watched {
    version: Option<String>,
    since: Instant,
}

impl Watched {
    fn since(&mut self, seen: &Seen, now: Instant) -> Instant {
        if self.version.as_deref() != seen.version() {
            *self = Watched { version: seen.version().map(str::to_owned), since: now };
        }
        self.since
    }
}

impl KubernetesElection {
    /// Under this name. Nothing is asked yet.
    pub fn new(instance: &str, settings: &KubernetesSettings, clock: Arc<Clock>) -> KubernetesElection {
        let born = clock.read().wall.as_microsecond();
        KubernetesElection {
            settings: settings.clone(),
            identity: format!("{instance}_{}-{born}", std::process::id()),
            clock,
            objects: OnceCell::new(),
            announcement: Announcement::new("the API server has not been asked yet"),
            held: Mutex::new(None),
            record: Mutex::new(None),
            last_term: AtomicI64::new(0),
        }
    }

    async fn objects(&self) -> Result<&Objects, KubernetesError> {
        self.objects.get_or_try_init(|| Objects::connect(&self.settings)).await
    }

    /// From the first look to the loss of what was won.
    async fn stand_once(&self) -> Result<(), KubernetesError> {
        let life = self.settings.time_to_live;
        let (mut lease, mut until) = self.acquire().await?;
        let transitions = i64::from(lease.transitions());
        let term = transitions.max(self.last_term.load(Ordering::Relaxed) + 1);
        self.last_term.store(term, Ordering::Relaxed);
        timely(until, self.claim()).await?;
        tracing::info!(term, "this instance leads");
        loop {
            *self.held.lock().await = Some(lease.clone());
            self.announcement.leads(term, until);
            sleep(life / PROLONGED_PER_LIFE).await;
            (lease, until) = self.prolong(lease, until).await?;
        }
    }

    /// Waits until the Lease is free, and takes it.
    async fn acquire(&self) -> Result<(Seen, Instant), KubernetesError> {
        let life = self.settings.time_to_live;
        let mut watched = Watched { version: None, since: Instant::now() };
        loop {
            let asked_at = Instant::now();
            let deadline = asked_at + life;
            let seen = timely(deadline, async { self.objects().await?.lease().await }).await?;
            let taken = match &seen {
                None => Some(timely(deadline, self.create()).await?),
                Some(seen) => self.take(seen, &mut watched).await?,
            };
            if let Some(Changed::Done(lease)) = taken {
                return Ok((lease, asked_at + life));
            }
            sleep(LOOK_EVERY.min(life / PROLONGED_PER_LIFE)).await;
        }
    }

    async fn create(&self) -> Result<Changed<Seen>, KubernetesError> {
        let now = self.clock.read().wall;
        self.objects().await?.create_lease(&self.identity, self.settings.time_to_live, now).await
    }

    /// Takes a Lease that is there, if it is free; `None` when it is not.
    async fn take(
        &self,
        seen: &Seen,
        watched: &mut Watched,
    ) -> Result<Option<Changed<Seen>>, KubernetesError> {
        let now = Instant::now();
        let life = self.settings.time_to_live;
        let since = watched.since(seen, now);
        let wall = self.clock.read().wall;
        let change = match seen.holder() {
            // The answer to an earlier try was lost.
            Some(holder) if holder == self.identity => seen.prolonged(wall),
            Some(holder) if now < since + seen.life().unwrap_or(life) => {
                self.announcement.follows(instance_of(holder));
                return Ok(None);
            }
            _ => seen.taken(&self.identity, life, wall),
        };
        let objects = self.objects().await?;
        timely(now + life, objects.replace_lease(&change)).await.map(Some)
    }

    /// Makes the record this instance's own, whatever is in it: nobody else can write it from now on.
    async fn claim(&self) -> Result<(), KubernetesError> {
        let objects = self.objects().await?;
        loop {
            let before = objects.record().await?;
            let version = before.as_ref().and_then(objects::SharedText::version);
            let text = before.as_ref().and_then(|before| before.text()).map(str::to_owned);
            if let Changed::Done(record) = objects.put_record(version, &self.identity, text).await? {
                *self.record.lock().await = record.version();
                return Ok(());
            }
        }
    }

    /// Prolongs the Lease, trying again until it has run out; since when it counts is when the request went out.
    async fn prolong(&self, lease: Seen, until: Instant) -> Result<(Seen, Instant), KubernetesError> {
        let life = self.settings.time_to_live;
        let mut lease = lease;
        loop {
            let sent_at = Instant::now();
            let deadline = until.min(sent_at + (life / PROLONGED_PER_LIFE).max(LOOK_EVERY));
            let failure = match timely(deadline, self.prolong_once(&lease)).await {
                Ok(Changed::Done(lease)) => return Ok((lease, sent_at + life)),
                // Either somebody has taken it, or the answer to an earlier try was lost.
                Ok(Changed::Raced) => match timely(deadline, self.still_held()).await {
                    Ok(latest) => {
                        lease = latest;
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if matches!(failure, KubernetesError::Taken) || Instant::now() + LOOK_EVERY >= until {
                return Err(failure);
            }
            tracing::debug!(error = %Chain(&failure), "the lease was not prolonged; trying again");
            sleep(LOOK_EVERY).await;
        }
    }

    async fn prolong_once(&self, lease: &Seen) -> Result<Changed<Seen>, KubernetesError> {
        let now = self.clock.read().wall;
        self.objects().await?.replace_lease(&lease.prolonged(now)).await
    }

    async fn still_held(&self) -> Result<Seen, KubernetesError> {
        let seen = self.objects().await?.lease().await?;
        seen.filter(|seen| seen.holder() == Some(&self.identity)).ok_or(KubernetesError::Taken)
    }

    /// Writes the record while nobody else has claimed it.
    async fn put(&self, text: Option<String>) -> Result<(), KubernetesError> {
        let objects = self.objects().await?;
        let mut version = self.record.lock().await;
        loop {
            match objects.put_record(version.clone(), &self.identity, text.clone()).await? {
                Changed::Done(record) => {
                    *version = record.version();
                    return Ok(());
                }
                Changed::Raced => match objects.record().await? {
                    // Somebody deleted it; whoever leads makes it anew.
                    None => *version = None,
                    Some(record) if record.holder() == Some(&self.identity) => *version = record.version(),
                    Some(_) => return Err(KubernetesError::Taken),
                },
            }
        }
    }

    fn leads_until(&self) -> Option<Instant> {
        match *self.announcement.state().borrow() {
            Leadership::Leading { until, .. } if Instant::now() < until => Some(until),
            _ => None,
        }
    }
}

impl Election for KubernetesElection {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.announcement.state()
    }

    fn write<'a>(&'a self, record: &'a SharedRecord) -> SeamFuture<'a, Result<(), LeaseError>> {
        Box::pin(async move {
            let Some(until) = self.leads_until() else { return Err(LeaseError::NotLeader) };
            let text = if record.is_empty() { None } else { Some(record.encode_text()?) };
            match timely(until, self.put(text)).await {
                Ok(()) if Instant::now() < until => Ok(()),
                Ok(()) | Err(KubernetesError::Taken) => Err(LeaseError::NotLeader),
                Err(error) => Err(unanswered("write the shared record", error)),
            }
        })
    }

    fn read(&self) -> SeamFuture<'_, Result<Option<SharedRecord>, LeaseError>> {
        Box::pin(async move {
            let deadline = Instant::now() + self.settings.time_to_live;
            let record = timely(deadline, async { self.objects().await?.record().await }).await;
            let record = record.map_err(|error| unanswered("read the shared record", error))?;
            let text = record.as_ref().and_then(|record| record.text());
            Ok(text.map(|text| SharedRecord::decode(text.as_bytes())).transpose()?)
        })
    }

    fn run(&self) -> SeamFuture<'_, ()> {
        Box::pin(async move {
            loop {
                if let Err(error) = self.stand_once().await {
                    self.announcement.is_unknown(Chain(&error).to_string());
                }
                *self.held.lock().await = None;
                sleep(LOOK_EVERY).await;
            }
        })
    }

    fn resign(&self) -> SeamFuture<'_, ()> {
        Box::pin(async move {
            self.announcement.steps_down();
            let Some(lease) = self.held.lock().await.take() else { return };
            let now = self.clock.read().wall;
            let given_back =
                async { self.objects().await?.replace_lease(&lease.given_back(now)).await.map(|_| ()) };
            if let Err(error) = timely(Instant::now() + LOOK_EVERY, given_back).await {
                let life = self.settings.time_to_live;
                tracing::warn!(error = %Chain(&error), ?life, "the lease is not handed over: it runs out");
            }
        })
    }
}

/// The instance's name in what it calls itself in the Lease.
fn instance_of(holder: &str) -> &str {
    holder.rsplit_once('_').map_or(holder, |(instance, _)| instance)
}

fn unanswered(operation: &'static str, error: KubernetesError) -> LeaseError {
    LeaseError::Engine { operation, source: Box::new(error) }
}

/// Gives up at a deadline.
async fn timely<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, KubernetesError>>,
) -> Result<T, KubernetesError> {
    timeout_at(deadline, answer).await.unwrap_or(Err(KubernetesError::Late))
}
