//! Moves that are made, and what can be seen of them meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::units::{NodeId, SegmentId};
use tokio::time::Instant;

use super::cluster::{BOOKS, Subject, Told, balance, places, request};
use super::{expect_about, expect_at_once, expect_once};

/// Measured on 2.3.5, where it was 0.7 to 1.5 s: mostly the wait for the coordinator's looks at the nodes.
const ONE_CALL: Duration = Duration::from_millis(1000);

fn assert_done(told: &Told) {
    assert_eq!((told.status.code, told.status.error_code, told.status.reason.as_str()), (0, 0, ""));
}

fn nodes(s: &Subject) -> [i64; 4] {
    s.cluster.nodes()[..4].try_into().unwrap()
}

/// A segment of a node, and all of the node's, taken from others when it has none.
fn stock(s: &Subject, node: i64, count: usize) -> Vec<i64> {
    let mut held = s.held("books", node);
    for segment in s.places("books").into_keys() {
        if held.len() < count && !held.contains(&segment) {
            held.push(segment);
        }
    }
    held.truncate(count);
    s.gather(&held, node);
    held
}

/// Waits until segments are on one node alone.
fn settled(s: &Subject, segments: &[i64], node: i64) -> Duration {
    s.until("the segments are only there", || {
        let places = s.places("books");
        segments.iter().all(|segment| places[segment] == [node])
    })
}

pub fn one(s: &mut Subject) {
    let [from, to, ..] = nodes(s);
    let segment = stock(s, from, 1)[0];
    let call = MoveCall::new("", "books", NodeId(from), NodeId(to), vec![SegmentId(segment)]).unwrap();
    let began = Instant::now();
    s.ask(s.mover().load_balance(&call)).unwrap();
    expect_about(s, "one segment", s.since(began), ONE_CALL);
    println!("    listed twice for {:.1?} more", settled(s, &[segment], to));
}

pub fn batch(s: &mut Subject) {
    let [from, to, ..] = nodes(s);
    expect_once("seven segments cost no more than three times what one does", || {
        let segments = stock(s, from, 8);
        let one = s.balance(request("books", from, &[to], &segments[..1]));
        assert_done(&one);
        let seven = s.balance(request("books", from, &[to], &segments[1..]));
        assert_done(&seven);
        expect_about(s, "one of eight", one.took, ONE_CALL);
        expect_about(s, "the other seven", seven.took, ONE_CALL);
        settled(s, &segments, to);
        seven.took <= one.took * 3
    });
}

/// Where a segment is seen while it moves, each place once.
fn places_while_moving(s: &Subject, from: i64, to: i64) -> Vec<Vec<i64>> {
    let segment = stock(s, from, 1)[0];
    let speed = s.cluster.speed();
    let mut seen: Vec<Vec<i64>> = Vec::new();
    let mut look = |at: Vec<i64>| {
        if seen.last() != Some(&at) {
            seen.push(at);
        }
    };
    let told = s.ask(async {
        let moving = balance(s.rpc.clone(), request("books", from, &[to], &[segment]), speed);
        tokio::pin!(moving);
        loop {
            tokio::select! {
                told = &mut moving => break told,
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    look(places(&s.client, "", "books").await[&segment].clone());
                }
            }
        }
    });
    assert_done(&told);
    s.until("it is only there", || {
        let at = s.places("books")[&segment].clone();
        look(at.clone());
        at == [to]
    });
    seen
}

pub fn twice(s: &mut Subject) {
    let [from, to, ..] = nodes(s);
    let mut both = vec![from, to];
    both.sort_unstable();
    let whole = [vec![from], both, vec![to]];
    expect_once("it is seen on its source, on both, and on its destination", || {
        let seen = places_while_moving(s, from, to);
        println!("    seen at {seen:?}");
        // Who looks too seldom misses some of it, but sees nothing else.
        let mut rest = whole.iter();
        assert!(seen.iter().all(|at| rest.any(|place| place == at)), "{seen:?}");
        seen == whole
    });
}

