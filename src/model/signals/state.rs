//! One step of the signals: this turn's pages into rates, rates into loads of segments, and the names of what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::attribution::{Attribution, DELEGATOR_NANOS, NodeWork, part};
use super::capacity::{Capacities, CapacityFigures, CapacitySettings};
use super::demand::{Demand, DemandNow};
use super::nodes::{Holdings, NodeRates};
use super::server::ServerFigure;
use super::work::search_nanos;
use super::{
    Absence, AbsentSignal, NodeSignals, Reading, SearchLoad, ServerLoads, SignalKind, SignalSettings,
    SignalSource, Signals,
};
use crate::model::doubt::{Doubt, DoubtKind, Subject};
use crate::model::history::Departure;
use crate::model::snapshot::{Collection, CopyIndex, Node, Replica, SegmentCopies};
use crate::observe::observation::{NodeReport, Observation};
use crate::observe::signals::NodeCounters;
use crate::units::{CollectionId, Millicores, NodeId, Rate, Ratio};

/// Where nobody knows how often anything is searched, only proportions count, and there are none.
const ANY_RATE: Rate = Rate(1_000);

/// Billionths of a core in a thousandth.
const NANOCORES: u64 = 1_000_000;

/// Trust in the loads of segments where it is known how often each collection is searched …
const DEMAND_KNOWN: Ratio = Ratio::ONE;
/// … and where it is not, so that all segments of a node are taken to be searched alike.
const DEMAND_UNKNOWN: Ratio = Ratio(300_000);

/// Trust in a load before a move of ours has shown how good predictions are.
const UNTRIED: Ratio = Ratio(850_000);

/// However bad predictions were: without any trust nothing would be tried again, and nothing learnt.
const LEAST_TRUST: Ratio = Ratio(100_000);

/// What is remembered from turn to turn.
#[derive(Clone, Debug, Default)]
pub struct SignalState {
    /// How counters become rates.
    pub settings: SignalSettings,
    /// What nodes really have, where they do not know it.
    pub capacity: CapacitySettings,
    nodes: BTreeMap<NodeId, NodeRates>,
    demand: Demand,
    attribution: Attribution,
    /// Nodes between which we moved something, until they have been measured since.
    moved: BTreeSet<NodeId>,
    /// Nodes whose CPU was measured and whose pages are still read.
    measured: BTreeSet<NodeId>,
    /// When the latest departure that was seen happened.
    seen_departure: Option<Timestamp>,
}

/// What the model has made of the observation so far.
pub struct SignalInput<'a> {
    /// The observation.
    pub observation: &'a Observation,
    /// Nodes by id.
    pub nodes: &'a [Node],
    /// Collections by id.
    pub collections: &'a [Collection],
    /// Replicas by id.
    pub replicas: &'a [Replica],
    /// Copies.
    pub copies: &'a SegmentCopies,
    /// What a Prometheus server says that nodes have.
    pub measured: BTreeMap<NodeId, (CapacityFigures, SignalSource)>,
    /// What it says that nodes use.
    pub server: ServerLoads,
    /// What left a node by our doing.
    pub departures: &'a [Departure],
}

/// Makes the signals of this turn.
pub fn fold_signals(state: &mut SignalState, input: &SignalInput<'_>, doubts: &mut Vec<Doubt>) -> Signals {
    let now = input.observation.started_at;
    let just_moved = state.note_departures(input.departures);
    state.record_nodes(input, &just_moved, doubts);
    let keep = state.settings.keep;
    state.demand.record(&input.observation.signals.proxies, state.settings.smoothing, doubts);
    let demand = state.demand.now(input.collections, now, keep, doubts);

    let mut signals = Signals { nodes: state.node_signals(input), ..Signals::default() };
    state.share_out(input, &demand, &mut signals);
    signals.absent = absences(input, state, &demand, &signals);
    signals.demand = demand
        .rates
        .iter()
        .map(|rate| {
            let age = demand.age?;
            (*rate).map(|value| Reading {
                value,
                age,
                source: SignalSource::ProxyPages,
                trust: trust(age, keep),
            })
        })
        .collect();
    signals
}

