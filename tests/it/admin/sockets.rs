//! Where the API listens: a Unix socket for its owner, this machine, and elsewhere only when somebody insists.

use std::os::unix::fs::PermissionsExt;

use milvus_rebalancer::admin::{AdminError, AdminListener, AdminSettings};
use milvus_rebalancer::app::Daemon;
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use reqwest::Client;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{configuration, uneven};

fn at(listen: &str) -> AdminSettings {
    AdminSettings { listen: listen.to_owned(), ..AdminSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_its_owners_and_says_who_asks() {
    let server = SimServer::start(SharedWorld::with_speed(build(&uneven()), super::SPEED)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let mut config = configuration(&folder, &server);
    config.admin = at(&format!("unix:{}", path.display()));
    let stop = CancellationToken::new();
    let daemon = Daemon::assemble(config, Clock::system().into(), stop.clone()).await.unwrap();
    let running = tokio::spawn(daemon.run());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder().unix_socket(path.clone()).build().unwrap();
    let answer = client.post("http://localhost/v1/pause").json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let audit: Value = client.get("http://localhost/v1/audit").send().await.unwrap().json().await.unwrap();
    let origin = audit["items"][0]["origin"].as_str().unwrap();
    assert!(origin.starts_with("user ") && origin.contains(&std::process::id().to_string()), "{origin}");

    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(!path.exists(), "it goes with the daemon");
}

#[tokio::test]
async fn a_socket_that_a_killed_daemon_left_is_taken_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let settings = at(&format!("unix:{}", path.display()));
    let first = AdminListener::bind(&settings).await.unwrap();
    let error = AdminListener::bind(&settings).await.unwrap_err();
    assert!(error.to_string().contains("admin.listen"), "{error}");
    drop(first);
    let file = folder.path().join("a-file");
    std::fs::write(&file, "precious").unwrap();
    AdminListener::bind(&at(&format!("unix:{}", file.display()))).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn other_machines_reach_it_only_with_a_flag_and_a_token() {
    let open = at("0.0.0.0:0");
    assert!(matches!(AdminListener::bind(&open).await, Err(AdminError::Remote { .. })));
    let flag = AdminSettings { allow_remote: true, ..open.clone() };
    assert!(matches!(AdminListener::bind(&flag).await, Err(AdminError::Remote { .. })));
    let token = tempfile::NamedTempFile::new().unwrap();
    let both = AdminSettings { operate_token_file: Some(token.path().to_owned()), ..flag };
    AdminListener::bind(&both).await.unwrap();
    assert!(matches!(AdminListener::bind(&at("nowhere")).await, Err(AdminError::Place { .. })));
}
