//! What `plan --compare milvus` prints: this plan beside what Milvus' own balancer would do with the same cluster.

use serde::Serialize;

use super::table::{Align, Table};
use crate::report::PlanReport;
use crate::situation::milvus::{MilvusOutcome, WorstPressure};
use crate::units::Ratio;

/// A plan and the other opinion.
#[derive(Clone, Debug, Serialize)]
pub struct BesideMilvus {
    /// The plan.
    #[serde(flatten)]
    pub plan: PlanReport,
    /// What Milvus' own balancer would do; `None` when the version is unknown.
    pub milvus: Option<MilvusOutcome>,
}

/// For people.
pub fn tables(beside: &BesideMilvus) -> String {
    let Some(milvus) = &beside.milvus else {
        return "\nBeside it: nobody can say what Milvus' own balancer would do, for its version is unknown.\n".to_owned();
    };
    let report = &beside.plan;
    let columns = [("", Align::Left), ("this plan", Align::Right), ("Milvus' own balancer", Align::Right)];
    let mut table = Table::new(&columns);
    let moves: usize = report.steps.iter().map(|step| step.moves.len()).sum();
    table.row(["moves".to_owned(), moves.to_string(), milvus.moves.to_string()]);
    table.row(["bytes".to_owned(), report.proof.bytes_moved.to_string(), milvus.bytes.to_string()]);
    for WorstPressure { dimension, before, after } in &milvus.worst {
        let own = report.proof.dimensions.iter().filter(|proof| proof.dimension == *dimension);
        let own = own.map(|proof| proof.after).max().unwrap_or(Ratio::ZERO);
        let shown = |ratio: &Ratio| format!("{:.3}", ratio.decimal());
        table.row([format!("worst {dimension} pressure, {} now", shown(before)), shown(&own), shown(after)]);
    }
    let end = if milvus.is_content { "" } else { ", and it would not come to an end" };
    format!(
        "\nBeside it, on the same cluster:\n{table}\nMilvus' own balancer as its version has it ({} rounds{end}): it \
         weighs rows, here those of sealed segments.\n",
        milvus.rounds
    )
}
