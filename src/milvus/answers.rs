//! What Milvus' answers have in common (a status), and the few that need a shape of their own.

use super::refusal::Refusal;
use super::wire::common::Status;
use super::wire::milvus::{
    CheckHealthResponse, DescribeCollectionResponse, DescribeIndexResponse, DescribeResourceGroupResponse,
    GetLoadStateResponse, GetMetricsResponse, GetQuerySegmentInfoResponse, GetReplicasResponse,
    GetVersionResponse, ListDatabasesResponse, ListResourceGroupsResponse, ShowCollectionsResponse,
};
use crate::units::CollectionId;

/// An answer that says how the call ended.
pub(super) trait Answer {
    /// Its "no", if it is one.
    fn refusal(&self) -> Option<Refusal>;
}

impl Answer for Status {
    fn refusal(&self) -> Option<Refusal> {
        Refusal::in_status(self)
    }
}

/// Answers that carry a status in a field of that name. One that is left out stands for success, as everything
/// that is left out in protobuf stands for its default.
macro_rules! answers {
    ($($answer:ident),+ $(,)?) => {$(
        impl Answer for $answer {
            fn refusal(&self) -> Option<Refusal> {
                self.status.as_ref().and_then(Refusal::in_status)
            }
        }
    )+};
}

answers!(
    CheckHealthResponse,
    DescribeCollectionResponse,
    DescribeIndexResponse,
    DescribeResourceGroupResponse,
    GetLoadStateResponse,
    GetMetricsResponse,
    GetQuerySegmentInfoResponse,
    GetReplicasResponse,
    GetVersionResponse,
    ListDatabasesResponse,
    ListResourceGroupsResponse,
    ShowCollectionsResponse,
);

/// A loaded collection, as its database lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedCollection {
    /// Its id.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// 0 … 100; `None` where the server does not say.
    pub load_percentage: Option<u8>,
}

/// Milvus' opinion on its own health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it is well.
    pub healthy: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

/// Joins the parallel lists of the answer; they must be of one length, or names would stand beside wrong ids.
pub(super) fn loaded_collections(answer: ShowCollectionsResponse) -> Result<Vec<LoadedCollection>, String> {
    let names = answer.collection_names.len();
    let ids = answer.collection_ids.len();
    let percentages = answer.in_memory_percentages.len();
    if names != ids || (percentages != 0 && percentages != names) {
        return Err(format!("it lists {names} names, {ids} ids and {percentages} load percentages"));
    }
    let mut collections = Vec::with_capacity(names);
    for (position, (name, id)) in answer.collection_names.into_iter().zip(answer.collection_ids).enumerate() {
        let load_percentage = answer.in_memory_percentages.get(position).map(|percentage| {
            // Within 0 … 100 there is nothing to lose.
            u8::try_from((*percentage).clamp(0, 100)).unwrap_or(0)
        });
        collections.push(LoadedCollection { id: CollectionId(id), name, load_percentage });
    }
    Ok(collections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str], ids: &[i64], percentages: &[i64]) -> ShowCollectionsResponse {
        ShowCollectionsResponse {
            collection_names: names.iter().map(|name| (*name).to_owned()).collect(),
            collection_ids: ids.to_vec(),
            in_memory_percentages: percentages.to_vec(),
            ..ShowCollectionsResponse::default()
        }
    }

    #[test]
    fn lists_of_different_lengths_are_no_answer() {
        assert!(loaded_collections(listed(&["a", "b"], &[1], &[100])).is_err());
        assert!(loaded_collections(listed(&["a", "b"], &[1, 2], &[100])).is_err());
        let unknown = loaded_collections(listed(&["a"], &[1], &[])).unwrap();
        assert_eq!(unknown[0].load_percentage, None);
    }

    #[test]
    fn percentages_stay_percentages() {
        let read = loaded_collections(listed(&["a", "b", "c"], &[1, 2, 3], &[-5, 100, i64::MAX])).unwrap();
        let percentages: Vec<_> = read.iter().map(|collection| collection.load_percentage).collect();
        assert_eq!(percentages, [Some(0), Some(100), Some(100)]);
    }
}
