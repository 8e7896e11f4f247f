//! Files that the configuration names: secrets are read from them, certificates must at least be readable. Told
//! at start, because a daemon that finds out an hour later has wasted an hour.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use secrecy::SecretString;

use super::origins::joined;
use super::problem::Findings;
use super::settings::Config;
use crate::telemetry::Chain;

/// Passwords and API keys are far shorter; more is a mistaken path.
const LARGEST_SECRET: u64 = 64 << 10;

/// Puts secrets where their files' names are, and checks that the other files can be read.
pub(super) fn resolve(config: &mut Config, findings: &mut Findings) {
    let tokens = [
        ("admin.view_token_file", &config.admin.view_token_file),
        ("admin.operate_token_file", &config.admin.operate_token_file),
    ];
    for (option, path) in tokens {
        // They are read again with each request, so that a new token needs no restart.
        if let Some(Err(message)) = path.as_deref().map(read_secret) {
            findings.error(option, message);
        }
    }
    if config.admin.tls.is_served()
        && let Err(error) = crate::admin::tls::load(&config.admin.tls)
    {
        findings.error("admin.tls", Chain(&error).to_string());
    }
    for (alias, connection) in &mut config.connections {
        let section = joined("connections", alias);
        let secrets = [
            ("password_file", &connection.password_file, &mut connection.password),
            ("token_file", &connection.token_file, &mut connection.token),
        ];
        for (option, path, secret) in secrets {
            let Some(path) = path else { continue };
            match read_secret(path) {
                // Both set is a problem of its own, and then neither is used.
                Ok(text) => *secret = secret.take().or(Some(text)),
                Err(message) => findings.error(joined(&section, option), message),
            }
        }
        let tls = &connection.tls;
        let certificates = [
            ("tls.ca_file", &tls.ca_file),
            ("tls.certificate_file", &tls.certificate_file),
            ("tls.key_file", &tls.key_file),
        ];
        for (option, path) in certificates {
            let Some(path) = path else { continue };
            if let Err(error) = readable(path) {
                findings
                    .error(format!("{section}.{option}"), format!("cannot read {}: {error}", path.display()));
            }
        }
    }
}

/// The secret in a file, without the line end that editors add.
pub(crate) fn read_secret(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_SECRET + 1).read_to_end(&mut content))
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if content.len() as u64 > LARGEST_SECRET {
        return Err(format!("{shown} is larger than {LARGEST_SECRET} bytes: it must hold the secret alone"));
    }
    let text = String::from_utf8(content).map_err(|_| format!("{shown} is not UTF-8 text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("{shown} is empty: it must hold the secret"));
    }
    Ok(SecretString::from(text))
}

/// Whether something can be read from a file at all; a directory can be opened but not read.
fn readable(path: &Path) -> io::Result<()> {
    let mut first = [0_u8; 1];
    File::open(path)?.read(&mut first).map(drop)
}
