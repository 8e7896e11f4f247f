//! A bad network: a TCP proxy between the daemon and Milvus that breaks, delays, half-closes and silences
//! connections, each with a fate of its own.

use std::future::{Future, pending};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::scene::Chance;

/// No connection is well for longer than that while the network is bad.
const LONGEST_HEALTH: Duration = Duration::from_secs(4);

/// How long a spoilt connection lives on at most. What it holds back is lost with it, so that nothing arrives later
/// than that: well before the daemon gives a call up.
const LONGEST_AGONY: Duration = Duration::from_secs(3);

/// The longest that anything is held back on a slow connection.
const LONGEST_PAUSE: Duration = Duration::from_millis(120);

/// A fate.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Nothing happens to it.
    Fair,
    /// It is closed as soon as it is made.
    Refused,
    /// It ends with a reset.
    Reset(Duration),
    /// It ends in good order, in the middle of whatever it carries.
    Closed(Duration),
    /// The way up or down is closed, the other one is not.
    HalfClosed(Duration, Way),
    /// Nothing goes through any more on one way, and nobody is told.
    Silent(Duration, Way),
    /// Everything takes its time.
    Slow,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To Milvus.
    Up,
    /// To the daemon.
    Down,
}

impl Fate {
    fn of(chance: &mut Chance) -> Fate {
        let at = chance.up_to(LONGEST_HEALTH);
        let way = if chance.happens(0.5) { Way::Up } else { Way::Down };
        match chance.count(0, 9) {
            0 => Fate::Refused,
            1 | 2 => Fate::Reset(at),
            3 | 4 => Fate::Closed(at),
            5 => Fate::HalfClosed(at, way),
            6 | 7 => Fate::Silent(at, way),
            _ => Fate::Slow,
        }
    }

    /// When it strikes, if on this way.
    async fn strikes(self, on: Way) {
        match self {
            Fate::HalfClosed(at, way) | Fate::Silent(at, way) if way == on => sleep(at).await,
            _ => pending().await,
        }
    }

    /// How long the connection lives.
    fn life(self) -> Duration {
        match self {
            Fate::Fair => Duration::MAX,
            Fate::Refused => Duration::ZERO,
            Fate::Reset(at) | Fate::Closed(at) => at,
            Fate::HalfClosed(at, _) | Fate::Silent(at, _) => at + LONGEST_AGONY,
            Fate::Slow => LONGEST_HEALTH,
        }
    }
}

/// A running proxy. It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    healed: CancellationToken,
    spoilt: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Between whoever connects to it and this address.
    pub async fn start(server: SocketAddr, mut chance: Chance) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let healed = CancellationToken::new();
        let spoilt = Arc::new(AtomicU64::new(0));
        let (until, count) = (healed.clone(), spoilt.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let is_bad = !until.is_cancelled();
                let fate = if is_bad { Fate::of(&mut chance) } else { Fate::Fair };
                count.fetch_add(u64::from(is_bad), Ordering::Relaxed);
                let pauses = Pauses { chance: chance.branch(), slow: matches!(fate, Fate::Slow) };
                let healed = until.clone();
                tokio::spawn(async move {
                    let ends = async { if is_bad { healed.cancelled().await } else { pending().await } };
                    tokio::select! {
                        () = ends => {}
                        () = carry(client, server, fate, pauses) => {}
                    }
                });
            }
        });
        Proxy { address, healed, spoilt, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every connection is fair; those that are not end.
    pub fn heal(&self) {
        self.healed.cancel();
    }

    /// Connections that met a fate.
    pub fn spoilt(&self) -> u64 {
        self.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long each piece is held back.
struct Pauses {
    chance: Chance,
    slow: bool,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        if self.slow { self.chance.up_to(LONGEST_PAUSE) } else { Duration::ZERO }
    }

    fn branch(&mut self) -> Pauses {
        Pauses { chance: self.chance.branch(), slow: self.slow }
    }
}

/// Carries a connection to its end.
async fn carry(mut client: TcpStream, server: SocketAddr, fate: Fate, mut pauses: Pauses) {
    if matches!(fate, Fate::Refused) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        // A connection that is gone already needs no care.
        drop(stream.set_nodelay(true));
    }
    let is_silent = matches!(fate, Fate::Silent(..));
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, fate.strikes(Way::Up), is_silent, pauses.branch());
        let down = pump(from_server, to_client, fate.strikes(Way::Down), is_silent, pauses);
        drop(timeout(fate.life(), async { tokio::join!(up, down) }).await);
    }
    if matches!(fate, Fate::Reset(_) | Fate::Silent(..)) {
        for stream in [&client, &server] {
            drop(stream.set_zero_linger());
        }
    }
}

/// Carries one way until it ends or is struck; then it is closed, or nothing is heard of it any more.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    strikes: impl Future<Output = ()>,
    is_silent: bool,
    mut pauses: Pauses,
) {
    tokio::pin!(strikes);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = tokio::select! {
            () = &mut strikes => {
                if is_silent {
                    return pending().await;
                }
                break;
            }
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            },
        };
        sleep(pauses.next()).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    // The other side may be gone already.
    drop(to.shutdown().await);
}
