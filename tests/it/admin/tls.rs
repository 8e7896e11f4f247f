//! TLS on the admin listener: by which certificate it is known, whose certificates it asks for, and that renewed files need no
//! restart.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use milvus_rebalancer::admin::{AdminError, AdminListener, AdminSettings, AdminTlsError, AdminTlsSettings};
use milvus_rebalancer::app::Daemon;
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{configuration, uneven};
use crate::authority::{Authority, NAME};

fn served(authority: &Authority) -> AdminTlsSettings {
    let (certificate, key) = authority.sign("server");
    AdminTlsSettings {
        certificate_file: Some(certificate),
        key_file: Some(key),
        ..AdminTlsSettings::default()
    }
}

/// A client that trusts this authority, and shows this certificate.
fn client(authority: &Authority, own: Option<&(PathBuf, PathBuf)>) -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    let trusted = Certificate::from_pem(authority.issuer.pem().as_bytes()).unwrap();
    // Each request shakes hands anew.
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only([trusted]);
    let builder = match own {
        None => builder,
        Some((certificate, key)) => {
            let mut pem = std::fs::read(certificate).unwrap();
            pem.extend(std::fs::read(key).unwrap());
            builder.identity(Identity::from_pem(&pem).unwrap())
        }
    };
    builder.build().unwrap()
}

/// A daemon whose API speaks TLS.
struct Site {
    address: String,
    folder: TempDir,
    stop: CancellationToken,
    _server: SimServer,
}

