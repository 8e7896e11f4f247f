//! Situations: the plan from a file is the plan of the live look, files that lie are refused with a place, and what-if
//! changes what it says and nothing else.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use milvus_rebalancer::cli::milvus_view::{self, BesideMilvus};
use milvus_rebalancer::cli::{curve_svg, curve_view};
use milvus_rebalancer::model::{PlanningInput, SnapshotError};
use milvus_rebalancer::observe::observation::{Observation, ServerVersion};
use milvus_rebalancer::plan::{FindingState, PlanSettings};
use milvus_rebalancer::policy::{Directive, PolicySettings};
use milvus_rebalancer::report::PlanReport;
use milvus_rebalancer::situation::Situation;
use milvus_rebalancer::situation::curve::Curve;
use milvus_rebalancer::situation::file::{self, SnapshotFile, SnapshotFileError};
use milvus_rebalancer::situation::milvus::MilvusOutcome;
use milvus_rebalancer::situation::what_if::{Change, WhatIfError};
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, NodeId, Ratio};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cluster::{add_collection, cluster, lifted_gates, memory_at_once, moment};

fn uneven() -> Observation {
    let mut observation = cluster(5);
    add_collection(&mut observation, 7, &[&[(1, 40), (2, 4), (3, 6)], &[(4, 30), (5, 20)]]);
    add_collection(&mut observation, 8, &[&[(1, 12), (2, 1), (3, 2)]]);
    observation.collections[0].segments.as_mut().unwrap()[3].rows.0 = 7_000;
    observation
}

fn begin(observation: &Observation, policies: &PolicySettings) -> PlanningInput {
    let mut thinking = Thinking::new(policies, PlanSettings::default(), lifted_gates());
    thinking.begin(observation, OwnMoves::default(), moment(1)).input
}

fn situation() -> Situation {
    let policies = memory_at_once();
    Situation { input: begin(&uneven(), &policies), policies, directives: Vec::new() }
}

fn read(bytes: &[u8]) -> Result<SnapshotFile, SnapshotFileError> {
    file::read(Cursor::new(bytes), Path::new("given.json"))
}

fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    file::write(&situation(), &mut bytes).unwrap();
    bytes
}

fn reread(bytes: &[u8]) -> Situation {
    let SnapshotFile { input, policies, directives, is_changed } = read(bytes).unwrap();
    assert!(!is_changed);
    Situation { input, policies: policies.unwrap(), directives }
}

fn report(decision: &Decision) -> String {
    serde_json::to_string(&PlanReport::new(decision, None)).unwrap()
}

/// The error and its causes in one line.
fn sentence(error: &SnapshotFileError) -> String {
    milvus_rebalancer::telemetry::Chain(error).to_string()
}

#[test]
fn the_plan_from_a_file_is_the_plan_of_the_live_look() {
    let policies = memory_at_once();
    let mut thinking = Thinking::for_one_look(&policies, PlanSettings::default(), lifted_gates());
    let live = thinking.turn(&uneven(), OwnMoves::default(), moment(1));
    assert!(!live.plan.steps.is_empty());

    let folder = tempfile::tempdir().unwrap();
    for name in ["plain.json", "small.json.zst"] {
        let path = folder.path().join(name);
        file::save(&situation(), &path).unwrap();
        let SnapshotFile { input, policies, directives, .. } = file::load(&path).unwrap();
        assert_eq!(input, situation().input, "{name}");
        let again = Situation { input, policies: policies.unwrap(), directives }.decide();
        assert_eq!(report(&again), report(&live), "{name}");
        assert_eq!(again.verdict, live.verdict);
    }
    let size = |name: &str| folder.path().join(name).metadata().unwrap().len();
    assert!(size("small.json.zst") * 3 < size("plain.json"));
}

