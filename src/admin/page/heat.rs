//! The heat map: every node in every dimension. Few nodes are a table with numbers; many are small fields in the order
//! of their ids, which any width of screen wraps.

use super::figures::{count, times};
use crate::admin::views::{DimensionView, NodeView, PressureView};

/// Nodes that fit a table; more are drawn as fields.
const TABLE_NODES: usize = 32;

/// Dimensions that are shown, the worst ones; the `spread` of every collection is one.
const DIMENSIONS_SHOWN: usize = 6;

/// The same where there are many nodes: the page must stay small.
const DIMENSIONS_OF_MANY: usize = 4;

/// How many times its band a pressure is when it gets the darkest colour.
const FAR_ABOVE: f64 = 1.5;

/// Pressures under these are light: a node with so little has room.
const NEARLY_EMPTY: f64 = 0.5;
const BELOW_SHARE: f64 = 0.9;

/// A node in a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Chooses colour and pattern.
    pub(super) class: &'static str,
    /// The same without colours.
    pub(super) sign: &'static str,
    /// The pressure.
    pub(super) text: String,
    /// What a pointer over it tells.
    pub(super) title: String,
}

/// A dimension over all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) cells: Vec<Cell>,
}

/// A node over all dimensions, in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRow {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) note: String,
    pub(super) segments: u64,
    pub(super) cells: Vec<Cell>,
}

/// What a colour means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) class: &'static str,
    /// The sign that stands for the colour where there are numbers, too.
    pub(super) sign: &'static str,
    pub(super) text: String,
}

/// The heat map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heat {
    /// By dimension, when there are many nodes.
    pub(super) rows: Vec<Row>,
    /// By node, when there are few.
    pub(super) nodes: Vec<NodeRow>,
    /// The dimensions of the table.
    pub(super) dimensions: Vec<String>,
    /// Dimensions that are not shown.
    pub(super) more: String,
    /// The colours that there are, from the least load to the most.
    pub(super) legend: Vec<Meaning>,
    /// What above and below the band means, in the figures in force.
    pub(super) band: String,
}

impl Heat {
    pub(super) fn of(nodes: &[NodeView], dimensions: &[DimensionView]) -> Heat {
        let is_table = nodes.len() <= TABLE_NODES;
        let shown =
            worst_dimensions(nodes, dimensions, if is_table { DIMENSIONS_SHOWN } else { DIMENSIONS_OF_MANY });
        let hidden = dimensions.len() - shown.len();
        let more = match hidden {
            0 => String::new(),
            hidden => format!("{}, each less uneven, are not shown.", count(hidden, "more dimension")),
        };
        if !is_table {
            let rows = shown.iter().map(|dimension| row(nodes, dimension)).collect();
            return Heat { rows, more, legend: legend(&shown), band: band(&shown), ..Heat::default() };
        }
        let node = |node: &NodeView| NodeRow {
            id: node.id.clone(),
            address: node.address.clone(),
            note: note(node),
            segments: node.segments,
            cells: shown.iter().map(|dimension| cell(node, dimension)).collect(),
        };
        Heat {
            nodes: nodes.iter().map(node).collect(),
            dimensions: shown.iter().map(|dimension| dimension.name.clone()).collect(),
            more,
            legend: legend(&shown),
            band: band(&shown),
            ..Heat::default()
        }
    }
}

/// A figure that all dimensions shown have in common.
fn common(shown: &[&DimensionView], of: impl Fn(&DimensionView) -> f64) -> Option<String> {
    let mut figures: Vec<String> = shown.iter().map(|dimension| times(of(dimension))).collect();
    figures.dedup();
    (figures.len() == 1).then(|| figures.swap_remove(0))
}

/// When something is done about a node, for somebody who has never heard of a band.
fn band(shown: &[&DimensionView]) -> String {
    let enter = common(shown, |dimension| dimension.enter);
    let leave = common(shown, |dimension| dimension.leave);
    match (enter, leave) {
        (Some(enter), Some(leave)) => format!(
            "Above {enter} a node is overloaded, and relieved until it is down to {leave}. Between the two is the band, in \
             which nothing is moved, so that nothing moves to and fro."
        ),
        _ if shown.is_empty() => String::new(),
        _ => "Above its band a node is overloaded, and relieved until it is down to where the band begins. Inside of the \
              band nothing is moved, so that nothing moves to and fro. Each kind of load has a band of its own, see Pressure."
            .to_owned(),
    }
}

