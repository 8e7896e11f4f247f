//! Signals as a turn makes them out of pages that are right, wrong, late, or missing: whatever is wrong with one page is
//! named, is left out, and stops nothing else.

use std::time::Duration;

use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::model::signals::{Absence, AbsentSignal, CapacityOverride, SearchLoad, SignalKind};
use milvus_rebalancer::model::{
    CapacitySettings, Controls, Doubt, DoubtKind, History, ModelState, PlanningInput, Snapshot, Subject, fold,
};
use milvus_rebalancer::observe::observation::{HardwareReport, Observation};
use milvus_rebalancer::observe::signals::{
    CollectionDemand, DemandCounters, NodeCounters, Oddity, SearchCounters,
};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::policy::{self, Directive, PolicySettings};
use milvus_rebalancer::units::{Bytes, CollectionId, Millicores, Moment, NodeId};

use crate::cluster::{add_collection, cluster, moment};

/// Three nodes with one collection of two segments each; all pages are read every 30 s, and are as they should be unless
/// a test changes them.
struct Play {
    state: ModelState,
    observation: Observation,
    second: i64,
    /// CPU time of each node so far, in milliseconds.
    cpu: [u64; 3],
    searches: u64,
}

const HOT: NodeId = NodeId(1);

impl Play {
    fn new() -> Play {
        let mut observation = cluster(3);
        for id in 1..=3 {
            add_collection(&mut observation, id, &[&[(1, 0), (2, 0), (3, 0)]]);
            let own = NodeId(id);
            let collection = observation.collections.last_mut().unwrap();
            collection.segments =
                Some((0..2).map(|number| crate::cluster::segment(id * 1000 + number, own)).collect());
        }
        for node in &mut observation.nodes {
            node.hardware = HardwareReport { cpu_cores: Some(1), ..HardwareReport::default() };
        }
        Play { state: ModelState::default(), observation, second: 0, cpu: [0; 3], searches: 0 }
    }

    /// So much later, node 1 has used 0.6 cores more, the others 0.02; collection 1 was searched 100 times a second.
    fn pass(&mut self, seconds: u32) {
        self.second += i64::from(seconds);
        for (cpu, millicores) in self.cpu.iter_mut().zip([600, 20, 20]) {
            *cpu += u64::from(seconds) * millicores;
        }
        self.searches += 100 * u64::from(seconds);
        let at = moment(self.second);
        self.observation.started_at = at.wall;
        self.observation.signals.nodes = (1..=3).map(|id| (NodeId(id), self.page(id, at))).collect();
        let demand = CollectionDemand {
            database: Some("default".to_owned()),
            name: "collection1".to_owned(),
            searches: self.searches,
            vectors: self.searches,
            micros: 0,
        };
        let page = DemandCounters {
            read_at: at,
            started_at: Some(moment(-60).wall),
            collections: vec![demand],
            oddities: Vec::new(),
        };
        self.observation.signals.proxies = [("proxy".to_owned(), page)].into();
    }

    fn page(&self, id: i64, read_at: Moment) -> NodeCounters {
        NodeCounters {
            read_at,
            source: format!("http://node-{id}/metrics"),
            started_at: Some(moment(-60).wall),
            cpu_micros: Some(self.cpu[usize::try_from(id - 1).unwrap()] * 1000),
            as_worker: Some(SearchCounters { count: self.searches, ..SearchCounters::default() }),
            as_delegator: None,
            growing: None,
            resident_memory: None,
            disk_used: None,
            load_failures: None,
            oddities: Vec::new(),
        }
    }

    fn hot(&mut self) -> &mut NodeCounters {
        self.observation.signals.nodes.get_mut(&HOT).unwrap()
    }

    fn look(&mut self) -> Snapshot {
        let state = std::mem::take(&mut self.state);
        let (state, snapshot) = fold(state, &self.observation, &[]);
        self.state = state;
        snapshot
    }

    fn pass_and_look(&mut self) -> Snapshot {
        self.pass(30);
        self.look()
    }

