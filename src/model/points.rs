//! Points: the answers of a Prometheus server on a scale that only its query knows, as loads of segments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::server_figures::ServerFigures;
use super::snapshot::{Replica, SegmentCopies};
use super::spread;
use crate::observe::prometheus::ServerSignal;
use crate::units::Load;

/// The points of one query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointLoads {
    /// Of each copy, by [`crate::model::CopyIndex`].
    pub copy_load: Vec<Load>,
    /// Of each node, for what it holds no segments of, by [`crate::model::NodeIndex`].
    pub base_load: Vec<Load>,
    /// Whether anything was said about the node, by [`crate::model::NodeIndex`].
    pub is_known: Vec<bool>,
}

/// Spreads points by rows: those of a node and a collection over these segments, those of a node over all it holds.
pub(super) fn read_points(
    figures: &BTreeMap<String, (ServerSignal, ServerFigures)>,
    copies: &SegmentCopies,
    replicas: &[Replica],
) -> BTreeMap<String, PointLoads> {
    let points = figures.iter().filter(|(_, (signal, _))| *signal == ServerSignal::Points);
    points.map(|(query, (_, figures))| (query.clone(), spread_points(figures, copies, replicas))).collect()
}

fn spread_points(figures: &ServerFigures, copies: &SegmentCopies, replicas: &[Replica]) -> PointLoads {
    let whole_nodes = figures.nodes.iter().enumerate();
    let whole_nodes = whole_nodes
        .filter_map(|(at, value)| Some((super::snapshot::NodeIndex::from_position(at), Load((*value)?))));
    let (mut copy_load, of_empty_nodes) = spread::by_rows(copies, whole_nodes, |at| copies.node[at]);
    let pairs = figures.pairs.iter().map(|(pair, value)| (*pair, Load(*value)));
    let (more, of_absent) =
        spread::by_rows(copies, pairs, |at| (copies.node[at], replicas[copies.replica[at].at()].collection));
    for (load, more) in copy_load.iter_mut().zip(more) {
        *load = load.saturating_add(more);
    }
    let mut base_load = vec![Load::ZERO; figures.nodes.len()];
    let homeless =
        of_empty_nodes.into_iter().chain(of_absent.into_iter().map(|((node, _), load)| (node, load)));
    for (node, load) in homeless {
        base_load[node.at()] = base_load[node.at()].saturating_add(load);
    }
    PointLoads { copy_load, base_load, is_known: figures.is_known.clone() }
}
