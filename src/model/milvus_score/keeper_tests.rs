//! The keeper must say of each move what the whole score says of the cluster after it.

use proptest::prelude::*;

use super::super::{ReplicaView, RowCounts, SegmentView, plan_segments};
use super::*;
use crate::observe::observation::ServerVersion;
use crate::units::{Bytes, NodeId};

/// A cluster of some nodes, on which every replica has all nodes.
#[derive(Clone, Debug)]
struct World {
    version: &'static str,
    memory: Vec<u64>,
    /// By replica: rows and node of each segment.
    replicas: Vec<Vec<(u64, usize)>>,
    /// By replica: whether its first segment is of level 0.
    has_level0: Vec<bool>,
    /// By replica: the nodes that lead its channels.
    leaders: Vec<Vec<usize>>,
    /// By replica and node: growing rows.
    growing: Vec<Vec<u64>>,
    /// Moves as (replica, segment, node), reduced to what there is.
    moves: Vec<(usize, usize, usize)>,
    /// A segment on its way, and a node on which its rows show besides: (replica, segment, node).
    on_the_way: Option<(usize, usize, usize)>,
}

const VERSIONS: [&str; 7] = ["2.3.3", "2.3.5", "2.4.10", "2.4.23", "2.5.27", "2.6.20", "3.0.0"];

fn worlds() -> impl Strategy<Value = World> {
    (2_usize..9).prop_flat_map(|nodes| {
        let segment = (prop_oneof![Just(1_000_u64), 1_u64..3_000], 0..nodes);
        let replica = prop::collection::vec(segment, 0..12);
        let leaders = prop::collection::vec(0..nodes, 0..3);
        let growing = prop::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 1_u64..500], nodes);
        (
            prop::sample::select(VERSIONS.to_vec()),
            prop::collection::vec(prop::sample::select(vec![1_u64, 2, 4]), nodes),
            prop::collection::vec((replica, leaders, growing, prop::bool::weighted(0.3)), 1..5),
            prop::collection::vec((0_usize..5, 0_usize..12, 0..nodes), 1..8),
        )
            .prop_map(|(version, memory, replicas, moves)| World {
                version,
                memory,
                leaders: replicas.iter().map(|(_, leaders, ..)| leaders.clone()).collect(),
                growing: replicas.iter().map(|(_, _, growing, _)| growing.clone()).collect(),
                has_level0: replicas.iter().map(|(.., has_level0)| *has_level0).collect(),
                replicas: replicas.into_iter().map(|(replica, ..)| replica).collect(),
                moves,
                on_the_way: None,
            })
    })
}

impl World {
    fn settings(&self) -> ScoreSettings {
        // Which nodes are looked at before a batch is full is not said: all of them must be left alone.
        let settings = ScoreSettings::for_version(&ServerVersion::parse(self.version)).unwrap();
        ScoreSettings { segment_batch_size: usize::MAX, ..settings }
    }

    fn channels(&self, replica: usize) -> Vec<ChannelView> {
        let leaders = &self.leaders[replica];
        let factor = self.settings().channel_exclusive_node_factor as usize;
        let is_exclusive = self.settings().algorithm == Algorithm::ChannelLevel
            && !leaders.is_empty()
            && self.memory.len() >= leaders.len() * factor;
        let channel = |(position, leader): (usize, &usize)| ChannelView {
            name: position.to_string(),
            leader: Some(node_id(*leader)),
            exclusive_nodes: (0..self.memory.len())
                .filter(|node| is_exclusive && node % leaders.len() == position)
                .map(node_id)
                .collect(),
        };
        leaders.iter().enumerate().map(channel).collect()
    }

    fn channel_of(&self, replica: usize, segment: usize) -> Option<usize> {
        let channels = self.leaders[replica].len();
        (channels > 0).then(|| segment % channels)
    }

    fn is_level0(&self, replica: usize, segment: usize) -> bool {
        self.has_level0[replica] && segment == 0
    }

