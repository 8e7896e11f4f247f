//! The client side of the admin API, for the command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, Identity, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::AppError;
use super::controls::user;
use crate::admin::views::StatusView;
use crate::admin::{AdminSettings, AdminTlsSettings, Place, Problem, USER_HEADER};
use crate::cli::DaemonArgs;
use crate::config::Config;
use crate::config::files::read_secret;
use crate::journal::{DaemonLock, JournalSettings};
use crate::telemetry::Chain;

/// A daemon on this machine answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The host in requests over a Unix socket, where none is needed.
const NO_HOST: &str = "localhost";

/// A daemon that can be asked.
pub(super) struct AdminClient {
    http: reqwest::Client,
    place: Place,
    base: String,
    token: Option<SecretString>,
}

impl AdminClient {
    /// The daemon that the command line names, or that of this configuration. Nothing is asked yet.
    pub(super) fn new(settings: &AdminSettings, named: &DaemonArgs) -> Result<AdminClient, AppError> {
        let configured = Place::parse(&settings.listen).filter(|_| settings.enabled);
        let place = named.admin.clone().or(configured).ok_or(AppError::NoAdmin)?;
        let files = [&named.token_file, &settings.operate_token_file, &settings.view_token_file];
        // Who may only look has a file that cannot be read, and another one.
        let mut token = Ok(None);
        for path in files.into_iter().flatten() {
            token = read_secret(path).map(Some);
            if token.is_ok() {
                break;
            }
        }
        let token = token.map_err(|why| AppError::Token { why })?;
        // Tests and other clients of this process may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT);
        let (builder, base) = match &place {
            Place::Tcp(address) if settings.tls.is_asked_for() => {
                encrypted(builder, &settings.tls, reachable(*address))?
            }
            Place::Tcp(address) => (builder, format!("http://{}", reachable(*address))),
            Place::Unix(path) => (builder.unix_socket(path.clone()), format!("http://{NO_HOST}")),
        };
        let http =
            builder.build().map_err(|source| AppError::NoDaemon { place: place.to_string(), source })?;
        Ok(AdminClient { http, place, base, token })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).header(USER_HEADER, user());
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, AppError> {
        let failed = |source| AppError::NoDaemon { place: self.place.to_string(), source };
        let response = request.send().await.map_err(failed)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.map_err(failed)?;
        let detail = match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => problem.detail,
            Err(_) => format!("it answers with status {status}, and does not seem to be milvus-rebalancer"),
        };
        Err(AppError::Refused { status, detail })
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, AppError> {
        let failed = |source| AppError::NoDaemon { place: self.place.to_string(), source };
        response.json().await.map_err(failed)
    }

    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AppError> {
        let response = self.answer(self.request(Method::GET, path)).await?;
        self.read(response).await
    }

    /// Orders something.
    pub(super) async fn order<T: DeserializeOwned>(
        &self,
        path: &str,
        order: &impl Serialize,
    ) -> Result<T, AppError> {
        let response = self.answer(self.request(Method::POST, path).json(order)).await?;
        self.read(response).await
    }

    /// A stream that is read piece by piece.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, AppError> {
        self.answer(self.request(Method::GET, path)).await
    }

    /// For pieces of that stream.
    pub(super) fn broke_off(&self, source: reqwest::Error) -> AppError {
        AppError::NoDaemon { place: self.place.to_string(), source }
    }
}

/// The daemon that works with this journal, if one does and its API is where the configuration says. Orders reach it
/// through the journal, too, only later: so nobody minds when it does not answer.
pub(super) async fn beside_journal(
    config: &Config,
    settings: &JournalSettings,
) -> Result<Option<AdminClient>, AppError> {
    if DaemonLock::holder(&settings.path).is_none() || !config.admin.enabled {
        return Ok(None);
    }
    let client = AdminClient::new(&config.admin, &DaemonArgs::default())?;
    match client.get::<StatusView>("/v1/status").await {
        // Another daemon may have that place.
        Ok(status) if is_same_file(&status.journal, &settings.path) => Ok(Some(client)),
        Ok(_) | Err(AppError::NoDaemon { .. }) => Ok(None),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "the daemon cannot be asked");
            Ok(None)
        }
    }
}

fn is_same_file(its: &str, ours: &Path) -> bool {
    let (its, ours) = (std::fs::canonicalize(its), std::fs::canonicalize(ours));
    matches!((its, ours), (Ok(its), Ok(ours)) if its == ours)
}

/// What TLS needs, and how the daemon is addressed then.
fn encrypted(
    builder: ClientBuilder,
    tls: &AdminTlsSettings,
    address: SocketAddr,
) -> Result<(ClientBuilder, String), AppError> {
    let unusable = |key, path: &Path, why: String| AppError::Certificate { key, path: path.to_owned(), why };
    let read = |key, path: &Path| std::fs::read(path).map_err(|error| unusable(key, path, error.to_string()));
    let mut builder = builder.https_only(true);
    if let Some(path) = &tls.ca_file {
        let key = "admin.tls.ca_file";
        let authorities = Certificate::from_pem_bundle(&read(key, path)?);
        let authorities = authorities.map_err(|error| unusable(key, path, Chain(&error).to_string()))?;
        builder = builder.tls_certs_only(authorities);
    }
    if let (Some(certificate), Some(path)) = (&tls.client_certificate_file, &tls.client_key_file) {
        let mut pem = read("admin.tls.client_certificate_file", certificate)?;
        let key = "admin.tls.client_key_file";
        pem.extend(read(key, path)?);
        let identity = Identity::from_pem(&pem);
        builder = builder.identity(identity.map_err(|error| unusable(key, path, Chain(&error).to_string()))?);
    }
    Ok(match &tls.server_name {
        Some(name) => (builder.resolve(name, address), format!("https://{name}:{}", address.port())),
        None => (builder, format!("https://{address}")),
    })
}

/// Who listens on all addresses is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
