//! A destination without room.

use std::time::Duration;

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::units::{NodeId, SegmentId};

use super::cluster::{SMALL_MEMORY, Subject, request};
use super::expect_about;

/// Measured on 2.3.5.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

/// An idle process takes about 25 of the small node's 40 MB, and a segment another 31. The first one is let in:
/// the guard of 2.3.5 estimates it smaller than it is. Then the node is over its limit, and takes none.
pub fn full(s: &mut Subject) {
    let small = s.cluster.start_small_node();
    s.until("the small node joins the replica", Duration::from_secs(60), || {
        s.replicas("large").iter().any(|replica| replica.node_ids.contains(&small))
    });
    let places = s.places("large");
    for (segment, at) in &places {
        println!("    {segment} on {at:?}");
    }
    let mut segments = places.iter();
    let (first, second) = (segments.next().unwrap(), segments.next().unwrap());
    let told = s.balance(request("large", first.1[0], &[small], &[*first.0]));
    println!("    the first: {:?} after {:.1?}", told.status, told.took);
    let told = s.balance(request("large", second.1[0], &[small], &[*second.0]));
    println!("    the second: {:?} after {:.1?}", told.status, told.took);
    assert_eq!((told.status.code, told.status.error_code, told.status.retriable), (65535, 1, false));
    let limit = format!("[limit={}e+07]", SMALL_MEMORY / 10_000_000);
    let reason = &told.status.reason;
    assert!(reason.starts_with("failed to balance segments: memory limit exceeded[predict="), "{reason}");
    assert!(reason.ends_with(&limit), "{reason}");
    expect_about(s, "the refusal", told.took, REFUSED_AFTER);
    assert_eq!(s.places("large")[second.0], *second.1, "it stays where it was");
    let (from, segment) = (NodeId(second.1[0]), SegmentId(*second.0));
    let call = MoveCall::new("", "large", from, NodeId(small), vec![segment]).unwrap();
    let error = s.ask(s.mover().load_balance(&call)).unwrap_err();
    assert!(error.destination_is_full(), "{error}");
    assert_eq!(error.remedy(), Remedy::Replan);
}
