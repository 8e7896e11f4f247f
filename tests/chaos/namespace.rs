//! A network namespace for one daemon, with a link of its own to Milvus and another to etcd, so that one of them can be cut
//! while the other one holds: what is sent over a cut link is lost, and nobody is told. Needs root and iproute2.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Links, by what they lead to.
const LINKS: [&str; 2] = ["milvus", "etcd"];

/// Namespaces of this process so far: their addresses must not meet.
static MADE: AtomicU8 = AtomicU8::new(0);

/// A namespace. Dropping it deletes it.
pub struct Namespace {
    name: String,
    number: u8,
    forwards: BTreeMap<(Ipv4Addr, u16), JoinHandle<()>>,
}

impl Namespace {
    /// Whether one can be made here.
    pub fn is_possible() -> bool {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
            use std::os::unix::fs::MetadataExt;
            own.uid() == 0
        });
        is_root && Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_ok_and(|ran| ran.success())
    }

    /// A new one, with both links up.
    pub fn create() -> Namespace {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("rebalancer-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name, number, forwards: BTreeMap::new() };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        for link in LINKS {
            let (ours, name) = (namespace.device(link), namespace.name.as_str());
            ip(&["link", "add", &ours, "type", "veth", "peer", "name", link, "netns", name]);
            ip(&["addr", "add", &format!("{}/30", namespace.outside(link)), "dev", &ours]);
            ip(&["link", "set", &ours, "up"]);
            ip(&["-n", name, "addr", "add", &format!("{}/30", namespace.inside(link)), "dev", link]);
            ip(&["-n", name, "link", "set", link, "up"]);
        }
        namespace
    }

    /// The command that runs something in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// The address under which a daemon in it is reached.
    pub fn address(&self) -> Ipv4Addr {
        self.inside("milvus")
    }

    /// Lets the daemon reach a port of this machine over one of the links: the text with every address of this machine
    /// replaced by that of the link.
    pub async fn reaching(&mut self, text: &str, link: &str) -> String {
        const HERE: &str = "127.0.0.1:";
        let outside = self.outside(link);
        let mut changed = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(HERE) {
            let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
            let port: u16 = digits(&rest[at + HERE.len()..]).parse().unwrap_or(0);
            changed.push_str(&rest[..at]);
            if port == 0 {
                // Its own listener, wherever there is room.
                changed.push_str(HERE);
            } else {
                self.forward(outside, port).await;
                changed.push_str(&format!("{outside}:"));
            }
            rest = &rest[at + HERE.len()..];
        }
        changed + rest
    }

    async fn forward(&mut self, outside: Ipv4Addr, port: u16) {
        if self.forwards.contains_key(&(outside, port)) {
            return;
        }
        let listener =
            TcpListener::bind((outside, port)).await.expect("the link's address can be listened on");
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    // Either end may break it off.
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        self.forwards.insert((outside, port), task);
    }

    /// Cuts a link.
    pub fn cut(&self, link: &str) {
        ip(&["link", "set", &self.device(link), "down"]);
    }

    /// Mends it.
    pub fn mend(&self, link: &str) {
        ip(&["link", "set", &self.device(link), "up"]);
    }

    /// Its end on this machine; no name of a device may be longer than 15 letters.
    fn device(&self, link: &str) -> String {
        format!("{}{}x{}", &link[..1], std::process::id(), self.number)
    }

    fn network(&self, link: &str) -> [u8; 4] {
        let of_process = u8::try_from(std::process::id() % 200).unwrap_or(0);
        let of_link = if link == LINKS[0] { 0 } else { 4 };
        [10, of_process + 20, self.number, of_link]
    }

    fn outside(&self, link: &str) -> Ipv4Addr {
        let [a, b, c, d] = self.network(link);
        Ipv4Addr::new(a, b, c, d + 1)
    }

    fn inside(&self, link: &str) -> Ipv4Addr {
        let [a, b, c, d] = self.network(link);
        Ipv4Addr::new(a, b, c, d + 2)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.forwards.values().for_each(JoinHandle::abort);
        drop(Command::new("ip").args(["netns", "delete", &self.name]).status());
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(status.expect("ip can be run").success(), "ip {}", arguments.join(" "));
}
