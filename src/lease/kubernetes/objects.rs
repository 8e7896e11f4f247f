//! The two objects that an election in Kubernetes lives on, and what may go wrong with them: a Lease that says who leads, and
//! a ConfigMap with the record that instances share. Every change names the version that it changes, so that the API server
//! refuses whoever has not seen the latest one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::lease::settings::KubernetesSettings;

/// Whose objects these are, for people who list them.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "milvus-rebalancer");

/// On the ConfigMap: the leader that may change it.
const HOLDER: &str = "milvus-rebalancer/holder";

/// In the ConfigMap: the record.
const RECORD: &str = "record";

/// Why the API server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// Neither a service account nor a kubeconfig file says where it is and who we are.
    #[error("no API server is known: run in a pod with a service account, or set KUBECONFIG")]
    Configuration(#[source] Box<kube::config::InferConfigError>),
    /// The kubeconfig file that was named cannot be used.
    #[error("the kubeconfig file {} cannot be used", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// It said no.
    #[error("{operation}: the API server answers {code}: {message}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The HTTP status.
        code: u16,
        /// What it said.
        message: String,
    },
    /// It did not answer, or not what its API promises.
    #[error("{operation}: the API server does not answer as it should")]
    Unusable {
        /// What was asked.
        operation: &'static str,
        /// What happened.
        #[source]
        source: Box<kube::Error>,
    },
    /// It did not answer in time.
    #[error("the API server did not answer in time")]
    Late,
    /// Somebody else has taken the lease or the record.
    #[error("another instance has taken over")]
    Taken,
}

/// What came of a change.
#[derive(Debug)]
pub(super) enum Changed<T> {
    /// It is as asked, in this version.
    Done(T),
    /// Somebody else was faster: look again.
    Raced,
}

/// Who leads, as the Lease says it.
#[derive(Clone, Debug)]
pub(super) struct Seen(Lease);

/// The record that instances share, as the ConfigMap holds it.
#[derive(Clone, Debug)]
pub(super) struct SharedText(ConfigMap);

/// The two objects.
pub(super) struct Objects {
    leases: Api<Lease>,
    records: Api<ConfigMap>,
    name: String,
}

impl Seen {
    /// Who holds it; `None` when it was given back.
    pub fn holder(&self) -> Option<&str> {
        self.0.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// What tells this state of it from every other.
    pub fn version(&self) -> Option<&str> {
        self.0.metadata.resource_version.as_deref()
    }

    /// For how long its holder may be silent.
    pub fn life(&self) -> Option<Duration> {
        let seconds = self.0.spec.as_ref()?.lease_duration_seconds?;
        Some(Duration::from_secs(u64::try_from(seconds).ok()?))
    }

    /// How often it went from one holder to another.
    pub fn transitions(&self) -> i32 {
        self.0.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0)
    }

    fn with(&self, change: impl FnOnce(&mut LeaseSpec)) -> Lease {
        let mut lease = self.0.clone();
        change(lease.spec.get_or_insert_default());
        lease
    }

    /// Taken by somebody, now.
    pub fn taken(&self, holder: &str, life: Duration, now: Timestamp) -> Lease {
        let transitions = self.transitions().saturating_add(1);
        self.with(|spec| {
            *spec = LeaseSpec { lease_transitions: Some(transitions), ..held(holder, life, now) };
        })
    }

    /// Prolonged by its holder.
    pub fn prolonged(&self, now: Timestamp) -> Lease {
        self.with(|spec| spec.renew_time = Some(MicroTime(now)))
    }

    /// Given back: nobody has to wait for its end. No Lease may last for less than a second.
    pub fn given_back(&self, now: Timestamp) -> Lease {
        self.with(|spec| {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(now));
        })
    }
}

impl SharedText {
    /// Who may change it.
    pub fn holder(&self) -> Option<&str> {
        self.0.metadata.annotations.as_ref()?.get(HOLDER).map(String::as_str)
    }

    /// The record; `None` while there is nothing to say.
    pub fn text(&self) -> Option<&str> {
        self.0.data.as_ref()?.get(RECORD).map(String::as_str)
    }

    /// What tells this state of it from every other.
    pub fn version(&self) -> Option<String> {
        self.0.metadata.resource_version.clone()
    }
}

