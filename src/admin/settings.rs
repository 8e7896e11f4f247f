//! `[admin]`: where the admin API is, and who may use it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tls::AdminTlsSettings;

/// What an address of a Unix socket begins with.
const UNIX: &str = "unix:";

/// Options of the admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Address and port, or `unix:` and the path of a socket.
    pub listen: String,
    /// Whether it may listen where other machines reach it.
    pub allow_remote: bool,
    /// Names under which browsers and clients may address it, beside localhost and plain addresses.
    pub allowed_hosts: Vec<String>,
    /// A file with the token of those who may look.
    pub view_token_file: Option<PathBuf>,
    /// A file with the token of those who may look and change things.
    pub operate_token_file: Option<PathBuf>,
    /// Certificates; without any it speaks plain HTTP.
    pub tls: AdminTlsSettings,
}

impl Default for AdminSettings {
    fn default() -> Self {
        AdminSettings {
            enabled: true,
            // Beside the metrics' 9095, on this machine only.
            listen: "127.0.0.1:9096".to_owned(),
            allow_remote: false,
            allowed_hosts: Vec::new(),
            view_token_file: None,
            operate_token_file: None,
            tls: AdminTlsSettings::default(),
        }
    }
}

impl AdminSettings {
    /// Whether whoever asks from another machine must prove who they are: by a token to operate, or by a certificate.
    pub fn asks_who_it_is(&self) -> bool {
        self.operate_token_file.is_some() || (self.tls.is_served() && self.tls.client_ca_file.is_some())
    }

    /// Whether it may be reached from other machines: where nobody can listen in, or where somebody insists.
    pub fn may_be_remote(&self) -> bool {
        self.tls.is_served() || self.allow_remote
    }
}

/// Where to listen, or where to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Place {
    /// Of a text of the configuration; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Place> {
        match text.strip_prefix(UNIX) {
            Some("") => None,
            Some(path) => Some(Place::Unix(PathBuf::from(path))),
            None => text.parse().ok().map(Place::Tcp),
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Place::Tcp(address) => address.ip().is_loopback(),
            Place::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Tcp(address) => address.fmt(f),
            Place::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_with_a_port_or_a_path() {
        for text in ["127.0.0.1:9096", "[::1]:9096", "unix:/run/it.sock"] {
            let place = Place::parse(text).unwrap();
            assert_eq!(place.to_string(), text);
            assert!(place.is_local(), "{text}");
        }
        for text in ["", "9096", "localhost:9096", "unix:", "http://127.0.0.1:9096"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        for text in ["0.0.0.0:9096", "10.0.0.1:9096", "[::]:9096"] {
            assert!(!Place::parse(text).unwrap().is_local(), "{text}");
        }
    }
}