pub fn at_once(s: &mut Subject) {
    let [from, others @ ..] = nodes(s);
    let segments = stock(s, from, 6);
    let speed = s.cluster.speed();
    let calls = segments
        .iter()
        .zip(others.iter().cycle())
        .map(|(segment, to)| balance(s.rpc.clone(), request("books", from, &[*to], &[*segment]), speed));
    let began = Instant::now();
    let told = s.ask(futures::future::join_all(calls));
    let took = s.since(began);
    told.iter().for_each(assert_done);
    expect_about(s, "six calls at once", took, ONE_CALL);
    s.until("all have left", || {
        let places = s.places("books");
        segments.iter().all(|segment| !places[segment].contains(&from))
    });
}

pub fn conflict(s: &mut Subject) {
    let [from, first, second, _] = nodes(s);
    let speed = s.cluster.speed();
    expect_once("the second call comes while the first one runs", || {
        let segment = stock(s, from, 1)[0];
        let (one, other) = s.ask(async {
            let one = balance(s.rpc.clone(), request("books", from, &[first], &[segment]), speed);
            let other = async {
                tokio::time::sleep(Duration::from_millis(100) / speed).await;
                balance(s.rpc.clone(), request("books", from, &[second], &[segment]), speed).await
            };
            futures::future::join(one, other).await
        });
        // On a busy machine the second may overtake the first, or come when all is over.
        let (made, refused, to) = match one.status.code {
            0 => (one, other, first),
            _ => (other, one, second),
        };
        assert_done(&made);
        settled(s, &[segment], to);
        let status = &refused.status;
        if status.code == 65535 {
            return false;
        }
        assert_eq!((status.code, status.error_code, status.retriable), (5, 1, false), "{status:?}");
        let text = "failed to balance segments: service internal error: task with the same segment exists";
        assert_eq!(status.reason, text);
        expect_at_once(s, "the second call", refused.took);
        true
    });
}

pub fn repeated(s: &mut Subject) {
    let [from, to, ..] = nodes(s);
    let segment = stock(s, from, 1)[0];
    assert_done(&s.balance(request("books", from, &[to], &[segment])));
    settled(s, &[segment], to);
    let again = s.balance(request("books", from, &[to], &[segment]));
    assert_eq!((again.status.code, again.status.error_code), (65535, 1));
    let text = format!("failed to balance segments: segment {segment} not found in source node {from}");
    assert_eq!(again.status.reason, text);
    expect_at_once(s, "the repeated call", again.took);
}

pub fn no_destination(s: &mut Subject) {
    let [from, others @ ..] = nodes(s);
    let segments = stock(s, from, 6);
    // Of the other nodes one holds most, and is given none.
    let rest: Vec<i64> =
        s.places("books").into_keys().filter(|segment| !segments.contains(segment)).collect();
    s.gather(&rest, others[0]);
    let told = s.balance(request("books", from, &[], &segments));
    assert_done(&told);
    expect_about(s, "to wherever", told.took, ONE_CALL);
    s.until("all have left", || {
        let places = s.places("books");
        segments.iter().all(|segment| !places[segment].contains(&from) && places[segment].len() == 1)
    });
    let counts = others.map(|node| s.held("books", node).len());
    println!("    the other nodes now hold {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), BOOKS);
    assert_eq!(counts, [6, 3, 3], "the fullest node gets none");
}

pub fn source_among_destinations(s: &mut Subject) {
    let [from, to, ..] = nodes(s);
    let segments = stock(s, from, 2);
    let alone = s.balance(request("books", from, &[from], &segments));
    assert_done(&alone);
    expect_at_once(s, "a move to where it is", alone.took);
    let places = s.places("books");
    assert!(segments.iter().all(|segment| places[segment] == [from]), "{places:?}");
    assert_done(&s.balance(request("books", from, &[from, to], &segments)));
    settled(s, &segments, to);
}

pub fn no_segments(s: &mut Subject) {
    let [from, to, ..] = nodes(s);
    stock(s, from, 3);
    let held = s.held("books", from);
    let told = s.balance(request("books", from, &[to], &[]));
    assert_done(&told);
    expect_about(s, "everything", told.took, ONE_CALL);
    settled(s, &held, to);
    assert_eq!(s.held("books", from), Vec::<i64>::new());
    // Nothing to move is no error.
    let nothing = s.balance(request("books", from, &[to], &[]));
    assert_done(&nothing);
    expect_at_once(s, "nothing", nothing.took);
    let all: BTreeSet<i64> = s.places("books").into_keys().collect();
    assert_eq!(all.len(), BOOKS, "nothing is lost");
}
