//! The stream of events while the simulator moves things.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use super::{PATIENCE, Site, acting, uneven};

/// Events out of a stream that is read piece by piece.
pub struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    pub async fn open(request: reqwest::RequestBuilder) -> Events {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }

    /// Name and data of the next event; `None` when the stream ends.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let (Some(name), Some(data)) = (line("event:"), line("data:")) else { continue };
                return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
            }
            let piece = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("a silent stream");
            match piece.unwrap() {
                Some(piece) => self.text.push_str(std::str::from_utf8(&piece).unwrap()),
                None => return None,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_moves_and_waves_are_told_as_they_happen() {
    let site = Site::with(uneven(), |config| {
        acting(config);
        config.gate.settle_time = std::time::Duration::ZERO;
    })
    .await;
    let mut events = Events::open(site.request(Method::GET, "/v1/events")).await;
    let mut names = BTreeSet::new();
    let mut landed = None;
    let mut turn = 0;
    while landed.is_none() || !names.contains("wave") {
        let (name, data) = events.next().await.expect("the stream goes on");
        if name == "operation" && data["state"] == "landed" {
            landed = Some(data["id"].clone());
        }
        if name == "turn" {
            let now = data["turn"].as_u64().unwrap();
            assert!(now > turn, "turns do not repeat: {turn}, {data}");
            turn = now;
            assert!(!data["verdict"].as_str().unwrap().is_empty());
        }
        names.insert(name);
    }
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["operation", "turn", "wave"]);
    let operations = site.json("/v1/operations?limit=1000").await;
    let known = operations["items"].as_array().unwrap();
    assert!(known.iter().any(|known| Some(&known["id"]) == landed.as_ref()), "{operations}");
    let waves = site.json("/v1/waves").await;
    assert!(waves["items"][0]["predicted_relief"].is_number(), "{waves}");

    site.stop().await;
    while events.next().await.is_some() {}
}