/// What the colours mean, in figures where all dimensions have the same.
fn legend(shown: &[&DimensionView]) -> Vec<Meaning> {
    let enter = common(shown, |dimension| dimension.enter);
    let leave = common(shown, |dimension| dimension.leave);
    let far = common(shown, |dimension| dimension.enter * FAR_ABOVE);
    let or = |figure: &Option<String>, what: &str, without: &str| match figure {
        Some(figure) => format!("{what} {figure}"),
        None => without.to_owned(),
    };
    let meaning = |class, sign, text| Meaning { class, sign, text };
    vec![
        meaning("p0", "", format!("under {}", times(NEARLY_EMPTY))),
        meaning("p1", "", format!("under {}", times(BELOW_SHARE))),
        meaning("p2", "", or(&leave, "fair, up to", "fair")),
        meaning("p3", "", or(&enter, "in the band, up to", "in the band")),
        meaning("p4", OVERLOADED, or(&enter, "overloaded, above", "overloaded")),
        meaning("p5", FAR_OVERLOADED, or(&far, "far overloaded, above", "far overloaded")),
        meaning("full", FULL, "fair, but full".to_owned()),
        meaning("na", "–", "takes no part".to_owned()),
    ]
}

/// Signs beside the numbers, for eyes that see no colours.
const OVERLOADED: &str = "▲";
const FAR_OVERLOADED: &str = "▲▲";
const FULL: &str = "■";

fn sign(class: &str) -> &'static str {
    match class {
        "p4" => OVERLOADED,
        "p5" => FAR_OVERLOADED,
        "full" => FULL,
        _ => "",
    }
}

/// The dimensions with the worst pressures, in their own order.
pub(super) fn worst_dimensions<'a>(
    nodes: &[NodeView],
    dimensions: &'a [DimensionView],
    limit: usize,
) -> Vec<&'a DimensionView> {
    let worst = |dimension: &DimensionView| {
        let pressures = nodes.iter().filter_map(|node| of_dimension(node, dimension));
        pressures.map(|pressure| pressure.pressure).fold(0.0, f64::max)
    };
    let mut ranked: Vec<(usize, f64)> = dimensions.iter().map(worst).enumerate().collect();
    ranked.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    ranked.truncate(limit);
    ranked.sort_by_key(|(position, _)| *position);
    ranked.into_iter().map(|(position, _)| &dimensions[position]).collect()
}

/// What a dimension says about a node.
pub(super) fn of_dimension<'a>(node: &'a NodeView, dimension: &DimensionView) -> Option<&'a PressureView> {
    node.pressures.iter().find(|pressure| pressure.dimension == dimension.name)
}

fn note(node: &NodeView) -> String {
    match (node.drained, node.usable) {
        (true, _) => "is to be emptied".to_owned(),
        (false, false) => node.standing.clone(),
        (false, true) => String::new(),
    }
}

fn row(nodes: &[NodeView], dimension: &DimensionView) -> Row {
    let pressures =
        || nodes.iter().filter(|node| node.usable).filter_map(|node| of_dimension(node, dimension));
    let above = pressures().filter(|pressure| pressure.pressure > dimension.enter).count();
    let worst = pressures().map(|pressure| pressure.pressure).fold(0.0, f64::max);
    Row {
        name: dimension.name.clone(),
        summary: format!(
            "{above} of {} above {}, worst {}",
            count(pressures().count(), "node"),
            times(dimension.enter),
            times(worst)
        ),
        cells: nodes.iter().map(|node| cell(node, dimension)).collect(),
    }
}

fn cell(node: &NodeView, dimension: &DimensionView) -> Cell {
    let Some(pressure) = of_dimension(node, dimension).filter(|_| node.usable) else {
        let title = format!("{}: takes no part", node.id);
        return Cell { class: "na", sign: "", text: "–".to_owned(), title };
    };
    let (text, class) = (times(pressure.pressure), class(pressure, dimension));
    Cell { class, sign: sign(class), title: format!("{}: {text}", node.id), text }
}

/// Colour and pattern; what is tolerated looks like what it is, and has its reason below.
pub(super) fn class(pressure: &PressureView, dimension: &DimensionView) -> &'static str {
    let value = pressure.pressure;
    match pressure.state.as_str() {
        "saturated" => "full",
        _ if value > dimension.enter * FAR_ABOVE => "p5",
        _ if value > dimension.enter => "p4",
        _ if value > dimension.leave => "p3",
        _ if value >= BELOW_SHARE => "p2",
        _ if value >= NEARLY_EMPTY => "p1",
        _ => "p0",
    }
}
