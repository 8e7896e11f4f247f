//! The listener as its clients see it, on a real socket.

use prometheus::Registry;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    url: String,
    address: SocketAddr,
    health: Arc<Health>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), HttpError>>,
}

async fn running() -> Running {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address();
    let metrics = Arc::new(Metrics::register(&Registry::new()).unwrap());
    let health = Arc::new(Health::new());
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener.serve(metrics, Arc::clone(&health), stop.clone()));
    Running { url: format!("http://{address}"), address, health, stop, task }
}

fn client() -> reqwest::Client {
    // Another test of this process may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn answer_of(url: String) -> (u16, String) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let running = running().await;
    let response = client().get(format!("{}/metrics", running.url)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    assert!(response.text().await.unwrap().contains("milvus_rebalancer_build_info{"));
}

#[tokio::test]
async fn health_and_readiness_are_a_status_and_a_sentence() {
    let running = running().await;
    let (status, sentence) = answer_of(format!("{}/healthz", running.url)).await;
    assert_eq!((status, sentence.as_str()), (200, "the control loop is alive\n"));
    let (status, sentence) = answer_of(format!("{}/readyz", running.url)).await;
    assert_eq!((status, sentence.as_str()), (503, "no turn has ended yet\n"));
    running.health.turn_succeeded();
    assert_eq!(answer_of(format!("{}/readyz", running.url)).await.0, 200);
}

#[tokio::test]
async fn unknown_paths_and_other_methods_are_told_what_there_is() {
    let running = running().await;
    let (status, sentence) = answer_of(format!("{}/", running.url)).await;
    assert_eq!(status, 404);
    assert!(sentence.contains("/metrics") && sentence.contains("/readyz"), "{sentence}");
    let posted = client().post(format!("{}/metrics", running.url)).body("x").send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let running = running().await;
    let error = Listener::bind(&running.address.to_string()).await.unwrap_err();
    let text = Chain(&error).to_string();
    assert!(text.contains(&format!("cannot listen on {}", running.address)), "{text}");
    assert!(text.contains("http.listen") && text.contains("in use"), "{text}");
    let error = Listener::bind("localhost").await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:9095"), "{error}");
}

#[tokio::test]
async fn it_stops_when_told_and_frees_the_port() {
    let running = running().await;
    assert_eq!(answer_of(format!("{}/healthz", running.url)).await.0, 200);
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
    Listener::bind(&running.address.to_string()).await.unwrap();
}

#[tokio::test]
async fn nonsense_from_one_client_does_not_disturb_the_others() {
    let running = running().await;
    let mut rude = TcpStream::connect(running.address).await.unwrap();
    rude.write_all(b"\x00\xff\x16\x03 nonsense\r\n\r\n").await.unwrap();
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    silent.write_all(b"GET /metr").await.unwrap();
    assert_eq!(answer_of(format!("{}/healthz", running.url)).await.0, 200);
}

#[tokio::test]
async fn a_client_that_never_finishes_does_not_keep_the_process() {
    let running = running().await;
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // The second answer proves that the first connection was accepted.
    assert_eq!(answer_of(format!("{}/healthz", running.url)).await.0, 200);
    tokio::time::pause();
    running.stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(60), running.task).await;
    stopped.expect("it stops within its limit").unwrap().unwrap();
}
