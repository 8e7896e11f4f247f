//! TLS on the admin listener: its certificate, and whose certificates it asks for. Files that are renewed are read again, so
//! that nobody restarts a daemon for a certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::Chain;
use crate::watched_files::WatchedFiles;

/// The one protocol that is spoken over it.
const PROTOCOL: &[u8] = b"http/1.1";

/// `[admin.tls]`. The first three are the daemon's, the others are those of the commands that ask it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTlsSettings {
    /// PEM file of the listener's certificate and of those between it and its authority.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of the key to it.
    pub key_file: Option<PathBuf>,
    /// PEM file of the authorities one of which must have signed a client's certificate; else none is asked for.
    pub client_ca_file: Option<PathBuf>,
    /// PEM file of the authority by which a command knows the daemon, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name in the daemon's certificate, where it is no address.
    pub server_name: Option<String>,
    /// PEM file of a command's own certificate, for a daemon that asks for one.
    pub client_certificate_file: Option<PathBuf>,
    /// PEM file of the key to it.
    pub client_key_file: Option<PathBuf>,
}

impl AdminTlsSettings {
    /// Whether the listener speaks TLS.
    pub fn is_served(&self) -> bool {
        self.certificate_file.is_some() || self.key_file.is_some()
    }

    /// Whether commands speak TLS to the daemon.
    pub fn is_asked_for(&self) -> bool {
        *self != AdminTlsSettings::default()
    }

    /// Names and paths of the files that the daemon reads.
    pub(crate) fn served_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("admin.tls.certificate_file", &self.certificate_file),
            ("admin.tls.key_file", &self.key_file),
            ("admin.tls.client_ca_file", &self.client_ca_file),
        ];
        files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)))
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum AdminTlsError {
    /// Only one of the two is there.
    #[error("admin.tls needs certificate_file and key_file, and one of them is not set")]
    Incomplete,
    /// A file cannot be read.
    #[error("{key}: cannot read {}: does the file exist, and may this user read it?", path.display())]
    File {
        /// The option.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{key}: {} does not hold {what} in PEM form", path.display())]
    Pem {
        /// The option.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it must hold.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key is not that of the certificate, or of a kind that nobody uses.
    #[error("admin.tls: certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// No client's certificate could be judged by it.
    #[error("admin.tls.client_ca_file: its authorities cannot be used")]
    Authorities(#[source] VerifierBuilderError),
}

/// What every connection is accepted with. Those that are open keep what they began with.
#[derive(Debug)]
pub(super) struct Terms {
    settings: AdminTlsSettings,
    state: Mutex<(WatchedFiles, Arc<ServerConfig>)>,
}

impl Terms {
    /// By these options; `None` when they ask for no TLS.
    pub(super) fn new(settings: &AdminTlsSettings) -> Result<Option<Terms>, AdminTlsError> {
        if !settings.is_served() {
            return Ok(None);
        }
        let files = WatchedFiles::new(settings.served_files().map(|(_, path)| path.to_owned()));
        let state = Mutex::new((files, load(settings)?));
        Ok(Some(Terms { settings: settings.clone(), state }))
    }

    /// Shakes hands with a client, and tells its certificate, if it was asked for one.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<Fingerprint>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.newest()).accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let fingerprint = certificates.and_then(<[_]>::first).map(Fingerprint::of);
        Ok((stream, fingerprint))
    }

    fn newest(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, known) = &mut *state;
        if files.have_changed() {
            match load(&self.settings) {
                Ok(new) => {
                    tracing::info!("the admin API's certificates were read again: their files have changed");
                    *known = new;
                }
                // A key is often written a moment after its certificate; then its file changes once more.
                Err(error) => tracing::warn!(
                    error = %Chain(&error),
                    "the admin API's certificates have changed and cannot be used; those of before stay in use"
                ),
            }
        }
        Arc::clone(known)
    }
}

/// By which a certificate is known: the SHA-256 of its bytes, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Fingerprint(bytes)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// What the files say, checked as far as that is possible before a client comes.
pub(crate) fn load(settings: &AdminTlsSettings) -> Result<Arc<ServerConfig>, AdminTlsError> {
    let (Some(certificate), Some(key)) = (&settings.certificate_file, &settings.key_file) else {
        return Err(AdminTlsError::Incomplete);
    };
    let chain = certificates("admin.tls.certificate_file", certificate)?;
    let named = "admin.tls.key_file";
    let text = read(named, key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|source| AdminTlsError::Pem {
        key: named,
        path: key.clone(),
        what: "a private key",
        source,
    })?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(AdminTlsError::Pair)?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut authorities = RootCertStore::empty();
            authorities.add_parsable_certificates(certificates("admin.tls.client_ca_file", path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(AdminTlsError::Authorities)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(AdminTlsError::Pair)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, AdminTlsError> {
    let wrong = |source| AdminTlsError::Pem { key, path: path.to_owned(), what: "certificates", source };
    let text = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(wrong)?;
    if found.is_empty() {
        return Err(wrong(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, AdminTlsError> {
    std::fs::read(path).map_err(|source| AdminTlsError::File { key, path: path.to_owned(), source })
}