#[test]
fn ids_beyond_floating_point_survive() {
    let mut observation = uneven();
    let id = 9_007_199_254_740_993;
    observation.collections[0].segments.as_mut().unwrap()[0].id.0 = id;
    let policies = memory_at_once();
    let situation = Situation { input: begin(&observation, &policies), policies, directives: Vec::new() };
    let mut bytes = Vec::new();
    file::write(&situation, &mut bytes).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains(&format!("\"{id}\"")));
    assert_eq!(reread(&bytes).input, situation.input);
}

#[test]
fn whoever_changed_a_file_is_told_so_and_may_leave_settings_out() {
    let mut document: Value = serde_json::from_slice(&written()).unwrap();
    document["input"]["snapshot"]["nodes"][0]["memory_capacity"] = json!("2 GiB");
    for settings in ["policies", "directives"] {
        document.as_object_mut().unwrap().remove(settings);
    }
    document["input"].as_object_mut().unwrap().remove("gate");
    let file = read(document.to_string().as_bytes()).unwrap();
    assert!(file.is_changed);
    assert_eq!(file.policies, None);
}

#[test]
fn every_file_that_breaks_off_is_refused_with_a_place() {
    let plain = written();
    let compressed = zstd::encode_all(&plain[..], 3).unwrap();
    for length in (0..plain.len() - 2).step_by(97) {
        let error = read(&plain[..length]).unwrap_err();
        assert!(sentence(&error).contains("line 1 column"), "{length}: {}", sentence(&error));
    }
    for length in (4..compressed.len() - 1).step_by(13) {
        read(&compressed[..length]).unwrap_err();
    }
    let mut doubled = plain.clone();
    doubled.extend(&plain);
    assert!(sentence(&read(&doubled).unwrap_err()).contains("trailing"));
}

/// The document with one value changed.
fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(&written()).unwrap();
    *document.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    // In the order in which it was written: format and version are to be complained of first.
    let order = ["format", "version", "program", "digest", "policies", "directives", "input"];
    let fields: Vec<String> = order.iter().map(|name| format!("\"{name}\":{}", document[*name])).collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let copies = "/input/snapshot/copies";
    let in_copies = |column: &str| format!("{copies}/{column}");
    for (bytes, named) in [
        (b"".to_vec(), "EOF"),
        (b"not json".to_vec(), "line 1 column"),
        (b"{\"taken_at\":1}".to_vec(), "unknown field `taken_at`"),
        (b"[[[[[[[[".to_vec(), "line 1 column"),
        ("[".repeat(100_000).into_bytes(), "line 1 column"),
        (with("/format", json!("something else")), "and not \"milvus-rebalancer snapshot\""),
        (
            with("/version", json!(2)),
            "this is version 2 of the document, and this milvus-rebalancer reads version 1",
        ),
        (with("/version", json!(-1)), "at version"),
        (with("/input/snapshot/nodes/2/id", json!(7)), "at input.snapshot.nodes[2].id"),
        (with("/input/snapshot/nodes/2/id", json!("seven")), "an id: a string of digits"),
        (with("/input/snapshot/nodes/2/standing", json!("standing")), "input.snapshot.nodes[2].standing"),
        (with(&in_copies("rows/5"), json!(-1)), "input.snapshot.copies.rows[5]"),
        (with(&in_copies("rows/5"), json!(1.5)), "input.snapshot.copies.rows[5]"),
        (with(&in_copies("rows"), json!([])), "copies.rows has 0 rows, but copies.segment has"),
        (with(&in_copies("node/5"), json!(99)), "copies[5] refers to nodes[99], of which there are 5"),
        (with(&in_copies("node/4"), json!(4)), "copies[4] is on nodes[4], which is no member of replicas[0]"),
        (with(&in_copies("replica/5"), json!(99)), "refers to replicas[99]"),
        (with(&in_copies("segment/5"), json!("1")), "copies[5] does not come after the row before it"),
        (with(&in_copies("bytes/5"), json!(u64::MAX)), "copies[5]: bytes is 18446744073709551615"),
        (with("/input/snapshot/replicas/0/collection", json!(9)), "replicas[0] refers to collections[9]"),
        (
            with("/input/snapshot/replicas/0/members/1/node", json!(0)),
            "replicas.members[1] does not come after",
        ),
        (with("/input/snapshot/components", json!([])), "the components are not those"),
        (with("/input/snapshot/nodes/0/memory_used", json!(u64::MAX)), "nodes[0]: memory_used is"),
        (with("/input/now", json!({})), "at input.now"),
        (with("/policies", json!({"memory": {"enter": "high"}})), "at policies"),
    ] {
        let error = sentence(&read(&bytes).unwrap_err());
        assert!(error.contains(named), "{named}: {error}");
        assert!(error.contains("given.json"), "{error}");
        assert!(error.len() < 1_000, "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.json");
    assert!(sentence(&file::load(&missing).unwrap_err()).contains("missing.json"));
    let nowhere = folder.path().join("nowhere/new.json");
    assert!(sentence(&file::save(&situation(), &nowhere).unwrap_err()).contains("cannot write"));
}

