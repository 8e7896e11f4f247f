//! docs/api.md names every path of the API and none that there is not, and its examples are requests that are answered.

use std::collections::BTreeSet;

use reqwest::Method;

use super::{Site, read};

const TEXT: &str = include_str!("../../../docs/api.md");

/// "GET /v1/status", as the description has it.
fn described() -> BTreeSet<String> {
    let json = serde_json::to_value(milvus_rebalancer::admin::documentation()).unwrap();
    let mut all = BTreeSet::from(["GET /v1/openapi.json".to_owned()]);
    for (path, methods) in json["paths"].as_object().unwrap() {
        all.extend(
            methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    all
}

#[test]
fn every_path_has_a_row_and_every_row_a_path() {
    let rows = TEXT.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let rows: BTreeSet<String> =
        rows.map(|(first, _)| first.to_owned()).filter(|first| first.contains(" /v1/")).collect();
    assert_eq!(rows, described());
}

/// Address, method and body of an example.
fn request(line: &str) -> (Method, String, Option<String>) {
    let words: Vec<&str> = line.split(' ').collect();
    let method = if words.contains(&"POST") { Method::POST } else { Method::GET };
    let address = words.last().unwrap().trim_matches('\'').to_owned();
    let body = line.split_once("-d '").map(|(_, rest)| rest.split_once("' ").unwrap().0.to_owned());
    (method, address, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_are_answered() {
    let site = Site::start().await;
    let examples: Vec<&str> = TEXT.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(examples.len() > 4);
    for example in examples {
        let (method, address, body) = request(example);
        let path = address.strip_prefix("http://127.0.0.1:9096").unwrap();
        if path.ends_with("/events") {
            continue;
        }
        let request = site.request(method, path);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        let answer = read(request).await;
        assert_eq!(answer.status, 200, "{example}: {}", answer.text);
    }
}