impl SignalState {
    /// The nodes between which something moved by our doing since the last turn.
    fn note_departures(&mut self, departures: &[Departure]) -> BTreeSet<NodeId> {
        let mut just_moved = BTreeSet::new();
        // What was moved before the first look is no experiment of ours: nothing was measured before it.
        if let Some(seen) = self.seen_departure {
            let new = departures.iter().filter(|departure| departure.at > seen);
            just_moved.extend(new.flat_map(|departure| [departure.from, departure.to]));
        }
        let latest = departures.iter().map(|departure| departure.at).max();
        self.seen_departure = latest.max(self.seen_departure).or(Some(Timestamp::MIN));
        self.moved.extend(&just_moved);
        just_moved
    }

    fn record_nodes(
        &mut self,
        input: &SignalInput<'_>,
        just_moved: &BTreeSet<NodeId>,
        doubts: &mut Vec<Doubt>,
    ) {
        let reports = reports(input.observation);
        let (holdings, nothing) = (holdings(input.observation), Holdings::new());
        let shared = shared_pages(&input.observation.signals.nodes);
        let now = input.observation.started_at;
        for node in input.nodes {
            let mut doubt = |kind| doubts.push(Doubt { subject: Subject::Node(node.id), kind });
            let held = holdings.get(&node.id).unwrap_or(&nothing);
            let was_moved = just_moved.contains(&node.id);
            let rates = self.nodes.entry(node.id).or_default();
            let page = input.observation.signals.nodes.get(&node.id);
            for oddity in page.iter().flat_map(|page| &page.oddities) {
                let page = page.map(|page| page.source.clone()).unwrap_or_default();
                doubt(DoubtKind::OddFigure { page, oddity: oddity.clone() });
            }
            match page {
                None => rates.miss(held, was_moved),
                Some(page) if shared.contains(page.source.as_str()) => {
                    doubt(DoubtKind::SharedPage { page: page.source.clone() });
                    *rates = NodeRates::doubted();
                }
                Some(page) => {
                    let cores = reports.get(&node.id).and_then(|report| report.hardware.cpu_cores);
                    let cores = cores.map(|cores| Millicores(cores.saturating_mul(1_000)));
                    for kind in rates.record(page, held, was_moved, self.settings.smoothing, cores) {
                        let subject = match kind {
                            DoubtKind::ClocksDisagree { .. } => Subject::Cluster,
                            _ => Subject::Node(node.id),
                        };
                        doubts.push(Doubt { subject, kind });
                    }
                }
            }
        }
        let keep = self.settings.keep;
        self.nodes.retain(|id, rates| {
            let exists = input.nodes.binary_search_by_key(id, |node| node.id).is_ok();
            exists && (rates.is_doubted || rates.age(now).is_none_or(|age| age <= keep))
        });
    }

    /// What is known of each node by itself.
    fn node_signals(&self, input: &SignalInput<'_>) -> Vec<NodeSignals> {
        let reports = reports(input.observation);
        let now = input.observation.started_at;
        let of = |node: &Node| {
            let report = reports.get(&node.id);
            let rates = self.nodes.get(&node.id);
            let age = rates.and_then(|rates| rates.age(now)).unwrap_or_default();
            let trust = trust(age, self.settings.keep);
            let capacity = match report {
                Some(report) => {
                    let measured = input.measured.get(&node.id).map(|(figures, source)| (figures, source));
                    self.capacity.resolve(node, measured, report.memory_capacity, &report.hardware)
                }
                None => Capacities::default(),
            };
            let from_disk = |value| Reading { value, age, source: SignalSource::NodePage, trust };
            let of_page = rates.and_then(NodeRates::nanocores).map(|nanocores| Reading {
                value: Millicores(nanocores / NANOCORES),
                age,
                source: SignalSource::NodePage,
                trust,
            });
            let cpu_of_server = input.server.cpu_now(node.id, input.departures, now);
            let disk_of_page = rates.and_then(NodeRates::disk_used).map(from_disk);
            NodeSignals {
                cpu: of_page.or_else(|| cpu_of_server.map(ServerFigure::reading)),
                searches: rates.and_then(NodeRates::searches).map(|value| Reading {
                    value,
                    age,
                    source: SignalSource::NodePage,
                    trust,
                }),
                waiting: input.observation.service.waiting.get(&node.id).copied(),
                disk_used: disk_of_page
                    .or_else(|| input.server.disk.get(&node.id).map(ServerFigure::reading)),
                load_failures: rates.and_then(NodeRates::failures),
                capacity,
                ..NodeSignals::default()
            }
        };
        input.nodes.iter().map(of).collect()
    }

