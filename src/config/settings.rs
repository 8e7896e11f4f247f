//! The typed configuration. Options of a stage are defined by the stage; this is where they come together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::AdminSettings;
use crate::execute::ExecuteSettings;
use crate::gate::GateSettings;
use crate::journal::JournalSettings;
use crate::lease::LeaseSettings;
use crate::milvus::ConnectionSettings;
use crate::model::{BalancerSettings, CapacitySettings, GuardSettings, SignalSettings};
use crate::observe::{ManagementSettings, NodeMetricsSettings, PrometheusSettings, ProxyMetricsSettings};
use crate::plan::PlanSettings;
use crate::policy::PolicySettings;

/// Everything that can be configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether anything is moved at all.
    pub mode: Mode,
    /// Alias of the connection that is used.
    pub connection: String,
    /// Connections by alias.
    pub connections: BTreeMap<String, ConnectionSettings>,
    /// When the cluster is looked at.
    pub poll: PollSettings,
    /// Where the nodes' own metrics are.
    pub node_metrics: NodeMetricsSettings,
    /// Where the proxies' own metrics are.
    pub proxy_metrics: ProxyMetricsSettings,
    /// Which Prometheus server is asked for what.
    pub prometheus: PrometheusSettings,
    /// Where Milvus' own HTTP pages are.
    pub management: ManagementSettings,
    /// What is known of Milvus beyond what it says.
    pub milvus: MilvusSettings,
    /// How counters become rates.
    pub signals: SignalSettings,
    /// What nodes really have, where they do not know it themselves; by any name.
    pub capacity: CapacitySettings,
    /// What load is, and how even it must be.
    pub policies: PolicySettings,
    /// The planner.
    pub plan: PlanSettings,
    /// What must be true before anything moves.
    pub gate: GateSettings,
    /// What users must not feel.
    pub guard: GuardSettings,
    /// Limits and waits of moving.
    pub execute: ExecuteSettings,
    /// What is remembered over a restart.
    pub journal: JournalSettings,
    /// Whether there are several instances, and what decides between them.
    pub lease: LeaseSettings,
    /// The listener for metrics and health.
    pub http: HttpSettings,
    /// The admin API.
    pub admin: AdminSettings,
    /// Logs.
    pub log: LogSettings,
}

/// Alias of the connection that is used unless another is asked for.
const DEFAULT_ALIAS: &str = "default";

impl Default for Config {
    fn default() -> Self {
        Config {
            mode: Mode::default(),
            connection: DEFAULT_ALIAS.to_owned(),
            connections: BTreeMap::from([(DEFAULT_ALIAS.to_owned(), ConnectionSettings::default())]),
            poll: PollSettings::default(),
            node_metrics: NodeMetricsSettings::default(),
            proxy_metrics: ProxyMetricsSettings::default(),
            prometheus: PrometheusSettings::default(),
            management: ManagementSettings::default(),
            milvus: MilvusSettings::default(),
            signals: SignalSettings::default(),
            capacity: CapacitySettings::default(),
            policies: PolicySettings::default(),
            plan: PlanSettings::default(),
            gate: GateSettings::default(),
            guard: GuardSettings::default(),
            execute: ExecuteSettings::default(),
            journal: JournalSettings::default(),
            lease: LeaseSettings::default(),
            http: HttpSettings::default(),
            admin: AdminSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Config {
    /// The options in force as TOML, secrets left out: the same options give the same text.
    pub fn in_force(&self) -> String {
        super::show::in_force(self)
    }
}

/// Whether the daemon only says what it would do, or does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Plan and explain, never move.
    #[default]
    Advise,
    /// Move what Milvus' own balancer would leave where it is. For clusters whose own balancer is on.
    Within,
    /// Move, within the limits. For clusters whose own balancer is off.
    Act,
}

impl Mode {
    /// Whether anything is moved at all.
    pub fn moves(self) -> bool {
        self != Mode::Advise
    }

    /// The stable name: option value, metric label.
    pub fn code(self) -> &'static str {
        match self {
            Mode::Advise => "advise",
            Mode::Within => "within",
            Mode::Act => "act",
        }
    }
}

/// What is known of Milvus beyond what it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MilvusSettings {
    /// What its own balancer is told.
    pub balancer: BalancerSettings,
}

/// When the cluster is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PollSettings {
    /// Time from the start of one poll to the start of the next.
    #[serde(with = "crate::config::duration")]
    pub interval: Duration,
    /// Largest share of the time in which we may keep the coordinator busy: after a poll that took `t`, the
    /// next one starts no sooner than `t / duty` after its start.
    pub duty: f64,
    /// The longest that one poll may take.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
    /// The longest pause between polls while they fail.
    #[serde(with = "crate::config::duration")]
    pub backoff_limit: Duration,
}

impl Default for PollSettings {
    fn default() -> Self {
        PollSettings {
            // Milvus refreshes what we read every few seconds to every half minute.
            interval: Duration::from_secs(30),
            // The coordinator has other work.
            duty: 0.1,
            // A thousand nodes take seconds; what takes minutes hangs.
            timeout: Duration::from_secs(2 * 60),
            // An operator who brought Milvus back should see us within one coffee.
            backoff_limit: Duration::from_secs(5 * 60),
        }
    }
}

/// The listener for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Address and port.
    pub listen: String,
}

impl HttpSettings {
    /// Where the listener is; `None` only of settings that nobody has checked.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        // This machine only, until somebody decides otherwise; 9091 is Milvus' own metrics port.
        HttpSettings { listen: "127.0.0.1:9095".to_owned() }
    }
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Text for people, JSON for log collectors.
    pub format: LogFormat,
    /// A level, or a filter such as `info,milvus_rebalancer::plan=debug`.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line of text for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}
