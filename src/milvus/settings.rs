//! `[connections.NAME]`: where a Milvus is and how to get in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::config::files::read_secret;
use crate::units::Bytes;

/// The port of Milvus' proxy unless somebody changed it.
const DEFAULT_PORT: u16 = 19530;

/// How often an open connection with calls on it is probed. Milvus' server hangs up on a client that probes
/// more than once in 5 s; a dead connection must be noticed before the default request timeout has passed twice.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long the answer to a probe may take: as long as a connection may take to open.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// One Milvus, and the credentials for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSettings {
    /// `http://host:port`, `https://host:port` or `host:port`; the port is 19530 when it is left out.
    pub endpoint: String,
    /// User name, where Milvus asks for one.
    pub user: Option<String>,
    /// Password of the user.
    #[serde(serialize_with = "masked")]
    pub password: Option<SecretString>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// API key, instead of user and password.
    #[serde(serialize_with = "masked")]
    pub token: Option<SecretString>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Database for calls that name none, instead of the server's default.
    pub database: Option<String>,
    /// Certificates, for `https://`.
    pub tls: TlsSettings,
    /// How long a connection may take to open.
    #[serde(with = "crate::config::duration")]
    pub connect_timeout: Duration,
    /// How long a reading call may take, the whole answer included. `LoadBalance` has its own limit.
    #[serde(with = "crate::config::duration")]
    pub request_timeout: Duration,
    /// Reading calls at a time.
    pub concurrency: u32,
    /// The largest answer that is read.
    #[serde(with = "crate::config::bytes")]
    pub max_response: Bytes,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        ConnectionSettings {
            endpoint: "http://127.0.0.1:19530".to_owned(),
            user: None,
            password: None,
            password_file: None,
            token: None,
            token_file: None,
            database: None,
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            // Enough to hide the round trip, few enough that the coordinator does not notice.
            concurrency: 8,
            // What the proxy itself is willing to send (`proxy.grpc.serverMaxSendSize`): millions of segments.
            max_response: Bytes(256 << 20),
        }
    }
}

/// Certificates. Without any, an `https://` server is checked against the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the authority that signed the server's certificate, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name in the server's certificate, where it differs from the host in the endpoint.
    pub server_name: Option<String>,
    /// PEM file of our certificate, for servers that ask for one (`tlsMode: 2`).
    pub certificate_file: Option<PathBuf>,
    /// PEM file of the key to it.
    pub key_file: Option<PathBuf>,
}

/// What is wrong with the settings of a connection.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not an address.
    #[error(
        "endpoint {endpoint:?} is not an address ({problem}): write http://host:port or https://host:port"
    )]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A certificate or key that cannot be read.
    #[error("{key}: cannot read {path}: does the file exist, and may this user read it?")]
    File {
        /// The setting.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file without what it is configured for.
    #[error("{key}: {path} holds no {wanted} in PEM form")]
    NotPem {
        /// The setting.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// A password or token that cannot be read.
    #[error("{why}")]
    Secret {
        /// The file, and what is wrong with it.
        why: String,
    },
    /// A certificate or key that cannot be used.
    #[error("tls: the certificates cannot be used: are ca_file, certificate_file and key_file PEM files?")]
    Certificates {
        /// What the TLS library said.
        #[source]
        source: tonic::transport::Error,
    },
    /// A database that cannot travel in a header.
    #[error(
        "database {database:?} cannot be sent to Milvus: it may only hold letters, digits and underscores"
    )]
    Database {
        /// As configured.
        database: String,
    },
}

