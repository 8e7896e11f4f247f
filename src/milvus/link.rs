//! What calls are made with: channel and headers. They are made anew when the files behind them have been replaced, so
//! that a renewed certificate or a changed password needs no restart.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Channel;

use super::settings::{ConnectionSettings, SettingsError};
use super::wire::milvus::milvus_service_client::MilvusServiceClient;
use crate::telemetry::Chain;
use crate::watched_files::WatchedFiles;

/// What a call is made with. Calls under way keep what they began with.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) rpc: MilvusServiceClient<Channel>,
    pub(super) headers: MetadataMap,
}

/// The newest parts, and the files that they came from.
pub(super) struct Link {
    connection: String,
    settings: ConnectionSettings,
    state: Mutex<(WatchedFiles, Parts)>,
}

impl Link {
    pub(super) fn new(connection: &str, settings: &ConnectionSettings) -> Result<Link, SettingsError> {
        let files = WatchedFiles::new(settings.files());
        let state = Mutex::new((files, parts(settings)?));
        Ok(Link { connection: connection.to_owned(), settings: settings.clone(), state })
    }

    /// What the next call is made with. Files are looked at each time, which costs microseconds.
    pub(super) fn parts(&self) -> Parts {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, known) = &mut *state;
        if files.have_changed() {
            let connection = &self.connection;
            match self.settings.read_again().and_then(|settings| parts(&settings)) {
                Ok(new) => {
                    tracing::info!(
                        connection,
                        "certificates and credentials were read again: their files have changed"
                    );
                    *known = new;
                }
                // A key is often written a moment after its certificate; then its file changes once more.
                Err(error) => tracing::warn!(
                    connection,
                    error = %Chain(&error),
                    "certificates or credentials have changed and cannot be used; what was read before stays in use"
                ),
            }
        }
        known.clone()
    }
}

fn parts(settings: &ConnectionSettings) -> Result<Parts, SettingsError> {
    let limit = usize::try_from(settings.max_response.0).unwrap_or(usize::MAX);
    let channel = settings.transport()?.connect_lazy();
    let rpc = MilvusServiceClient::new(channel).max_decoding_message_size(limit);
    Ok(Parts { rpc, headers: headers(settings)? })
}

/// The headers of every call: who we are, and which database is meant where a call does not say.
fn headers(settings: &ConnectionSettings) -> Result<MetadataMap, SettingsError> {
    let mut headers = MetadataMap::new();
    if let Some(credentials) = settings.credentials() {
        // Bare base64: Milvus wants no "Basic" or "Bearer" before it.
        let encoded = BASE64_STANDARD.encode(credentials.expose_secret());
        let mut value = header(&encoded, "credentials")?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
    }
    if let Some(database) = &settings.database {
        headers.insert("dbname", header(database, database)?);
    }
    Ok(headers)
}

fn header(value: &str, shown: &str) -> Result<MetadataValue<Ascii>, SettingsError> {
    value.parse().map_err(|_| SettingsError::Database { database: shown.to_owned() })
}
