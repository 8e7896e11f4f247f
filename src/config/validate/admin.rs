//! The rules of the admin API's options.

use crate::admin::{AdminSettings, Place};
use crate::config::problem::Findings;

/// Checks all of them.
pub(super) fn check(admin: &AdminSettings, findings: &mut Findings) {
    let listen = &admin.listen;
    let Some(place) = Place::parse(listen) else {
        let message = format!(
            "{listen:?} is neither an address with a port nor a socket: write something like \"127.0.0.1:9096\" or \
             \"unix:/run/milvus-rebalancer/admin.sock\""
        );
        findings.error("admin.listen", message);
        return;
    };
    if admin.tls.client_certificate_file.is_some() != admin.tls.client_key_file.is_some() {
        let message =
            "a certificate is of no use without its key, nor a key without its certificate: set both";
        findings.error("admin.tls.client_certificate_file", message);
    }
    if !admin.enabled {
        return;
    }
    if matches!(place, Place::Unix(_)) && admin.tls.is_served() {
        let message = "a socket never leaves this machine and speaks no TLS; whoever may use it is the owner of the file";
        findings.warn("admin.tls", message);
    }
    if admin.tls.client_ca_file.is_some() && !admin.tls.is_served() {
        let message = "nobody is asked for a certificate without TLS: set certificate_file and key_file, too";
        findings.error("admin.tls.client_ca_file", message);
    }
    if place.is_local() {
        return;
    }
    if !admin.may_be_remote() {
        let message = format!(
            "other machines would reach {listen}, and whoever does can move segments: write a loopback address, or \
             set admin.tls.certificate_file and key_file (or admin.allow_remote = true) together with \
             admin.operate_token_file"
        );
        findings.error("admin.listen", message);
    } else if !admin.asks_who_it_is() {
        let message = "nobody would be asked who they are: name a file with a token in admin.operate_token_file, or the \
                       authority of your clients' certificates in admin.tls.client_ca_file";
        findings.error("admin.listen", message);
    } else if !admin.tls.is_served() {
        let message =
            "tokens travel unencrypted: set admin.tls, or put something that speaks TLS in front of it";
        findings.warn("admin.allow_remote", message);
    }
}
