//! The rules of the lease: an engine that can be asked, and times that fit.

use std::time::Duration;

use crate::config::problem::Findings;
use crate::config::settings::Config;
use crate::lease::{EtcdSettings, KubernetesSettings, LeaseEngine, etcd::EtcdClient};

/// A lease that must be prolonged more often than once a second is lost whenever a machine is busy.
const SHORTEST_LIFE: Duration = Duration::from_secs(3);

/// The longest name that Kubernetes takes for an object.
const LONGEST_NAME: usize = 253;

/// Checks what is in force: without an engine, nothing is.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    match config.lease.engine {
        LeaseEngine::None => {}
        LeaseEngine::Etcd => check_etcd(&config.lease.etcd, findings),
        LeaseEngine::Kubernetes => check_kubernetes(&config.lease.kubernetes, findings),
    }
}

fn check_life(key: &str, life: Duration, findings: &mut Findings) {
    if life < SHORTEST_LIFE || life.subsec_nanos() != 0 {
        let message = "it counts whole seconds, and fewer than 3 are lost on a busy machine: write \"15s\"";
        findings.error(key, message);
    }
}

fn check_kubernetes(settings: &KubernetesSettings, findings: &mut Findings) {
    check_life("lease.kubernetes.time_to_live", settings.time_to_live, findings);
    if !is_object_name(&settings.name) {
        let message = "no object can be called so: write lower-case letters, digits, '-' and '.', such as \"milvus-rebalancer-leader\"";
        findings.error("lease.kubernetes.name", message);
    }
    if !settings.namespace.is_empty()
        && (!is_object_name(&settings.namespace) || settings.namespace.contains('.'))
    {
        let message = "no namespace can be called so: write lower-case letters, digits and '-', or leave it empty for this pod's";
        findings.error("lease.kubernetes.namespace", message);
    }
    if cfg!(not(feature = "kubernetes")) {
        let message = "this binary was built without it: build with the feature kubernetes, or use etcd";
        findings.error("lease.engine", message);
    }
}

/// RFC 1123, as Kubernetes demands it of names.
fn is_object_name(name: &str) -> bool {
    let is_inner =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.');
    let is_outer = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.chars().all(is_inner)
        && name.starts_with(is_outer)
        && name.ends_with(is_outer)
}

fn check_etcd(etcd: &EtcdSettings, findings: &mut Findings) {
    check_life("lease.etcd.time_to_live", etcd.time_to_live, findings);
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
