//! Two daemons on one cluster: the one that follows tells people which one leads.

use std::time::Duration;

use milvus_rebalancer::config::Config;
use milvus_rebalancer::control_loop::LoopState;
use milvus_rebalancer::lease::LeaseEngine;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use serde_json::json;

use super::{Site, acting, configuration, uneven};
use crate::lease::etcd_server::EtcdServer;
use crate::system;

/// As short as etcd lets a lease be without losing it on a busy machine.
const LIFE: Duration = Duration::from_secs(4);

/// A daemon of this name, which competes with others for the same cluster.
async fn instance(name: &str, world: &SharedWorld, etcd: &EtcdServer) -> Site {
    let server = SimServer::start(world.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config: Config = configuration(&folder, &server);
    acting(&mut config);
    // Nothing moves, so that the plan is there for as long as anybody asks.
    config.gate.approval = milvus_rebalancer::gate::ApprovalRule::Required;
    config.lease.engine = LeaseEngine::Etcd;
    config.lease.instance = name.to_owned();
    config.lease.etcd.endpoints = vec![etcd.endpoint()];
    config.lease.etcd.time_to_live = LIFE;
    Site::run(folder, server, config).await
}

fn is_limited_by(state: &LoopState, is_it: impl Fn(&Reason) -> bool) -> bool {
    state.last.as_ref().and_then(|last| last.limited_by.as_ref()).is_some_and(is_it)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_names_the_leader_in_every_answer() {
    if !system::runs("etcd") {
        return;
    }
    let etcd = EtcdServer::start().await;
    let world = SharedWorld::with_speed(build(&uneven()), super::SPEED);
    let leader = instance("west-1", &world, &etcd).await;
    leader
        .until(|state| is_limited_by(state, |reason| matches!(reason, Reason::AwaitingApproval { .. })))
        .await;
    let follower = instance("east-1", &world, &etcd).await;
    let is_west =
        |reason: &Reason| matches!(reason, Reason::NotLeader { leader: Some(name) } if name == "west-1");
    follower.until(|state| is_limited_by(state, is_west)).await;

    let status = follower.json("/v1/status").await;
    assert_eq!(status["limited_by"]["code"], "not_leader");
    assert!(status["limited_by"]["sentence"].as_str().unwrap().contains("west-1"), "{status}");
    let page = follower.get("/").await;
    assert!(page.text.contains("west-1"), "the page names it: {}", page.text);
    let collection = follower.json("/v1/collections").await["items"][0].clone();
    let from = follower.json("/v1/nodes?state=overloaded").await["items"][0]["id"].clone();
    let order =
        json!({"collection": collection["name"], "database": collection["database"], "src_node": from});
    let refused = follower.post("/v1/load-balance", &order).await;
    assert!(refused.problem(409).contains("west-1"), "{}", refused.text);
    assert_eq!(leader.json("/v1/status").await["limited_by"]["code"], "awaiting_approval");

    // It hands over when it stops, and then the other one says so of itself.
    leader.stop().await;
    follower
        .until(|state| is_limited_by(state, |reason| matches!(reason, Reason::AwaitingApproval { .. })))
        .await;
    assert!(
        !follower.json("/v1/status").await["limited_by"]["sentence"].as_str().unwrap().contains("west-1")
    );
    follower.stop().await;
}
