//! Who may do what: names by which the API may be addressed (against DNS rebinding), where a browser's request must
//! come from (against cross-site requests), and tokens of two roles.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::problem::Problem;
use super::rate::Rate;
use super::settings::AdminSettings;
use super::tls::Fingerprint;
use crate::config::files::read_secret;

/// The header in which a client says for whom it asks. It is believed for the record only, and no browser sends it to
/// another site unasked.
pub const USER_HEADER: &str = "milvus-rebalancer-user";

/// Names are for people to read; longer ones are cut.
const LONGEST_NAME: usize = 64;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Another machine, or this one.
    Tcp {
        /// Its address.
        address: SocketAddr,
        /// The certificate by which it is known, where one is asked for.
        certificate: Option<Fingerprint>,
    },
    /// A process of this machine; `None` when the system does not say which.
    Unix {
        /// Its user.
        user: Option<u32>,
        /// The process.
        process: Option<i32>,
    },
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp { address, certificate: None } => address.fmt(f),
            Peer::Tcp { address, certificate: Some(certificate) } => {
                write!(f, "{address}, certificate {certificate}")
            }
            Peer::Unix { user: Some(user), process: Some(process) } => {
                write!(f, "user {user}, process {process}")
            }
            Peer::Unix { user: Some(user), process: None } => write!(f, "user {user}"),
            Peer::Unix { .. } => f.write_str("a local process"),
        }
    }
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    View,
    /// Look and change.
    Operate,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that was given, and how it was proved, for the record.
    pub who: String,
    /// From where.
    pub origin: String,
    /// What they may do.
    pub role: Role,
}

/// How much may be asked for and ordered.
#[derive(Debug)]
struct Rates {
    reads: Rate,
    orders: Rate,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { reads: Rate::of_reads(), orders: Rate::of_orders() }
    }
}

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    allowed_hosts: Vec<String>,
    view_token_file: Option<PathBuf>,
    operate_token_file: Option<PathBuf>,
    rates: Arc<Rates>,
}

impl Access {
    /// By these options.
    pub fn new(settings: &AdminSettings) -> Access {
        Access {
            allowed_hosts: settings
                .allowed_hosts
                .iter()
                .chain(&settings.tls.server_name)
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            view_token_file: settings.view_token_file.clone(),
            operate_token_file: settings.operate_token_file.clone(),
            rates: Arc::default(),
        }
    }

    /// Whether this request may be answered, and who asks.
    fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap, peer: Peer) -> Result<Caller, Problem> {
        let host = host_of(uri, headers)?;
        self.check_host(&host)?;
        check_origin(method, &host, headers)?;
        let needed = if is_reading(method) { Role::View } else { Role::Operate };
        let role = self.role(headers)?;
        match role {
            Some(role) if role >= needed => {
                Ok(Caller { who: self.name(headers, role), origin: peer.to_string(), role })
            }
            Some(_) => Err(Problem::forbidden("this token may look, and nothing else")),
            None => Err(Problem::unauthorized()),
        }
    }

    /// A name that resolves to us must be one of ours: another's page could have it resolved to this machine. Plain
    /// addresses cannot be taken over like that.
    fn check_host(&self, authority: &str) -> Result<(), Problem> {
        let host = without_port(authority).to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_ours = host == "localhost" || bare.parse::<IpAddr>().is_ok();
        if is_ours || self.allowed_hosts.contains(&host) {
            return Ok(());
        }
        Err(Problem::wrong_host(format!(
            "the request is for {host:?}: address it as localhost or by its address, or add the name to \
             admin.allowed_hosts"
        )))
    }

    /// What the token allows, or its absence.
    fn role(&self, headers: &HeaderMap) -> Result<Option<Role>, Problem> {
        let presented = token(headers);
        let is_it = |path: &Option<PathBuf>| match (path, &presented) {
            (Some(path), Some(presented)) => matches_file(path, presented),
            _ => Ok(false),
        };
        let is_operator = is_it(&self.operate_token_file)?;
        let is_viewer = is_it(&self.view_token_file)?;
        let everybody_may = |file: &Option<PathBuf>| file.is_none();
        Ok(if is_operator || everybody_may(&self.operate_token_file) && self.may_look(is_viewer) {
            Some(Role::Operate)
        } else {
            self.may_look(is_viewer).then_some(Role::View)
        })
    }

    fn may_look(&self, is_viewer: bool) -> bool {
        is_viewer || self.view_token_file.is_none()
    }

    fn name(&self, headers: &HeaderMap, role: Role) -> String {
        let given = headers.get(USER_HEADER).and_then(|name| name.to_str().ok()).map(str::trim);
        let given = given.filter(|name| !name.is_empty()).unwrap_or("somebody");
        let name: String = given.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
        match (role, &self.operate_token_file) {
            (Role::Operate, Some(_)) => format!("{name} (operate token)"),
            _ => format!("{name} (no token)"),
        }
    }
}

/// Lets a request through, with its [`Caller`], or answers why not.
pub(super) async fn check(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        // Every connection has one; without it nobody could be held responsible.
        return Problem::forbidden("nobody knows where this request comes from").into_response();
    };
    let admitted = access.admit(request.method(), request.uri(), request.headers(), peer);
    // Only who is let in uses up what others may have.
    let admitted = admitted.and_then(|caller| {
        let rate = match *request.method() {
            Method::POST | Method::PUT => &access.rates.orders,
            _ => &access.rates.reads,
        };
        rate.take(Instant::now()).map(|()| caller).map_err(Problem::too_many)
    });
    match admitted {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            tracing::debug!(origin = %peer, status = problem.status, "a request is refused");
            problem.into_response()
        }
    }
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The name by which the API is addressed.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    let host = match (first, second) {
        (Some(host), None) => host.to_str().ok().map(str::to_owned),
        _ => None,
    };
    // Whoever writes a whole address into the request line means that one.
    let host = uri.authority().map(ToString::to_string).or(host);
    host.filter(|host| !host.is_empty() && !host.contains('@'))
        .ok_or_else(|| Problem::bad_request("the request needs one Host header"))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

/// A browser says from which page a request comes. Only the API's own pages may change something, and only they and
/// nobody may read.
fn check_origin(method: &Method, host: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let foreign = || Problem::forbidden("the request comes from another site");
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().map_err(|_| foreign())?;
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host)) {
            return Err(foreign());
        }
    }
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let is_foreign = matches!(site, Some("cross-site" | "same-site"));
    if is_foreign && !(is_reading(method) && is_navigation(headers)) {
        return Err(foreign());
    }
    Ok(())
}

/// Whether a person follows a link: that shows a page to that person and to nobody else.
fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

/// The token as it was sent: as a bearer token, or as the password that a browser asked for.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// Whether a token is the one in the file, which is read each time: a new token needs no restart. Takes as long for
/// every wrong token of the same length.
fn matches_file(path: &Path, presented: &str) -> Result<bool, Problem> {
    let secret = read_secret(path).map_err(|why| {
        tracing::error!("a token of the admin API cannot be read, so nobody is let in: {why}");
        Problem::unavailable("the token to compare with cannot be read; the log says why")
    })?;
    Ok(secret.expose_secret().as_bytes().ct_eq(presented.as_bytes()).into())
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
