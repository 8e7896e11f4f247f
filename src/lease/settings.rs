//! `[lease]`: whether there are several daemons, and what decides between them.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::milvus::TlsSettings;

/// Whether there are several daemons, and what decides between them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseSettings {
    /// What decides.
    pub engine: LeaseEngine,
    /// Name of this instance among the others; host name and process where it is empty.
    pub instance: String,
    /// The etcd that decides.
    pub etcd: EtcdSettings,
    /// The Lease of Kubernetes that decides.
    pub kubernetes: KubernetesSettings,
}

impl LeaseSettings {
    /// The name of this instance: the configured one, or one that no other process has.
    pub fn instance_name(&self) -> String {
        if !self.instance.is_empty() {
            return self.instance.clone();
        }
        let host = HOST_NAME_FILES.iter().find_map(|file| std::fs::read_to_string(file).ok());
        let host = host.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        format!("{}-{}", host.unwrap_or_else(|| "instance".to_owned()), std::process::id())
    }
}

/// Where Linux says what the machine, or the container, is called.
const HOST_NAME_FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// What decides which of several daemons acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEngine {
    /// Nothing: there is one daemon only.
    #[default]
    None,
    /// A lease in etcd.
    Etcd,
    /// A Lease of Kubernetes.
    Kubernetes,
}

/// A Lease of Kubernetes, beside a ConfigMap of the same name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// The namespace of both; that of this pod, or of the kubeconfig file's context, where it is empty.
    pub namespace: String,
    /// The name of both; one for each cluster of Milvus.
    pub name: String,
    /// How long a leader that is not heard of stays leader.
    #[serde(with = "crate::config::duration")]
    pub time_to_live: Duration,
    /// The file that says where the API server is; without it `KUBECONFIG`, else this pod's service account.
    pub kubeconfig: Option<PathBuf>,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        KubernetesSettings {
            namespace: String::new(),
            name: "milvus-rebalancer-leader".to_owned(),
            // That of Kubernetes' own components.
            time_to_live: Duration::from_secs(15),
            kubeconfig: None,
        }
    }
}

/// An etcd, and where in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdSettings {
    /// Its members, as `http://host:2379` or `https://host:2379`.
    pub endpoints: Vec<String>,
    /// What all our keys begin with; one for each cluster of Milvus.
    pub prefix: String,
    /// How long a leader that is not heard of stays leader.
    #[serde(with = "crate::config::duration")]
    pub time_to_live: Duration,
    /// User name, where etcd asks for one.
    pub user: Option<String>,
    /// Password of the user.
    #[serde(skip_serializing)]
    pub password: Option<SecretString>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Certificates, for `https://`.
    pub tls: TlsSettings,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        EtcdSettings {
            endpoints: Vec::new(),
            prefix: "/milvus-rebalancer/".to_owned(),
            // Long enough for a pause of a busy machine, short enough that nobody waits for a successor.
            time_to_live: Duration::from_secs(15),
            user: None,
            password: None,
            password_file: None,
            tls: TlsSettings::default(),
        }
    }
}
