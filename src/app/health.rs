//! The subcommand that asks a running daemon how it is, for containers and scripts.

use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::redirect::Policy;

use super::AppError;
use crate::cli::{Exit, HealthArgs};
use crate::telemetry::shown;

/// The answer is one sentence; whoever sends more is not our daemon.
const LONGEST_ANSWER: usize = 4_096;

/// Asks the daemon at this address and prints its answer.
pub async fn health(listen: SocketAddr, args: HealthArgs) -> Result<Exit, AppError> {
    let HealthArgs { ready, address: _, timeout } = args;
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Nothing is encrypted here; the client is not built without one.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
    let http = reqwest::Client::builder()
        .redirect(Policy::none())
        // Small images have no certificates of authorities, and nothing is encrypted here.
        .tls_certs_only([])
        .no_proxy()
        .timeout(timeout)
        .build()
        .map_err(AppError::HealthCheck)?;
    let path = if ready { "readyz" } else { "healthz" };
    let address = reachable(listen);
    let url = format!("http://{address}/{path}");
    let mut response = match http.get(url).send().await {
        Ok(response) => response,
        Err(error) => return Err(AppError::NoAnswer { address, source: error.without_url() }),
    };
    let status = response.status();
    let mut body = Vec::new();
    while body.len() < LONGEST_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(source) => return Err(AppError::NoAnswer { address, source: source.without_url() }),
        }
    }
    body.truncate(LONGEST_ANSWER);
    let sentence = String::from_utf8_lossy(&body);
    writeln!(stdout(), "{}", shown(sentence.trim()))?;
    Ok(if status.is_success() { Exit::Done } else { Exit::Unwell })
}

/// Where a process on this machine reaches a listener that listens everywhere.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        for (listen, asked) in
            [("0.0.0.0:9095", "127.0.0.1:9095"), ("[::]:9095", "[::1]:9095"), ("10.0.0.5:1", "10.0.0.5:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
