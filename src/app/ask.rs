//! The subcommands that ask a running daemon and print what it answers.

use std::io::{Write, stdout};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::AppError;
use super::client::AdminClient;
use super::situation::from_file;
use crate::admin::explain::{why_node, why_not as why_not_there, why_segment};
use crate::admin::views::{AuditView, NodeView, OperationView, PlanView, StatusView, TurnView, WaveView};
use crate::admin::{ExplanationsView, Page, WhatIfView};
use crate::cli::{
    AskArgs, EventsArgs, Exit, FileArgs, HistoryArgs, OutputFormat, Past, WhatIfArgs, Why, WhyArgs,
    WhyNotArgs,
};
use crate::cli::{live_view, plan_view, what_if_view};
use crate::config::Config;
use crate::journal::ExportReader;
use crate::replay::{Replay, ReplayError};
use crate::situation::what_if::Change;
use crate::telemetry::shown;
use crate::turn::Decision;

/// So often a plan is read anew because a turn came in between; turns are far apart.
const PLAN_TRIES: usize = 3;

/// Asks one thing and prints it as a table or as it came.
async fn ask<T: DeserializeOwned + Serialize>(
    config: &Config,
    args: &AskArgs,
    path: &str,
    table: impl FnOnce(&T) -> String,
) -> Result<Exit, AppError> {
    let answer: T = AdminClient::new(&config.admin, &args.daemon)?.get(path).await?;
    print(&answer, args.format, table)
}

fn print<T: Serialize>(
    answer: &T,
    format: OutputFormat,
    table: impl FnOnce(&T) -> String,
) -> Result<Exit, AppError> {
    let text = match format {
        OutputFormat::Table => table(answer),
        OutputFormat::Json => plan_view::json(answer),
    };
    stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The state in one look.
pub async fn status(config: Config, args: AskArgs) -> Result<Exit, AppError> {
    ask::<StatusView>(&config, &args, "/v1/status", live_view::status).await
}

/// All nodes with their loads.
pub async fn nodes(config: Config, args: AskArgs) -> Result<Exit, AppError> {
    let client = AdminClient::new(&config.admin, &args.daemon)?;
    let nodes: Vec<NodeView> = all(&client, "/v1/nodes?limit=1000").await?;
    print(&nodes, args.format, |nodes| live_view::nodes(nodes))
}

/// All pages of a list.
async fn all<T: DeserializeOwned>(client: &AdminClient, path: &str) -> Result<Vec<T>, AppError> {
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let page: Page<T> = client.get(&format!("{path}{after}")).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(items),
        }
    }
}

/// The daemon's own plan.
pub async fn live_plan(config: Config, args: AskArgs) -> Result<Exit, AppError> {
    let client = AdminClient::new(&config.admin, &args.daemon)?;
    print(&whole_plan(&client).await?, args.format, live_view::plan)
}

/// The plan with all its steps. A turn that comes in between has another one, so that all is read anew.
async fn whole_plan(client: &AdminClient) -> Result<PlanView, AppError> {
    for _ in 0..PLAN_TRIES {
        let mut plan: PlanView = client.get("/v1/plan?limit=1000").await?;
        let mut is_one_plan = true;
        while let Some(next) = plan.steps.next.take() {
            let more: PlanView = client.get(&format!("/v1/plan?limit=1000&after={next}")).await?;
            is_one_plan = (more.taken_at, &more.digest) == (plan.taken_at, &plan.digest);
            if !is_one_plan {
                break;
            }
            plan.steps.items.extend(more.steps.items);
            plan.steps.next = more.steps.next;
        }
        if is_one_plan {
            return Ok(plan);
        }
    }
    Err(AppError::PlanChanges)
}

/// What would be different if something changed, as the daemon's planner sees it.
pub async fn what_if(config: Config, args: WhatIfArgs) -> Result<Exit, AppError> {
    let WhatIfArgs { changes, ask: how } = args;
    let client = AdminClient::new(&config.admin, &how.daemon)?;
    let query: Vec<String> = changes.iter().map(Change::written).collect();
    let path = format!("/v1/what-if?changes={}", query.join(","));
    let answer: WhatIfView = client.get(&path).await?;
    print(&answer, how.format, what_if_view::sides)
}