    /// After two ordinary looks.
    fn measured() -> Play {
        let mut play = Play::new();
        play.pass_and_look();
        let snapshot = play.pass_and_look();
        assert_eq!(cpu(&snapshot), [Some(600), Some(20), Some(20)]);
        assert_eq!(snapshot.doubts, []);
        play
    }
}

/// CPU of each node, in thousandths of a core.
fn cpu(snapshot: &Snapshot) -> [Option<u64>; 3] {
    [0, 1, 2].map(|at| snapshot.signals.nodes[at].cpu.as_ref().map(|cpu| cpu.value.0))
}

/// CPU of the two copies of collection 1, and of all others.
fn copies(snapshot: &Snapshot) -> (Vec<u64>, u64) {
    let (mut hot, mut others) = (Vec::new(), 0);
    for copy in snapshot.copies.indices() {
        let load = snapshot.signals.copy_search[copy.at()].0;
        match snapshot.collection_of(snapshot.copies.replica[copy.at()]).id {
            CollectionId(1) => hot.push(load),
            _ => others += load,
        }
    }
    (hot, others)
}

/// Why the CPU of node 1 is not known.
fn why_missing(snapshot: &Snapshot) -> Option<Absence> {
    let of_hot = |absent: &&AbsentSignal| absent.signal == SignalKind::Cpu && absent.nodes.contains(&HOT);
    snapshot.signals.absent.iter().find(of_hot).map(|absent| absent.why)
}

fn doubts(snapshot: &Snapshot) -> Vec<(Subject, &'static str)> {
    snapshot.doubts.iter().map(|doubt: &Doubt| (doubt.subject, doubt.kind.code())).collect()
}

#[test]
fn cpu_is_shared_out_over_the_segments_that_are_searched() {
    let mut play = Play::new();
    let first = play.pass_and_look();
    assert_eq!((cpu(&first), why_missing(&first)), ([None; 3], Some(Absence::NotYet)));
    assert_eq!(first.signals.nodes[0].search_load, SearchLoad::Unknown);
    let second = play.pass_and_look();
    assert_eq!(copies(&second), (vec![290, 290], 0), "what an idle node uses is not theirs");
    assert_eq!(second.signals.nodes[0].base_cpu, Millicores(20));
    assert_eq!(second.signals.demand[0].as_ref().unwrap().value.per_second(), 100.0);
    assert_eq!(second.signals.demand[1].as_ref().unwrap().value.per_second(), 0.0, "nobody searched it");
}

#[test]
fn a_restart_begins_anew_and_a_counter_that_falls_is_named() {
    let mut play = Play::measured();
    play.pass(30);
    play.hot().started_at = Some(moment(75).wall);
    play.hot().cpu_micros = Some(1_000);
    let restarted = play.look();
    assert_eq!((cpu(&restarted), doubts(&restarted)), ([None, Some(20), Some(20)], vec![]));
    assert_eq!(why_missing(&restarted), Some(Absence::NotYet));

    let mut play = Play::measured();
    play.pass(30);
    play.hot().cpu_micros = Some(1_000);
    let fell = play.look();
    assert_eq!(cpu(&fell), [None, Some(20), Some(20)], "the rest goes on");
    assert_eq!(doubts(&fell), [(Subject::Node(HOT), "counter_went_back")]);
    assert_eq!(why_missing(&fell), Some(Absence::Doubted));
    assert_eq!(fell.signals.nodes[0].search_load, SearchLoad::Unknown);
    play.pass_and_look();
    let again = play.pass_and_look();
    assert_eq!((cpu(&again)[0], doubts(&again)), (Some(600), vec![]));
}

#[test]
fn a_wall_clock_that_jumps_changes_no_rate_and_is_named() {
    for jump in [-3_600, -7, 7, 3_600] {
        let mut play = Play::measured();
        play.pass(30);
        let wall = moment(play.second + jump).wall;
        play.observation.started_at = wall;
        for page in play.observation.signals.nodes.values_mut() {
            page.read_at.wall = wall;
        }
        let jumped = play.look();
        assert_eq!(cpu(&jumped), [Some(600), Some(20), Some(20)], "{jump} s");
        assert_eq!(doubts(&jumped), [(Subject::Cluster, "clocks_disagree")], "{jump} s");
    }
}