impl Objects {
    /// Where this pod's service account or a kubeconfig file leads. Nothing is asked yet.
    pub async fn connect(settings: &KubernetesSettings) -> Result<Objects, KubernetesError> {
        let mut config = match &settings.kubeconfig {
            None => Config::infer().await.map_err(|error| KubernetesError::Configuration(Box::new(error)))?,
            Some(file) => {
                let unreadable =
                    |source| KubernetesError::File { file: file.clone(), source: Box::new(source) };
                let known = Kubeconfig::read_from(file).map_err(unreadable)?;
                let of_context = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(known, &of_context).await.map_err(unreadable)?
            }
        };
        // What is late or refused is tried again here, by the time that is left of a lease.
        config.default_retry = false;
        let namespace = match settings.namespace.as_str() {
            "" => config.default_namespace.clone(),
            name => name.to_owned(),
        };
        let client = Client::try_from(config).map_err(|error| failed("connect", error))?;
        Ok(Objects {
            leases: Api::namespaced(client.clone(), &namespace),
            records: Api::namespaced(client, &namespace),
            name: settings.name.clone(),
        })
    }

    /// The Lease, if there is one.
    pub async fn lease(&self) -> Result<Option<Seen>, KubernetesError> {
        let lease = self.leases.get_opt(&self.name).await;
        Ok(lease.map_err(|error| failed("read the Lease", error))?.map(Seen))
    }

    /// Makes a Lease where there is none.
    pub async fn create_lease(
        &self,
        holder: &str,
        life: Duration,
        now: Timestamp,
    ) -> Result<Changed<Seen>, KubernetesError> {
        let lease = Lease { metadata: self.named(None, None), spec: Some(held(holder, life, now)) };
        let made = self.leases.create(&PostParams::default(), &lease).await;
        changed("make the Lease", made.map(Seen))
    }

    /// Changes a Lease that nobody has changed meanwhile.
    pub async fn replace_lease(&self, lease: &Lease) -> Result<Changed<Seen>, KubernetesError> {
        let replaced = self.leases.replace(&self.name, &PostParams::default(), lease).await;
        changed("change the Lease", replaced.map(Seen))
    }

    /// The record, if there is one.
    pub async fn record(&self) -> Result<Option<SharedText>, KubernetesError> {
        let record = self.records.get_opt(&self.name).await;
        Ok(record.map_err(|error| failed("read the ConfigMap", error))?.map(SharedText))
    }

    /// Writes the record of this version, or makes it where that is `None`.
    pub async fn put_record(
        &self,
        version: Option<String>,
        holder: &str,
        text: Option<String>,
    ) -> Result<Changed<SharedText>, KubernetesError> {
        let data = text.map(|text| BTreeMap::from([(RECORD.to_owned(), text)]));
        let is_new = version.is_none();
        let metadata = self.named(version, Some(holder));
        let record = ConfigMap { metadata, data, ..ConfigMap::default() };
        let put = if is_new {
            self.records.create(&PostParams::default(), &record).await
        } else {
            self.records.replace(&self.name, &PostParams::default(), &record).await
        };
        changed("write the ConfigMap", put.map(SharedText))
    }

    fn named(&self, version: Option<String>, holder: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            resource_version: version,
            labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
            annotations: holder.map(|holder| BTreeMap::from([(HOLDER.to_owned(), holder.to_owned())])),
            ..ObjectMeta::default()
        }
    }
}

fn held(holder: &str, life: Duration, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(i32::try_from(life.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    }
}

/// A change that met another one, or an object that is gone or there all of a sudden, is a race and no failure.
fn changed<T>(operation: &'static str, answer: kube::Result<T>) -> Result<Changed<T>, KubernetesError> {
    match answer {
        Ok(done) => Ok(Changed::Done(done)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Changed::Raced),
        Err(error) => Err(failed(operation, error)),
    }
}

fn failed(operation: &'static str, error: kube::Error) -> KubernetesError {
    match error {
        kube::Error::Api(status) => {
            KubernetesError::Refused { operation, code: status.code, message: status.message }
        }
        other => KubernetesError::Unusable { operation, source: Box::new(other) },
    }
}