impl ConnectionSettings {
    /// The address, complete with scheme and port.
    pub fn address(&self) -> Result<Uri, SettingsError> {
        let problem = |problem| SettingsError::Endpoint { endpoint: self.shown_endpoint(), problem };
        let text = self.endpoint.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| problem("it cannot be read"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if scheme != "http" && scheme != "https" {
            return Err(problem("the scheme is neither http nor https"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(problem("the host is missing"));
        };
        if authority.as_str().contains('@') {
            return Err(problem("credentials belong into user and password"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(problem("there is something after the port"));
        }
        let after_host = &authority.as_str()[authority.host().len()..];
        let port = match after_host.strip_prefix(':') {
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| problem("the port is not a number up to 65535"))?,
        };
        let complete = format!("{scheme}://{}:{port}", authority.host());
        complete.parse().map_err(|_| problem("it cannot be read"))
    }

    /// The endpoint for messages: as configured, without credentials somebody wrote into it.
    pub fn shown_endpoint(&self) -> String {
        match (self.endpoint.split_once("://"), self.endpoint.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
            (None, Some((_, host))) => format!("***@{host}"),
            (_, None) => self.endpoint.clone(),
        }
    }

    /// The files that certificates and credentials come from.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let secrets = [&self.password_file, &self.token_file];
        secrets.into_iter().flatten().cloned().chain(self.tls.files())
    }

    /// The same with what is in the files of its secrets now.
    pub(super) fn read_again(&self) -> Result<ConnectionSettings, SettingsError> {
        let read = |path: &Path| read_secret(path).map_err(|why| SettingsError::Secret { why });
        let mut settings = self.clone();
        if let Some(path) = &self.password_file {
            settings.password = Some(read(path)?);
        }
        if let Some(path) = &self.token_file {
            settings.token = Some(read(path)?);
        }
        Ok(settings)
    }

    /// What tonic needs to connect.
    pub(super) fn transport(&self) -> Result<Endpoint, SettingsError> {
        let uri = self.address()?;
        let encrypted = uri.scheme_str() == Some("https");
        let endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        if !encrypted {
            return Ok(endpoint);
        }
        let tls = self.tls.load(self.connect_timeout)?;
        endpoint.tls_config(tls).map_err(|source| SettingsError::Certificates { source })
    }

    /// What Milvus expects in `authorization`, before base64: `user:password`, or the token; nothing without.
    pub(super) fn credentials(&self) -> Option<SecretString> {
        if let Some(token) = &self.token {
            return Some(token.clone());
        }
        let user = self.user.as_ref()?;
        let password = self.password.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
        Some(SecretString::from(format!("{user}:{password}")))
    }
}

impl TlsSettings {
    /// The files that certificates come from.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let TlsSettings { ca_file, server_name: _, certificate_file, key_file } = self;
        [ca_file, certificate_file, key_file].into_iter().flatten().cloned()
    }

    pub(crate) fn load(&self, handshake_timeout: Duration) -> Result<ClientTlsConfig, SettingsError> {
        let mut tls = ClientTlsConfig::new().timeout(handshake_timeout);
        tls = match &self.ca_file {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read("tls.ca_file", path, CERTIFICATE)?)),
            None => tls.with_native_roots(),
        };
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            let certificate = read("tls.certificate_file", certificate, CERTIFICATE)?;
            tls = tls.identity(Identity::from_pem(certificate, read("tls.key_file", key, PRIVATE_KEY)?));
        }
        Ok(tls)
    }
}

/// How a certificate begins in a PEM file. A file without any would be taken for an empty list.
const CERTIFICATE: &str = "CERTIFICATE-----";
/// The same for keys, whose kind stands before it.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

fn read(key: &'static str, path: &Path, wanted: &'static str) -> Result<String, SettingsError> {
    let content =
        std::fs::read(path).map_err(|source| SettingsError::File { key, path: path.to_owned(), source })?;
    let content = String::from_utf8_lossy(&content).into_owned();
    if !content.contains(wanted) {
        let wanted = wanted.trim_end_matches('-');
        return Err(SettingsError::NotPem { key, path: path.to_owned(), wanted });
    }
    Ok(content)
}

/// Secrets are printed as three stars, so that a configuration can be shown.
fn masked<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "***").serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> ConnectionSettings {
        ConnectionSettings { endpoint: endpoint.to_owned(), ..ConnectionSettings::default() }
    }

    #[test]
    fn addresses_are_completed() {
        for (written, meant) in [
            ("localhost:19531", "http://localhost:19531/"),
            ("milvus", "http://milvus:19530/"),
            (" https://milvus.example:443/ ", "https://milvus.example:443/"),
            ("http://[::1]:19530", "http://[::1]:19530/"),
            ("[::1]", "http://[::1]:19530/"),
        ] {
            assert_eq!(at(written).address().unwrap().to_string(), meant, "{written}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (written, reason) in [
            ("", "cannot be read"),
            ("tcp://milvus:19530", "neither http nor https"),
            ("http://milvus:99999", "port is not a number"),
            ("milvus:port", "port is not a number"),
            ("http://milvus:19530/path", "after the port"),
            ("http://a b", "cannot be read"),
        ] {
            let complaint = at(written).address().map(|uri| uri.to_string()).unwrap_err().to_string();
            assert!(complaint.contains(reason) && complaint.contains("http://host:port"), "{complaint}");
        }
    }

    #[test]
    fn credentials_in_the_address_are_refused_and_not_repeated() {
        for written in ["http://root:secret@milvus:19530", "root:secret@milvus"] {
            let complaint = at(written).address().unwrap_err().to_string();
            assert!(complaint.contains("belong into user and password"), "{complaint}");
            assert!(!complaint.contains("secret"), "{complaint}");
        }
    }

    #[test]
    fn unreadable_certificates_are_named_by_key_and_file() {
        let mut settings = at("https://milvus:19530");
        settings.tls.ca_file = Some("no/such/file.pem".into());
        let complaint = settings.transport().map(|_| ()).unwrap_err().to_string();
        assert!(complaint.contains("tls.ca_file") && complaint.contains("no/such/file.pem"), "{complaint}");
    }

    #[test]
    fn secrets_are_never_printed() {
        let settings = ConnectionSettings {
            password: Some(SecretString::from("hunter2")),
            token: Some(SecretString::from("hunter3")),
            ..ConnectionSettings::default()
        };
        let printed = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
        assert!(!printed.contains("hunter") && printed.contains("***"), "{printed}");
    }

    #[test]
    fn unknown_keys_are_errors() {
        let complaint = serde_json::from_str::<ConnectionSettings>(r#"{"pasword": "x"}"#).unwrap_err();
        assert!(complaint.to_string().contains("pasword"), "{complaint}");
    }
}
