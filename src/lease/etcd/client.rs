//! The few requests to etcd that an election needs, as methods. A token is fetched when etcd asks for one, and fetched
//! anew when it has run out.

use std::fs;
use std::time::Duration;

use futures::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::wire::auth_client::AuthClient;
use super::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use super::wire::event::EventType;
use super::wire::kv_client::KvClient;
use super::wire::lease_client::LeaseClient;
use super::wire::watch_client::WatchClient;
use super::wire::watch_request::RequestUnion;
use super::wire::{
    AuthenticateRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, WatchCreateRequest,
    WatchRequest, request_op, response_op,
};
use crate::lease::settings::EtcdSettings;
use crate::milvus::SettingsError;
use crate::telemetry::Chain;
use crate::watched_files::WatchedFiles;

/// How long a connection may take to open: a network that is slower than this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What etcd says of a token that has run out, and of a request without one.
const STALE_TOKEN: [&str; 2] = ["invalid auth token", "user name is empty"];

/// Why etcd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Not an address.
    #[error("lease.etcd.endpoints: {endpoint:?} is not an address such as http://127.0.0.1:2379")]
    Endpoint {
        /// As configured.
        endpoint: String,
    },
    /// None configured.
    #[error("lease.etcd.endpoints is empty: name the members of the etcd that decides")]
    NoEndpoint,
    /// Certificates that cannot be used.
    #[error("lease.etcd.tls cannot be used")]
    Tls(#[source] SettingsError),
    /// TLS that cannot be set up.
    #[error("lease.etcd.tls cannot be used")]
    Transport(#[source] tonic::transport::Error),
    /// The password's file cannot be read.
    #[error("lease.etcd.password_file: cannot read it")]
    Password(#[source] std::io::Error),
    /// etcd answered with an error, or not at all.
    #[error("etcd did not {request}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// What it said.
        #[source]
        status: Box<Status>,
    },
    /// It took too long.
    #[error("etcd did not answer in time")]
    Late,
    /// The lease has run out.
    #[error("the lease has run out")]
    LeaseLost,
    /// An answer without what it must have.
    #[error("etcd answered without {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
}

/// What became of an attempt to make a key.
pub(super) enum Created {
    /// It is there, and ours.
    Ours {
        /// Its creation revision.
        revision: i64,
    },
    /// It was there before.
    Theirs {
        /// What is in it.
        value: Vec<u8>,
        /// The lease it lives by.
        lease: i64,
        /// Its creation revision.
        revision: i64,
        /// The revision of the whole store when it was found.
        seen: i64,
    },
}

/// What became of an attempt to write a key that another one guards.
pub(super) enum Put {
    /// It is written, or removed.
    Done {
        /// The revision of that change; 0 when it is not there any more.
        changed_at: i64,
    },
    /// It was changed meanwhile, by whoever held the guard then.
    Raced {
        /// The revision of its last change; 0 when it is not there.
        changed_at: i64,
    },
    /// The guard is another one's, or gone.
    Lost,
}

/// A connection to one etcd.
pub struct EtcdClient {
    /// Made anew when the files of its certificates have been replaced.
    channel: Mutex<(WatchedFiles, Channel)>,
    user: Option<String>,
    settings: EtcdSettings,
    token: Mutex<Option<SecretString>>,
}

impl EtcdClient {
    /// It does not connect yet; only the settings can fail.
    pub fn new(settings: &EtcdSettings) -> Result<EtcdClient, EtcdError> {
        EtcdClient::check(settings)?;
        let files = WatchedFiles::new(settings.tls.files());
        Ok(EtcdClient {
            channel: Mutex::new((files, EtcdClient::open(settings)?)),
            user: settings.user.clone(),
            settings: settings.clone(),
            token: Mutex::new(None),
        })
    }

    fn open(settings: &EtcdSettings) -> Result<Channel, EtcdError> {
        let mut endpoints = Vec::new();
        for text in &settings.endpoints {
            let wrong = || EtcdError::Endpoint { endpoint: text.clone() };
            let endpoint = Endpoint::from_shared(text.clone()).map_err(|_| wrong())?;
            let is_encrypted = endpoint.uri().scheme_str() == Some("https");
            let mut endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
            if is_encrypted {
                let tls = settings.tls.load(CONNECT_TIMEOUT).map_err(EtcdError::Tls)?;
                endpoint = endpoint.tls_config(tls).map_err(EtcdError::Transport)?;
            }
            endpoints.push(endpoint);
        }
        Ok(Channel::balance_list(endpoints.into_iter()))
    }

    /// The channel, with the certificates that are there now. Files are looked at each time, which costs microseconds.
    async fn channel(&self) -> Channel {
        let mut state = self.channel.lock().await;
        let (files, known) = &mut *state;
        if files.have_changed() {
            match EtcdClient::open(&self.settings) {
                Ok(new) => {
                    tracing::info!("the certificates for etcd were read again: their files have changed");
                    *known = new;
                }
                // A key is often written a moment after its certificate; then its file changes once more.
                Err(error) => tracing::warn!(
                    error = %Chain(&error),
                    "the certificates for etcd have changed and cannot be used; those of before stay in use"
                ),
            }
        }
        known.clone()
    }

    /// Whether the addresses are some.
    pub fn check(settings: &EtcdSettings) -> Result<(), EtcdError> {
        if settings.endpoints.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        for text in &settings.endpoints {
            let uri: Option<tonic::transport::Uri> = text.parse().ok();
            let is_usable = uri.is_some_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
            });
            if !is_usable {
                return Err(EtcdError::Endpoint { endpoint: text.clone() });
            }
        }
        Ok(())
    }

    /// A new lease of about this length, and the length that it really has.
    pub(super) async fn grant(&self, life: Duration) -> Result<(i64, Duration), EtcdError> {
        let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX).max(1);
        let answer = self
            .ask("grant a lease", |channel, token| {
                let request = with_token(LeaseGrantRequest { ttl: seconds, id: 0 }, token);
                async move { LeaseClient::new(channel).lease_grant(request).await }
            })
            .await?;
        Ok((answer.id, seconds_of(answer.ttl)))
    }

    /// Prolongs a lease: how long it lives from now on, or `None` when it has run out.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<Option<Duration>, EtcdError> {
        let mut answers = self
            .ask("prolong the lease", |channel, token| {
                let once = futures::stream::iter([LeaseKeepAliveRequest { id: lease }]);
                async move { LeaseClient::new(channel).lease_keep_alive(with_token(once, token)).await }
            })
            .await?;
        let refused = |status| EtcdError::Refused { request: "prolong the lease", status: Box::new(status) };
        let answer = answers.message().await.map_err(refused)?;
        let answer = answer.ok_or(EtcdError::Incomplete { what: "a word on the lease" })?;
        Ok((answer.ttl > 0).then(|| seconds_of(answer.ttl)))
    }

    /// Ends a lease, and with it all that lives by it.
    pub(super) async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        self.ask("end the lease", |channel, token| {
            let request = with_token(LeaseRevokeRequest { id: lease }, token);
            async move { LeaseClient::new(channel).lease_revoke(request).await }
        })
        .await
        .map(|_| ())
    }

    /// Makes a key that is not there.
    pub(super) async fn create(
        &self,
        key: Vec<u8>,
        value: Vec<u8>,
        lease: i64,
    ) -> Result<Created, EtcdError> {
        let put = PutRequest { key: key.clone(), value, lease, prev_kv: false };
        let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let answer = self
            .transact(TxnRequest {
                compare: vec![created_at(key, 0)],
                success: vec![operation(request_op::Request::RequestPut(put))],
                failure: vec![operation(request_op::Request::RequestRange(range))],
            })
            .await?;
        if answer.succeeded {
            let header = answer.header.ok_or(EtcdError::Incomplete { what: "its header" })?;
            return Ok(Created::Ours { revision: header.revision });
        }
        let found = answer.responses.into_iter().find_map(|one| match one.response {
            Some(response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        let found = found.ok_or(EtcdError::Incomplete { what: "the leader's key" })?;
        let seen = answer.header.map_or(found.mod_revision, |header| header.revision);
        Ok(Created::Theirs { value: found.value, lease: found.lease, revision: found.create_revision, seen })
    }

    /// Writes a key, or removes it, while another one is still the one that was made at this revision, and unless somebody
    /// has changed it since `seen`, the revision of its last change; 0 is one that is not there. A request that was given
    /// up may still reach etcd, after a later one.
    pub(super) async fn put_while(
        &self,
        (guard, made_at): (Vec<u8>, i64),
        (key, seen): (Vec<u8>, i64),
        value: Option<Vec<u8>>,
    ) -> Result<Put, EtcdError> {
        let is_removed = value.is_none();
        let range = |key: &[u8]| {
            let range = RangeRequest { key: key.to_vec(), ..RangeRequest::default() };
            operation(request_op::Request::RequestRange(range))
        };
        let failure = vec![range(&guard), range(&key)];
        let compare = vec![created_at(guard, made_at), changed_at(key.clone(), seen)];
        let change = match value {
            Some(value) => {
                request_op::Request::RequestPut(PutRequest { key, value, ..PutRequest::default() })
            }
            None => {
                let remove = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
                request_op::Request::RequestDeleteRange(remove)
            }
        };
        let transaction = TxnRequest { compare, success: vec![operation(change)], failure };
        let answer = self.transact(transaction).await?;
        if answer.succeeded {
            let header = answer.header.ok_or(EtcdError::Incomplete { what: "its header" })?;
            return Ok(Put::Done { changed_at: if is_removed { 0 } else { header.revision } });
        }
        let mut found = answer.responses.into_iter().map(|one| match one.response {
            Some(response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        let (guard, record) = (found.next().flatten(), found.next().flatten());
        if guard.is_none_or(|guard| guard.create_revision != made_at) {
            return Ok(Put::Lost);
        }
        Ok(Put::Raced { changed_at: record.map_or(0, |record| record.mod_revision) })
    }

    /// What is in a key, if it is there.
    pub(super) async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, EtcdError> {
        let answer = self
            .ask("read a key", |channel, token| {
                let request = RangeRequest { key: key.clone(), ..RangeRequest::default() };
                async move { KvClient::new(channel).range(with_token(request, token)).await }
            })
            .await?;
        Ok(answer.kvs.into_iter().next().map(|found| found.value))
    }

    /// Waits until a key has been deleted that was there at this revision of the store; a watch that etcd ends is an error.
    pub(super) async fn deletion(&self, key: Vec<u8>, seen: i64) -> Result<(), EtcdError> {
        let request = "watch the leader's key";
        let mut answers = self
            .ask(request, |channel, token| {
                let create =
                    WatchCreateRequest { key: key.clone(), start_revision: seen + 1, ..Default::default() };
                let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
                // etcd ends a watch whose requests end.
                let requests = futures::stream::iter([create]).chain(futures::stream::pending());
                async move { WatchClient::new(channel).watch(with_token(requests, token)).await }
            })
            .await?;
        let refused = |status| EtcdError::Refused { request, status: Box::new(status) };
        loop {
            let answer = answers.message().await.map_err(refused)?;
            let answer = answer.filter(|answer| !answer.canceled);
            let answer = answer.ok_or(EtcdError::Incomplete { what: "what happens to the leader's key" })?;
            if answer.events.iter().any(|event| event.r#type() == EventType::Delete) {
                return Ok(());
            }
        }
    }

    async fn transact(&self, transaction: TxnRequest) -> Result<TxnResponse, EtcdError> {
        self.ask("make the transaction", |channel, token| {
            let request = with_token(transaction.clone(), token);
            async move { KvClient::new(channel).txn(request).await }
        })
        .await
    }

    /// Asks once, and a second time with a new token where the one at hand has run out.
    async fn ask<A, F, Sent>(&self, request: &'static str, send: F) -> Result<A, EtcdError>
    where
        F: Fn(Channel, Option<SecretString>) -> Sent,
        Sent: Future<Output = Result<tonic::Response<A>, Status>> + Send,
    {
        let refused = |status| EtcdError::Refused { request, status: Box::new(status) };
        let token = self.token().await?;
        match send(self.channel().await, token).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) if self.user.is_some() && is_stale(&status) => {
                *self.token.lock().await = None;
                let token = self.token().await?;
                send(self.channel().await, token).await.map(tonic::Response::into_inner).map_err(refused)
            }
            Err(status) => Err(refused(status)),
        }
    }

    /// The token to travel with, where there is a user.
    async fn token(&self) -> Result<Option<SecretString>, EtcdError> {
        let Some(user) = &self.user else { return Ok(None) };
        let mut known = self.token.lock().await;
        if known.is_none() {
            let password = self.password()?.expose_secret().to_owned();
            let request = AuthenticateRequest { name: user.clone(), password };
            let answer = AuthClient::new(self.channel().await).authenticate(request).await;
            let refused = |status| EtcdError::Refused { request: "let us in", status: Box::new(status) };
            *known = Some(SecretString::from(answer.map_err(refused)?.into_inner().token));
        }
        Ok(known.clone())
    }

    /// The password, read anew each time it is needed: whoever changes it changes the file.
    fn password(&self) -> Result<SecretString, EtcdError> {
        match &self.settings.password_file {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(EtcdError::Password)?;
                Ok(SecretString::from(text.trim_end_matches(['\n', '\r'])))
            }
            None => Ok(self.settings.password.clone().unwrap_or_default()),
        }
    }
}

fn is_stale(status: &Status) -> bool {
    let is_kind = matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument);
    is_kind && STALE_TOKEN.iter().any(|text| status.message().contains(text))
}

/// A request with its token, if there is one, where etcd looks for it.
fn with_token<T>(message: T, token: Option<SecretString>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(value) = token.and_then(|token| token.expose_secret().parse().ok()) {
        request.metadata_mut().insert("token", value);
    }
    request
}

fn created_at(key: Vec<u8>, revision: i64) -> Compare {
    equal(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
}

fn changed_at(key: Vec<u8>, revision: i64) -> Compare {
    equal(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
}

fn equal(key: Vec<u8>, target: CompareTarget, value: TargetUnion) -> Compare {
    Compare { result: CompareResult::Equal.into(), target: target.into(), key, target_union: Some(value) }
}

fn operation(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