#[test]
fn a_reading_of_another_process_of_ours_is_not_compared_with() {
    let mut play = Play::measured();
    play.pass(30);
    for page in play.observation.signals.nodes.values_mut() {
        page.read_at.monotonic = Duration::from_secs(3);
    }
    let replayed = play.look();
    assert_eq!((cpu(&replayed), doubts(&replayed)), ([None; 3], vec![]));
}

#[test]
fn a_page_of_two_nodes_is_believed_of_neither() {
    let mut play = Play::measured();
    play.pass(30);
    play.hot().source = "http://node-2/metrics".to_owned();
    let shared = play.look();
    assert_eq!(cpu(&shared), [None, None, Some(20)]);
    let both = [(Subject::Node(HOT), "shared_page"), (Subject::Node(NodeId(2)), "shared_page")];
    assert_eq!(doubts(&shared), both);
    assert_eq!(why_missing(&shared), Some(Absence::Doubted));
}

#[test]
fn more_cpu_than_there_are_cores_is_not_believed() {
    let mut play = Play::measured();
    play.pass(30);
    play.hot().cpu_micros = Some(u64::MAX);
    let absurd = play.look();
    assert_eq!(cpu(&absurd), [None, Some(20), Some(20)]);
    assert_eq!(doubts(&absurd), [(Subject::Node(HOT), "implausible_cpu")]);
}

#[test]
fn odd_figures_are_doubts_about_the_page_that_has_them() {
    let mut play = Play::measured();
    play.pass(30);
    play.hot().cpu_micros = None;
    play.hot().oddities = vec![Oddity::NoAmount("process_cpu_seconds_total".to_owned()), Oddity::CutOff];
    let odd = play.look();
    assert_eq!(cpu(&odd), [None, Some(20), Some(20)]);
    assert_eq!(doubts(&odd), [(Subject::Node(HOT), "odd_figure"); 2]);
    assert_eq!(why_missing(&odd), Some(Absence::NotThere));
    let text = odd.doubts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("process_cpu_seconds_total is negative, infinite or not a number"), "{text}");
    assert!(text.contains("ends in the middle of a line"), "{text}");
}

#[test]
fn a_page_that_cannot_be_read_is_stood_in_for_and_then_nothing_goes_there() {
    let mut play = Play::measured();
    let mut trust = Vec::new();
    for _ in 0..4 {
        play.pass(30);
        play.observation.signals.nodes.remove(&HOT);
        let snapshot = play.look();
        let cpu = snapshot.signals.nodes[0].cpu.clone().unwrap();
        trust.push((cpu.age.as_secs(), cpu.trust.percent()));
    }
    let expected = [(30, "88 %"), (60, "75 %"), (90, "62 %"), (120, "50 %")];
    assert_eq!(trust, expected.map(|(age, trust)| (age, trust.to_owned())));
    play.pass(30);
    play.observation.signals.nodes.remove(&HOT);
    let gone = play.look();
    assert_eq!((cpu(&gone)[0], why_missing(&gone)), (None, Some(Absence::NotRead)));

    let mut policies = PolicySettings::default();
    policies.search.0.enabled = true;
    let input = PlanningInput {
        snapshot: gone.into(),
        in_flight: Vec::new(),
        history: History::default(),
        opinions: milvus_rebalancer::policy::Assessment::default(),
        controls: Controls::default(),
        own_balancer: milvus_rebalancer::model::OwnBalancer::default(),
        plan: PlanSettings::default(),
        gate: GateSettings::default(),
        now: moment(play.second),
    };
    let assessment = policy::assess_all(&policy::registry(&policies), &input);
    assert_eq!(assessment.directives, [Directive::NeverDestination { node: HOT }]);
    let search = assessment.dimensions.iter().find(|dimension| dimension.name == "search").unwrap();
    assert_eq!(search.capacity.amounts()[0].0, 0, "it takes no part");
}

