//! What a Prometheus server tells of the loads of nodes, for sites whose nodes' own pages cannot be read, or whose searches
//! somebody else measures. A node's own page goes before it: it is newer, and its rates begin anew with every move.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Reading, SignalSource};
use crate::model::history::Departure;
use crate::units::{Bytes, CollectionId, Millicores, NodeId, Ratio};

/// Trust in a figure that went through another server: a scrape or two older than a page that was read just now, and a
/// mean over the time that its query looks back.
const SERVER_TRUST: Ratio = Ratio(800_000);

/// A value of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFigure<T> {
    /// The value.
    pub value: T,
    /// The name of the query.
    pub query: String,
    /// So far back the query looks: what happened since is not, or not wholly, in the value.
    pub window: Duration,
}

impl<T: Clone> ServerFigure<T> {
    /// With what speaks for it. How old it is within its window the server does not tell: it may be as old as that.
    pub fn reading(&self) -> Reading<T> {
        let source = SignalSource::Prometheus { query: self.query.clone() };
        Reading { value: self.value.clone(), age: self.window, source, trust: SERVER_TRUST }
    }

    /// Whether it is about what the node holds now: nothing of ours left it or came to it within the window.
    fn is_of_now(&self, node: NodeId, departures: &[Departure], now: Timestamp) -> bool {
        let window = SignedDuration::try_from(self.window).unwrap_or(SignedDuration::MAX);
        let concerns = |departure: &&Departure| departure.from == node || departure.to == node;
        departures.iter().filter(concerns).all(|departure| now.duration_since(departure.at) > window)
    }
}

/// The loads that queries tell, by node.
#[derive(Clone, Debug, Default)]
pub struct ServerLoads {
    /// CPU in use.
    pub cpu: BTreeMap<NodeId, ServerFigure<Millicores>>,
    /// Local storage in use.
    pub disk: BTreeMap<NodeId, ServerFigure<Bytes>>,
    /// CPU of the searches on a node's segments, by collection; a collection that is not named is not searched.
    pub search: BTreeMap<NodeId, ServerFigure<BTreeMap<CollectionId, Millicores>>>,
}

impl ServerLoads {
    /// CPU in use, if that is about what the node holds now.
    pub(super) fn cpu_now(
        &self,
        node: NodeId,
        departures: &[Departure],
        now: Timestamp,
    ) -> Option<&ServerFigure<Millicores>> {
        self.cpu.get(&node).filter(|figure| figure.is_of_now(node, departures, now))
    }

    /// CPU of searches, if that is about what the node holds now.
    pub(super) fn search_now(
        &self,
        node: NodeId,
        departures: &[Departure],
        now: Timestamp,
    ) -> Option<&BTreeMap<CollectionId, Millicores>> {
        let figure = self.search.get(&node).filter(|figure| figure.is_of_now(node, departures, now));
        figure.map(|figure| &figure.value)
    }

    /// Whether the server tells of the node's CPU, be it of now or of before a move.
    pub(super) fn knows_cpu_of(&self, node: NodeId) -> bool {
        self.cpu.contains_key(&node) || self.search.contains_key(&node)
    }
}
