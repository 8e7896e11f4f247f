//! Presets: bands, weights and switches that fit together, for those who do not want to choose each. What is set
//! explicitly stands over the preset.

use serde::{Deserialize, Serialize};

/// Which preset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Only what an operator would call grossly uneven, and only when it lasts.
    Gentle,
    /// The defaults.
    #[default]
    Balanced,
    /// What searches cost counts most; memory only has to be safe.
    SearchFirst,
    /// No node may come near its memory's end.
    MemorySafe,
}

/// What an option of a preset is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PresetValue {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A ratio.
    Ratio(f64),
}

use PresetValue::{Flag, Ratio, Whole};

impl Preset {
    /// All of them, in the order of the documentation.
    pub const ALL: [Preset; 4] = [Preset::Gentle, Preset::Balanced, Preset::SearchFirst, Preset::MemorySafe];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Gentle => "gentle",
            Preset::Balanced => "balanced",
            Preset::SearchFirst => "search-first",
            Preset::MemorySafe => "memory-safe",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// The options in which it differs from the defaults: policy, option, value.
    pub fn options(self) -> &'static [(&'static str, &'static str, PresetValue)] {
        match self {
            Preset::Gentle => &[
                // What somebody would mend by hand.
                ("memory", "enter", Ratio(1.4)),
                ("memory", "leave", Ratio(1.15)),
                // Three minutes at the usual interval: no flush or load lasts that long.
                ("memory", "turns", Whole(6)),
                ("memory", "matters_above", Ratio(0.5)),
            ],
            Preset::Balanced => &[],
            Preset::SearchFirst => &[
                // Memory has room until it is short; moves for its sake would disturb searches.
                ("memory", "enter", Ratio(1.4)),
                ("memory", "leave", Ratio(1.2)),
                ("memory", "matters_above", Ratio(0.6)),
                ("memory", "weight", Ratio(0.5)),
                // What it is about; it says nothing where the nodes' own metrics are not read.
                ("search", "enabled", Flag(true)),
                ("search", "enter", Ratio(1.3)),
                ("search", "leave", Ratio(1.1)),
                ("search", "weight", Ratio(2.0)),
                // Every segment is visited by every search.
                ("segments", "enabled", Flag(true)),
                ("segments", "enter", Ratio(1.5)),
                ("segments", "leave", Ratio(1.2)),
                ("segments", "weight", Ratio(0.25)),
                // A hot collection is named by somebody who knows; then it is to be really even.
                ("spread", "enter", Ratio(1.3)),
                ("spread", "leave", Ratio(1.1)),
                ("spread", "weight", Ratio(2.0)),
            ],
            Preset::MemorySafe => &[
                ("memory", "enter", Ratio(1.1)),
                ("memory", "leave", Ratio(1.03)),
                // Memory runs full within minutes when it does.
                ("memory", "turns", Whole(2)),
                ("memory", "matters_above", Ratio(0.2)),
                ("memory", "weight", Ratio(2.0)),
                // Below the 0.8 of the gate: room for growing data and for a neighbour's failure.
                ("memory", "limit", Ratio(0.7)),
            ],
        }
    }
}