#[test]
fn a_small_file_of_endless_text_ends_with_an_error() {
    let spaces = vec![b' '; 4 << 20];
    let bomb = zstd::encode_all(&spaces[..], 3).unwrap();
    assert!(bomb.len() < 1 << 10);
    for bytes in [&bomb, &spaces] {
        let read = file::read_at_most(1 << 20, Cursor::new(bytes), Path::new("given.json"));
        let error = sentence(&read.unwrap_err());
        assert!(error.contains("more than 1048576 bytes of text"), "{error}");
    }
}

/// Every place in a document that holds a value, by JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(entries) => {
            for (position, entry) in entries.iter().enumerate().take(8) {
                places(entry, &format!("{at}/{position}"), found);
            }
        }
        _ => {}
    }
    found.push(at.to_owned());
}

proptest! {
    #[test]
    fn whatever_is_put_anywhere_is_refused_or_planned_on(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize), 1..4),
    ) {
        let mut document: Value = serde_json::from_slice(&written()).unwrap();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        let values = [
            json!(null), json!(0), json!(1), json!(-1), json!(u64::MAX), json!(1e308), json!(""), json!("1"),
            json!([]), json!({}), json!(true), json!("99999999999999999999"),
        ];
        for (place, value) in changes {
            if let Some(slot) = document.pointer_mut(&found[place.index(found.len())]) {
                *slot = values[value].clone();
            }
        }
        if let Ok(SnapshotFile { input, policies, directives, .. }) = read(document.to_string().as_bytes()) {
            let policies = policies.unwrap_or_else(memory_at_once);
            let decision = Situation { input, policies, directives }.decide();
            prop_assert!(decision.plan.proof.dimensions.len() <= 64);
        }
    }
}

/// What a schema says against a value: the part of JSON Schema that ours uses.
fn violations(schema: &Value, root: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return violations(root.pointer(pointer).unwrap(), root, value, at, found);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(options) = schema[choice].as_array() {
            let fits = |option: &&Value| {
                let mut wrong = Vec::new();
                violations(option, root, value, at, &mut wrong);
                wrong.is_empty()
            };
            if options.iter().filter(fits).count() == 0 {
                found.push(format!("{at}: {value} is none of {choice}"));
            }
        }
    }
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type {other}"),
    };
    let types = &schema["type"];
    let fits = types.as_array().map_or_else(|| types.is_null() || is(types), |all| all.iter().any(is));
    if !fits {
        found.push(format!("{at}: {value} is no {types}"));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        found.push(format!("{at}: {value} is none of {allowed:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        found.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    for (position, entry) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            violations(&schema["items"], root, entry, &format!("{at}/{position}"), found);
        }
    }
    let Some(fields) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            found.push(format!("{at}: {required} is missing"));
        }
    }
    for (name, field) in fields {
        match &schema["properties"][name] {
            Value::Null if schema["additionalProperties"] == json!(false) => {
                found.push(format!("{at}: {name}?"))
            }
            Value::Null => {}
            known => violations(known, root, field, &format!("{at}/{name}"), found),
        }
    }
}