    /// Growing rows of all replicas on a node.
    fn growing_on(&self, node: usize) -> u64 {
        self.growing.iter().map(|growing| growing[node]).sum()
    }

    /// A view made anew, growing rows counted so many times.
    fn view(&self, replica: usize, times: u64) -> ReplicaView {
        let on = |segments: &[(u64, usize)], node| -> u64 {
            segments.iter().filter(|(_, on)| *on == node).map(|(rows, _)| rows).sum()
        };
        let besides = |node: usize, replica: Option<usize>| -> u64 {
            let counts = |way: &&(usize, usize, usize)| way.2 == node && replica.is_none_or(|of| of == way.0);
            self.on_the_way.iter().filter(counts).map(|way| self.replicas[way.0][way.1].0).sum()
        };
        let nodes = (0..self.memory.len()).map(|node| NodeView {
            node: node_id(node),
            memory: Some(Bytes(self.memory[node])),
            collection: RowCounts {
                sealed: Rows(on(&self.replicas[replica], node) + besides(node, Some(replica))),
                growing: Rows(self.growing[replica][node] * times),
                queued: 0,
            },
            all: RowCounts {
                sealed: Rows(
                    self.replicas.iter().map(|segments| on(segments, node)).sum::<u64>()
                        + besides(node, None),
                ),
                growing: Rows(self.growing_on(node) * times),
                queued: 0,
            },
            foreign_channels: 0,
        });
        let taken = self.replicas[replica].iter().enumerate();
        let segments = taken.filter(|(position, _)| !self.is_level0(replica, *position)).map(
            |(position, (rows, node))| SegmentView {
                segment: segment_id(replica, position),
                node: node_id(*node),
                rows: Rows(*rows),
                channel: self.channel_of(replica, position),
                movable: self.on_the_way.is_none_or(|way| (way.0, way.1) != (replica, position)),
            },
        );
        ReplicaView { nodes: nodes.collect(), segments: segments.collect(), channels: self.channels(replica) }
    }

    /// For each case of growing rows.
    fn would_plan(&self, replica: usize) -> [bool; GROWING.len()] {
        GROWING.map(|times| !plan_segments(&self.view(replica, times), &self.settings()).is_empty())
    }

    fn keeper(&self) -> Keeper {
        let mut copies = SegmentCopies::default();
        let mut shards = Vec::new();
        let mut placement = Vec::new();
        for (replica, segments) in self.replicas.iter().enumerate() {
            for (position, (rows, node)) in segments.iter().enumerate() {
                let id = segment_id(replica, position);
                copies.segment.push(id);
                copies.replica.push(ReplicaIndex::from_position(replica));
                copies.node.push(NodeIndex::from_position(*node));
                copies.rows.push(Rows(*rows));
                copies.bytes.push(Bytes(0));
                copies.held.push(self.is_level0(replica, position).then_some(Held::Level0));
                placement.push(NodeIndex::from_position(*node));
                shards.extend(
                    self.channel_of(replica, position).map(|channel| (id, u32::try_from(channel).unwrap())),
                );
            }
        }
        let kept = |replica: usize| KeptReplica {
            collection: CollectionId(replica as i64),
            nodes: (0..self.memory.len())
                .map(|node| {
                    let growing = Rows(self.growing[replica][node]);
                    let view = NodeView {
                        node: node_id(node),
                        memory: Some(Bytes(self.memory[node])),
                        collection: RowCounts { growing, ..RowCounts::default() },
                        ..NodeView::default()
                    };
                    (NodeIndex::from_position(node), view)
                })
                .collect(),
            channels: self.channels(replica),
            unknown: None,
        };
        let growing: Vec<Rows> = (0..self.memory.len()).map(|node| Rows(self.growing_on(node))).collect();
        Keeper::new(KeeperInput {
            settings: &self.settings(),
            replicas: (0..self.replicas.len()).map(kept).collect(),
            nodes: self.memory.len(),
            growing: &growing,
            copies: &copies,
            placement: &placement,
            shards: &shards,
        })
    }