impl Site {
    async fn start(tls: AdminTlsSettings) -> Site {
        let server = SimServer::start(SharedWorld::with_speed(build(&uneven()), super::SPEED)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = configuration(&folder, &server);
        config.admin.tls = tls;
        let stop = CancellationToken::new();
        let daemon = Box::pin(Daemon::assemble(config, Clock::system().into(), stop.clone())).await.unwrap();
        let address = daemon.admin_place().unwrap().to_string();
        drop(tokio::spawn(daemon.run()));
        Site { address, folder, stop, _server: server }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Why a client is not served.
    async fn refusal(&self, client: &Client) -> String {
        let error = client.get(self.url("/v1/controls")).send().await.expect_err("it is served");
        format!("{error:?}")
    }

    async fn serves(&self, client: &Client) {
        assert_eq!(client.get(self.url("/v1/controls")).send().await.unwrap().status(), 200);
    }

    /// The binary's answer.
    async fn command(&self, options: &[(&str, &Path)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        command.arg("pause").env_clear().env("MILVUS_REBALANCER__ADMIN__LISTEN", &self.address);
        command.env("MILVUS_REBALANCER__JOURNAL__PATH", self.folder.path().join("it.db"));
        for (option, value) in options {
            command.env(format!("MILVUS_REBALANCER__ADMIN__TLS__{option}"), value);
        }
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_known_by_its_certificate_and_a_renewed_one_needs_no_restart() {
    let (authority, other) = (Authority::new(), Authority::new());
    let site = Site::start(served(&authority)).await;
    site.serves(&client(&authority, None)).await;
    let stranger = site.refusal(&client(&other, None)).await;
    assert!(stranger.contains("InvalidCertificate"), "{stranger}");
    let plain = super::client().get(format!("http://{}/v1/controls", site.address)).send().await;
    assert!(plain.is_err(), "nothing is said in plain text: {plain:?}");

    // Half of it is written: the one of before stays in use.
    let (certificate, key) = (authority.path("server.pem"), authority.path("server-key.pem"));
    std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    site.serves(&client(&authority, None)).await;
    let (renewed, renewed_key) = other.sign("renewed");
    std::fs::copy(renewed, &certificate).unwrap();
    site.serves(&client(&authority, None)).await;
    std::fs::copy(renewed_key, &key).unwrap();
    site.serves(&client(&other, None)).await;
    let old = site.refusal(&client(&authority, None)).await;
    assert!(old.contains("InvalidCertificate"), "{old}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_a_certificate_of_the_right_authority_and_are_written_down_by_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut tls = served(&authority);
    tls.client_ca_file = Some(authority.path("ca.pem"));
    let site = Site::start(tls).await;
    site.refusal(&client(&authority, None)).await;
    site.refusal(&client(&authority, Some(&other.sign("stranger")))).await;
    let client = client(&authority, Some(&authority.sign("ann")));
    let paused = client.post(site.url("/v1/pause")).json(&json!({})).send().await.unwrap();
    assert_eq!(paused.status(), 200);
    let audit: Value = client.get(site.url("/v1/audit")).send().await.unwrap().json().await.unwrap();
    let origin = audit["items"][0]["origin"].as_str().unwrap();
    let (address, fingerprint) = origin.split_once(", certificate ").expect("it names the certificate");
    assert!(address.starts_with("127.0.0.1:") && fingerprint.len() == 64, "{origin}");
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "nobody else came so far");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_know_the_daemon_and_show_who_they_are() {
    let authority = Authority::new();
    let mut tls = served(&authority);
    tls.client_ca_file = Some(authority.path("ca.pem"));
    tls.server_name = Some(NAME.to_owned());
    let site = Site::start(tls).await;
    let (certificate, key) = authority.sign("ann");
    let (ca, name) = (authority.path("ca.pem"), Path::new(NAME));
    let trusting: [(&str, &Path); 2] = [("CA_FILE", &ca), ("SERVER_NAME", name)];
    let known: [(&str, &Path); 2] = [("CLIENT_CERTIFICATE_FILE", &certificate), ("CLIENT_KEY_FILE", &key)];
    let done = site.command(&[trusting, known].concat()).await;
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        said.starts_with("the daemon has taken the order"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let missing = authority.path("missing.pem");
    let failed = site.command(&[("CA_FILE", &missing)]).await;
    let why = String::from_utf8_lossy(&failed.stderr);
    assert!(why.contains("admin.tls.ca_file") && why.contains("missing.pem"), "{why}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_starts() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = served(&authority);
    let with = |change: &dyn Fn(&mut AdminTlsSettings)| {
        let mut tls = good.clone();
        change(&mut tls);
        AdminSettings { listen: "127.0.0.1:0".to_owned(), tls, ..AdminSettings::default() }
    };
    let (_, another_key) = other.sign("another");
    let empty = authority.path("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let binary = authority.path("binary.pem");
    std::fs::write(&binary, [0xff, 0, 0x80]).unwrap();
    type Change<'a> = &'a dyn Fn(&mut AdminTlsSettings);
    let cases: [(&str, Change<'_>); 7] = [
        ("one of them is not set", &|tls| tls.key_file = None),
        ("admin.tls.certificate_file: cannot read", &|tls| tls.certificate_file = Some("no/such".into())),
        ("does not hold a private key", &|tls| tls.key_file = tls.certificate_file.clone()),
        ("cannot be used together", &|tls| tls.key_file = Some(another_key.clone())),
        ("does not hold certificates", &|tls| tls.certificate_file = Some(empty.clone())),
        ("admin.tls.client_ca_file", &|tls| tls.client_ca_file = Some(empty.clone())),
        ("does not hold certificates", &|tls| tls.certificate_file = Some(binary.clone())),
    ];
    for (expected, change) in cases {
        let error = AdminListener::bind(&with(change)).await.expect_err(expected);
        assert!(matches!(error, AdminError::Tls(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
    }
    let half = AdminListener::bind(&with(&|tls| tls.certificate_file = None)).await;
    assert!(matches!(half, Err(AdminError::Tls(AdminTlsError::Incomplete))), "{half:?}");
    AdminListener::bind(&with(&|_| {})).await.unwrap();
}

#[tokio::test]
async fn with_tls_other_machines_may_reach_it_when_they_say_who_they_are() {
    let authority = Authority::new();
    let mut settings =
        AdminSettings { listen: "0.0.0.0:0".to_owned(), tls: served(&authority), ..AdminSettings::default() };
    let open = AdminListener::bind(&settings).await;
    assert!(matches!(open, Err(AdminError::Remote { .. })), "{open:?}");
    settings.tls.client_ca_file = Some(authority.path("ca.pem"));
    AdminListener::bind(&settings).await.unwrap();
    settings.tls.client_ca_file = None;
    settings.operate_token_file = Some(authority.path("token"));
    AdminListener::bind(&settings).await.unwrap();
}
