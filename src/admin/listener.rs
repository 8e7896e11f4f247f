//! The admin listener: a port or a Unix socket, with limits for slow and for too many clients.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Peer;
use super::settings::{AdminSettings, Place};
use super::tls::{AdminTlsError, Terms};

/// Connections at a time: some people, their pages with an open stream each, and their scripts.
const MOST_CONNECTIONS: usize = 128;

/// How long a client may take to send the head of a request. A person's browser takes milliseconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long open connections may keep a stopping process.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// After an accept that failed, for want of file handles mostly: none is free sooner.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Only the owner may use the socket.
const SOCKET_MODE: u32 = 0o600;

/// Why nobody can use the admin API.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The place is none.
    #[error("admin.listen is {listen:?}, which is neither an address with a port nor \"unix:\" and a path")]
    Place {
        /// What is configured.
        listen: String,
    },
    /// Other machines would reach it, and nobody said that they may.
    #[error(
        "admin.listen is {address}, which other machines reach: use a loopback address, or set admin.tls (or \
         admin.allow_remote) and admin.operate_token_file (or admin.tls.client_ca_file)"
    )]
    Remote {
        /// Where it would listen.
        address: SocketAddr,
    },
    /// The place cannot be used.
    #[error("cannot listen on {place}: stop what uses it, or set admin.listen to another place")]
    Bind {
        /// Which.
        place: Place,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] AdminTlsError),
}

/// A listener that has its place and waits to be run.
#[derive(Debug)]
pub struct AdminListener {
    place: Place,
    socket: Socket,
    terms: Option<Arc<Terms>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl AdminListener {
    /// Takes the place, so that one in use is known before anything else starts.
    pub async fn bind(settings: &AdminSettings) -> Result<AdminListener, AdminError> {
        let place = Place::parse(&settings.listen)
            .ok_or_else(|| AdminError::Place { listen: settings.listen.clone() })?;
        let failed = |source| AdminError::Bind { place: place.clone(), source };
        match &place {
            Place::Tcp(address) => {
                let is_allowed = settings.may_be_remote() && settings.asks_who_it_is();
                if !place.is_local() && !is_allowed {
                    return Err(AdminError::Remote { address: *address });
                }
                let terms = Terms::new(&settings.tls)?.map(Arc::new);
                let socket = TcpListener::bind(address).await.map_err(failed)?;
                // Port 0 becomes a real one.
                let place = Place::Tcp(socket.local_addr().map_err(failed)?);
                Ok(AdminListener { place, socket: Socket::Tcp(socket), terms })
            }
            Place::Unix(path) => {
                remove_left_over(path).await.map_err(failed)?;
                let socket = UnixListener::bind(path).map_err(failed)?;
                std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
                let socket = Socket::Unix(socket, path.clone());
                // What never leaves this machine needs no certificate.
                Ok(AdminListener { place: place.clone(), socket, terms: None })
            }
        }
    }

    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Answers until it is told to stop; answers under way are finished.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let connections = TaskTracker::new();
        loop {
            let room = Arc::clone(&free).acquire_owned();
            let room = tokio::select! {
                () = stop.cancelled() => break,
                room = room => room,
            };
            let Ok(room) = room else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (router, terms, stop) = (router.clone(), self.terms.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Some((stream, peer)) = agree(terms, stream, peer).await {
                            answer(stream, router.layer(Extension(peer)), stop).await;
                        }
                        drop(room);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the admin API cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if let Socket::Unix(_, path) = &self.socket {
            // Gone already is as good.
            drop(std::fs::remove_file(path));
        }
        connections.close();
        // Who is still reading then has had their time.
        drop(tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await);
    }
}

/// Either kind of stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Socket {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Box::new(stream), Peer::Tcp { address, certificate: None }))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred().ok();
                let user = peer.as_ref().map(tokio::net::unix::UCred::uid);
                let process = peer.and_then(|peer| peer.pid());
                Ok((Box::new(stream), Peer::Unix { user, process }))
            }
        }
    }
}

/// Shakes hands, where there is TLS; `None` when the client does not get that far.
async fn agree(
    terms: Option<Arc<Terms>>,
    stream: Box<dyn Stream>,
    peer: Peer,
) -> Option<(Box<dyn Stream>, Peer)> {
    let (Some(terms), Peer::Tcp { address, .. }) = (terms, peer) else { return Some((stream, peer)) };
    let agreed = tokio::time::timeout(HEAD_TIMEOUT, terms.accept(stream)).await;
    match agreed.unwrap_or_else(|late| Err(late.into())) {
        Ok((stream, certificate)) => Some((Box::new(stream), Peer::Tcp { address, certificate })),
        Err(error) => {
            tracing::debug!(%error, origin = %peer, "a client of the admin API does not agree on TLS");
            None
        }
    }
}

/// Answers the requests of one connection.
async fn answer(stream: Box<dyn Stream>, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin API broke off");
    }
}

/// A socket on which nobody answers was left by a process that was killed. Anything else stays.
async fn remove_left_over(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if found.file_type().is_socket() && UnixStream::connect(path).await.is_err() {
        return std::fs::remove_file(path);
    }
    Ok(())
}
