//! The election by a Lease of Kubernetes, on an API server of our own: one leads, whatever happens to it, to the server, or
//! to the two objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::lease::kubernetes::KubernetesElection;
use milvus_rebalancer::lease::{Election, KubernetesSettings, Leadership, LeaseError, SharedRecord};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::kubernetes_server::{KubernetesServer, Mood};
use super::{Instance, record};

/// As short as settings allow.
const LIFE: Duration = Duration::from_secs(3);

const NAME: &str = "milvus-rebalancer-leader";

fn start(name: &str, server: &KubernetesServer) -> Instance {
    start_by(Clock::system(), name, server)
}

/// The same, by a calendar of its own.
fn start_by(clock: Clock, name: &str, server: &KubernetesServer) -> Instance {
    let settings = KubernetesSettings {
        time_to_live: LIFE,
        kubeconfig: Some(server.kubeconfig()),
        ..KubernetesSettings::default()
    };
    Instance::of(Arc::new(KubernetesElection::new(name, &settings, Arc::new(clock))))
}

/// A calendar that is off by so many seconds.
fn calendar(off: &Arc<AtomicI64>) -> Clock {
    let (off, system) = (Arc::clone(off), Clock::system());
    Clock::with_wall(move || system.read().wall + SignedDuration::from_secs(off.load(Ordering::Relaxed)))
}

/// Waits until the Lease has been prolonged so often.
async fn prolonged(times: u32, server: &KubernetesServer) {
    let version = || server.object("leases", NAME).unwrap()["metadata"]["resourceVersion"].clone();
    let mut known = version();
    let seen = async {
        let mut left = times;
        while left > 0 {
            sleep(Duration::from_millis(20)).await;
            let now = version();
            left -= u32::from(now != known);
            known = now;
        }
    };
    timeout(super::PATIENCE, seen).await.expect("it is prolonged");
}

/// The TLS provider that `main` chooses.
async fn server() -> KubernetesServer {
    drop(rustls::crypto::ring::default_provider().install_default());
    KubernetesServer::start().await
}

