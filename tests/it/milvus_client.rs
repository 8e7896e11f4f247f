//! The client against servers that are down, wrong, hostile, old or slow: each gives one clear line, and the
//! right remedy.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use milvus_rebalancer::execute::MoveCall;
use milvus_rebalancer::milvus::wire::common::Status as MilvusStatus;
use milvus_rebalancer::milvus::wire::milvus::{
    DescribeIndexResponse, GetQuerySegmentInfoResponse, GetReplicasResponse, GetVersionResponse,
    ListDatabasesResponse, QuerySegmentInfo, ShowCollectionsResponse,
};
use milvus_rebalancer::milvus::{
    Call, ConnectionSettings, Failure, MilvusClient, MilvusError, Remedy, TlsSettings,
};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, SegmentId};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::{Request, Status};

use crate::fake_milvus::{COLLECTION, FakeMilvus, Script, Serving, old_refusal, refusal};

fn settings(endpoint: impl Into<String>) -> ConnectionSettings {
    ConnectionSettings { endpoint: endpoint.into(), ..ConnectionSettings::default() }
}

fn client(endpoint: impl Into<String>) -> MilvusClient {
    MilvusClient::new("default", &settings(endpoint)).unwrap()
}

fn move_call() -> MoveCall {
    MoveCall::new("default", "vectors", NodeId(1), NodeId(2), vec![SegmentId(5), SegmentId(6)]).unwrap()
}

/// The error says where, and what to do, in one line.
fn assert_says(error: &MilvusError, where_: &Serving, what_to_do: &str) {
    let text = error.to_string();
    assert!(text.contains(&where_.address.to_string()), "{text}");
    assert!(text.contains(what_to_do), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

/// A server that sends these bytes to whoever connects, and then hangs up.
async fn raw_server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut greeting = [0_u8; 24];
            // Whoever hangs up first: the test looks at what the client says.
            let _read = stream.read(&mut greeting).await;
            let _written = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(address.to_string());
    let error = client.version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::RetryLater);
    assert!(error.to_string().contains("is Milvus running"), "{error}");
    // A call that was never sent has had no effect.
    let error = client.load_balance(&move_call(), None).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
}

#[tokio::test]
async fn the_name_of_the_host_is_unknown() {
    let error = client("http://no-such-host.invalid:19530").version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(address.to_string());
    assert!(client.version().await.is_err());
    let _server = FakeMilvus::small_cluster().start_at(address).await;
    assert_eq!(client.version().await.unwrap(), "v2.4.13");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let fake = FakeMilvus {
        get_version: Script::Silence,
        load_balance: Script::Silence,
        ..FakeMilvus::small_cluster()
    };
    let server = fake.start().await;
    let limit = Duration::from_millis(50);
    let settings = ConnectionSettings { request_timeout: limit, ..settings(server.endpoint()) };
    let client = MilvusClient::new("default", &settings).unwrap();
    let error = client.version().await.unwrap_err();
    assert_eq!(error.failure, Failure::Deadline { after: limit });
    assert_eq!(error.remedy(), Remedy::RetryLater);
    assert_says(&error, &server, "not answered within 50ms");
    let error = client.load_balance(&move_call(), Some(limit)).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::OutcomeUnknown, "the move may go on");
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(50);
    let settings = ConnectionSettings { request_timeout: limit, ..settings(endpoint) };
    let error = MilvusClient::new("default", &settings).unwrap().version().await.unwrap_err();
    assert_eq!(error.failure, Failure::Deadline { after: limit });
}

#[tokio::test]
async fn slow_reads_do_not_hold_up_a_move() {
    let fake = FakeMilvus { get_version: Script::Silence, ..FakeMilvus::small_cluster() };
    let server = fake.start().await;
    let settings = ConnectionSettings { concurrency: 1, ..settings(server.endpoint()) };
    let client = MilvusClient::new("default", &settings).unwrap();
    let reader = tokio::spawn({
        let client = client.clone();
        async move { client.version().await }
    });
    client.load_balance(&move_call(), None).await.unwrap();
    reader.abort();
}