#[test]
fn without_any_pages_there_is_no_search_load_and_it_is_said() {
    let mut play = Play::new();
    play.pass(30);
    play.observation.signals = milvus_rebalancer::observe::signals::SignalReport::default();
    let blind = play.look();
    assert_eq!((cpu(&blind), doubts(&blind)), ([None; 3], vec![]));
    let missing: Vec<(&str, Absence)> =
        blind.signals.absent.iter().map(|absent| (absent.signal.code(), absent.why)).collect();
    assert!(missing.contains(&("cpu", Absence::NotRead)), "{missing:?}");
    assert!(missing.contains(&("demand", Absence::NotRead)), "{missing:?}");
}

#[test]
fn searches_by_a_name_of_two_collections_are_halved_and_it_is_said() {
    let mut play = Play::new();
    play.observation.collections[1].name = "collection1".to_owned();
    play.observation.collections[1].database = "other".to_owned();
    for _ in 0..2 {
        play.pass(30);
        let proxy = play.observation.signals.proxies.get_mut("proxy").unwrap();
        proxy.collections[0].database = None;
        play.look();
    }
    play.pass(30);
    play.observation.signals.proxies.get_mut("proxy").unwrap().collections[0].database = None;
    let snapshot = play.look();
    let demand = |at: usize| snapshot.signals.demand[at].as_ref().unwrap().value.per_second();
    assert_eq!((demand(0), demand(1), demand(2)), (50.0, 50.0, 0.0));
    let name = "collection1".to_owned();
    let doubt = Doubt { subject: Subject::Cluster, kind: DoubtKind::AmbiguousDemand { name } };
    assert_eq!(snapshot.doubts, [doubt]);
}

#[test]
fn a_proxy_whose_page_was_cut_off_does_not_make_a_flood_of_searches() {
    let mut play = Play::measured();
    let whole = |play: &Play| play.observation.signals.proxies["proxy"].clone();
    play.pass(30);
    let page = whole(&play);
    let cut_off = DemandCounters { collections: Vec::new(), oddities: vec![Oddity::CutOff], ..page };
    play.observation.signals.proxies.insert("proxy".to_owned(), cut_off);
    let snapshot = play.look();
    assert_eq!(doubts(&snapshot), [(Subject::Cluster, "odd_figure")]);
    let again = play.pass_and_look();
    assert_eq!(again.signals.demand[0].as_ref().unwrap().value.per_second(), 100.0);

    // Its first page was cut off, so that the collection was never seen before.
    let mut play = Play::new();
    play.searches = 1_000_000;
    play.pass(30);
    let page = DemandCounters { collections: Vec::new(), oddities: vec![Oddity::CutOff], ..whole(&play) };
    play.observation.signals.proxies.insert("proxy".to_owned(), page);
    play.look();
    play.pass_and_look();
    let known = play.pass_and_look();
    assert_eq!(known.signals.demand[0].as_ref().unwrap().value.per_second(), 100.0);
}

#[test]
fn segments_that_come_and_go_begin_a_new_stretch_and_growth_does_not() {
    let mut play = Play::measured();
    let rows = &mut play.observation.collections[0].segments.as_mut().unwrap()[0].rows;
    rows.0 += rows.0 / 50;
    assert_eq!(cpu(&play.pass_and_look())[0], Some(600), "one per cent more");
    play.observation.collections[0].segments.as_mut().unwrap()[0].nodes = vec![NodeId(2)];
    let moved = play.pass_and_look();
    assert_eq!(cpu(&moved), [None, None, Some(20)]);
    assert_eq!(moved.signals.nodes[0].search_load, SearchLoad::Estimated);
    let (hot, _) = copies(&moved);
    assert!(hot.iter().all(|load| (250..=320).contains(load)), "as they were: {hot:?}");
    assert_eq!(cpu(&play.pass_and_look())[0], Some(600));
}

#[test]
fn less_memory_by_configuration_is_what_there_is() {
    let mut play = Play::new();
    let entry = CapacityOverride {
        nodes: Patterns::of("10.0.0.1"),
        memory: Some(Bytes(700_000)),
        ..CapacityOverride::default()
    };
    play.state.signals.capacity = CapacitySettings([("small".to_owned(), entry)].into());
    let snapshot = play.pass_and_look();
    let memory: Vec<u64> = snapshot.nodes.iter().map(|node| node.memory_capacity.unwrap().0).collect();
    assert_eq!(memory, [700_000, 1_000_000, 1_000_000]);
}