    /// Loads of copies and base loads of nodes.
    fn share_out(&mut self, input: &SignalInput<'_>, demand: &DemandNow, signals: &mut Signals) {
        let guesses = self.guesses(input, demand);
        let mut works: Vec<NodeWork> = input.nodes.iter().map(|node| self.work_of(node.id, input)).collect();
        for (copy, guess) in &guesses {
            let work = &mut works[input.copies.node[copy.at()].at()];
            let sum = work.guessed.entry(collection_of(input, *copy)).or_default();
            *sum = sum.saturating_add(*guess);
        }
        let shares = self.attribution.share(&works);
        for work in works.iter().filter(|work| work.is_measured()) {
            self.moved.remove(&work.node);
        }
        self.note_measured(&works, input);
        for work in &works {
            if let Some(rates) = self.nodes.get_mut(&work.node) {
                rates.work.clone_from(&work.guessed);
            }
        }
        self.moved.retain(|id| input.nodes.binary_search_by_key(id, |node| node.id).is_ok());
        self.attribution.retain(
            |id| input.collections.binary_search_by_key(&id, |collection| collection.id).is_ok(),
            |id| input.nodes.binary_search_by_key(&id, |node| node.id).is_ok(),
        );

        signals.copy_search = vec![Millicores::ZERO; input.copies.len()];
        for (copy, guess) in &guesses {
            let (work, share) =
                (&works[input.copies.node[copy.at()].at()], &shares[input.copies.node[copy.at()].at()]);
            let collection = collection_of(input, *copy);
            let guessed = work.guessed.get(&collection).copied().unwrap_or(0);
            let shared = share.searches.get(&collection).copied().unwrap_or(0);
            signals.copy_search[copy.at()] = Millicores(part(shared, *guess, guessed) / NANOCORES);
        }
        for (position, share) in shares.iter().enumerate() {
            let searches = share.searches.values().fold(0_u64, |sum, cost| sum.saturating_add(*cost));
            let node = &mut signals.nodes[position];
            node.base_cpu = Millicores(share.base / NANOCORES);
            node.delegator_cpu = Millicores(works[position].delegating.min(share.base) / NANOCORES);
            node.search_cpu = works[position].is_measured().then_some(Millicores(searches / NANOCORES));
            node.search_load = match works[position].is_measured() {
                true => SearchLoad::Measured,
                false if self.measured.contains(&works[position].node) => SearchLoad::Estimated,
                false => SearchLoad::Unknown,
            };
        }
        signals.search_confidence = self.confidence(input, demand, &works);
    }

    /// Keeps in mind which nodes were measured, until nothing was heard of them for too long.
    fn note_measured(&mut self, works: &[NodeWork], input: &SignalInput<'_>) {
        let now = input.observation.started_at;
        let measured = works.iter().filter(|work| work.is_measured());
        self.measured.extend(measured.map(|work| work.node));
        let (nodes, keep) = (&self.nodes, self.settings.keep);
        self.measured.retain(|id| {
            let page = nodes.get(id);
            let is_read =
                page.is_some_and(|rates| !rates.is_doubted && rates.age(now).is_some_and(|age| age <= keep));
            is_read || input.server.knows_cpu_of(*id)
        });
    }

