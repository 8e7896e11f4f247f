//! One function for each reader of bytes that come from outside of this program, for fuzzing (`fuzz/`) and for the tests
//! that replay what fuzzing has found. Whatever the bytes are, a reader answers or refuses; it never panics.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::journal::ExportReader;
use crate::observe::{prometheus, proxy_metrics, signal_pages, system_info};
use crate::situation::file;
use crate::units::{Moment, NodeId};
use crate::{admin, plugin};

/// So much text may come out of compressed bytes here: memory is not what is looked for.
const MOST_TEXT: u64 = 4 << 20;

/// Reads these bytes, and throws away what comes of it.
pub type Reader = fn(&[u8]);

/// All readers, each with the name of its corpus.
pub const READERS: [(&str, Reader); 7] = [
    ("metrics_text", metrics_text),
    ("system_info", system_info),
    ("prometheus", prometheus_answer),
    ("snapshot", snapshot),
    ("recording", recording),
    ("plugin", plugin_answer),
    ("admin_request", admin_request),
];

/// The metrics page of a node or a proxy.
pub fn metrics_text(bytes: &[u8]) {
    let page = String::from_utf8_lossy(bytes);
    let at = Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO };
    drop(proxy_metrics::read_proxy(&page));
    drop(signal_pages::read_node(&page, NodeId(1), "here", at));
    drop(signal_pages::read_demand(&page, at));
}

/// What `GetMetrics` answers.
pub fn system_info(bytes: &[u8]) {
    drop(system_info::read(&String::from_utf8_lossy(bytes)));
}

/// What a Prometheus server answers.
pub fn prometheus_answer(bytes: &[u8]) {
    prometheus::read_anything(bytes);
}

/// A snapshot file.
pub fn snapshot(bytes: &[u8]) {
    drop(file::read_at_most(MOST_TEXT, bytes, Path::new("fuzzed")));
}

/// A file of recorded turns.
pub fn recording(bytes: &[u8]) {
    let from = Cursor::new(bytes.to_vec());
    if let Ok(turns) = ExportReader::new(from, Path::new("fuzzed"), MOST_TEXT) {
        turns.for_each(drop);
    }
}

/// What a policy plug-in answers.
pub fn plugin_answer(bytes: &[u8]) {
    plugin::read_anything(bytes);
}

/// The body of an order, or the query of a question to the admin API.
pub fn admin_request(bytes: &[u8]) {
    admin::read_anything(bytes);
}