#[tokio::test]
async fn wrong_passwords_and_missing_rights_name_what_to_change() {
    let fake = FakeMilvus {
        get_version: Script::fails(Status::unauthenticated("auth check failure")),
        list_databases: Script::fails(Status::permission_denied("PrivilegeListDatabases: deny to reader")),
        load_balance: Script::fails(Status::permission_denied("PrivilegeLoadBalance: deny to reader")),
        ..FakeMilvus::default()
    };
    let server = fake.start().await;
    let client = client(server.endpoint());
    let error = client.version().await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_says(&error, &server, "check user and password, or token, of connection \"default\"");
    let error = client.list_databases().await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert_says(&error, &server, "privilege ListDatabases");
    let error = client.load_balance(&move_call(), None).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess, "refused before anything happened");
}

#[tokio::test]
async fn credentials_and_database_travel_as_milvus_wants_them() {
    let echo = |request: tonic::Request<_>| {
        let header = |name: &str| match request.metadata().get(name) {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => "-".to_owned(),
        };
        let version = format!("{} {}", header("authorization"), header("dbname"));
        Ok(GetVersionResponse { version, ..GetVersionResponse::default() })
    };
    let server = FakeMilvus { get_version: Script::says(echo), ..FakeMilvus::default() }.start().await;
    let plain = settings(server.endpoint());
    let with_password = ConnectionSettings {
        user: Some("root".to_owned()),
        password: Some(SecretString::from("Milvus")),
        database: Some("archive".to_owned()),
        ..plain.clone()
    };
    let with_token = ConnectionSettings { token: Some(SecretString::from("key")), ..plain.clone() };
    for (settings, expected) in
        [(plain, "- -"), (with_password, "cm9vdDpNaWx2dXM= archive"), (with_token, "a2V5 -")]
    {
        let client = MilvusClient::new("default", &settings).unwrap();
        assert_eq!(client.version().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_move_is_sent_as_it_was_built() {
    let check = |request: tonic::Request<milvus_rebalancer::milvus::wire::milvus::LoadBalanceRequest>| {
        let sent = request.into_inner();
        let as_built = sent.src_node_id == 1
            && sent.dst_node_i_ds == [2]
            && sent.sealed_segment_i_ds == [5, 6]
            && sent.collection_name == "vectors"
            && sent.db_name == "default";
        if as_built { Ok(MilvusStatus::default()) } else { Err(Status::internal(format!("{sent:?}"))) }
    };
    let server = FakeMilvus { load_balance: Script::says(check), ..FakeMilvus::default() }.start().await;
    client(server.endpoint()).load_balance(&move_call(), None).await.unwrap();
}

#[tokio::test]
async fn both_generations_of_refusals_are_refusals() {
    for (status, remedy) in [
        (old_refusal(1, "boom"), Remedy::OutcomeUnknown),
        (refusal(901, "node not found[node=7]"), Remedy::Replan),
        (refusal(103, "not fully loaded"), Remedy::SkipCollection),
        (refusal(65_535, "dial tcp: connection refused"), Remedy::OutcomeUnknown),
    ] {
        let load_balance = Script::always(status.unwrap());
        let server = FakeMilvus { load_balance, ..FakeMilvus::default() }.start().await;
        let error = client(server.endpoint()).load_balance(&move_call(), None).await.unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error}");
        assert!(!error.destination_is_full(), "{error}");
    }
    let full = refusal(605, "segment request resource failed\nstack trace").unwrap();
    let server = FakeMilvus { load_balance: Script::always(full), ..FakeMilvus::default() }.start().await;
    let error = client(server.endpoint()).load_balance(&move_call(), None).await.unwrap_err();
    assert!(error.destination_is_full(), "{error}");
    assert_says(
        &error,
        &server,
        "code 605 (segment request resource failed stack trace): the destination has",
    );
}

#[tokio::test]
async fn calls_of_later_versions_are_missing_not_broken() {
    let server = FakeMilvus::default().start().await;
    let error = client(server.endpoint()).list_databases().await.unwrap_err();
    assert!(error.is_missing_call(), "{error:?}");
    assert_eq!(error.call, Call::ListDatabases);
    assert_says(&error, &server, "too old");
    // What every version has is missing elsewhere only: etcd speaks gRPC too.
    let error = client(server.endpoint()).loaded_collections("").await.unwrap_err();
    assert_says(&error, &server, "is it the port of Milvus' proxy");
    assert_eq!(error.remedy(), Remedy::FixAccess);
}

#[tokio::test]
async fn a_collection_without_index_has_no_indexes() {
    let none =
        DescribeIndexResponse { status: refusal(700, "index not found"), ..DescribeIndexResponse::default() };
    let server = FakeMilvus { describe_index: Script::always(none), ..FakeMilvus::default() }.start().await;
    assert_eq!(client(server.endpoint()).describe_index("default", "vectors").await.unwrap(), []);
}

#[tokio::test]
async fn lists_that_do_not_fit_together_are_not_guessed_at() {
    let odd = ShowCollectionsResponse {
        collection_names: vec!["a".to_owned(), "b".to_owned()],
        collection_ids: vec![1],
        ..ShowCollectionsResponse::default()
    };
    let server = FakeMilvus { show_collections: Script::always(odd), ..FakeMilvus::default() }.start().await;
    let error = client(server.endpoint()).loaded_collections("default").await.unwrap_err();
    assert!(matches!(error.failure, Failure::Malformed { .. }), "{error:?}");
    assert_says(&error, &server, "2 names, 1 ids");
}

/// About `bytes` bytes of segments.
fn many_segments(bytes: usize) -> GetQuerySegmentInfoResponse {
    // An entry of these values takes 37 bytes and its length.
    let segment = QuerySegmentInfo {
        segment_id: i64::MAX,
        collection_id: COLLECTION,
        num_rows: i64::MAX,
        node_ids: vec![i64::MAX],
        ..QuerySegmentInfo::default()
    };
    GetQuerySegmentInfoResponse { infos: vec![segment; bytes / 37], ..GetQuerySegmentInfoResponse::default() }
}

#[tokio::test]
async fn six_mebibytes_of_segments_are_read() {
    let answer = many_segments(6 << 20);
    let expected = answer.infos.len();
    assert!(prost::Message::encoded_len(&answer) > 5 << 20);
    let server =
        FakeMilvus { get_query_segment_info: Script::always(answer), ..FakeMilvus::default() }.start().await;
    let read = client(server.endpoint()).query_segments("default", "vectors").await.unwrap();
    assert_eq!(read.len(), expected);
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused_and_the_limit_is_named() {
    let fake = FakeMilvus {
        get_query_segment_info: Script::always(many_segments(2 << 20)),
        ..FakeMilvus::small_cluster()
    };
    let server = fake.start().await;
    let settings = ConnectionSettings { max_response: Bytes(1 << 20), ..settings(server.endpoint()) };
    let client = MilvusClient::new("default", &settings).unwrap();
    let error = client.query_segments("default", "vectors").await.unwrap_err();
    assert!(matches!(error.failure, Failure::TooLarge { .. }), "{error:?}");
    assert_says(&error, &server, "raise max_response");
    assert!(client.version().await.is_ok(), "other calls go on");
}

#[tokio::test]
async fn a_web_server_is_not_milvus() {
    let address = raw_server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let error = client(address.to_string()).version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::NotMilvus { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::FixAccess);
    assert!(error.to_string().contains("19530"), "{error}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_may_want_tls() {
    let address = raw_server(b"").await;
    let client = client(address.to_string());
    let error = client.version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::Lost { .. }), "{error:?}");
    assert!(error.to_string().contains("https://"), "{error}");
    let error = client.load_balance(&move_call(), None).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::OutcomeUnknown, "{error}");
}

/// A certificate for `localhost` and 127.0.0.1 that signed itself, and its key.
fn certificate() -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Settings that trust this certificate.
fn trusting(endpoint: String, certificate: &str) -> (ConnectionSettings, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(certificate.as_bytes()).unwrap();
    let tls = TlsSettings { ca_file: Some(file.path().to_owned()), ..TlsSettings::default() };
    (ConnectionSettings { tls, ..settings(endpoint) }, file)
}

#[tokio::test]
async fn tls_works_with_the_right_certificate_and_name() {
    let (certificate, key) = certificate();
    let server = FakeMilvus::small_cluster().start_with_tls(&certificate, &key).await;
    let (settings, _file) = trusting(format!("https://{}", server.address), &certificate);
    let client = MilvusClient::new("default", &settings).unwrap();
    assert_eq!(client.version().await.unwrap(), "v2.4.13");
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_told_from_servers_without_tls() {
    let (own, key) = certificate();
    let (other, _) = certificate();
    let server = FakeMilvus::small_cluster().start_with_tls(&own, &key).await;
    let endpoint = format!("https://{}", server.address);
    let (wrong_authority, _file) = trusting(endpoint.clone(), &other);
    let (mut wrong_name, _file) = trusting(endpoint, &own);
    wrong_name.tls.server_name = Some("milvus.example".to_owned());
    for settings in [wrong_authority, wrong_name] {
        let error = MilvusClient::new("default", &settings).unwrap().version().await.unwrap_err();
        assert!(matches!(error.failure, Failure::Tls { .. }), "{error:?}");
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert_says(&error, &server, "check tls.ca_file and tls.server_name");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (own, key) = certificate();
    let (old, _) = certificate();
    let server = FakeMilvus::small_cluster().start_with_tls(&own, &key).await;
    // The authority of before the server was renewed.
    let (settings, file) = trusting(format!("https://{}", server.address), &old);
    let client = MilvusClient::new("default", &settings).unwrap();
    let error = client.version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::Tls { .. }), "{error:?}");
    // Half of it is there: what was read before stays in use.
    std::fs::write(file.path(), &own[..own.len() / 3]).unwrap();
    let error = client.version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::Tls { .. }), "{error:?}");
    std::fs::write(file.path(), &own).unwrap();
    assert_eq!(client.version().await.unwrap(), "v2.4.13");
    // Nothing is read where nothing has changed, and what cannot be read is not missed.
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(client.version().await.unwrap(), "v2.4.13");
}