    fn work_of(&self, id: NodeId, input: &SignalInput<'_>) -> NodeWork {
        let rates = self.nodes.get(&id);
        let delegated = rates.and_then(NodeRates::delegated).unwrap_or_default();
        let now = input.observation.started_at;
        let in_nanocores = |cpu: Millicores| cpu.0.saturating_mul(NANOCORES);
        let cpu_of_server = input.server.cpu_now(id, input.departures, now);
        NodeWork {
            node: id,
            cpu: rates
                .and_then(NodeRates::nanocores)
                .or_else(|| cpu_of_server.map(|figure| in_nanocores(figure.value))),
            told: input
                .server
                .search_now(id, input.departures, now)
                .map(|told| told.iter().map(|(collection, cpu)| (*collection, in_nanocores(*cpu))).collect()),
            delegating: nanocores(delegated, DELEGATOR_NANOS),
            guessed: BTreeMap::new(),
            after_move: self.moved.contains(&id),
        }
    }

    /// What searches on each copy should cost by the first guess, in billionths of a core; only copies that are searched.
    fn guesses(&self, input: &SignalInput<'_>, demand: &DemandNow) -> Vec<(CopyIndex, u64)> {
        let rates = self.rates_by_collection(input, demand);
        let indexes = &input.observation.signals.indexes;
        let mut guesses = Vec::new();
        for copy in input.copies.indices() {
            let replica = &input.replicas[input.copies.replica[copy.at()].at()];
            let collection = input.collections[replica.collection.at()].id;
            let is_told = input.server.search.values().any(|told| told.value.contains_key(&collection));
            let rate = rates[replica.collection.at()].max(if is_told { ANY_RATE } else { Rate::ZERO });
            if rate == Rate::ZERO {
                continue;
            }
            let index = indexes.get(&collection).copied();
            let nanos = search_nanos(input.copies.rows[copy.at()], input.copies.bytes[copy.at()], index);
            guesses.push((copy, nanocores(rate, nanos)));
        }
        guesses
    }

    /// Searches of one replica of each collection: by the proxies, else by what workers count (2.4+), else all alike.
    fn rates_by_collection(&self, input: &SignalInput<'_>, demand: &DemandNow) -> Vec<Rate> {
        let mut replicas = vec![0_u64; input.collections.len()];
        for replica in input.replicas {
            replicas[replica.collection.at()] += 1;
        }
        if demand.age.is_some() {
            let rate = |at: usize| Rate(demand.rates[at].unwrap_or_default().0 / replicas[at].max(1));
            return (0..input.collections.len()).map(rate).collect();
        }
        let counted: Vec<Option<Rate>> = input
            .collections
            .iter()
            .map(|collection| {
                let rates = self.nodes.values().filter_map(|rates| rates.searches_of(collection.id));
                rates.max()
            })
            .collect();
        if counted.iter().any(Option::is_some) {
            return counted.into_iter().map(Option::unwrap_or_default).collect();
        }
        vec![ANY_RATE; input.collections.len()]
    }

    fn knows_demand(&self, demand: &DemandNow) -> bool {
        demand.age.is_some() || self.nodes.values().any(NodeRates::tells_collections_apart)
    }

    /// How far the loads of copies can be trusted.
    fn confidence(&self, input: &SignalInput<'_>, demand: &DemandNow, works: &[NodeWork]) -> Ratio {
        let usable = || {
            works
                .iter()
                .zip(input.nodes)
                .filter(|(_, node)| node.standing.is_usable() && node.component.is_some())
        };
        let measured = usable().filter(|(work, _)| work.is_measured() || work.after_move).count();
        let coverage = Ratio::of(measured as u64, usable().count() as u64);
        let is_told = || works.iter().any(|work| work.told.is_some());
        let by_demand = if self.knows_demand(demand) || is_told() { DEMAND_KNOWN } else { DEMAND_UNKNOWN };
        let tried = self.attribution.accuracy().unwrap_or(UNTRIED);
        let confidence = Ratio(by_demand.share_of(coverage.share_of(tried.0)));
        confidence.clamp(LEAST_TRUST, Ratio::ONE)
    }
}

