//! Other names for those of databases, collections and hosts, so that a recording can be shown to strangers: the same
//! one for the same name wherever it stands, and nothing in place of free text. Ids, figures and times stay, and so does
//! what plans follow from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::journal::{Recorded, RecordedSettings, RecordedTurn};
use crate::model::{Checkpoint, Controls};
use crate::observe::observation::{GapSubject, NodeReport, Observation};
use crate::observe::opinion::{HearingOutcome, PluginFault};
use crate::observe::signals::Oddity;
use crate::policy::pattern::{Pattern, Patterns};

/// Milvus' name for the database of whoever names none: it says nothing about anybody.
const DEFAULT_DATABASE: &str = "default";

/// What stands for free text.
const LEFT_OUT: &str = "left out";

/// Names and what stands for them.
#[derive(Debug, Default)]
pub struct Scrubber {
    databases: Names,
    collections: Names,
    hosts: Names,
}

/// Names of one kind, numbered in the order in which they came.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn instead_of(&mut self, name: &str, kind: &str) -> String {
        let next = self.0.len() + 1;
        let number = self.0.entry(name.to_owned()).or_insert(next);
        format!("{kind}-{number}")
    }
}

impl Scrubber {
    /// Puts other names in place of all in this turn.
    pub fn scrub(&mut self, recorded: &mut Recorded) {
        // Patterns are resolved against the names that they were written for.
        let before = Arc::clone(&recorded.observation);
        let observation = Arc::make_mut(&mut recorded.observation);
        self.observation(observation);
        if let Some(turn) = &mut recorded.turn {
            self.turn(turn, &before);
        }
    }

    fn database(&mut self, name: &str) -> String {
        match name {
            "" | DEFAULT_DATABASE => name.to_owned(),
            name => self.databases.instead_of(name, "database"),
        }
    }

    fn collection(&mut self, name: &str) -> String {
        self.collections.instead_of(name, "collection")
    }