#[tokio::test]
async fn a_changed_password_is_used_without_a_restart() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let get_version = Script::says(move |request: Request<_>| {
        let credentials = request.metadata().get("authorization").unwrap().to_str().unwrap();
        let credentials = String::from_utf8(BASE64_STANDARD.decode(credentials).unwrap()).unwrap();
        seen.lock().unwrap().push(credentials);
        Ok(GetVersionResponse::default())
    });
    let server = FakeMilvus { get_version, ..FakeMilvus::small_cluster() }.start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "first\n").unwrap();
    let settings = ConnectionSettings {
        user: Some("ann".to_owned()),
        password: Some(SecretString::from("first")),
        password_file: Some(path.clone()),
        ..settings(server.endpoint())
    };
    let client = MilvusClient::new("default", &settings).unwrap();
    client.version().await.unwrap();
    std::fs::write(&path, "second\n").unwrap();
    client.version().await.unwrap();
    // An empty file is none to be used.
    std::fs::write(&path, "").unwrap();
    client.version().await.unwrap();
    // As Kubernetes and careful people replace files.
    std::fs::write(folder.path().join("new"), "third").unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    client.version().await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["ann:first", "ann:second", "ann:second", "ann:third"]);
}

#[tokio::test]
async fn encrypted_to_a_plain_server() {
    let (certificate, _) = certificate();
    let server = FakeMilvus::small_cluster().start().await;
    let (settings, _file) = trusting(format!("https://{}", server.address), &certificate);
    let error = MilvusClient::new("default", &settings).unwrap().version().await.unwrap_err();
    assert!(matches!(error.failure, Failure::Tls { .. }), "{error:?}");
    assert_says(&error, &server, "write http://");
}

