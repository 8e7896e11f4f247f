//! An API server of Kubernetes for tests, as far as an election goes: Leases and ConfigMaps in one process, with resource
//! versions, conflicts, a token to show, and whatever goes wrong with the real one. No real one runs here.

#![allow(dead_code)] // two test programs use it, and neither all of it

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// What its clients must show.
pub const TOKEN: &str = "token-of-a-service-account";

/// What it does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// What it should.
    #[default]
    Well,
    /// It answers nothing.
    Hangs,
    /// It answers this status to everything.
    Refuses(u16),
    /// It answers what is no JSON.
    Babbles,
    /// It does what it is told and answers 500.
    LosesAnswers,
}

#[derive(Default)]
struct Inside {
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    mood: Mood,
    /// Requests by method and kind.
    requests: BTreeMap<String, u64>,
}

/// A running server. Dropping it ends it.
pub struct KubernetesServer {
    inside: Arc<Mutex<Inside>>,
    port: u16,
    serving: JoinHandle<()>,
    folder: TempDir,
}

impl KubernetesServer {
    pub async fn start() -> KubernetesServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let inside = Arc::new(Mutex::new(Inside::default()));
        let all = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases";
        let maps = "/api/v1/namespaces/{namespace}/configmaps";
        let router = Router::new()
            .route(all, get(missing).post(create))
            .route(&format!("{all}/{{name}}"), get(read).put(replace).delete(remove))
            .route(maps, get(missing).post(create))
            .route(&format!("{maps}/{{name}}"), get(read).put(replace).delete(remove))
            .with_state(Arc::clone(&inside));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        let folder = tempfile::tempdir().expect("a folder for the kubeconfig");
        let server = KubernetesServer { inside, port, serving, folder };
        server.write_kubeconfig();
        server
    }

    /// A file for `KUBECONFIG`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn write_kubeconfig(&self) {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "milvus"}}],
        });
        let mut file = std::fs::File::create(self.kubeconfig()).expect("a file");
        file.write_all(text.to_string().as_bytes()).expect("it is written");
    }

    pub fn set(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// An object, by kind (`leases`, `configmaps`) and name.
    pub fn object(&self, kind: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// Somebody changes it.
    pub fn change(&self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut inside = self.lock();
        let mut object = inside.objects[&(kind.to_owned(), name.to_owned())].clone();
        change(&mut object);
        store(&mut inside, kind, name.to_owned(), object);
    }

    /// Somebody deletes it.
    pub fn delete(&self, kind: &str, name: &str) {
        self.lock().objects.remove(&(kind.to_owned(), name.to_owned()));
    }

    /// How many requests of this method there were for a kind: `PUT leases`.
    pub fn requests(&self, which: &str) -> u64 {
        self.lock().requests.get(which).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("nobody panicked")
    }
}

impl Drop for KubernetesServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    (StatusCode::from_u16(code).expect("a status"), Json(status)).into_response()
}

/// What its mood and the client's token make of a request before it is looked at.
async fn refusal(inside: &Mutex<Inside>, headers: &HeaderMap, method: &str, kind: &str) -> Option<Response> {
    let mood = {
        let mut inside = inside.lock().expect("nobody panicked");
        *inside.requests.entry(format!("{method} {kind}")).or_default() += 1;
        inside.mood
    };
    if headers.get("authorization").is_none_or(|shown| shown != &format!("Bearer {TOKEN}")) {
        return Some(failure(401, "Unauthorized", "Unauthorized"));
    }
    match mood {
        Mood::Well | Mood::LosesAnswers => None,
        Mood::Hangs => std::future::pending().await,
        Mood::Refuses(code) => Some(failure(code, "Forbidden", "it may not do that")),
        Mood::Babbles => Some("<html>".into_response()),
    }
}

fn kind_of(uri: &axum::http::Uri) -> &'static str {
    if uri.path().contains("/leases") { "leases" } else { "configmaps" }
}

type Shared = State<Arc<Mutex<Inside>>>;

async fn missing() -> Response {
    failure(405, "MethodNotAllowed", "no test lists them")
}

async fn read(
    State(inside): Shared,
    UrlPath((_, name)): UrlPath<(String, String)>,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Response {
    let kind = kind_of(&uri);
    if let Some(refused) = refusal(&inside, &headers, "GET", kind).await {
        return refused;
    }
    let inside = inside.lock().expect("nobody panicked");
    match inside.objects.get(&(kind.to_owned(), name)) {
        Some(object) => Json(object.clone()).into_response(),
        None => failure(404, "NotFound", "not found"),
    }
}

async fn create(
    State(inside): Shared,
    uri: axum::http::Uri,
    headers: HeaderMap,
    Json(object): Json<Value>,
) -> Response {
    let kind = kind_of(&uri);
    if let Some(refused) = refusal(&inside, &headers, "POST", kind).await {
        return refused;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut inside = inside.lock().expect("nobody panicked");
    if inside.objects.contains_key(&(kind.to_owned(), name.clone())) {
        return failure(409, "AlreadyExists", "already exists");
    }
    store(&mut inside, kind, name, object)
}

async fn replace(
    State(inside): Shared,
    UrlPath((_, name)): UrlPath<(String, String)>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    Json(object): Json<Value>,
) -> Response {
    let kind = kind_of(&uri);
    if let Some(refused) = refusal(&inside, &headers, "PUT", kind).await {
        return refused;
    }
    let mut inside = inside.lock().expect("nobody panicked");
    let Some(before) = inside.objects.get(&(kind.to_owned(), name.clone())) else {
        return failure(404, "NotFound", "not found");
    };
    let (known, named) = (&before["metadata"]["resourceVersion"], &object["metadata"]["resourceVersion"]);
    if named.is_null() {
        return failure(422, "Invalid", "a test's change must name its version");
    }
    if known != named {
        return failure(409, "Conflict", "the object has been modified");
    }
    store(&mut inside, kind, name, object)
}

async fn remove(State(inside): Shared, uri: axum::http::Uri, headers: HeaderMap) -> Response {
    match refusal(&inside, &headers, "DELETE", kind_of(&uri)).await {
        Some(refused) => refused,
        None => failure(403, "Forbidden", "nothing of ours deletes"),
    }
}

fn store(inside: &mut Inside, kind: &str, name: String, mut object: Value) -> Response {
    let life = &object["spec"]["leaseDurationSeconds"];
    if kind == "leases" && life.as_i64().is_none_or(|life| life <= 0) {
        return failure(422, "Invalid", "spec.leaseDurationSeconds: must be greater than 0");
    }
    inside.version += 1;
    object["metadata"]["resourceVersion"] = json!(inside.version.to_string());
    inside.objects.insert((kind.to_owned(), name), object.clone());
    if inside.mood == Mood::LosesAnswers {
        return failure(500, "InternalError", "the answer is lost");
    }
    Json(object).into_response()
}