    /// A host, `host:port`, or the address of a page: what is no name of a host stays.
    fn host(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            return format!("{scheme}://{}{path}", self.host(host));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, Some(port))
            }
            _ => (text, None),
        };
        let host = self.hosts.instead_of(host, "host");
        port.map_or(host.clone(), |port| format!("{host}:{port}"))
    }

    fn observation(&mut self, observation: &mut Observation) {
        // Named one by one, so that what is added later cannot be forgotten here.
        let Observation {
            started_at: _,
            took: _,
            server: _,
            nodes,
            resource_groups,
            collections,
            service,
            signals,
            complaints,
            management,
            prometheus,
            opinions,
            gaps,
        } = observation;
        for NodeReport { address, error, .. } in nodes {
            *address = self.host(address);
            blank(error.iter_mut());
        }
        for node in resource_groups.iter_mut().flatten().flat_map(|group| group.nodes.iter_mut().flatten()) {
            node.address = self.host(&node.address);
            node.hostname = self.host(&node.hostname);
        }
        for collection in collections {
            collection.database = self.database(&collection.database);
            collection.name = self.collection(&collection.name);
            for shard in collection.replicas.iter_mut().flatten().flat_map(|replica| &mut replica.shards) {
                shard.leader_address = self.host(&shard.leader_address);
            }
        }
        service.proxies = self.keys(std::mem::take(&mut service.proxies));
        signals.proxies = self.keys(std::mem::take(&mut signals.proxies));
        for page in signals.nodes.values_mut() {
            page.source = self.host(&page.source);
            odd(&mut page.oddities);
        }
        for proxy in signals.proxies.values_mut() {
            for demand in &mut proxy.collections {
                demand.database = demand.database.as_ref().map(|name| self.database(name));
                demand.name = self.collection(&demand.name);
            }
            proxy.collections.sort();
            odd(&mut proxy.oddities);
        }
        if let Some(report) = management {
            report.source = self.host(&report.source);
            // Numbers and switches; anything else may name a machine.
            for setting in report.settings.iter_mut().flat_map(BTreeMap::values_mut) {
                let is_plain = setting.parse::<f64>().is_ok() || setting.parse::<bool>().is_ok();
                if !is_plain && !setting.ends_with("Balancer") {
                    setting.clear();
                }
            }
            let others = report.tasks.iter_mut().flatten().filter(|task| !task.is_balancing());
            blank(others.map(|task| &mut task.reason));
        }
        blank(complaints);
        for reading in prometheus.readings.values_mut() {
            for sample in &mut reading.samples {
                sample.node = self.host(&sample.node);
                sample.collection = sample.collection.as_ref().map(|name| self.qualified(name));
            }
            reading.samples.sort();
        }
        for hearing in opinions {
            if let HearingOutcome::LeftOut(fault) = &mut hearing.outcome {
                blank_fault(fault);
            }
        }
        for gap in gaps {
            blank([&mut gap.cause]);
            match &mut gap.subject {
                GapSubject::Collections { database } => *database = self.database(database),
                GapSubject::NodeMetrics { address } => *address = self.host(address),
                GapSubject::ProxyMetrics { target } => *target = self.host(target),
                _ => {}
            }
        }
    }

    /// A collection as `database.name`, as `name` or as an id.
    fn qualified(&mut self, text: &str) -> String {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.to_owned();
        }
        match text.split_once('.') {
            Some((database, name)) => format!("{}.{}", self.database(database), self.collection(name)),
            None => self.collection(text),
        }
    }

    fn keys<T>(&mut self, map: BTreeMap<String, T>) -> BTreeMap<String, T> {
        map.into_iter().map(|(target, value)| (self.host(&target), value)).collect()
    }

    fn turn(&mut self, turn: &mut RecordedTurn, seen: &Observation) {
        let RecordedTurn { number: _, now: _, own, controls, settings, memory, outcome } = turn;
        for departure in &mut own.departures {
            departure.from_address = self.host(&departure.from_address);
        }
        self.controls(controls);
        self.settings(settings, seen);
        // A recording that cannot be made anonymous must not pretend to be; without its memory it is of no use either.
        *memory = memory.take().and_then(|memory| self.memory(*memory)).map(Box::new);
        // Names are a part of these.
        outcome.snapshot = None;
        outcome.exact = None;
    }

    fn controls(&mut self, controls: &mut Controls) {
        let Controls { pause, approvals, drains, kill_switch } = controls;
        if let Some(pause) = pause {
            blank([&mut pause.reason, &mut pause.by]);
        }
        blank(approvals.iter_mut().map(|approval| &mut approval.by));
        for drain in drains {
            drain.address = self.host(&drain.address);
            blank([&mut drain.reason, &mut drain.by]);
        }
        if let Some(thrown) = kill_switch {
            blank([&mut thrown.path]);
            blank(&mut thrown.unreadable);
        }
    }

    fn settings(&mut self, settings: &mut RecordedSettings, seen: &Observation) {
        let thinking = &mut settings.thinking;
        for entry in thinking.capacity.0.values_mut() {
            resolve_nodes(&mut entry.nodes, seen);
        }
        thinking.gate.kill_switch = thinking.gate.kill_switch.take().map(|_| LEFT_OUT.into());
        let policies = &mut thinking.policies;
        resolve_nodes(&mut policies.drain.nodes, seen);
        for pin in [&mut policies.pin, &mut policies.exclude] {
            resolve_nodes(&mut pin.nodes, seen);
            resolve_collections(&mut pin.collections, seen);
        }
        for nominee in policies.nominate.values_mut() {
            resolve_nodes(&mut nominee.nodes, seen);
        }
        resolve_collections(&mut policies.spread.collections, seen);
        for plugin in policies.plugins.values_mut() {
            blank([&mut plugin.endpoint]);
        }
    }

    /// What was remembered, by way of its JSON: most of it is nobody's business but the model's.
    fn memory(&mut self, memory: Checkpoint) -> Option<Checkpoint> {
        let mut value = serde_json::to_value(&memory).ok()?;
        if let Some(Value::Object(seen)) = value.pointer_mut("/history/nodes_seen") {
            let named = std::mem::take(seen);
            seen.extend(named.into_iter().map(|(address, node)| (self.host(&address), node)));
        }
        if let Some(Value::Object(proxies)) = value.pointer_mut("/signals/demand/proxies") {
            let named = std::mem::take(proxies);
            proxies.extend(named.into_iter().map(|(target, proxy)| (self.host(&target), proxy)));
            for proxy in proxies.values_mut() {
                for pair in proxy.get_mut("searches").and_then(Value::as_array_mut).into_iter().flatten() {
                    self.rename(pair.pointer_mut("/0/0"), Scrubber::database);
                    self.rename(pair.pointer_mut("/0/1"), Scrubber::collection);
                }
            }
        }
        for collection in
            value.pointer_mut("/previous/collections").and_then(Value::as_array_mut).into_iter().flatten()
        {
            self.rename(collection.get_mut("database"), Scrubber::database);
            self.rename(collection.get_mut("name"), Scrubber::collection);
        }
        self.hosts_in(&mut value);
        serde_json::from_value(value).ok()
    }

    fn rename(&mut self, text: Option<&mut Value>, by: fn(&mut Scrubber, &str) -> String) {
        if let Some(Value::String(text)) = text {
            *text = by(self, text);
        }
    }

    /// Hosts stand under the same names everywhere.
    fn hosts_in(&mut self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.hosts_in(item)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    match (key.as_str(), field) {
                        ("address" | "from_address" | "hostname", Value::String(text)) => {
                            *text = self.host(text)
                        }
                        (_, field) => self.hosts_in(field),
                    }
                }
            }
            _ => {}
        }
    }
}

