//! The election on a real etcd: one leads, whatever happens to it or to etcd.

#[path = "../../etcd_server.rs"]
pub mod etcd_server;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "kubernetes")]
#[path = "../../kubernetes_server.rs"]
mod kubernetes_server;

use std::sync::Arc;
use std::time::Duration;

use etcd_server::{Certificates, EtcdServer};
use milvus_rebalancer::lease::etcd::EtcdElection;
use milvus_rebalancer::lease::{Election, EtcdSettings, Leadership, LeaseError, SharedRecord, SpentHour};
use milvus_rebalancer::milvus::TlsSettings;
use milvus_rebalancer::units::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::authority::Authority;
use crate::system;

/// A bound on hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// As short as etcd lets a lease be without losing it on a busy machine.
const LIFE: Duration = Duration::from_secs(4);

/// One of several, by whatever engine.
struct Instance {
    election: Arc<dyn Election>,
    state: watch::Receiver<Leadership>,
    running: JoinHandle<()>,
}

impl Instance {
    fn start(name: &str, etcd: &EtcdServer) -> Instance {
        let settings =
            EtcdSettings { endpoints: vec![etcd.endpoint()], time_to_live: LIFE, ..EtcdSettings::default() };
        Instance::of(Arc::new(EtcdElection::new(name.to_owned(), &settings).unwrap()))
    }

    fn of(election: Arc<dyn Election>) -> Instance {
        let state = election.leadership();
        let running = tokio::spawn({
            let election = Arc::clone(&election);
            async move { election.run().await }
        });
        Instance { election, state, running }
    }

    async fn until(&mut self, what: &str, wanted: impl FnMut(&Leadership) -> bool) {
        let waited = timeout(PATIENCE, self.state.wait_for(wanted)).await;
        assert!(waited.is_ok_and(|seen| seen.is_ok()), "never {what}");
    }

    async fn leads(&mut self) {
        self.until("leads", |state| state.leads_at(Instant::now())).await;
    }

    async fn follows(&mut self, leader: &str) {
        let leader = Leadership::Following { leader: Some(leader.to_owned()) };
        self.until("follows", |state| *state == leader).await;
    }

    async fn is_unsure(&mut self, cause: &str) {
        let of_it =
            |state: &Leadership| matches!(state, Leadership::Unknown { cause: told } if told.contains(cause));
        self.until(cause, of_it).await;
    }

    async fn write(&self, number: u64) -> Result<(), LeaseError> {
        self.election.write(&record(number)).await
    }

    async fn read(&self) -> Option<SharedRecord> {
        self.election.read().await.unwrap()
    }

