//! Which metrics there are: name, type, labels and help of each as they are registered, for a page of documentation
//! that cannot differ from the code.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::proto::MetricType;

thread_local! {
    /// What the registration that is under way on this thread has met: threading it through every part that registers
    /// something would be a parameter that only the documentation needs.
    static MET: RefCell<Vec<MetricDescription>> = const { RefCell::new(Vec::new()) };
}

/// A metric, as a scrape shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricDescription {
    /// Its whole name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// One sentence.
    pub help: String,
}

/// A registration begins.
pub(super) fn begin() {
    MET.take();
}

/// A metric is registered.
pub(super) fn note(metric: &impl Collector) {
    // A metric with labels has a family before it has a series.
    let families = metric.collect();
    let described = metric.desc().into_iter().zip(&families).map(|(description, family)| MetricDescription {
        name: description.fq_name.clone(),
        kind: kind(family.get_field_type()),
        labels: description.variable_labels.clone(),
        help: description.help.clone(),
    });
    MET.with_borrow_mut(|met| met.extend(described));
}

/// The registration is over: all metrics, by name.
pub(super) fn end() -> Vec<MetricDescription> {
    let mut met = MET.take();
    met.sort();
    met
}

fn kind(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
    }
}
