//! docs/metrics.md is made from the code that registers the metrics.

use milvus_rebalancer::metrics::Metrics;
use prometheus::Registry;

use super::is_made_from_code;

const HEAD: &str = "\
# Metrics

`GET /metrics` on `http.listen` answers in the text format of Prometheus. This page is made from the code; a test fails
when it differs. Names follow the conventions of Prometheus: base units at the end, `_total` on counters, one unit for
each metric. No label names a segment or a collection. Series of a node go away with the node: what describes a turn is
replaced as a whole with each turn. Values stay as they are while Milvus cannot be observed; then
`milvus_rebalancer_last_successful_turn_timestamp_seconds` says how old they are.

On Linux the usual `process_…` metrics (memory, processor time, open files, start time) are there, too.

| metric | type | labels | meaning |
|---|---|---|---|
";

#[test]
fn it_lists_every_metric() {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let mut page = HEAD.to_owned();
    for metric in metrics.catalogue() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let help = metric.help.replace('|', "\\|");
        page.push_str(&format!("| `{}` | {} | {} | {help} |\n", metric.name, metric.kind, labels.join(", ")));
    }
    page.push_str(
        "\nReady-made rules, alerts and dashboards are in `deploy/prometheus` and `deploy/grafana`; what to do when an \
         alert fires\nis in [the runbook](runbook.md).\n",
    );
    is_made_from_code("docs/metrics.md", &page);
}
