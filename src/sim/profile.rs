//! What sets the versions of Milvus apart, as a table: the simulator asks it instead of comparing versions.
//!
//! 2.2 and 2.3 were measured on real clusters (2.2.16 and 2.3.5); the others are read from Milvus' sources.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A line of Milvus releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// 2.2: no databases, no numeric codes.
    V2_2,
    /// 2.3: numeric codes, no levels, no members of resource groups.
    V2_3,
    /// 2.4: skips silently what 2.3 refused.
    V2_4,
    /// 2.5: adds the WebUI.
    V2_5,
    /// 2.6: streaming nodes.
    V2_6,
    /// 3.0.
    V3_0,
}

/// Every line, oldest first.
pub const ALL_LINES: [Line; 6] = [Line::V2_2, Line::V2_3, Line::V2_4, Line::V2_5, Line::V2_6, Line::V3_0];

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Line::V2_2 => "2.2",
            Line::V2_3 => "2.3",
            Line::V2_4 => "2.4",
            Line::V2_5 => "2.5",
            Line::V2_6 => "2.6",
            Line::V3_0 => "3.0",
        })
    }
}

/// A text that names no line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no simulated version of Milvus: write 2.2, 2.3, 2.4, 2.5, 2.6 or 3.0")]
pub struct UnknownLine {
    /// What was written.
    pub text: String,
}

impl FromStr for Line {
    type Err = UnknownLine;

    fn from_str(text: &str) -> Result<Line, UnknownLine> {
        ALL_LINES
            .into_iter()
            .find(|line| line.to_string() == text.trim())
            .ok_or_else(|| UnknownLine { text: text.to_owned() })
    }
}

/// How one version behaves. Fields can be changed to stand for a patch release that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The line.
    pub line: Line,
    /// What `GetVersion` and the nodes say.
    pub build_version: String,
    /// Databases exist.
    pub has_databases: bool,
    /// Naming a collection in a database that does not exist is told apart (800) from naming one that does not
    /// exist (100); listing its collections always is.
    pub knows_unknown_databases: bool,
    /// `Status.code` is filled; without it every failure is `error_code` 1 and a text.
    pub has_codes: bool,
    /// `DescribeResourceGroup` names the members.
    pub lists_group_nodes: bool,
    /// `GetQuerySegmentInfo` says the level.
    pub lists_levels: bool,
    /// Level-0 segments exist and are listed like others.
    pub lists_level0: bool,
    /// Nodes report rows per collection (`collection_metrics`).
    pub reports_collection_rows: bool,
    /// Nodes report growing bytes and their collections in `quota_metrics`.
    pub reports_growing_bytes: bool,
    /// Nodes report the lengths of their search queues in `quota_metrics`.
    pub reports_queues: bool,
    /// Channels live on streaming nodes, which are members of replicas.
    pub has_streaming_nodes: bool,
    /// Streaming nodes' embedded query nodes call themselves `streamingnode`; before about 2.6.14 `querynode`.
    pub names_streaming_nodes: bool,
    /// The proxy re-encodes the nodes' JSON through floating point.
    pub json_loses_precision: bool,
    /// `disk` and `disk_usage` of a node are constants.
    pub disk_is_constant: bool,
    /// A segment that left the current target, and a task that cannot be queued, are passed over silently.
    pub skips_silently: bool,
    /// An empty destination list, and a destination list with the source in it, leave the source out.
    pub keeps_source_out: bool,
    /// An empty segment list takes only what is in the current target.
    pub empty_list_is_target: bool,
    /// The source must be a read-write member of the replica.
    pub source_must_be_read_write: bool,
    /// Code for a stopping source or destination.
    pub stopping_code: i32,
    /// Code for a segment that is not on the source.
    pub not_on_source_code: i32,
    /// Code of the query node's memory guard.
    pub out_of_memory_code: i32,
    /// Moves to a read-only member are cancelled (906).
    pub cancels_read_only_destination: bool,
    /// A caller that goes away takes the unfinished moves of its call with it.
    pub disconnect_cancels: bool,
    /// `GetReplicas` of a collection that is not loaded fails with 400.
    pub unloaded_replicas_fail: bool,
    /// How long the proxy itself retries a `LoadBalance` on a collection that is not loaded before it passes the
    /// refusal on, then as one not worth retrying (measured on 2.3.5; not known of others).
    pub unloaded_retry: Duration,
    /// Every `GetQuerySegmentInfo` scans all segments of the cluster, not those of the collection.
    pub scans_everything: bool,
    /// How long `LoadBalance` waits before it says "success".
    pub wait_limit: Duration,
    /// Tasks that run at once on a node.
    pub task_cap: usize,
    /// `/management/querycoord/*` on the proxy's metrics port.
    pub has_management: bool,
    /// `/api/v1/*` on the proxy's metrics port.
    pub has_web_ui: bool,
    /// `/management/batch/*` and `streaming/*` on the coordinator's metrics port (about 2.6.3).
    pub has_coordinator_management: bool,
    /// `/management/config/*` beside them (about 2.6.14).
    pub has_config_management: bool,
    /// `sq_req_count` has a `collection_id` label (2.4); `scope` came with 2.3.
    pub counts_requests_by_collection: bool,
    /// `entity_size` exists.
    pub measures_entity_size: bool,
}