/// What was done.
pub async fn history(config: Config, args: HistoryArgs) -> Result<Exit, AppError> {
    let HistoryArgs { of, last, ask: how } = args;
    match of {
        Past::Turns => {
            let path = format!("/v1/history?limit={last}");
            ask::<Page<TurnView>>(&config, &how, &path, |page| live_view::turns(&page.items)).await
        }
        Past::Operations => {
            let path = format!("/v1/operations?limit={last}");
            ask::<Page<OperationView>>(&config, &how, &path, |page| live_view::operations(&page.items)).await
        }
        Past::Waves => {
            let path = format!("/v1/waves?limit={last}");
            ask::<Page<WaveView>>(&config, &how, &path, |page| live_view::waves(&page.items)).await
        }
        Past::Audit => {
            let path = format!("/v1/audit?limit={last}");
            ask::<Page<AuditView>>(&config, &how, &path, |page| live_view::audit(&page.items)).await
        }
    }
}

/// Why something is as it is.
pub async fn why(config: Config, args: WhyArgs) -> Result<Exit, AppError> {
    let (path, how, file) = match &args.about {
        Why::Segment { segment, ask, file } => (format!("/v1/why/segments/{segment}"), ask, file),
        Why::Node { node, ask, file } => (format!("/v1/why/nodes/{node}"), ask, file),
    };
    if let Some(decision) = decided(&config, file)? {
        let (what, found) = match args.about {
            Why::Segment { segment, .. } => (format!("segment {segment}"), why_segment(&decision, segment)),
            Why::Node { node, .. } => (format!("node {node}"), why_node(&decision, node)),
        };
        return explained(what, &found, how.format);
    }
    ask::<ExplanationsView>(&config, how, &path, live_view::explanations).await
}

/// Why something is not done.
pub async fn why_not(config: Config, args: WhyNotArgs) -> Result<Exit, AppError> {
    let WhyNotArgs { segment, to, ask: how, file } = args;
    if let Some(decision) = decided(&config, &file)? {
        if decision.snapshot.node_index(to).is_none() {
            return Err(AppError::NotInFile { what: format!("node {to}") });
        }
        return explained(format!("segment {segment}"), &why_not_there(&decision, segment, to), how.format);
    }
    let path = format!("/v1/why-not?segment={segment}&to={to}");
    ask::<ExplanationsView>(&config, &how, &path, live_view::explanations).await
}

/// What was decided on the cluster in a file, where one is asked about instead of a daemon: the plan of a snapshot, or
/// that of a recorded turn.
fn decided(config: &Config, asked: &FileArgs) -> Result<Option<Decision>, AppError> {
    let FileArgs { snapshot, recording, at } = asked;
    if let Some(path) = snapshot {
        return Ok(Some(from_file(config, path, false)?.decide()));
    }
    let Some(path) = recording else { return Ok(None) };
    let mut replay = Replay::new(None);
    let mut last = None;
    for recorded in ExportReader::open(path)? {
        let recorded = recorded?;
        if at.is_some_and(|at| recorded.at > at) {
            break;
        }
        last = Some(replay.turn(&recorded)?);
    }
    last.map(Some).ok_or(AppError::Replay(ReplayError::NoTurns))
}

fn explained(what: String, found: &ExplanationsView, format: OutputFormat) -> Result<Exit, AppError> {
    if found.answers.is_empty() {
        return Err(AppError::NotInFile { what });
    }
    print(found, format, live_view::explanations)
}

/// What happens, as it happens.
pub async fn events(config: Config, args: EventsArgs) -> Result<Exit, AppError> {
    let EventsArgs { follow, ask: how } = args;
    let client = AdminClient::new(&config.admin, &how.daemon)?;
    let mut stream = client.stream("/v1/events").await?;
    let mut text: Vec<u8> = Vec::new();
    while let Some(piece) = stream.chunk().await.map_err(|source| client.broke_off(source))? {
        text.extend_from_slice(&piece);
        // An event is one line for its name and one for its data, and ends with an empty one.
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let (Some(name), Some(data)) = (line("event:"), line("data:")) else { continue };
            let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
            let line = match how.format {
                OutputFormat::Json => serde_json::json!({ "event": name, "data": data }).to_string(),
                OutputFormat::Table => shown(&live_view::event(name, &data)).into_owned(),
            };
            writeln!(stdout(), "{line}")?;
            if !follow && name == "turn" {
                return Ok(Exit::Done);
            }
        }
    }
    Ok(Exit::Done)
}