#[tokio::test]
async fn one_leads_and_hands_over_and_only_the_leader_writes() {
    let server = server().await;
    let mut first = start("first", &server);
    first.leads().await;
    let mut second = start("second", &server);
    second.follows("first").await;
    assert_eq!(first.read().await, None);
    first.write(1).await.unwrap();
    assert!(matches!(second.write(9).await, Err(LeaseError::NotLeader)));
    assert_eq!(second.read().await, Some(record(1)));

    first.fall_silent();
    first.election.resign().await;
    let handed_over = server.object("leases", NAME).unwrap();
    assert_eq!(handed_over["spec"]["holderIdentity"], json!(null), "{handed_over}");
    second.leads().await;
    assert!(matches!(first.write(9).await, Err(LeaseError::NotLeader)));
    second.write(2).await.unwrap();
    assert_eq!(first.read().await, Some(record(2)));
    second.election.write(&SharedRecord::default()).await.unwrap();
    assert_eq!(first.read().await, None, "nothing stays where there is nothing to say");
    assert_eq!(server.object("leases", NAME).unwrap()["spec"]["leaseTransitions"], json!(1));
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_followed_and_what_it_still_has_in_its_hands_is_refused() {
    let server = server().await;
    let mut first = start("first", &server);
    first.leads().await;
    first.write(1).await.unwrap();
    let mut second = start("second", &server);
    second.follows("first").await;
    first.fall_silent();
    second.leads().await;
    assert!(!first.state.borrow().leads_at(Instant::now()), "by its own clock");
    assert!(matches!(first.write(9).await, Err(LeaseError::NotLeader)));
    assert_eq!(second.read().await, Some(record(1)));

    // Even one whose clock tells it that it leads: the record is another one's by now.
    let claimed = server.object("configmaps", NAME).unwrap();
    let holder = claimed["metadata"]["annotations"]["milvus-rebalancer/holder"].as_str().unwrap();
    assert!(holder.starts_with("second_"), "{claimed}");
}

#[tokio::test]
async fn calendars_that_are_set_change_no_leader() {
    let server = server().await;
    let (off_first, off_second) = (Arc::default(), Arc::default());
    let mut first = start_by(calendar(&off_first), "first", &server);
    first.leads().await;
    let mut second = start_by(calendar(&off_second), "second", &server);
    second.follows("first").await;
    for year in [31_536_000, -31_536_000] {
        off_first.store(-year, Ordering::Relaxed);
        off_second.store(year, Ordering::Relaxed);
        // Longer than a life: by its calendar the one would be long gone, or never end.
        prolonged(5, &server).await;
        assert!(first.state.borrow().leads_at(Instant::now()), "{year}");
        assert!(matches!(&*second.state.borrow(), Leadership::Following { .. }), "{year}");
    }
    first.fall_silent();
    second.leads().await;
    assert!(!first.state.borrow().leads_at(Instant::now()));
}

#[tokio::test]
async fn a_record_that_another_one_has_claimed_is_not_written() {
    let server = server().await;
    let mut first = start("first", &server);
    first.leads().await;
    first.write(1).await.unwrap();
    // As a successor does it, while the first one still believes that it leads.
    server.change("configmaps", NAME, |object| {
        object["metadata"]["annotations"]["milvus-rebalancer/holder"] = json!("second_1-1");
    });
    assert!(matches!(first.write(2).await, Err(LeaseError::NotLeader)));
    assert_eq!(first.read().await, Some(record(1)));
}

#[tokio::test]
async fn a_server_that_hangs_ends_the_leadership_and_one_that_is_back_brings_one() {
    let server = server().await;
    let mut only = start("only", &server);
    only.leads().await;
    only.write(1).await.unwrap();
    server.set(Mood::Hangs);
    only.is_unsure("did not answer in time").await;
    assert!(matches!(only.write(9).await, Err(LeaseError::NotLeader)));
    server.set(Mood::Well);
    only.leads().await;
    assert_eq!(only.read().await, Some(record(1)));
}

#[tokio::test]
async fn what_the_server_says_is_told() {
    let server = server().await;
    for (mood, told) in [
        (Mood::Refuses(403), "read the Lease: the API server answers 403: it may not do that"),
        (Mood::Babbles, "read the Lease: the API server does not answer as it should"),
    ] {
        server.set(mood);
        let mut only = start("only", &server);
        only.is_unsure(told).await;
    }
    let settings = KubernetesSettings {
        kubeconfig: Some("/nowhere/kubeconfig".into()),
        ..KubernetesSettings::default()
    };
    let lost = KubernetesElection::new("lost", &settings, Arc::new(Clock::system()));
    let text = lost.read().await.unwrap_err();
    let chain = milvus_rebalancer::telemetry::Chain(&text).to_string();
    assert!(chain.contains("the kubeconfig file /nowhere/kubeconfig cannot be used"), "{chain}");
}

#[tokio::test]
async fn answers_that_are_lost_cost_no_leadership() {
    let server = server().await;
    server.set(Mood::LosesAnswers);
    let mut only = start("only", &server);
    only.is_unsure("500").await;
    server.set(Mood::Well);
    only.leads().await;
    assert_eq!(server.object("leases", NAME).unwrap()["spec"]["leaseTransitions"], json!(null));
    let term = |state: &watch::Receiver<Leadership>| match *state.borrow() {
        Leadership::Leading { term, .. } => term,
        ref other => panic!("{other:?}"),
    };
    let before = term(&only.state);

    server.set(Mood::LosesAnswers);
    let asked = server.requests("PUT leases");
    while server.requests("PUT leases") == asked {
        tokio::task::yield_now().await;
    }
    assert!(only.write(1).await.is_err(), "nobody knows that it was written");
    server.set(Mood::Well);
    only.write(2).await.unwrap();
    let prolonged = server.requests("PUT leases");
    while server.requests("PUT leases") < prolonged + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(term(&only.state), before, "it led all the time");
    assert_eq!(only.read().await, Some(record(2)));
}

#[tokio::test]
async fn objects_that_somebody_deletes_are_made_anew() {
    let server = server().await;
    let mut only = start("only", &server);
    only.leads().await;
    only.write(1).await.unwrap();
    server.delete("configmaps", NAME);
    only.write(2).await.unwrap();
    assert_eq!(only.read().await, Some(record(2)));
    server.delete("leases", NAME);
    only.is_unsure("another instance has taken over").await;
    only.leads().await;
    assert_eq!(only.read().await, Some(record(2)));
}
