//! What Milvus says of its own health. It is shown and stops nothing: what matters for a move is read in detail
//! elsewhere, and here Milvus says "well" while a dead node is still listed (measured on 2.3.5). But it is the only
//! place where coordinators complain, and where a node that hangs is noticed before it is given up.

use std::time::Duration;

use tokio::time::timeout;

use super::gaps::gap;
use super::observation::{Gap, GapSubject};
use crate::milvus::MilvusClient;

/// Milvus asks every node, and waits 10 s for one that hangs (measured on 2.3.5); a healthy one answers in
/// milliseconds. A poll should not wait for what it knows by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// More complaints say nothing more: whoever reads them looks at Milvus next.
const MOST_COMPLAINTS: usize = 5;

/// Longer ones are cut, in characters: some versions put whole stack traces there.
const LONGEST_COMPLAINT: usize = 300;

/// The complaints of an unhealthy Milvus, and what could not be read. A server without such a call is no gap.
pub(super) async fn read(client: &MilvusClient) -> (Vec<String>, Option<Gap>) {
    match timeout(PATIENCE, client.check_health()).await {
        Ok(Ok(health)) if health.healthy => (Vec::new(), None),
        Ok(Ok(health)) => (complaints(health.reasons), None),
        Ok(Err(error)) if error.is_missing_call() => (Vec::new(), None),
        Ok(Err(error)) => (Vec::new(), Some(gap(GapSubject::Health, &error))),
        Err(_) => {
            let cause = format!("no answer within {PATIENCE:?}: one of its nodes may hang");
            (Vec::new(), Some(Gap { subject: GapSubject::Health, cause }))
        }
    }
}

/// In a fixed order, so that the same complaints are the same news.
fn complaints(mut reasons: Vec<String>) -> Vec<String> {
    reasons.sort();
    reasons.dedup();
    if reasons.is_empty() {
        reasons.push("it does not say why".to_owned());
    }
    reasons.truncate(MOST_COMPLAINTS);
    reasons.iter().map(|reason| reason.chars().take(LONGEST_COMPLAINT).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_few_and_short_and_in_order() {
        let many: Vec<String> = (0..1_000).rev().map(|number| format!("{number:03}").repeat(1_000)).collect();
        let kept = complaints(many);
        assert_eq!(kept.len(), 5);
        assert!(kept[0].starts_with("000000") && kept.iter().all(|complaint| complaint.len() == 300));
        assert_eq!(complaints(vec!["b".into(), "a".into(), "b".into()]), ["a", "b"]);
        assert_eq!(complaints(Vec::new()), ["it does not say why"]);
    }
}