#[test]
fn what_is_written_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(&file::schema()).unwrap();
    let document: Value = serde_json::from_slice(&written()).unwrap();
    let check = |document: &Value| {
        let mut found = Vec::new();
        violations(&schema, &schema, document, "", &mut found);
        found
    };
    assert_eq!(check(&document), Vec::<String>::new());
    for (pointer, wrong) in [
        ("/version", json!("1")),
        ("/input/snapshot/nodes/0/id", json!(1)),
        ("/input/snapshot/nodes/0/standing", json!("lying")),
        ("/input/snapshot/copies/rows/0", json!("many")),
        ("/input/snapshot/copies", json!({})),
    ] {
        let mut changed = document.clone();
        *changed.pointer_mut(pointer).unwrap() = wrong;
        assert_ne!(check(&changed), Vec::<String>::new(), "{pointer}");
    }
}

fn worst(decision: &Decision) -> Ratio {
    decision.findings.iter().map(|finding| finding.pressure).max().unwrap()
}

fn changes(text: &str) -> Vec<Change> {
    text.split(',').map(|change| change.parse().unwrap()).collect()
}

#[test]
fn one_more_node_takes_a_share_and_one_less_leaves_its_own_to_others() {
    let plain = situation();
    let more = plain.with(&changes("add-node=1MB")).unwrap();
    assert_eq!(more.input.snapshot.check(), Ok(()));
    assert_eq!(more.input.snapshot.nodes.len(), 6);
    let decision = more.decide();
    let new = NodeId(6);
    assert!(decision.plan.moves().any(|movement| movement.to == new), "{:?}", decision.plan.steps);

    let less = plain.with(&changes("remove-node=2")).unwrap();
    assert_eq!(less.input.snapshot.check(), Ok(()));
    assert_eq!(less.input.snapshot.node_index(NodeId(2)), None);
    assert_eq!(less.input.snapshot.copies.len(), plain.input.snapshot.copies.len(), "nothing is lost");
    let bytes = |situation: &Situation| {
        situation.input.snapshot.bytes_by_node().into_iter().map(|bytes| bytes.0).sum::<u64>()
    };
    assert_eq!(bytes(&less), bytes(&plain));
    assert_eq!(plain, situation(), "the question changes nothing");
    less.decide();
}

#[test]
fn a_lower_threshold_plans_more_and_a_drain_is_ordered() {
    let mut plain = situation();
    plain.policies.for_each_dimension(|dimension| dimension.leave = Ratio(1_200_000));
    let tight = plain.with(&changes("threshold=1.01")).unwrap();
    assert!(tight.decide().plan.moves().count() > plain.decide().plan.moves().count());
    let none = plain.with(&changes("threshold=1000")).unwrap().decide();
    assert!(none.findings.iter().all(|finding| finding.state == FindingState::Even));
    assert_eq!(worst(&none), worst(&plain.decide()));

    let drained = plain.with(&changes("drain=1")).unwrap();
    assert_eq!(drained.directives, [Directive::Evacuate { node: NodeId(1) }]);
    let plan = drained.decide().plan;
    let left = plan.moves().filter(|movement| movement.from == NodeId(1)).count();
    assert!(left > plain.decide().plan.moves().filter(|movement| movement.from == NodeId(1)).count());
    assert!(plan.moves().all(|movement| movement.to != NodeId(1)), "nothing enters a node that is drained");
}

#[test]
fn questions_about_what_is_not_there_are_refused() {
    let plain = situation();
    let ask = |text: &str| plain.with(&changes(text)).unwrap_err();
    assert_eq!(ask("remove-node=9").to_string(), "there is no node 9: the nodes are 1, 2, 3, 4, 5");
    assert!(matches!(ask("drain=9"), WhatIfError::NoSuchNode { .. }));
    let last = ask("remove-node=4,remove-node=5");
    assert!(matches!(last, WhatIfError::LastOfReplica { node: NodeId(5), .. }), "{last}");
    let policies = memory_at_once();
    let empty = Situation { input: begin(&cluster(2), &policies), policies, directives: Vec::new() };
    assert_eq!(empty.with(&changes("add-node=1GiB")), Err(WhatIfError::NothingToServe));
}

