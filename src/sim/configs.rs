//! Settings that can be read and altered while a simulated coordinator runs: those of its balancer. They are kept
//! like Milvus keeps them, in etcd: they outlive a restart.

use std::time::Duration;

use super::world::World;
use crate::model::milvus_score::{Algorithm, ScoreSettings};

/// Where a setting's value comes from, in Milvus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// `milvus.yaml`.
    File,
    /// Altered since.
    Etcd,
}

impl ConfigSource {
    /// As Milvus writes it.
    pub fn name(self) -> &'static str {
        match self {
            ConfigSource::File => "FileSource",
            ConfigSource::Etcd => "EtcdSource",
        }
    }
}

/// A name that is no setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is no setting of the simulated coordinator")]
pub struct UnknownConfig {
    /// What was written.
    pub key: String,
}

/// One setting.
struct Config {
    /// As documented.
    name: &'static str,
    read: fn(&ScoreSettings) -> String,
    /// `None` when the text means nothing: it is stored, and nothing changes.
    write: fn(&mut ScoreSettings, &str) -> Option<()>,
}

/// A setting that reads as it is written.
macro_rules! config {
    ($name:literal, $field:ident) => {
        Config {
            name: $name,
            read: |settings| settings.$field.to_string(),
            write: |settings, text| text.parse().map(|value| settings.$field = value).ok(),
        }
    };
}

const CONFIGS: [Config; 12] = [
    config!("queryCoord.autoBalance", auto_balance),
    config!("queryCoord.autoBalanceChannel", auto_balance_channel),
    Config { name: "queryCoord.balancer", read: balancer, write: set_balancer },
    config!("queryCoord.globalRowCountFactor", global_row_count_factor),
    config!("queryCoord.scoreUnbalanceTolerationFactor", score_unbalance_toleration_factor),
    config!("queryCoord.reverseUnBalanceTolerationFactor", reverse_unbalance_toleration_factor),
    config!("queryCoord.delegatorMemoryOverloadFactor", delegator_memory_overload_factor),
    config!("queryCoord.collectionChannelCountFactor", collection_channel_count_factor),
    config!("queryCoord.channelExclusiveNodeFactor", channel_exclusive_node_factor),
    config!("queryCoord.balanceSegmentBatchSize", segment_batch_size),
    config!("queryCoord.balanceChannelBatchSize", channel_batch_size),
    Config {
        name: "queryCoord.autoBalanceInterval",
        read: |settings| settings.auto_balance_interval.as_millis().to_string(),
        write: |settings, text| {
            let millis = text.parse().ok()?;
            settings.auto_balance_interval = Duration::from_millis(millis);
            Some(())
        },
    },
];

fn balancer(settings: &ScoreSettings) -> String {
    match settings.algorithm {
        Algorithm::ChannelLevel => "ChannelLevelScoreBalancer".to_owned(),
        Algorithm::Pairwise | Algorithm::Score => "ScoreBasedBalancer".to_owned(),
    }
}

/// The other balancers are not simulated; a name that Milvus does not know means the channel-level one.
fn set_balancer(settings: &mut ScoreSettings, text: &str) -> Option<()> {
    settings.algorithm = match text {
        "ScoreBasedBalancer" => Algorithm::Score,
        "RoundRobinBalancer" | "RowCountBasedBalancer" | "MultipleTargetBalancer" => return None,
        _ => Algorithm::ChannelLevel,
    };
    Some(())
}

/// Neither case nor separators tell two names apart.
fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn find(key: &str) -> Result<&'static Config, UnknownConfig> {
    let wanted = bare(key);
    let found = CONFIGS.iter().find(|config| bare(config.name) == wanted);
    found.ok_or_else(|| UnknownConfig { key: key.to_owned() })
}

impl World {
    /// A setting's value and where it comes from.
    pub fn config(&self, key: &str) -> Result<(String, ConfigSource), UnknownConfig> {
        let config = find(key)?;
        Ok(match self.altered.get(config.name) {
            Some(text) => (text.clone(), ConfigSource::Etcd),
            None => ((config.read)(&self.own_balancer.defaults), ConfigSource::File),
        })
    }

    /// Every setting's value, by its documented name.
    pub fn configs(&self) -> impl Iterator<Item = (&'static str, String)> {
        CONFIGS.iter().map(|config| {
            let altered = self.altered.get(config.name).cloned();
            (config.name, altered.unwrap_or_else(|| (config.read)(&self.own_balancer.settings)))
        })
    }

    /// Alters settings, all or none; no value puts the default back.
    pub fn alter_configs(&mut self, changes: &[(String, Option<String>)]) -> Result<(), UnknownConfig> {
        let mut found = Vec::new();
        for (key, value) in changes {
            found.push((find(key)?, value));
        }
        for (config, value) in found {
            let default = (config.read)(&self.own_balancer.defaults);
            let effective = value.as_ref().unwrap_or(&default);
            if (config.write)(&mut self.own_balancer.settings, effective).is_none() {
                (config.write)(&mut self.own_balancer.settings, &default);
            }
            match value {
                Some(text) => self.altered.insert(config.name, text.clone()),
                None => self.altered.remove(config.name),
            };
            self.note(format_args!("{} is now {effective}", config.name));
        }
        self.changes += 1;
        let ids: Vec<_> = self.collections.keys().copied().collect();
        for id in ids {
            self.redraw_exclusive_sets(id);
        }
        self.keep_balancing();
        Ok(())
    }
}
