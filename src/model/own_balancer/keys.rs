//! The settings of Milvus' balancer that its score depends on, by their names, and which of three voices is believed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::milvus_score::{Algorithm, ScoreSettings};
use crate::observe::observation::ServerVersion;
use crate::reason::Reason;

/// `[milvus.balancer]`: what Milvus' balancer is told, where that cannot be read (before 2.5, or with port 9091 closed).
/// Names are those below `queryCoord` in `milvus.yaml`; what is not set is taken to be the version's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BalancerSettings {
    /// `autoBalance`.
    pub auto_balance: Option<bool>,
    /// `balancer`, by its name.
    pub balancer: Option<String>,
    /// `globalRowCountFactor`.
    pub global_row_count_factor: Option<f64>,
    /// `scoreUnbalanceTolerationFactor`.
    pub score_unbalance_toleration_factor: Option<f64>,
    /// `reverseUnBalanceTolerationFactor`.
    pub reverse_unbalance_toleration_factor: Option<f64>,
    /// `delegatorMemoryOverloadFactor`.
    pub delegator_memory_overload_factor: Option<f64>,
    /// `channelExclusiveNodeFactor`.
    pub channel_exclusive_node_factor: Option<u32>,
}

/// Whose word a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Milvus said it.
    Read,
    /// Our configuration says it.
    Configured,
    /// It is the version's default.
    Assumed,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Read => "read from Milvus",
            Origin::Configured => "from [milvus.balancer]",
            Origin::Assumed => "default of this version",
        })
    }
}

/// A setting and whose word it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSetting {
    /// Its name in `milvus.yaml`, without `queryCoord`.
    pub name: String,
    /// Its value as text.
    pub value: String,
    /// Whose word it is.
    pub origin: Origin,
}

impl fmt::Display for KnownSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.name, self.value, self.origin)
    }
}

/// One setting.
struct Key {
    name: &'static str,
    get: fn(&ScoreSettings) -> String,
    /// `None` when the text means nothing.
    set: fn(&mut ScoreSettings, &str) -> Option<()>,
    configured: fn(&BalancerSettings) -> Option<String>,
}

/// A setting that reads as it is written.
macro_rules! key {
    ($name:literal, $field:ident) => {
        Key {
            name: $name,
            get: |settings| settings.$field.to_string(),
            set: |settings, text| text.trim().parse().map(|value| settings.$field = value).ok(),
            configured: |configured| configured.$field.as_ref().map(ToString::to_string),
        }
    };
}

/// A factor: a number that is neither negative nor infinite.
macro_rules! factor {
    ($name:literal, $field:ident) => {
        Key {
            name: $name,
            get: |settings| settings.$field.to_string(),
            set: |settings, text| {
                let value: f64 = text.trim().parse().ok()?;
                (value.is_finite() && value >= 0.0).then(|| settings.$field = value)
            },
            configured: |configured| configured.$field.as_ref().map(ToString::to_string),
        }
    };
}

const BALANCER: &str = "balancer";

const KEYS: [Key; 7] = [
    key!("autoBalance", auto_balance),
    Key {
        name: BALANCER,
        get: |settings| name_of(settings.algorithm).to_owned(),
        set: set_balancer,
        configured: |configured| configured.balancer.clone(),
    },
    factor!("globalRowCountFactor", global_row_count_factor),
    factor!("scoreUnbalanceTolerationFactor", score_unbalance_toleration_factor),
    factor!("reverseUnBalanceTolerationFactor", reverse_unbalance_toleration_factor),
    factor!("delegatorMemoryOverloadFactor", delegator_memory_overload_factor),
    key!("channelExclusiveNodeFactor", channel_exclusive_node_factor),
];

/// Milvus' name of the balancer that computes so.
fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Pairwise | Algorithm::Score => "ScoreBasedBalancer",
        Algorithm::ChannelLevel => "ChannelLevelScoreBalancer",
    }
}

/// The balancers that score rows; the others are not modelled.
fn set_balancer(settings: &mut ScoreSettings, text: &str) -> Option<()> {
    settings.algorithm = match (text.trim(), settings.algorithm) {
        ("ScoreBasedBalancer", Algorithm::Pairwise) => Algorithm::Pairwise,
        ("ScoreBasedBalancer", _) => Algorithm::Score,
        ("ChannelLevelScoreBalancer", Algorithm::Score | Algorithm::ChannelLevel) => Algorithm::ChannelLevel,
        _ => return None,
    };
    Some(())
}