    /// As a killed process: it says nothing any more.
    fn fall_silent(&self) {
        self.running.abort();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn record(moves: u64) -> SharedRecord {
    let spent = SpentHour { until: jiff::Timestamp::UNIX_EPOCH, moves, bytes: Bytes(1) };
    SharedRecord::new(Vec::new(), Vec::new(), vec![spent])
}

#[tokio::test]
async fn one_leads_and_hands_over_and_only_the_leader_writes() {
    if !system::runs("etcd") {
        return;
    }
    let etcd = EtcdServer::start().await;
    let mut first = Instance::start("first", &etcd);
    first.leads().await;
    let mut second = Instance::start("second", &etcd);
    second.follows("first").await;
    assert_eq!(first.election.read().await.unwrap(), None);
    first.election.write(&record(1)).await.unwrap();
    assert!(matches!(second.election.write(&record(9)).await, Err(LeaseError::NotLeader)));
    assert_eq!(second.election.read().await.unwrap(), Some(record(1)));

    first.fall_silent();
    first.election.resign().await;
    second.leads().await;
    assert!(matches!(first.election.write(&record(9)).await, Err(LeaseError::NotLeader)));
    second.election.write(&record(2)).await.unwrap();
    assert_eq!(first.election.read().await.unwrap(), Some(record(2)));
    second.election.write(&SharedRecord::default()).await.unwrap();
    assert_eq!(
        first.election.read().await.unwrap(),
        None,
        "nothing of ours stays where there is nothing to say"
    );
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_followed_and_cannot_write_any_more() {
    if !system::runs("etcd") {
        return;
    }
    let etcd = EtcdServer::start().await;
    let mut first = Instance::start("first", &etcd);
    first.leads().await;
    first.election.write(&record(1)).await.unwrap();
    let mut second = Instance::start("second", &etcd);
    second.follows("first").await;
    first.fall_silent();
    second.leads().await;
    // By its own clock, whether or not it has heard of the other one.
    assert!(!first.state.borrow().leads_at(Instant::now()));
    assert!(matches!(first.election.write(&record(9)).await, Err(LeaseError::NotLeader)));
    assert_eq!(second.election.read().await.unwrap(), Some(record(1)));
}

#[tokio::test]
async fn an_etcd_that_hangs_ends_the_leadership_and_one_that_comes_back_brings_one() {
    if !system::runs("etcd") {
        return;
    }
    let mut etcd = EtcdServer::start().await;
    let mut only = Instance::start("only", &etcd);
    only.leads().await;
    only.election.write(&record(1)).await.unwrap();
    etcd.signal("STOP");
    only.until("is unsure", |state| matches!(state, Leadership::Unknown { .. })).await;
    assert!(matches!(only.election.write(&record(9)).await, Err(LeaseError::NotLeader)));
    etcd.signal("CONT");
    only.leads().await;

    etcd.start_again().await;
    only.until("leads again", |state| state.leads_at(Instant::now())).await;
    assert_eq!(only.election.read().await.unwrap(), Some(record(1)));
}

#[tokio::test]
async fn without_an_etcd_nobody_leads_and_the_cause_is_told() {
    let nowhere = EtcdSettings {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        time_to_live: Duration::from_secs(3),
        ..EtcdSettings::default()
    };
    let election = Arc::new(EtcdElection::new("lonely".to_owned(), &nowhere).unwrap());
    let mut state = election.leadership();
    let running = tokio::spawn(async move { election.run().await });
    let unknown = |state: &Leadership| matches!(state, Leadership::Unknown { cause } if cause.contains("grant a lease"));
    timeout(PATIENCE, state.wait_for(unknown)).await.expect("it says so").unwrap();
    running.abort();
}

#[tokio::test]
async fn etcd_is_known_by_its_certificate_asks_for_ours_and_renewed_ones_are_used_at_once() {
    if !system::runs("etcd") {
        return;
    }
    let (authority, other) = (Authority::new(), Authority::new());
    let ((own, key), (ours, our_key)) = (authority.sign("etcd"), authority.sign("ours"));
    let trusted = authority.path("ca.pem");
    let etcd = EtcdServer::start_with_tls(Certificates { own, key, authority: trusted.clone() }).await;
    // The certificate of before, by an authority that etcd does not know any more.
    let (certificate_file, key_file) = other.sign("ours");
    let tls = TlsSettings {
        ca_file: Some(trusted),
        certificate_file: Some(certificate_file.clone()),
        key_file: Some(key_file.clone()),
        ..TlsSettings::default()
    };
    let settings =
        EtcdSettings { endpoints: vec![etcd.endpoint()], time_to_live: LIFE, tls, ..EtcdSettings::default() };
    let mut first = Instance::of(Arc::new(EtcdElection::new("first".to_owned(), &settings).unwrap()));
    first.until("is refused", |state| matches!(state, Leadership::Unknown { cause } if cause.contains("etcd") && !cause.contains("not been asked"))).await;
    std::fs::copy(ours, certificate_file).unwrap();
    std::fs::copy(our_key, key_file).unwrap();
    first.leads().await;
    first.write(1).await.unwrap();
    assert_eq!(first.read().await, Some(record(1)));
}
