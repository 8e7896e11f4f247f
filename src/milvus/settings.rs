//! `[connections.NAME]`: where a Milvus is and how to get in. Whatever can be wrong with it is found here,
//! before the first call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri};

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
    /// User name; empty where Milvus asks for none.
    pub user: String,
    /// Password of the user.
    #[serde(serialize_with = "masked")]
    pub password: SecretString,
    /// API key, instead of user and password.
    #[serde(serialize_with = "masked")]
    pub token: SecretString,
    /// Database for calls that name none; empty for the server's default.
    pub database: String,
    /// Certificates, for `https://`.
    pub tls: TlsSettings,
    /// How long a connection may take to open.
    #[serde(with = "crate::config::duration")]
    pub connect_timeout: Duration,
    /// How long a reading call may take, the whole answer included. `LoadBalance` has its own limit.
    #[serde(with = "crate::config::duration")]
    pub request_timeout: Duration,
    /// Reading calls at a time.
    pub concurrency: usize,
    /// The largest answer that is read.
    pub max_response: Bytes,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        ConnectionSettings {
            endpoint: "http://localhost:19530".to_owned(),
            user: String::new(),
            password: SecretString::default(),
            token: SecretString::default(),
            database: String::new(),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The name in the server's certificate, where it differs from the host in the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// PEM file of our certificate, for servers that ask for one (`tlsMode: 2`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// PEM file of the key to it.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Two settings that exclude or need each other.
    #[error("{problem}")]
    Contradiction {
        /// Both, and what to do.
        problem: &'static str,
    },
    /// Nothing would ever be answered.
    #[error("{key} must be greater than 0")]
    Zero {
        /// The setting.
        key: &'static str,
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
    /// A certificate or key that is not one.
    #[error("tls: the certificates cannot be used: are ca_file, certificate_file and key_file PEM files?")]
    Certificates {
        /// What the TLS library said.
        #[source]
        source: tonic::transport::Error,
    },
    /// Credentials that cannot travel in a header.
    #[error(
        "database {database:?} cannot be sent to Milvus: it may only hold letters, digits and underscores"
    )]
    Database {
        /// As configured.
        database: String,
    },
}

impl ConnectionSettings {
    /// Everything that is wrong with these settings, files included; empty when a client can be made.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        let uri = self.uri().map_err(|problem| problems.push(problem)).ok();
        let encrypted = uri.as_ref().is_some_and(|uri| uri.scheme_str() == Some("https"));
        if uri.is_some() && !encrypted && self.tls != TlsSettings::default() {
            let problem =
                "tls is configured, but the endpoint is not encrypted: write https://, or remove tls";
            problems.push(SettingsError::Contradiction { problem });
        }
        if !self.token.expose_secret().is_empty() && !self.user.is_empty() {
            let problem = "both user and token are set: keep the one that this Milvus knows";
            problems.push(SettingsError::Contradiction { problem });
        }
        if self.user.is_empty() && !self.password.expose_secret().is_empty() {
            let problem = "a password is set, but no user: set user too";
            problems.push(SettingsError::Contradiction { problem });
        }
        if self.tls.certificate_file.is_some() != self.tls.key_file.is_some() {
            let problem = "certificate_file and key_file belong together: set both or neither";
            problems.push(SettingsError::Contradiction { problem });
        }
        let amounts = [
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("request_timeout", self.request_timeout.is_zero()),
            ("concurrency", self.concurrency == 0),
            ("max_response", self.max_response == Bytes::ZERO),
        ];
        for (key, is_zero) in amounts {
            if is_zero {
                problems.push(SettingsError::Zero { key });
            }
        }
        if !is_header_text(&self.database) {
            problems.push(SettingsError::Database { database: self.database.clone() });
        }
        if encrypted && let Err(problem) = self.transport() {
            problems.push(problem);
        }
        problems
    }

    /// The address, complete with scheme and port.
    pub(super) fn uri(&self) -> Result<Uri, SettingsError> {
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

    /// What tonic needs to connect.
    pub(super) fn transport(&self) -> Result<Endpoint, SettingsError> {
        let uri = self.uri()?;
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
        let token = self.token.expose_secret();
        if !token.is_empty() {
            return Some(SecretString::from(token));
        }
        if self.user.is_empty() {
            return None;
        }
        Some(SecretString::from(format!("{}:{}", self.user, self.password.expose_secret())))
    }
}

impl TlsSettings {
    fn load(&self, handshake_timeout: Duration) -> Result<ClientTlsConfig, SettingsError> {
        let mut tls = ClientTlsConfig::new().timeout(handshake_timeout);
        tls = match &self.ca_file {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read("tls.ca_file", path)?)),
            None => tls.with_native_roots(),
        };
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            let certificate = read("tls.certificate_file", certificate)?;
            tls = tls.identity(Identity::from_pem(certificate, read("tls.key_file", key)?));
        }
        Ok(tls)
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|source| SettingsError::File { key, path: path.to_owned(), source })
}

/// Whether a text may stand in a gRPC header.
fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Secrets are printed as three stars, so that a configuration can be shown.
fn masked<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { "***" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> ConnectionSettings {
        ConnectionSettings { endpoint: endpoint.to_owned(), ..ConnectionSettings::default() }
    }

    fn complaints(settings: &ConnectionSettings) -> Vec<String> {
        settings.problems().iter().map(ToString::to_string).collect()
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
            assert_eq!(at(written).uri().unwrap().to_string(), meant, "{written}");
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
            let complaint = at(written).uri().map(|uri| uri.to_string()).unwrap_err().to_string();
            assert!(complaint.contains(reason) && complaint.contains("http://host:port"), "{complaint}");
        }
    }

    #[test]
    fn credentials_in_the_address_are_refused_and_not_repeated() {
        for written in ["http://root:secret@milvus:19530", "root:secret@milvus"] {
            let complaint = at(written).uri().unwrap_err().to_string();
            assert!(complaint.contains("belong into user and password"), "{complaint}");
            assert!(!complaint.contains("secret"), "{complaint}");
        }
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let settings = ConnectionSettings {
            user: "root".to_owned(),
            token: SecretString::from("key"),
            concurrency: 0,
            request_timeout: Duration::ZERO,
            database: "two words".to_owned(),
            tls: TlsSettings { key_file: Some("k.pem".into()), ..TlsSettings::default() },
            ..ConnectionSettings::default()
        };
        let complaints = complaints(&settings).join("\n");
        for expected in
            ["user and token", "concurrency", "request_timeout", "two words", "key_file", "https://"]
        {
            assert!(complaints.contains(expected), "{expected} is missing from:\n{complaints}");
        }
        assert!(ConnectionSettings::default().problems().is_empty());
    }

    #[test]
    fn unreadable_certificates_are_named_by_key_and_file() {
        let mut settings = at("https://milvus:19530");
        settings.tls.ca_file = Some("no/such/file.pem".into());
        let complaints = complaints(&settings).join("\n");
        assert!(
            complaints.contains("tls.ca_file") && complaints.contains("no/such/file.pem"),
            "{complaints}"
        );
    }

    #[test]
    fn secrets_are_never_printed() {
        let settings = ConnectionSettings {
            password: SecretString::from("hunter2"),
            token: SecretString::from("hunter3"),
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