/// Trust in a figure of some age: it halves over the time for which figures are kept.
fn trust(age: Duration, keep: Duration) -> Ratio {
    let (age, keep) = (age.as_millis(), keep.as_millis().max(1));
    let lost = age.min(keep) * u128::from(Ratio::ONE.0) / keep / 2;
    Ratio(Ratio::ONE.0 - u64::try_from(lost).unwrap_or(Ratio::ONE.0 / 2))
}

/// CPU of so many searches that cost so much each.
fn nanocores(rate: Rate, nanos: u64) -> u64 {
    u64::try_from(u128::from(rate.0) * u128::from(nanos) / 1_000).unwrap_or(u64::MAX)
}

fn collection_of(input: &SignalInput<'_>, copy: CopyIndex) -> CollectionId {
    let replica = &input.replicas[input.copies.replica[copy.at()].at()];
    input.collections[replica.collection.at()].id
}

fn reports(observation: &Observation) -> BTreeMap<NodeId, &NodeReport> {
    let sound = observation.nodes.iter().rev().filter(|node| node.error.is_none());
    sound.map(|node| (node.id, node)).collect()
}

/// What each node holds, copies on their way included.
fn holdings(observation: &Observation) -> BTreeMap<NodeId, Holdings> {
    let mut holdings: BTreeMap<NodeId, Holdings> = BTreeMap::new();
    for collection in &observation.collections {
        for segment in collection.segments.iter().flatten() {
            for node in &segment.nodes {
                let rows = holdings.entry(*node).or_default().entry(collection.id).or_default();
                *rows = rows.saturating_add(segment.rows.0);
            }
        }
    }
    holdings
}

/// Pages from which figures of several nodes came.
fn shared_pages(pages: &BTreeMap<NodeId, NodeCounters>) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    pages.values().map(|page| page.source.as_str()).filter(|source| !seen.insert(*source)).collect()
}

/// Names what is missing.
fn absences(
    input: &SignalInput<'_>,
    state: &SignalState,
    demand: &DemandNow,
    signals: &Signals,
) -> Vec<AbsentSignal> {
    let mut by_kind: BTreeMap<(SignalKind, Absence), Vec<NodeId>> = BTreeMap::new();
    for (node, known) in input.nodes.iter().zip(&signals.nodes).filter(|(node, _)| node.component.is_some()) {
        let rates = state.nodes.get(&node.id);
        let is_read = input.observation.signals.nodes.contains_key(&node.id);
        let of_rate = match rates {
            Some(rates) if rates.is_doubted => Absence::Doubted,
            Some(rates) if is_read && !rates.lacks_cpu => Absence::NotYet,
            _ if is_read => Absence::NotThere,
            _ => Absence::NotRead,
        };
        let of_page = if is_read { Absence::NotThere } else { Absence::NotRead };
        let missing = [
            (known.cpu.is_none(), SignalKind::Cpu, of_rate),
            (known.searches.is_none(), SignalKind::Searches, of_rate),
            (known.disk_used.is_none(), SignalKind::DiskUsed, of_page),
            (known.capacity.cpu.is_none(), SignalKind::CpuCapacity, Absence::NotThere),
            (known.capacity.disk.is_none(), SignalKind::DiskCapacity, Absence::NotThere),
        ];
        for (_, signal, why) in missing.into_iter().filter(|(is_missing, ..)| *is_missing) {
            by_kind.entry((signal, why)).or_default().push(node.id);
        }
    }
    if !state.knows_demand(demand) {
        let is_read = !input.observation.signals.proxies.is_empty();
        let why = if is_read { Absence::NotYet } else { Absence::NotRead };
        by_kind.insert((SignalKind::Demand, why), Vec::new());
    }
    by_kind.into_iter().map(|((signal, why), nodes)| AbsentSignal { signal, why, nodes }).collect()
}