#[test]
fn what_the_model_makes_is_sane() {
    assert_eq!(situation().input.snapshot.check(), Ok::<(), SnapshotError>(()));
}

#[test]
fn the_curve_falls_and_its_knee_is_on_it() {
    let curve = Curve::of(&situation());
    assert_eq!(curve.steps[0].bytes, Bytes::ZERO);
    let decision = situation().decide();
    let last = curve.steps.last().unwrap();
    assert_eq!((last.moves, last.bytes), (decision.plan.moves().count(), decision.plan.proof.bytes_moved));
    let after = decision.plan.proof.dimensions.iter().map(|proof| proof.after).max().unwrap();
    assert_eq!(last.worst, after, "the curve ends where the proof says");
    let best = curve.best();
    assert!(best.windows(2).all(|pair| pair[0].bytes < pair[1].bytes && pair[1].worst < pair[0].worst));
    if let Some(knee) = curve.knee {
        assert_eq!(best[knee.position], knee.point);
        assert!(knee.gain_before > knee.gain_after);
    }
    assert!(curve.bands.windows(2).all(|pair| pair[0].band > pair[1].band));
    assert_eq!(Curve::of(&situation()), curve, "the same situation, the same curve");

    let text = curve_view::tables(&curve);
    assert!(text.contains("RELIEVE DOWN TO"), "{text}");
    let picture = curve_svg::svg(&curve, "<script>alert(\"&\")</script>");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(
        !picture.contains("<script") && !picture.contains("NaN") && !picture.contains("inf"),
        "{picture}"
    );
    assert!(picture.contains("prefers-color-scheme: dark"));
}

#[test]
fn an_even_an_empty_and_an_absurd_cluster_have_curves_too() {
    let policies = memory_at_once();
    let mut even = cluster(2);
    add_collection(&mut even, 7, &[&[(1, 5), (2, 5)]]);
    let mut absurd = uneven();
    absurd.nodes.iter_mut().for_each(|node| node.memory_capacity = None);
    for observation in [cluster(0), cluster(2), even, absurd] {
        let input = begin(&observation, &policies);
        let situation = Situation { input, policies: policies.clone(), directives: Vec::new() };
        let curve = Curve::of(&situation);
        assert_eq!(curve.knee, None);
        assert!(curve_view::tables(&curve).contains("nothing is moved"));
        let picture = curve_svg::svg(&curve, "");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        MilvusOutcome::of(&situation).unwrap();
    }
}

