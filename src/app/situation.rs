//! The subcommands `plan` and `snapshot`: a situation from a live cluster or from a file, and what follows from it.

use std::io::{BufReader, Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;

use super::ask::live_plan;
use super::{AppError, connect, once};
use crate::cli::milvus_view::{self, BesideMilvus};
use crate::cli::{
    AskArgs, Exit, Opponent, OutputFormat, PlanArgs, SnapshotArgs, curve_svg, curve_view, plan_view,
    what_if_view,
};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::journal::Located;
use crate::kill_switch::KillSwitch;
use crate::plugin::Plugins;
use crate::report::{PlanReport, limiting_reason};
use crate::situation::Situation;
use crate::situation::curve::Curve;
use crate::situation::file::{self, SnapshotFile};
use crate::situation::milvus::MilvusOutcome;
use crate::situation::what_if::Change;
use crate::turn::{OwnMoves, Thinking};

/// What stands for stdin and stdout where a file is asked for.
const STREAM: &str = "-";

/// Prints what would be moved and why, or what would be different if something changed.
pub async fn plan(config: Config, args: PlanArgs) -> Result<Exit, AppError> {
    if args.live {
        return live_plan(config, AskArgs { format: args.format, daemon: args.daemon }).await;
    }
    let PlanArgs { format, snapshot, own_settings, what_if, curve, svg, compare: beside, .. } = args;
    let situation = match &snapshot {
        Some(path) => from_file(&config, path, own_settings)?,
        None => look(&config).await?,
    };
    let text = if curve {
        self::curve(&situation.with(&what_if)?, svg.as_deref(), format)?
    } else if beside == Some(Opponent::Milvus) {
        beside_milvus(&config, &situation, format)
    } else if what_if.is_empty() {
        let report = report(&config, &situation);
        match format {
            OutputFormat::Table => plan_view::tables(&report),
            OutputFormat::Json => plan_view::json(&report),
        }
    } else {
        compare(&config, &situation, what_if, format)?
    };
    stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// Writes a situation, or the schema of what would be written.
pub async fn snapshot(config: Config, args: SnapshotArgs) -> Result<Exit, AppError> {
    let SnapshotArgs { out, schema: _, connection: _ } = args;
    let Some(out) = out else {
        stdout().write_all(file::schema().as_bytes())?;
        return Ok(Exit::Done);
    };
    let situation = look(&config).await?;
    if out == Path::new(STREAM) {
        file::write(&situation, stdout().lock())?;
        return Ok(Exit::Done);
    }
    file::save(&situation, &out)?;
    let snapshot = &situation.input.snapshot;
    tracing::info!(
        file = %out.display(),
        snapshot = %snapshot.digest(),
        nodes = snapshot.nodes.len(),
        collections = snapshot.collections.len(),
        copies = snapshot.copies.len(),
        "written"
    );
    Ok(Exit::Done)
}

fn curve(situation: &Situation, svg: Option<&Path>, format: OutputFormat) -> Result<String, AppError> {
    let curve = Curve::of(situation);
    if let Some(path) = svg {
        let title = format!("What evenness costs (snapshot {})", situation.input.snapshot.digest());
        let picture = curve_svg::svg(&curve, &title);
        std::fs::write(path, picture)
            .map_err(|source| AppError::Picture { path: path.to_owned(), source })?;
    }
    Ok(match format {
        OutputFormat::Table => curve_view::tables(&curve),
        OutputFormat::Json => plan_view::json(&curve),
    })
}

fn beside_milvus(config: &Config, situation: &Situation, format: OutputFormat) -> String {
    let plan = report(config, situation);
    let beside = BesideMilvus { plan, milvus: MilvusOutcome::of(situation) };
    match format {
        OutputFormat::Table => plan_view::tables(&beside.plan) + &milvus_view::tables(&beside),
        OutputFormat::Json => plan_view::json(&beside),
    }
}

fn report(config: &Config, situation: &Situation) -> PlanReport {
    let decision = situation.decide();
    let limited_by = limiting_reason(config.mode, &decision, None);
    PlanReport::new(&decision, limited_by.as_ref())
}

fn compare(
    config: &Config,
    situation: &Situation,
    changes: Vec<Change>,
    format: OutputFormat,
) -> Result<String, AppError> {
    let changed = situation.with(&changes)?;
    let comparison = what_if_view::Comparison {
        changes,
        before: report(config, situation),
        after: report(config, &changed),
    };
    Ok(match format {
        OutputFormat::Table => what_if_view::tables(&comparison),
        OutputFormat::Json => plan_view::json(&comparison),
    })
}

/// Looks at the cluster once.
async fn look(config: &Config) -> Result<Situation, AppError> {
    let clock = Arc::new(Clock::system());
    let pages = connect::Pages::for_one_look(config);
    let connected = connect::connect(&config.connection, &config.connections, &pages, &clock)?;
    let plugins = Plugins::new(&config.policies.plugins)?;
    let mut observation = connected.observer.observe().await?;
    let kill_switch = KillSwitch::at(config.gate.kill_switch.clone());
    let mut thinking = Thinking::for_one_look(&config.policies, config.plan.clone(), config.gate.clone())
        .with_signals(config.signals.clone(), config.capacity.clone())
        .beside(config.milvus.balancer.clone(), config.mode == Mode::Within);
    if !plugins.is_empty() {
        let asked = plugins.ask(&thinking.preview(&observation)).await;
        observation.opinions = asked.into_iter().map(|asked| asked.hearing).collect();
    }
    let journal = Located::beside_the_daemon(&config.journal).settings;
    thinking.obey(once::orders(&journal, &kill_switch, clock.read().wall).await);
    let begun = thinking.begin(&observation, OwnMoves::default(), clock.read());
    Ok(Situation { input: begun.input, policies: config.policies.clone(), directives: Vec::new() })
}

/// The situation in a file, with the settings that hold there or with our own.
pub(super) fn from_file(config: &Config, path: &Path, own_settings: bool) -> Result<Situation, AppError> {
    let read = if path == Path::new(STREAM) {
        file::read(BufReader::new(stdin().lock()), path)?
    } else {
        file::load(path)?
    };
    let SnapshotFile { mut input, policies, directives, is_changed } = read;
    if is_changed {
        tracing::warn!(file = %path.display(), "this file was changed since it was written");
    }
    let policies = match policies.filter(|_| !own_settings) {
        Some(policies) => policies,
        None => {
            input.plan = config.plan.clone();
            input.gate = config.gate.clone();
            config.policies.clone()
        }
    };
    Ok(Situation { input, policies, directives })
}