#[tokio::test]
async fn plain_to_an_encrypted_server() {
    let (certificate, key) = certificate();
    let server = FakeMilvus::small_cluster().start_with_tls(&certificate, &key).await;
    let error = client(server.endpoint()).version().await.unwrap_err();
    assert_says(&error, &server, "write https://");
}

#[tokio::test]
async fn garbage_for_a_certificate_is_found_before_the_first_call() {
    let (settings, _file) = trusting("https://localhost".to_owned(), "this is no PEM file");
    let error = MilvusClient::new("default", &settings).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("holds no CERTIFICATE in PEM form"), "{error}");
}

#[tokio::test]
async fn a_dropped_collection_is_gone_in_every_generation() {
    let answers = [
        refusal(100, "collection not found"),
        refusal(101, "collection not loaded"),
        refusal(800, "database not found"),
        old_refusal(1, "can't find collection: vectors"),
    ];
    for status in answers {
        let gone = GetReplicasResponse { status, ..GetReplicasResponse::default() };
        let server = FakeMilvus { get_replicas: Script::always(gone), ..FakeMilvus::default() }.start().await;
        let error = client(server.endpoint()).replicas(CollectionId(COLLECTION)).await.unwrap_err();
        assert!(error.collection_is_gone(), "{error}");
        assert_eq!(error.remedy(), Remedy::SkipCollection);
    }
}

#[tokio::test]
async fn an_answer_without_a_status_is_a_success() {
    let answer = ListDatabasesResponse { status: None, db_names: vec!["default".to_owned()] };
    let server = FakeMilvus { list_databases: Script::always(answer), ..FakeMilvus::default() }.start().await;
    assert_eq!(client(server.endpoint()).list_databases().await.unwrap(), ["default"]);
}