/// Patterns become lists of the ids that they match now: other names have another form.
fn resolve_nodes(patterns: &mut Patterns, seen: &Observation) {
    let mut hostnames = BTreeMap::new();
    for node in seen.resource_groups.iter().flatten().flat_map(|group| group.nodes.iter().flatten()) {
        hostnames.insert(node.id, node.hostname.as_str());
    }
    resolve(patterns, |pattern| {
        let nodes = seen
            .nodes
            .iter()
            .filter(|node| pattern.names_node(node.id, &node.address, hostnames.get(&node.id).copied()));
        nodes.map(|node| node.id.to_string()).collect()
    });
}

fn resolve_collections(patterns: &mut Patterns, seen: &Observation) {
    resolve(patterns, |pattern| {
        let collections = seen.collections.iter().filter(|collection| {
            pattern.names_collection(collection.id, &collection.database, &collection.name)
        });
        collections.map(|collection| collection.id.to_string()).collect()
    });
}

fn resolve(patterns: &mut Patterns, matching: impl Fn(&Pattern) -> Vec<String>) {
    let mut ids: Vec<String> = patterns.0.iter().flat_map(matching).collect();
    // An id says nothing, also where nobody has it at the moment.
    let plain = patterns.0.iter().map(Pattern::to_string);
    ids.extend(plain.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())));
    ids.sort_unstable();
    ids.dedup();
    *patterns = Patterns::of(&ids.join(","));
}

fn blank<'a>(texts: impl IntoIterator<Item = &'a mut String>) {
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        *text = LEFT_OUT.to_owned();
    }
}

fn odd(oddities: &mut [Oddity]) {
    for oddity in oddities {
        match oddity {
            Oddity::NoAmount(metric) | Oddity::HugeLabel(metric) => blank([metric]),
            Oddity::CutOff => {}
        }
    }
}

fn blank_fault(fault: &mut PluginFault) {
    match fault {
        PluginFault::Unreachable { cause } | PluginFault::CallFailed { cause } => blank([cause]),
        PluginFault::Changed { before, now } => blank([before, now]),
        PluginFault::Wrong { problem } => blank([problem]),
        PluginFault::NotAsked | PluginFault::Late { .. } | PluginFault::TooLarge { .. } => {}
    }
}
