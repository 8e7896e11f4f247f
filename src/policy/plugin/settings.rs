//! `[policies.plugins.NAME]`: where a plug-in listens, how long and how much of it is heard, and the operator's word
//! about its dimensions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observe::opinion::SuggestedSettings;
use crate::units::{Bytes, Ratio};

/// Options of one plug-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginSettings {
    /// Whether it is asked.
    pub enabled: bool,
    /// `unix:/path/of/socket` or `http://host:port`.
    pub endpoint: String,
    /// How long one turn waits for it, all its calls together.
    #[serde(with = "crate::config::duration")]
    pub deadline: Duration,
    /// The largest answer that is accepted.
    #[serde(with = "crate::config::bytes")]
    pub max_answer: Bytes,
    /// Whether its directives are obeyed; its dimensions always are.
    pub directives: bool,
    /// Pressure above which a node is overloaded, instead of what the plug-in suggests; so are all below.
    pub enter: Option<Ratio>,
    /// Pressure down to which it is relieved.
    pub leave: Option<Ratio>,
    /// For how many turns in a row a node must be overloaded.
    pub turns: Option<u32>,
    /// Utilisation below which unevenness is nobody's problem.
    pub matters_above: Option<Ratio>,
    /// Weight beside other policies.
    pub weight: Option<Ratio>,
    /// Utilisation to which a destination may be filled.
    pub limit: Option<Ratio>,
}

impl Default for PluginSettings {
    fn default() -> Self {
        PluginSettings {
            enabled: true,
            endpoint: String::new(),
            // A fifteenth of the usual pause between two looks; a plug-in that needs longer should work ahead.
            deadline: Duration::from_secs(2),
            // The loads of half a million single segments; in memory an answer made to be large takes many times as much.
            max_answer: Bytes(16 << 20),
            directives: true,
            enter: None,
            leave: None,
            turns: None,
            matters_above: None,
            weight: None,
            limit: None,
        }
    }
}

impl PluginSettings {
    /// What the operator says about dimensions.
    pub fn overrides(&self) -> SuggestedSettings {
        let PluginSettings { enter, leave, turns, matters_above, weight, limit, .. } = self;
        SuggestedSettings {
            enter: *enter,
            leave: *leave,
            turns: *turns,
            matters_above: *matters_above,
            weight: *weight,
            limit: *limit,
        }
    }
}
