//! The rules of the lease: an etcd that can be asked, and times that fit.

use std::time::Duration;

use crate::config::problem::Findings;
use crate::config::settings::Config;
use crate::lease::{LeaseEngine, etcd::EtcdClient};

/// A lease that must be prolonged more often than once a second is lost whenever a machine is busy.
const SHORTEST_LIFE: Duration = Duration::from_secs(3);

/// Checks what is in force: without an engine, nothing is.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let lease = &config.lease;
    if lease.engine == LeaseEngine::None {
        return;
    }
    let etcd = &lease.etcd;
    if etcd.time_to_live < SHORTEST_LIFE || etcd.time_to_live.subsec_nanos() != 0 {
        let message = "etcd counts whole seconds, and fewer than 3 are lost on a busy machine: write \"15s\"";
        findings.error("lease.etcd.time_to_live", message);
    }
    if etcd.prefix.is_empty() {
        let message =
            "our keys would stand among those of others: write something like \"/milvus-rebalancer/\"";
        findings.error("lease.etcd.prefix", message);
    }
    if etcd.user.is_some() == (etcd.password.is_none() && etcd.password_file.is_none()) {
        let message =
            "a user needs a password, and a password a user: set user and password_file, or neither";
        findings.error("lease.etcd.user", message);
    }
    // It reads certificates, which only the runtime can judge; it connects to nobody.
    if let Err(problem) = EtcdClient::check(etcd) {
        findings.error("lease.etcd.endpoints", problem.to_string());
    }
}