    /// Position of a segment among all copies.
    fn copy(&self, replica: usize, segment: usize) -> CopyIndex {
        let before: usize = self.replicas[..replica].iter().map(Vec::len).sum();
        CopyIndex::from_position(before + segment)
    }
}

fn node_id(node: usize) -> NodeId {
    NodeId(i64::try_from(node).unwrap() + 1)
}

fn segment_id(replica: usize, position: usize) -> SegmentId {
    SegmentId(i64::try_from(replica * 1000 + position).unwrap())
}

proptest! {
    #[test]
    fn it_allows_what_the_whole_score_would_leave_alone(start in worlds()) {
        let mut world = start;
        let mut keeper = world.keeper();
        let restless: Vec<[bool; GROWING.len()]> = (0..world.replicas.len()).map(|replica| world.would_plan(replica)).collect();
        for (replica, segment, to) in world.moves.clone() {
            let replica = replica % world.replicas.len();
            let Some(from) = world.replicas[replica].get(segment).map(|(_, node)| *node) else { continue };
            if from == to || world.is_level0(replica, segment) {
                continue;
            }
            let mut after = world.clone();
            after.replicas[replica][segment].1 = to;
            let is_quiet = |after: &World| (0..after.replicas.len()).all(|other| {
                let mut cases = after.would_plan(other).into_iter().zip(restless[other]);
                cases.all(|(plans, did)| !plans || (did && other != replica))
            });
            let on_the_way = |node| World { on_the_way: Some((replica, segment, node)), ..after.clone() };
            let is_left_alone = is_quiet(&after) && is_quiet(&on_the_way(from)) && (world.settings().algorithm == Algorithm::Pairwise || is_quiet(&on_the_way(to)));
            let copy = world.copy(replica, segment);
            let to = NodeIndex::from_position(to);
            let before = keeper.clone();
            let answer = keeper.allows(copy, to);
            prop_assert_eq!(answer.is_ok(), is_left_alone, "{:?} in {:?}", answer, after);
            prop_assert_eq!(&keeper, &before, "a question changes nothing");
            prop_assert_eq!(&keeper.allows(copy, to), &answer, "asked again");
            if is_left_alone {
                keeper.apply(copy, to);
                world = after;
            }
        }
    }
}

/// Two nodes with four equal segments each.
fn even() -> World {
    World {
        version: "2.4.23",
        memory: vec![1, 1],
        replicas: vec![(0..8).map(|segment| (1000, segment % 2)).collect()],
        has_level0: vec![false],
        leaders: vec![vec![]],
        growing: vec![vec![0, 0]],
        moves: Vec::new(),
        on_the_way: None,
    }
}

#[test]
fn half_of_a_swap_of_equal_rows_would_be_undone() {
    for version in VERSIONS {
        let world = World { version, ..even() };
        let undone = Err(Reason::WouldBeUndone { collection: CollectionId(0) });
        assert_eq!(world.keeper().allows(world.copy(0, 0), NodeIndex(1)), undone, "{version}");
        assert_eq!(world.keeper().allows(world.copy(0, 1), NodeIndex(0)), undone, "{version}");
    }
}

#[test]
fn a_segment_of_level_0_is_counted_and_not_taken_for_one_that_would_be_moved() {
    for version in VERSIONS {
        // Taken for a segment, the deletes would go from the fuller node to the other one.
        let world =
            World { version, replicas: vec![vec![(1, 0), (1000, 1)]], has_level0: vec![true], ..even() };
        assert_eq!(world.keeper().allows(world.copy(0, 1), NodeIndex(0)), Ok(()), "{version}");
    }
}

#[test]
fn growing_rows_widen_the_margin() {
    // The one segment of a collection may lie on either node. With growing rows of it on the other one it may not.
    let mut world = World { replicas: vec![vec![(1000, 0)]], ..even() };
    let one = world.copy(0, 0);
    assert_eq!(world.keeper().allows(one, NodeIndex(1)), Ok(()));
    world.growing = vec![vec![0, 300]];
    assert!(world.keeper().allows(one, NodeIndex(1)).is_err());
}