#[test]
fn milvus_own_balancer_is_asked_until_it_is_content() {
    let mut plain = situation();
    let outcome = MilvusOutcome::of(&plain).unwrap();
    assert!(outcome.moves > 0 && outcome.is_content && outcome.rounds > 0, "{outcome:?}");
    let memory = &outcome.worst[0];
    assert!(memory.after < memory.before, "{outcome:?}");
    let report = PlanReport::new(&plain.decide(), None);
    let text = milvus_view::tables(&BesideMilvus { plan: report.clone(), milvus: Some(outcome) });
    assert!(text.contains("MILVUS' OWN BALANCER"), "{text}");

    Arc::make_mut(&mut plain.input.snapshot).server = ServerVersion::parse("who knows");
    assert_eq!(MilvusOutcome::of(&plain), None);
    let text = milvus_view::tables(&BesideMilvus { plan: report, milvus: None });
    assert!(text.contains("version is unknown"), "{text}");
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_binary_plans_on_a_file_and_answers_questions_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("given.json.zst");
    file::save(&situation(), &path).unwrap();
    let given = path.display().to_string();
    let digest = situation().input.snapshot.digest().to_string();

    let (code, table, _) = run(&["plan", "--snapshot", &given]);
    assert_eq!(code, Some(0));
    assert!(table.contains(&digest) && table.contains("Plan: "), "{table}");
    let (_, json, _) = run(&["plan", "--snapshot", &given, "--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report, serde_json::from_str::<Value>(&report_as_advised()).unwrap());

    let (code, text, _) = run(&["plan", "--snapshot", &given, "--what-if", "add-node=1MB,threshold=1.02"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("What if: one more node with"), "{text}");
    let (code, text, _) = run(&["plan", "--snapshot", &given, "--compare", "milvus"]);
    assert!(code == Some(0) && text.contains("MILVUS' OWN BALANCER"), "{text}");
    let picture = folder.path().join("curve.svg");
    let svg = picture.display().to_string();
    let (code, text, _) = run(&["plan", "--snapshot", &given, "--curve", "--svg", &svg]);
    assert!(code == Some(0) && text.contains("RELIEVE DOWN TO"), "{text}");
    assert!(std::fs::read_to_string(picture).unwrap().contains("<svg "));

    let (code, schema, _) = run(&["snapshot", "--schema"]);
    assert_eq!((code, schema), (Some(0), file::schema()));
}

/// The report of the plan in the mode of the default configuration.
fn report_as_advised() -> String {
    use milvus_rebalancer::config::Mode;
    use milvus_rebalancer::report::limiting_reason;
    let decision = situation().decide();
    let limited_by = limiting_reason(Mode::Advise, &decision, None);
    serde_json::to_string(&PlanReport::new(&decision, limited_by.as_ref())).unwrap()
}

#[test]
fn the_binary_refuses_what_it_cannot_answer_with_1_and_nonsense_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("given.json");
    file::save(&situation(), &path).unwrap();
    let given = path.display().to_string();
    let nowhere = folder.path().join("nowhere/x").display().to_string();
    for (arguments, code, named) in [
        (vec!["plan", "--snapshot", &nowhere], 1, "cannot read"),
        (vec!["plan", "--snapshot", &given, "--what-if", "remove-node=99"], 1, "there is no node 99"),
        (vec!["plan", "--snapshot", &given, "--curve", "--svg", &nowhere], 1, "picture"),
        (vec!["plan", "--snapshot", &given, "--what-if", "grow=1"], 2, "add-node=MEMORY"),
        (vec!["plan", "--snapshot", &given, "--connection", "x"], 2, "--connection"),
        (vec!["plan", "--own-settings"], 2, "--snapshot"),
        (vec!["plan", "--svg", "x.svg"], 2, "--curve"),
        (vec!["plan", "--compare", "milvus", "--curve"], 2, "--curve"),
        (vec!["snapshot"], 2, "--out"),
        (vec!["snapshot", "--schema", "--out", "x"], 2, "--schema"),
    ] {
        let (found, _, stderr) = run(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_binary_says_why_by_the_reasons_of_the_plan_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("then.json.zst");
    file::save(&situation(), &path).unwrap();
    let path = path.to_str().unwrap();
    let decision = situation().decide();
    let first = decision.plan.moves().next().unwrap();
    let [segment, from, to] = [first.segment.to_string(), first.from.to_string(), first.to.to_string()];
    for (question, answer) in [
        (vec!["why", "segment", &segment], format!("the plan moves it to node {to}")),
        (vec!["why", "node", &from], "times its fair share".to_owned()),
        (vec!["why-not", "--segment", &segment, "--to", &to], "the plan does that".to_owned()),
    ] {
        let (code, stdout, stderr) = run(&[&question[..], &["--snapshot", path]].concat());
        assert_eq!(code, Some(0), "{question:?}: {stderr}");
        assert!(stdout.contains(&answer), "{question:?}: {stdout}");
    }
    let (code, stdout, stderr) = run(&["why", "segment", "1", "--snapshot", path]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("segment 1 is not in this file"), "{stderr}");
}
