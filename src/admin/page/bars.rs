//! Pressure bars: the nodes of each dimension against fair share, band and floor, with what cannot move hatched.

use super::figures::{Scale, place, times};
use super::heat::{class, of_dimension, worst_dimensions};
use crate::admin::views::{DimensionView, FloorView, NodeView, PressureView};

/// Nodes that are drawn for each dimension, the most loaded ones.
const NODES_SHOWN: usize = 10;

/// Dimensions that are drawn, the worst ones.
const DIMENSIONS_SHOWN: usize = 4;

/// The picture ends so far behind the longest bar or the band.
const MARGIN: f64 = 1.08;

/// It never ends beyond this pressure: bars that do are cut, their numbers are not.
const LONGEST: f64 = 4.0;

/// A node's bar; places are per cent of the picture's width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) node: String,
    pub(super) class: &'static str,
    pub(super) width: String,
    /// The part that moves cannot change.
    pub(super) fixed: String,
    pub(super) text: String,
    pub(super) detail: String,
    /// Why it is left as it is, where it is for a reason.
    pub(super) reason: String,
}

/// The bars of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bars {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) fair: String,
    pub(super) leave: String,
    pub(super) band: String,
    pub(super) enter: String,
    /// Where the lowest worst pressure lies that any plan can reach.
    pub(super) floor: Option<String>,
    pub(super) bars: Vec<Bar>,
    pub(super) more: usize,
}

/// The bars of all dimensions that matter.
pub(super) fn bars(nodes: &[NodeView], dimensions: &[DimensionView], floors: &[FloorView]) -> Vec<Bars> {
    let shown = worst_dimensions(nodes, dimensions, DIMENSIONS_SHOWN);
    shown.into_iter().map(|dimension| of(nodes, dimension, floors)).collect()
}

fn of(nodes: &[NodeView], dimension: &DimensionView, floors: &[FloorView]) -> Bars {
    let mut known: Vec<(&NodeView, &PressureView)> =
        nodes.iter().filter_map(|node| Some((node, of_dimension(node, dimension)?))).collect();
    // Few keep their places from look to look; of many the most loaded are worth a bar.
    if known.len() > NODES_SHOWN {
        known.sort_by(|left, right| right.1.pressure.total_cmp(&left.1.pressure));
    }
    let floor = floors.iter().find(|floor| floor.dimension == dimension.name).map(|floor| floor.floor);
    let longest = known.iter().map(|(_, pressure)| pressure.pressure).fold(dimension.enter, f64::max);
    let scale = Scale::new(0.0, (longest * MARGIN).min(LONGEST), 0.0, 100.0);
    let at = |value: f64| place(scale.at(value));
    let bar = |(node, pressure): &(&NodeView, &PressureView)| Bar {
        node: node.id.clone(),
        class: class(pressure, dimension),
        width: at(pressure.pressure),
        fixed: at(pressure.pressure * pressure.immovable),
        text: times(pressure.pressure),
        detail: detail(pressure),
        reason: pressure.reason.as_ref().map(|reason| reason.sentence.clone()).unwrap_or_default(),
    };
    let (enter, leave) = (dimension.enter, dimension.leave);
    let least = floor.map(|floor| format!(", lowest possible {}", times(floor))).unwrap_or_default();
    Bars {
        name: dimension.name.clone(),
        summary: format!("overloaded above {}, relieved down to {}{least}", times(enter), times(leave)),
        fair: at(1.0),
        leave: at(leave),
        band: place(scale.at(enter) - scale.at(leave)),
        enter: at(enter),
        floor: floor.map(at),
        bars: known.iter().take(NODES_SHOWN).map(bar).collect(),
        more: known.len().saturating_sub(NODES_SHOWN),
    }
}

fn detail(pressure: &PressureView) -> String {
    let mut detail = pressure.load_text.clone();
    if let Some(utilisation) = pressure.utilisation {
        detail.push_str(&format!(", {:.0} % full", utilisation * 100.0));
    }
    if pressure.immovable > 0.0 {
        detail.push_str(&format!(", {:.0} % cannot move", pressure.immovable * 100.0));
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_move_is_drawn_as_its_part_of_the_bar_and_told() {
        let dimension = DimensionView {
            name: "memory".to_owned(),
            unit: "bytes".to_owned(),
            collection: None,
            has_capacity: true,
            enter: 1.2,
            leave: 1.05,
            turns: 1,
            matters_above: 0.3,
            weight: 1.0,
            confidence: 1.0,
        };
        let node = |id: usize, pressure: f64, immovable: f64| NodeView {
            id: id.to_string(),
            address: String::new(),
            hostname: None,
            standing: String::new(),
            usable: true,
            drained: false,
            version: String::new(),
            memory_capacity: None,
            memory_used: None,
            segments: 0,
            pressures: vec![PressureView {
                dimension: "memory".to_owned(),
                load: 0,
                load_text: "1 GiB".to_owned(),
                fair: 0,
                pressure,
                utilisation: Some(0.5),
                immovable,
                turns_over: 0,
                state: "even".to_owned(),
                reason: None,
            }],
        };
        let nodes = [node(1, 2.0, 0.5), node(2, 1.0, 0.0)];
        let drawn = bars(&nodes, std::slice::from_ref(&dimension), &[]);
        let [first, second] = drawn[0].bars.as_slice() else { panic!("{drawn:?}") };
        assert_eq!((first.width.as_str(), first.fixed.as_str()), ("92.6", "46.3"));
        assert_eq!(first.detail, "1 GiB, 50 % full, 50 % cannot move");
        assert_eq!((first.class, second.class, second.fixed.as_str()), ("p5", "p2", "0"));
        let many: Vec<NodeView> = (0..1_000).map(|id| node(id, decimal(id), 0.0)).collect();
        let drawn = bars(&many, &[dimension], &[]);
        assert_eq!((drawn[0].bars.len(), drawn[0].more), (NODES_SHOWN, 1_000 - NODES_SHOWN));
        assert_eq!(drawn[0].bars[0].node, "999", "the most loaded first");
        assert_eq!(drawn[0].bars[0].width, "100", "and not wider than the picture");
    }

    #[allow(clippy::cast_precision_loss)] // small
    fn decimal(number: usize) -> f64 {
        number as f64 / 100.0
    }
}