/// The settings in force, each with whose word it is; without settings the reason why the balancer cannot be modelled.
pub(super) fn resolve(
    server: &ServerVersion,
    read: Option<&BTreeMap<String, String>>,
    configured: &BalancerSettings,
) -> (Option<ScoreSettings>, Vec<KnownSetting>, Option<Reason>) {
    let Some(mut settings) = ScoreSettings::for_version(server) else {
        let detail = format!("this Milvus is {server}, and how its balancer decides is not known");
        return (None, Vec::new(), Some(Reason::BalancerUnknown { detail }));
    };
    let mut known = Vec::new();
    let mut unknown = None;
    for key in &KEYS {
        let from_milvus = read.and_then(|read| read.get(&key.name.to_ascii_lowercase()));
        let told = match from_milvus {
            Some(text) => Some((text.clone(), Origin::Read)),
            None => (key.configured)(configured).map(|text| (text, Origin::Configured)),
        };
        let Some((text, origin)) = told else {
            let value = (key.get)(&settings);
            known.push(KnownSetting { name: key.name.to_owned(), value, origin: Origin::Assumed });
            continue;
        };
        if (key.set)(&mut settings, &text).is_none() {
            let what = if key.name == BALANCER { "is not modelled" } else { "is no value we understand" };
            let detail = format!("queryCoord.{} is {text:?} ({origin}), which {what}", key.name);
            unknown.get_or_insert(Reason::BalancerUnknown { detail });
        }
        known.push(KnownSetting { name: key.name.to_owned(), value: text, origin });
    }
    (unknown.is_none().then_some(settings), known, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(known: &[KnownSetting], name: &str) -> Origin {
        known.iter().find(|setting| setting.name == name).unwrap().origin
    }

    #[test]
    fn what_was_read_stands_before_the_configuration_and_that_before_the_default() {
        let read = BTreeMap::from([
            ("globalrowcountfactor".to_owned(), "0.3".to_owned()),
            ("somethingelse".to_owned(), "x".to_owned()),
        ]);
        let configured = BalancerSettings {
            global_row_count_factor: Some(0.2),
            reverse_unbalance_toleration_factor: Some(1.5),
            ..BalancerSettings::default()
        };
        let server = ServerVersion::parse("2.5.27");
        let (settings, known, unknown) = resolve(&server, Some(&read), &configured);
        let settings = settings.unwrap();
        assert_eq!(unknown, None);
        assert_eq!(
            (settings.global_row_count_factor, settings.reverse_unbalance_toleration_factor),
            (0.3, 1.5)
        );
        assert_eq!(origin_of(&known, "globalRowCountFactor"), Origin::Read);
        assert_eq!(origin_of(&known, "reverseUnBalanceTolerationFactor"), Origin::Configured);
        assert_eq!(origin_of(&known, "autoBalance"), Origin::Assumed);
        assert_eq!(known.len(), KEYS.len());
    }

    #[test]
    fn what_cannot_be_modelled_is_said() {
        let named = |name: &str| BTreeMap::from([(BALANCER.to_owned(), name.to_owned())]);
        let none = BalancerSettings::default();
        for (version, name, is_known) in [
            ("2.3.5", "ScoreBasedBalancer", true),
            ("2.3.5", "ChannelLevelScoreBalancer", false),
            ("2.6.20", "ScoreBasedBalancer", true),
            ("2.6.10", "ChannelLevelScoreBalancer", true),
            ("2.5.27", "RowCountBasedBalancer", false),
            ("3.0.0", "MultipleTargetBalancer", false),
        ] {
            let (settings, _, unknown) = resolve(&ServerVersion::parse(version), Some(&named(name)), &none);
            assert_eq!((settings.is_some(), unknown.is_none()), (is_known, is_known), "{name} on {version}");
        }
        for factor in ["NaN", "-1", "inf", "", "a lot"] {
            let read = BTreeMap::from([("globalrowcountfactor".to_owned(), factor.to_owned())]);
            let (settings, _, unknown) = resolve(&ServerVersion::parse("2.5.27"), Some(&read), &none);
            assert_eq!(settings, None, "{factor}");
            assert!(unknown.unwrap().to_string().contains("globalRowCountFactor"));
        }
        let (settings, _, unknown) = resolve(&ServerVersion::parse("master-2026"), None, &none);
        assert_eq!(settings, None);
        assert!(unknown.unwrap().to_string().contains("master-2026"));
    }
}
