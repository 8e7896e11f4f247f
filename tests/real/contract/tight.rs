//! A destination without room.

use std::time::Duration;

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::units::{NodeId, SegmentId};

use super::cluster::{SMALL_MEMORY, Subject, request};
use super::expect_about;

/// Measured on 2.3.5.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

/// The node is over its limit before the segment comes. (What the guard lets in while it is not is another matter:
/// 2.3.5 let a segment of 31 MB into a node that had 25 of its 40 MB in use.)
pub fn full(s: &mut Subject) {
    let small = s.cluster.start_full_node();
    s.until("it joins the replica", || {
        s.replicas("books").iter().any(|replica| replica.node_ids.contains(&small))
    });
    let before = s.places("books");
    let (segment, from) = before.iter().find(|(_, at)| at.len() == 1).map(|(id, at)| (*id, at[0])).unwrap();
    let told = s.balance(request("books", from, &[small], &[segment]));
    assert_eq!((told.status.code, told.status.error_code, told.status.retriable), (65535, 1, false));
    let limit = format!("[limit={}e+07]", SMALL_MEMORY / 10_000_000);
    let reason = &told.status.reason;
    assert!(reason.starts_with("failed to balance segments: memory limit exceeded[predict="), "{reason}");
    assert!(reason.ends_with(&limit), "{reason}");
    expect_about(s, "the refusal", told.took, REFUSED_AFTER);
    assert_eq!(s.places("books"), before, "it stays where it was");

    // The failed move is forgotten only a moment after its caller was told (code 5 until then).
    let call = MoveCall::new("", "books", NodeId(from), NodeId(small), vec![SegmentId(segment)]).unwrap();
    let mut said = None;
    s.until("the client is told the same", || {
        let error = s.ask(s.mover().load_balance(&call)).unwrap_err();
        assert_eq!(error.remedy(), Remedy::Replan, "{error}");
        let is_full = error.destination_is_full();
        said = Some(error);
        is_full
    });
    println!("    {}", said.unwrap());
}
