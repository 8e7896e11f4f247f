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
    if !admin.enabled || place.is_local() {
        return;
    }
    if !admin.allow_remote {
        let message = format!(
            "other machines would reach {listen}, and whoever does can move segments: write a loopback address, or \
             set admin.allow_remote = true together with admin.operate_token_file"
        );
        findings.error("admin.listen", message);
    } else if admin.operate_token_file.is_none() {
        let message =
            "nobody would be asked who they are: name a file with a token in admin.operate_token_file";
        findings.error("admin.allow_remote", message);
    } else {
        let message = "tokens travel unencrypted: put something that speaks TLS in front of it";
        findings.warn("admin.allow_remote", message);
    }
}
