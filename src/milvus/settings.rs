//! How to reach one Milvus: address, credentials, TLS and limits of a connection.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

use crate::units::Bytes;

/// A connection, as configured under `[connections.ALIAS]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionSettings {
    /// Address of a proxy, with its scheme.
    pub endpoint: String,
    /// User name.
    pub user: Option<String>,
    /// Password of that user.
    #[serde(serialize_with = "masked")]
    pub password: Option<SecretString>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// An API key, or `user:password`, instead of user and password.
    #[serde(serialize_with = "masked")]
    pub token: Option<SecretString>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// The database in which names without one are looked up.
    pub database: Option<String>,
    /// TLS, in force when the endpoint starts with `https://`.
    pub tls: TlsSettings,
    /// How long to wait for a connection.
    #[serde(with = "crate::config::duration")]
    pub connect_timeout: Duration,
    /// How long to wait for the answer to one read.
    #[serde(with = "crate::config::duration")]
    pub request_timeout: Duration,
    /// Reads at the same time.
    pub concurrency: u32,
    /// The largest answer that is accepted.
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
            concurrency: 8,
            max_response: Bytes(256 << 20),
        }
    }
}

/// TLS of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the server's certificate must carry, where it is not the endpoint's host.
    pub server_name: Option<String>,
    /// Our own certificate.
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
}

/// Says that there is a secret, and nothing else.
fn masked<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_str("********"),
        None => serializer.serialize_none(),
    }
}
