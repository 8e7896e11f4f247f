//! Reads the JSON of Prometheus' `/api/v1/query`. A server that is overloaded, federated or not a Prometheus at all writes
//! other things there; each is named.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::client::PrometheusError;
use super::{PrometheusSettings, QuerySettings, ServerReading, ServerSample};

/// Longer texts of a server help nobody.
const LONGEST_TEXT: usize = 200;

/// Beyond this an amount is nonsense, whatever it counts: 2^50, a petabyte.
const LARGEST_VALUE: f64 = 1_125_899_906_842_624.0;

#[derive(Deserialize)]
struct Document {
    status: String,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    /// Kept as text, because only one of its shapes is wanted.
    result: Box<serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Seconds since 1970, and the value as text. Native histograms have none.
    value: Option<(f64, String)>,
}

/// A usable answer, and what is wrong with parts of it.
pub(super) struct Answer {
    pub(super) reading: ServerReading,
    pub(super) problems: Vec<String>,
}

/// What the server says is wrong; `None` when it does not say that in its own form.
pub(super) fn refusal(body: &[u8]) -> Option<PrometheusError> {
    let document: Document = serde_json::from_slice(body).ok()?;
    (document.status == "error").then(|| PrometheusError::Refused {
        kind: shortened(&document.error_type),
        message: shortened(&document.error),
    })
}

/// Reads an answer that came with status 200.
pub(super) fn read(
    body: &[u8],
    query: &QuerySettings,
    settings: &PrometheusSettings,
    now: Timestamp,
) -> Result<Answer, PrometheusError> {
    if let Some(refusal) = refusal(body) {
        return Err(refusal);
    }
    let document: Document = serde_json::from_slice(body).map_err(|_| PrometheusError::NotPrometheus)?;
    // What is missing would look like no load at all.
    if let Some(warning) = document.warnings.first() {
        return Err(PrometheusError::Warned { warning: shortened(warning) });
    }
    let data =
        document.data.filter(|_| document.status == "success").ok_or(PrometheusError::NotPrometheus)?;
    if data.result_type != "vector" {
        return Err(PrometheusError::NoVector { found: shortened(&data.result_type) });
    }
    let series: Vec<Series> =
        serde_json::from_str(data.result.get()).map_err(|_| PrometheusError::NotPrometheus)?;
    if series.is_empty() {
        return Err(PrometheusError::Empty);
    }
    if series.len() > settings.max_series as usize {
        return Err(PrometheusError::TooManySeries { limit: settings.max_series });
    }
    if series.iter().any(|series| series.value.as_ref().is_some_and(|(at, _)| is_stale(*at, settings, now))) {
        return Err(PrometheusError::Stale { limit: settings.max_age });
    }
    Ok(translate(series, query))
}

/// Whether a time is further from now than a value may be old: an old value, or clocks that disagree.
fn is_stale(at_seconds: f64, settings: &PrometheusSettings, now: Timestamp) -> bool {
    let Ok(at) = SignedDuration::try_from_secs_f64(at_seconds) else { return true };
    let Ok(at) = Timestamp::from_duration(at) else { return true };
    at.duration_since(now).unsigned_abs() > settings.max_age
}

fn translate(series: Vec<Series>, query: &QuerySettings) -> Answer {
    let signal = query.signal;
    let (mut samples, mut no_amount, mut unnamed) = (Vec::new(), Vec::new(), 0_usize);
    for Series { mut metric, value } in series {
        let node = metric.remove(&query.node_label).filter(|node| !node.is_empty());
        let collection = metric.remove(&query.collection_label).filter(|_| signal.may_have_collection());
        let Some(node) = node.filter(|_| collection.is_some() || !signal.needs_collection()) else {
            unnamed += 1;
            continue;
        };
        let amount = value.and_then(|(_, text)| text.parse::<f64>().ok()).and_then(|value| {
            let amount = (value * signal.units()).round();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range says so
            (0.0..=LARGEST_VALUE).contains(&amount).then_some(amount as u64)
        });
        match amount {
            Some(value) => samples.push(ServerSample { node, collection, value }),
            None => no_amount.push(node),
        }
    }
    samples.sort();
    let mut problems = Vec::new();
    if let Some(first) = no_amount.iter().min() {
        let first = shortened(first);
        problems.push(format!(
            "values that are no amounts (negative, infinite, not a number), such as that of {first}"
        ));
    }
    if unnamed > 0 {
        let QuerySettings { node_label, collection_label, .. } = query;
        let labels = if signal.needs_collection() {
            format!("{node_label} and {collection_label}")
        } else {
            node_label.clone()
        };
        problems.push(format!("series without the label {labels}"));
    }
    Answer { reading: ServerReading { signal, window: query.window, samples }, problems }
}

/// A text from outside, short and without control characters.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_TEXT).collect()
}