impl Profile {
    /// The latest version of a line that was looked at.
    pub fn of(line: Line) -> Profile {
        let since = |first: Line| line >= first;
        let until = |last: Line| line <= last;
        let build_version = match line {
            Line::V2_2 => "2.2.16",
            Line::V2_3 => "2.3.5",
            Line::V2_4 => "2.4.23",
            Line::V2_5 => "2.5.27",
            Line::V2_6 => "2.6.20",
            Line::V3_0 => "3.0.0",
        };
        Profile {
            line,
            build_version: build_version.to_owned(),
            has_databases: since(Line::V2_3),
            knows_unknown_databases: since(Line::V2_4),
            has_codes: since(Line::V2_3),
            lists_group_nodes: since(Line::V2_4),
            lists_levels: since(Line::V2_4),
            lists_level0: line != Line::V2_2 && until(Line::V2_5),
            reports_collection_rows: since(Line::V2_4),
            reports_growing_bytes: since(Line::V2_3),
            reports_queues: until(Line::V2_3),
            has_streaming_nodes: since(Line::V2_6),
            names_streaming_nodes: since(Line::V2_6),
            json_loses_precision: since(Line::V2_6),
            disk_is_constant: until(Line::V2_4),
            skips_silently: since(Line::V2_4),
            keeps_source_out: until(Line::V2_3),
            empty_list_is_target: until(Line::V2_3),
            source_must_be_read_write: since(Line::V2_6),
            stopping_code: if since(Line::V2_6) { 2 } else { 65535 },
            not_on_source_code: if since(Line::V2_4) { 600 } else { 65535 },
            out_of_memory_code: if since(Line::V2_6) { 605 } else { 65535 },
            cancels_read_only_destination: since(Line::V2_6),
            disconnect_cancels: until(Line::V2_3),
            unloaded_replicas_fail: until(Line::V2_3),
            unloaded_retry: Duration::from_secs(if line == Line::V2_3 { 52 } else { 0 }),
            scans_everything: until(Line::V2_3),
            wait_limit: Duration::from_secs(120),
            task_cap: if since(Line::V2_6) { 360 } else { 256 },
            has_management: since(Line::V2_4),
            has_web_ui: since(Line::V2_5),
            has_coordinator_management: since(Line::V2_6),
            has_config_management: since(Line::V2_6),
            counts_requests_by_collection: since(Line::V2_4),
            measures_entity_size: since(Line::V2_3),
        }
    }

    /// An early 2.5 (about 2.5.0 to 2.5.8), where a caller that goes away takes its moves with it.
    pub fn early_2_5() -> Profile {
        Profile { build_version: "2.5.4".to_owned(), disconnect_cancels: true, ..Profile::of(Line::V2_5) }
    }

    /// An early 2.6 (before about 2.6.14): streaming nodes call themselves query nodes, a read-only source is
    /// accepted, the memory guard has no code of its own, and the coordinator cannot be asked over HTTP.
    pub fn early_2_6() -> Profile {
        Profile {
            build_version: "2.6.0".to_owned(),
            names_streaming_nodes: false,
            source_must_be_read_write: false,
            out_of_memory_code: 65535,
            task_cap: 256,
            has_coordinator_management: false,
            has_config_management: false,
            ..Profile::of(Line::V2_6)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        for line in ALL_LINES {
            assert_eq!(line.to_string().parse(), Ok(line));
            assert!(Profile::of(line).build_version.starts_with(&line.to_string()));
        }
        assert!("2.7".parse::<Line>().unwrap_err().to_string().contains("2.7"));
    }
}
