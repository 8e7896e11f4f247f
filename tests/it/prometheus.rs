//! Signals out of a Prometheus server: a fake one that answers well, badly, too much, too late or not at all.

mod loads;
mod matching;
mod real;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use milvus_rebalancer::observe::observation::{Gap, GapSubject};
use milvus_rebalancer::observe::prometheus::{
    Prometheus, PrometheusSettings, QuerySettings, ServerReport, ServerSample, ServerSignal,
};
use milvus_rebalancer::units::Bytes;

/// The time of all answers here.
fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

/// An answer in the form of Prometheus: (labels, value) as its JSON has them.
fn vector(series: &[(&str, &str)]) -> String {
    let series: Vec<String> = series
        .iter()
        .map(|(labels, value)| format!(r#"{{"metric":{{{labels}}},"value":[1790000000.5,"{value}"]}}"#))
        .collect();
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","))
}

/// What the server was asked: the query string and the authorization.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server that always answers alike; gone with the test.
struct Fake {
    url: String,
    asked: Asked,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn start(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/behind", listener.local_addr().unwrap());
        let asked = Asked::default();
        let seen = Arc::clone(&asked);
        let handler = move |uri: Uri, headers: HeaderMap| async move {
            let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            seen.lock().unwrap().push((uri.query().unwrap_or_default().to_owned(), authorization));
            answer()
        };
        let routes = axum::Router::new().route("/behind/api/v1/query", axum::routing::get(handler));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Fake { url, asked, task }
    }

    fn settings(&self, signal: ServerSignal) -> PrometheusSettings {
        let query = QuerySettings { query: "a query".to_owned(), signal, ..QuerySettings::default() };
        PrometheusSettings {
            url: Some(self.url.clone()),
            queries: BTreeMap::from([("q".to_owned(), query)]),
            timeout: Duration::from_secs(20),
            ..PrometheusSettings::default()
        }
    }
}

async fn read(settings: &PrometheusSettings) -> (ServerReport, Vec<Gap>) {
    Prometheus::new(settings).unwrap().unwrap().read(now()).await
}

/// The samples of the one query, and the causes of its gaps.
async fn read_one(settings: &PrometheusSettings) -> (Vec<ServerSample>, Vec<String>) {
    let (report, gaps) = read(settings).await;
    let about_query = |gap: &Gap| gap.subject == GapSubject::PrometheusQuery { query: "q".to_owned() };
    assert!(gaps.iter().all(about_query), "{gaps:?}");
    let samples = report.readings.get("q").map(|reading| reading.samples.clone()).unwrap_or_default();
    (samples, gaps.into_iter().map(|gap| gap.cause).collect())
}

fn sample(node: &str, collection: Option<&str>, value: u64) -> ServerSample {
    ServerSample { node: node.to_owned(), collection: collection.map(str::to_owned), value }
}

