//! Options of policies: presets under what is set explicitly, and lists that a file and the environment can both write.

use milvus_rebalancer::policy::preset::Preset;
use milvus_rebalancer::units::SegmentId;

use super::*;

#[test]
fn a_preset_sets_what_nobody_set_and_says_so() {
    let text = "[policies]\npreset = 'gentle'\n[policies.memory]\nturns = 2\n";
    let loaded = loaded(text, &[("MILVUS_REBALANCER__POLICIES__MEMORY__LEAVE", "1.1")]).unwrap();
    let memory = &loaded.config.policies.memory;
    assert_eq!((memory.enter, memory.leave, memory.turns), (Ratio(1_400_000), Ratio(1_100_000), 2));
    let shown = loaded.show();
    for line in [
        "policies.memory.enter = 1.4  # preset gentle",
        "policies.memory.leave = 1.1  # MILVUS_REBALANCER__POLICIES__MEMORY__LEAVE",
        "policies.memory.weight = 1.0  # default",
    ] {
        assert!(shown.contains(line), "{line:?} is missing from:\n{shown}");
    }
    let line = shown.lines().find(|line| line.starts_with("policies.memory.turns")).unwrap();
    assert!(line.ends_with("config.toml"), "{line}");
}

#[test]
fn the_environment_chooses_the_preset_over_the_file() {
    let text = "[policies]\npreset = 'gentle'\n";
    let loaded = loaded(text, &[("MILVUS_REBALANCER__POLICIES__PRESET", "memory-safe")]).unwrap();
    assert_eq!(loaded.config.policies.preset, Preset::MemorySafe);
    assert_eq!(loaded.config.policies.memory.limit, Some(Ratio(700_000)));
}

#[test]
fn every_preset_is_sound_and_sets_options_that_there_are() {
    for preset in Preset::ALL {
        let loaded = loaded(&format!("[policies]\npreset = '{}'\n", preset.name()), &[]).unwrap();
        assert_eq!(loaded.config.policies.preset, preset);
        assert_eq!(loaded.warnings, [], "{preset:?}");
        let shown = loaded.show();
        for (policy, option, _) in preset.options() {
            let key = format!("policies.{policy}.{option} = ");
            let line = shown.lines().find(|line| line.starts_with(&key)).unwrap_or_else(|| panic!("{key}"));
            assert!(line.ends_with(&format!("  # preset {}", preset.name())), "{line}");
        }
    }
    assert_eq!(json(&loaded("", &[]).unwrap().config), json(&Config::default()), "balanced is the default");
}

#[test]
fn the_guide_has_the_table_of_presets() {
    let guide = include_str!("../../../docs/policies.md");
    for preset in Preset::ALL {
        assert!(guide.contains(&format!("`{}`", preset.name())), "{preset:?}");
        for (policy, option, value) in preset.options() {
            let value = match value {
                milvus_rebalancer::policy::preset::PresetValue::Flag(flag) => flag.to_string(),
                milvus_rebalancer::policy::preset::PresetValue::Whole(number) => number.to_string(),
                milvus_rebalancer::policy::preset::PresetValue::Ratio(ratio) => ratio.to_string(),
            };
            let row = guide.lines().find(|line| line.starts_with(&format!("| `{policy}.{option}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/policies.md lacks a row for {policy}.{option}"));
            assert!(row.contains(&value), "{preset:?}: {value} is not in {row}");
        }
    }
}

#[test]
fn lists_can_be_written_in_a_file_and_by_the_environment() {
    let text = "[policies.drain]\nnodes = [7, 'querynode-3']\n[policies.pin]\ncollections = 'a, shop.*'\n\
                [policies.nominate.tonight]\nnodes = ['n']\nsegments = [446, '447']\npriority = 3\n";
    let policies = loaded(text, &[]).unwrap().config.policies;
    let texts = |patterns: &milvus_rebalancer::policy::pattern::Patterns| {
        patterns.0.iter().map(ToString::to_string).collect::<Vec<String>>()
    };
    assert_eq!(texts(&policies.drain.nodes), ["7", "querynode-3"]);
    assert_eq!(texts(&policies.pin.collections), ["a", "shop.*"]);
    let tonight = &policies.nominate["tonight"];
    assert_eq!((tonight.segments.as_slice(), tonight.priority), (&[SegmentId(446), SegmentId(447)][..], 3));

    let environment = [
        ("MILVUS_REBALANCER__POLICIES__DRAIN__NODES", "querynode-1, 10.0.0.*"),
        ("MILVUS_REBALANCER__POLICIES__PIN__COLLECTIONS", ""),
        ("MILVUS_REBALANCER__POLICIES__EXCLUDE__RESOURCE_GROUPS", "batch"),
        ("MILVUS_REBALANCER__POLICIES__SPREAD__COLLECTIONS", "hot"),
        ("MILVUS_REBALANCER__POLICIES__NOMINATE__NOW__NODES", "9"),
        ("MILVUS_REBALANCER__POLICIES__NOMINATE__NOW__SEGMENTS", "448,449"),
    ];
    let policies = loaded(text, &environment).unwrap().config.policies;
    assert_eq!(texts(&policies.drain.nodes), ["querynode-1", "10.0.0.*"]);
    assert!(policies.pin.is_empty());
    assert_eq!(texts(&policies.exclude.resource_groups), ["batch"]);
    assert_eq!(texts(&policies.spread.collections), ["hot"]);
    assert_eq!(policies.nominate["now"].segments, [SegmentId(448), SegmentId(449)]);
    assert_eq!(policies.nominate.len(), 2);
}

#[test]
fn wrong_lists_and_presets_are_told_by_their_key() {
    for (text, key, message) in [
        (
            "[policies]\npreset = 'fast'",
            "policies.preset",
            "one of gentle, balanced, search-first, memory-safe",
        ),
        ("[policies]\npreset = 5", "policies.preset", "text"),
        ("[policies.drain]\nnodes = ['a', '']", "policies.drain.nodes", "empty"),
        ("[policies.drain]\nnodes = 'a,,b'", "policies.drain.nodes", "empty"),
        ("[policies.drain]\nnodes = [['a']]", "policies.drain.nodes", "a text"),
        ("[policies.drain]\nnodes = true", "policies.drain.nodes", "a list of texts"),
        ("[policies.drain]\nnodes = '*'", "policies.drain.nodes", "every node"),
        ("[policies.pin]\nsegments = ['1']", "policies.pin.segments", "unknown key"),
        ("[policies.nominate.x]\nnodes = []", "policies.nominate.x.nodes", "names no nodes"),
        ("[policies.nominate.x]\nnodes = 'a'\nsegments = ['b']", "policies.nominate.x.segments", "\"b\""),
        ("[policies.spread]\nleave = 2.0", "policies.spread.leave", "below enter"),
        ("[policies.segments]\nweight = 0", "policies.segments.weight", "switches the policy off"),
        ("[policies.memory]\nlimit = 1.5", "policies.memory.limit", "share of its capacity"),
    ] {
        let found = problems(text, &[]);
        let problem = found.iter().find(|problem| problem.key == key);
        let problem = problem.unwrap_or_else(|| panic!("{text}: {found:?}"));
        assert!(problem.message.contains(message), "{text}: {problem}");
    }
}
