//! What a search on a segment costs before anything was measured: only its proportions matter, because the measured CPU
//! of the nodes scales it.

use crate::observe::signals::IndexKind;
use crate::units::{Bytes, Rows};

/// CPU of any search on any segment, in nanoseconds: a task, a plan, a result (measured on 2.3.5: about 60 µs with both
/// ways over the wire).
const SEGMENT_NANOS: u64 = 60_000;

/// Bytes that a core compares in a nanosecond, about: distances run at the speed of memory.
const BYTES_PER_NANO: u64 = 8;

/// An inverted file looks into so many of all lists: `nprobe` 8 of `nlist` 128.
const LISTS_DIVISOR: u64 = 16;

/// A graph looks at so many vectors for each doubling of its rows (`ef` 64 and some neighbours).
const GRAPH_VISITS: u64 = 100;

/// The dearest search that is believed in: an hour on one segment. Sums of nonsense would overflow.
const MOST_NANOS: u64 = 3_600_000_000_000;

/// Nanoseconds of CPU of one search on a segment, roughly.
pub(super) fn search_nanos(rows: Rows, bytes: Bytes, index: Option<IndexKind>) -> u64 {
    let rows = rows.0.max(1);
    let visited = match index {
        Some(IndexKind::Scan) => rows,
        Some(IndexKind::Lists) => rows.div_ceil(LISTS_DIVISOR),
        // What most clusters have; an index that is not known is taken for one.
        Some(IndexKind::Graph) | None => rows.min(GRAPH_VISITS * u64::from(rows.ilog2() + 1)),
    };
    let read = u128::from(bytes.0) * u128::from(visited) / u128::from(rows);
    let nanos = u64::try_from(read / u128::from(BYTES_PER_NANO)).unwrap_or(u64::MAX);
    nanos.saturating_add(SEGMENT_NANOS).min(MOST_NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_grow_with_rows_and_graphs_hardly() {
        let nanos = |rows, index| search_nanos(Rows(rows), Bytes(rows * 800), index) - SEGMENT_NANOS;
        assert_eq!(nanos(100_000, Some(IndexKind::Scan)), 10 * nanos(10_000, Some(IndexKind::Scan)));
        assert_eq!(nanos(160_000, Some(IndexKind::Lists)), nanos(10_000, Some(IndexKind::Scan)));
        let graph = |rows| nanos(rows, None);
        assert!(graph(1_000_000) < 2 * graph(10_000), "{} {}", graph(1_000_000), graph(10_000));
    }

    #[test]
    fn nonsense_is_bounded() {
        assert_eq!(search_nanos(Rows(0), Bytes(u64::MAX), None), MOST_NANOS);
        assert_eq!(search_nanos(Rows(u64::MAX), Bytes(0), Some(IndexKind::Scan)), SEGMENT_NANOS);
    }
}
