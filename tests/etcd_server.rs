//! A real etcd for tests: Debian's `etcd-server`, in a folder and on ports of its own.

#![allow(dead_code)] // two test programs use it, and neither all of it

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long etcd may take to open its port: seconds on a busy machine.
const STARTING: Duration = Duration::from_secs(30);

/// A running etcd. Dropping it kills it.
pub struct EtcdServer {
    child: Child,
    port: u16,
    folder: TempDir,
    certificates: Option<Certificates>,
}

/// PEM files of an etcd that speaks TLS and asks its clients for certificates.
#[derive(Clone)]
pub struct Certificates {
    pub own: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

impl EtcdServer {
    /// Starts one; panics where there is none.
    pub async fn start() -> EtcdServer {
        EtcdServer::of(None).await
    }

    /// One that trusts nobody without a certificate.
    pub async fn start_with_tls(certificates: Certificates) -> EtcdServer {
        EtcdServer::of(Some(certificates)).await
    }

    async fn of(certificates: Option<Certificates>) -> EtcdServer {
        let (port, peers) = (free_port(), free_port());
        let folder = tempfile::tempdir().expect("a folder for etcd");
        let child = spawn(port, peers, &folder, certificates.as_ref());
        let mut server = EtcdServer { child, port, folder, certificates };
        server.wait().await;
        server
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Sends it a signal by name: STOP, CONT, KILL.
    pub fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &process]).status();
        assert!(status.expect("kill can be run").success());
    }

    /// Starts it again in the same folder after it was killed.
    pub async fn start_again(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        self.child = spawn(self.port, free_port(), &self.folder, self.certificates.as_ref());
        self.wait().await;
    }

    async fn wait(&mut self) {
        let ends = Instant::now() + STARTING;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < ends, "etcd does not open its port");
            assert!(matches!(self.child.try_wait(), Ok(None)), "etcd has ended");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(port: u16, peers: u16, folder: &TempDir, certificates: Option<&Certificates>) -> Child {
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let (client, peer) = (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
    let mut command = Command::new("etcd");
    if let Some(Certificates { own, key, authority }) = certificates {
        command.arg("--cert-file").arg(own).arg("--key-file").arg(key);
        command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
    }
    command
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // A test's data need not outlive the machine.
        .arg("--unsafe-no-fsync")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd can be started: Debian's package etcd-server")
}

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    probe.local_addr().expect("it has an address").port()
}