#[tokio::test]
async fn cores_become_thousandths_and_what_is_no_amount_is_a_gap_beside_the_rest() {
    let answer = vector(&[
        (r#""instance":"a:1""#, "0.3"),
        (r#""instance":"b:1""#, "NaN"),
        (r#""instance":"c:1""#, "-1"),
        (r#""instance":"d:1""#, "+Inf"),
        (r#""instance":"e:1""#, "1e300"),
        (r#""instance":"f:1""#, "many"),
        (r#""instance":"g:1","collection_id":"5""#, "2"),
        (r#""pod":"h""#, "2"),
    ]);
    let fake = Fake::start(move || answer.clone().into_response()).await;
    let (samples, gaps) = read_one(&fake.settings(ServerSignal::CpuCapacity)).await;
    assert_eq!(samples, [sample("a:1", None, 300), sample("g:1", None, 2_000)]);
    assert_eq!(
        gaps,
        [
            "some of the answer is not used: values that are no amounts (negative, infinite, not a number), such as that of b:1",
            "some of the answer is not used: series without the label instance",
        ]
    );
    let (query, authorization) = fake.asked.lock().unwrap()[0].clone();
    assert!(query.starts_with("query=a+query&timeout=20000ms&lookback_delta=60s"), "{query}");
    assert_eq!(authorization, None);
}

#[tokio::test]
async fn search_load_is_of_a_node_and_a_collection() {
    let answer = vector(&[(r#""instance":"a:1","collection_id":"5""#, "1.5"), (r#""instance":"a:1""#, "9")]);
    let fake = Fake::start(move || answer.clone().into_response()).await;
    let (samples, gaps) = read_one(&fake.settings(ServerSignal::SearchLoad)).await;
    assert_eq!(samples, [sample("a:1", Some("5"), 1_500)]);
    assert_eq!(gaps, ["some of the answer is not used: series without the label instance and collection_id"]);
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    let body = |status: u16, body: &str| {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.to_owned());
        move || (status, body.clone()).into_response()
    };
    let warned = vector(&[(r#""instance":"a:1""#, "1")]).replacen(
        '{',
        r#"{"warnings":["PromQL warning: 2 of 3 stores did not answer"],"#,
        1,
    );
    let old = vector(&[(r#""instance":"a:1""#, "1")]).replace("1790000000.5", "1789999000");
    let ahead = vector(&[(r#""instance":"a:1""#, "1")]).replace("1790000000.5", "1790001000");
    let no_time = vector(&[(r#""instance":"a:1""#, "1")]).replace("1790000000.5", "1e300");
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    let error = r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected \n end"}"#;
    for (answer, because) in [
        (body(200, "<html>Sign in</html>"), "is not what a Prometheus writes"),
        (body(200, "{}"), "is not what a Prometheus writes"),
        (body(200, r#"{"status":"success"}"#), "is not what a Prometheus writes"),
        (body(200, &vector(&[]).replace("vector\",\"result\":[]", "vector\",\"result\":[7]")), "is not what"),
        (body(200, &vector(&[])), "has no series"),
        (body(200, matrix), "answers with a matrix"),
        (body(200, error), "the server refuses: bad_data: parse error: unexpected  end"),
        (body(400, error), "the server refuses: bad_data"),
        (body(503, "try later"), "has status 503"),
        (body(401, ""), "has status 401"),
        (body(200, &warned), "may be partial, and is not used: PromQL warning: 2 of 3 stores"),
        (body(200, &old), "further than prometheus.max_age (1m) from our clock"),
        (body(200, &ahead), "further than prometheus.max_age (1m) from our clock"),
        (body(200, &no_time), "further than prometheus.max_age"),
    ] {
        let fake = Fake::start(answer).await;
        let (samples, gaps) = read_one(&fake.settings(ServerSignal::Points)).await;
        assert_eq!(samples, [], "{because}");
        assert!(gaps.len() == 1 && gaps[0].contains(because), "{because}: {gaps:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = || (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]).into_response();
    let fake = Fake::start(elsewhere).await;
    let (_, gaps) = read_one(&fake.settings(ServerSignal::Points)).await;
    assert!(gaps[0].contains("has status 302"), "{gaps:?}");
}

#[tokio::test]
async fn a_million_series_and_an_answer_without_end_are_cut_off() {
    let fake = Fake::start(|| {
        let series = r#"{"metric":{"instance":"a:1"},"value":[1790000000.5,"1"]},"#.repeat(1_000_000);
        let whole = vector(&[(r#""instance":"b:1""#, "1")]).replacen(r#"[{"#, &format!("[{series}{{"), 1);
        whole.into_response()
    })
    .await;
    let settings = fake.settings(ServerSignal::Points);
    let (_, gaps) = read_one(&settings).await;
    assert!(gaps[0].contains("larger than prometheus.max_body (32.0 MiB)"), "{gaps:?}");
    let wide = PrometheusSettings { max_body: Bytes(1 << 30), ..settings };
    let (samples, gaps) = read_one(&wide).await;
    assert_eq!(samples, []);
    assert!(gaps[0].contains("more series than prometheus.max_series (100000)"), "{gaps:?}");

    let endless = Fake::start(|| {
        let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 20]));
        axum::body::Body::from_stream(chunks).into_response()
    })
    .await;
    let (_, gaps) = read_one(&endless.settings(ServerSignal::Points)).await;
    assert!(gaps[0].contains("larger than prometheus.max_body"), "{gaps:?}");
}

#[tokio::test]
async fn one_that_never_answers_or_is_not_there_costs_the_timeout_and_no_more() {
    // Accepts, as the kernel does, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Fake::start(|| ().into_response()).await;
    let url = Some(format!("http://{}", silent.local_addr().unwrap()));
    let timeout = Duration::from_millis(200);
    let settings = PrometheusSettings { url, timeout, ..fake.settings(ServerSignal::Points) };
    let (_, gaps) = read_one(&settings).await;
    assert!(gaps[0].starts_with("no answer: "), "{gaps:?}");
    drop(silent);
    let (_, gaps) = read_one(&settings).await;
    assert!(gaps[0].starts_with("no answer: "), "{gaps:?}");
}

#[tokio::test]
async fn credentials_come_from_files_that_may_change() {
    let fake = Fake::start(|| vector(&[(r#""instance":"a:1""#, "1")]).into_response()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let basic = PrometheusSettings {
        user: Some("ann".to_owned()),
        password_file: Some(file.clone()),
        ..fake.settings(ServerSignal::Points)
    };
    let bearer = PrometheusSettings { token_file: Some(file.clone()), ..fake.settings(ServerSignal::Points) };
    let (_, gaps) = read_one(&basic).await;
    assert!(gaps[0].contains("cannot read") && gaps[0].contains("secret"), "{gaps:?}");
    std::fs::write(&file, "hunter2\n").unwrap();
    read_one(&basic).await;
    let prometheus = Prometheus::new(&bearer).unwrap().unwrap();
    prometheus.read(now()).await;
    std::fs::write(&file, "hunter3\n").unwrap();
    prometheus.read(now()).await;
    let sent: Vec<Option<String>> = fake.asked.lock().unwrap().iter().map(|(_, it)| it.clone()).collect();
    let wanted = ["Basic YW5uOmh1bnRlcjI=", "Bearer hunter2", "Bearer hunter3"];
    assert_eq!(sent, wanted.map(|header| Some(header.to_owned())));
    std::fs::write(&file, "two\nlines").unwrap();
    let (_, gaps) = read_one(&bearer).await;
    assert!(gaps[0].contains("cannot be sent in a header") && !gaps[0].contains("lines"), "{gaps:?}");
}

#[tokio::test]
async fn nobody_is_asked_without_a_server_or_a_query() {
    assert!(Prometheus::new(&PrometheusSettings::default()).unwrap().is_none());
    let url = Some("http://prometheus:9090".to_owned());
    assert!(Prometheus::new(&PrometheusSettings { url, ..PrometheusSettings::default() }).unwrap().is_none());
}
