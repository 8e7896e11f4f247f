//! Requests that mean no good: none of them is answered with more than a problem, and the next one is answered well.

use std::io::Write;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, Site, read, uneven};

fn address(site: &Site) -> String {
    site.base.trim_start_matches("http://").to_owned()
}

/// Sends these bytes and reads what comes until the connection ends.
async fn raw(site: &Site, request: &str) -> String {
    let mut stream = TcpStream::connect(address(site)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no end").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_too_large_wrong_or_of_another_kind_are_refused() {
    let site = Site::start().await;
    let post = |kind: &'static str, body: String| {
        read(site.request(Method::POST, "/v1/pause").header("content-type", kind).body(body))
    };
    let huge = format!("{{\"reason\": \"{}\"}}", "x".repeat(1 << 20));
    post("application/json", huge).await.problem(413);
    post("text/plain", "{}".to_owned()).await.problem(415);
    post("application/x-www-form-urlencoded", "reason=x".to_owned()).await.problem(415);
    post("application/json", "{\"reason\": ".to_owned()).await.problem(400);
    post("application/json", "\u{feff}{}".to_owned()).await.problem(400);
    post("application/json", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).await.problem(400);
    let detail = post("application/json", "{\"reason\": 7}".to_owned()).await.problem(400);
    assert!(detail.starts_with("reason: "), "the field is named: {detail}");
    assert_eq!(site.json("/v1/controls").await["pause"], json!(null));
    assert_eq!(site.json("/v1/audit").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_names_and_other_sites_are_refused() {
    let site = Site::start().await;
    let with = |name: &'static str, value: &str| {
        let request = site.request(Method::POST, "/v1/pause").header(name, value);
        read(request.json(&json!({})))
    };
    assert!(with("host", "evil.example").await.problem(421).contains("evil.example"));
    with("origin", "http://evil.example").await.problem(403);
    with("origin", "null").await.problem(403);
    with("sec-fetch-site", "cross-site").await.problem(403);
    assert_eq!(site.json("/v1/controls").await["pause"], json!(null));
    let own = site.base.clone();
    assert_eq!(with("origin", &own).await.status, 200, "the own page may");
    let answer = raw(
        &site,
        "GET http://evil.example/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.await.starts_with("HTTP/1.1 421"));
    let answer = raw(&site, "GET /v1/status HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 400"), "no Host: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_lets_nobody_in_and_shows_no_token() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all(b"right-token").unwrap();
    let mut view = tempfile::NamedTempFile::new().unwrap();
    view.write_all(b"view-token").unwrap();
    let site = Site::with(uneven(), |config| {
        config.admin.operate_token_file = Some(token.path().to_owned());
        config.admin.view_token_file = Some(view.path().to_owned());
    })
    .await;
    let answer = site.get("/v1/status").await;
    answer.problem(401);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let with = |method, path: &str, token: &str| {
        let request = site.request(method, path).bearer_auth(token);
        read(request.json(&json!({"reason": "planted"})))
    };
    let wrong = with(Method::POST, "/v1/pause", "wrong-token").await;
    wrong.problem(401);
    assert!(!wrong.text.contains("token-"), "{}", wrong.text);
    assert!(with(Method::POST, "/v1/pause", "view-token").await.problem(403).contains("may look"));
    assert_eq!(with(Method::GET, "/v1/status", "view-token").await.status, 200);
    assert_eq!(with(Method::POST, "/v1/pause", "right-token").await.status, 200);
    let shown = with(Method::GET, "/v1/configuration", "right-token").await.text;
    assert!(!shown.contains("right-token") && !shown.contains("view-token"), "{shown}");
    let audit = with(Method::GET, "/v1/audit", "right-token").await.json();
    assert_eq!(audit["items"][0]["who"], "somebody (operate token)");
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_and_slow_clients_disturb_nobody() {
    let site = Site::start().await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    for nonsense in ["\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", &long] {
        let answer = raw(&site, nonsense).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(address(&site)).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: local").await.unwrap();
        slow.push(stream);
    }
    assert!(site.json("/v1/status").await["verdict"].is_string());
    // Who does not end the head of the request in time is let go of.
    let mut answer = Vec::new();
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, slow[0].read_to_end(&mut answer)).await.expect("kept for ever").ok();
    assert!(site.json("/v1/status").await["verdict"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_runs_wild_is_slowed_down_and_others_still_read() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all(b"right-token").unwrap();
    let site =
        Site::with(uneven(), |config| config.admin.operate_token_file = Some(token.path().to_owned())).await;
    let order = |token: &str| {
        let request = site.request(Method::POST, "/v1/plan/approve").bearer_auth(token);
        read(request.json(&json!({"digest": "none"})))
    };
    // Who may order nothing takes nothing away from those who may.
    for _ in 0..100 {
        order("wrong-token").await.problem(403);
    }
    let mut refused = 0;
    for _ in 0..200 {
        let answer = order("right-token").await;
        match answer.status.as_u16() {
            429 => {
                assert!(answer.problem(429).contains("the next one is taken in"));
                refused += 1;
            }
            _ => drop(answer.problem(400)),
        }
    }
    assert!(refused > 0, "200 orders are taken as fast as they come");
    assert!(site.json("/v1/status").await["verdict"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_without_a_pause_is_slowed_down_too() {
    let site = Site::start().await;
    // Fifty at a time, and several times what is answered at once: no machine is too slow for that.
    for _ in 0..400 {
        let answers = futures::future::join_all((0..50).map(|_| site.get("/v1/nothing"))).await;
        if let Some(refused) = answers.iter().find(|answer| answer.status == 429) {
            assert!(refused.problem(429).contains("the next one is taken in"));
            return;
        }
        answers.iter().for_each(|answer| drop(answer.problem(404)));
    }
    panic!("20,000 answers are given as fast as they are asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_orders_are_texts_and_nothing_else() {
    let site = Site::start().await;
    let hostile = "<script>alert(1)</script>'; DROP TABLE pauses; --\u{1b}[2J";
    let ordered = site.order("/v1/pause", &json!({"reason": hostile})).await;
    assert_eq!(ordered["pause"]["reason"], hostile, "JSON keeps it as it is");
    assert!(!ordered["lines"][0].as_str().unwrap().contains('\u{1b}'));
    let answer = site.get("/v1/nodes/%3Cscript%3E").await;
    answer.problem(400);
    assert!(site.get("/v1/nodes/..%2f..%2fetc%2fpasswd").await.problem(400).contains("no id"));
}
