//! The subcommands that write and show what people order. They ask Milvus nothing: whoever wants to stop must be able to
//! do so while nothing else works.

use std::io::{Write, stdout};

use jiff::{SignedDuration, Timestamp};

use super::AppError;
use super::client::{AdminClient, beside_journal};
use super::once::tell_journal;
use crate::admin::orders::{ApproveOrder, DrainOrder, PauseOrder, PlainOrder};
use crate::admin::views::ControlsView;
use crate::cli::{
    ApproveArgs, ControlsArgs, DrainArgs, Exit, OutputFormat, PauseArgs, ResumeArgs, UndrainArgs,
    controls_view,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::control_loop::{self, GATE_MEMORY};
use crate::gate::ApprovalRule;
use crate::journal::{DaemonLock, Journal, JournalSettings};
use crate::kill_switch::KillSwitch;
use crate::model::{Controls, Drain, Pause};
use crate::telemetry::shown;
use crate::turn::GateMemory;

/// Variables in which a login keeps the name of its user; whoever became root keeps the own one in the first.
const USER_VARIABLES: [&str; 3] = ["SUDO_USER", "USER", "LOGNAME"];

/// Stops the daemon from moving anything.
pub async fn pause(config: Config, args: PauseArgs) -> Result<Exit, AppError> {
    let PauseArgs { length, until, reason } = args;
    let from = Clock::system().read().wall;
    let until = match length {
        Some(length) => Some(after(from, length)?),
        None => until,
    };
    if let Some(until) = until.filter(|until| *until <= from) {
        return Err(AppError::Past { until });
    }
    let pause = Pause { from, until, reason, by: user() };
    let settings = tell_journal(&config);
    if let Some(daemon) = beside_journal(&config, &settings).await? {
        let order = PauseOrder { length: None, until: pause.until, reason: pause.reason };
        return obeyed(daemon.order("/v1/pause", &order).await?);
    }
    Journal::open(&settings, from)?.pause(pause.clone()).await?;
    say(&controls_view::pause(&pause))?;
    say_who_listens(&settings, "it will find the pause when it starts")?;
    Ok(Exit::Done)
}

/// Ends a pause.
pub async fn resume(config: Config, _args: ResumeArgs) -> Result<Exit, AppError> {
    let now = Clock::system().read().wall;
    let settings = tell_journal(&config);
    if let Some(daemon) = beside_journal(&config, &settings).await? {
        return obeyed(daemon.order("/v1/resume", &PlainOrder {}).await?);
    }
    let journal = Journal::open(&settings, now)?;
    let ended = journal.resume(now, user()).await?;
    match ended.filter(|pause| pause.holds_at(now)) {
        Some(pause) => say(&format!("ended: {}", controls_view::pause(&pause)))?,
        None => say("there was no pause")?,
    }
    Ok(Exit::Done)
}

/// Agrees to a plan.
pub async fn approve(config: Config, args: ApproveArgs) -> Result<Exit, AppError> {
    let now = Clock::system().read().wall;
    let settings = tell_journal(&config);
    if let Some(daemon) = beside_journal(&config, &settings).await? {
        let order = ApproveOrder { digest: args.digest.to_string() };
        return obeyed(daemon.order("/v1/plan/approve", &order).await?);
    }
    Journal::open(&settings, now)?.approve(args.digest.to_string(), now, user()).await?;
    say(&format!("approved: {}", args.digest))?;
    if config.gate.approval == ApprovalRule::Off {
        say("by this configuration no plan needs approval (gate.approval = \"off\")")?;
    }
    say_who_listens(&settings, "the approval is void an hour from now")?;
    Ok(Exit::Done)
}

/// Has a node emptied.
pub async fn drain(config: Config, args: DrainArgs) -> Result<Exit, AppError> {
    let DrainArgs { node, reason, daemon: named } = args;
    let order = DrainOrder { reason: reason.clone() };
    let path = format!("/v1/nodes/{node}/drain");
    if named.admin.is_some() {
        return obeyed(AdminClient::new(&config.admin, &named)?.order(&path, &order).await?);
    }
    let settings = tell_journal(&config);
    if let Some(daemon) = beside_journal(&config, &settings).await? {
        return obeyed(daemon.order(&path, &order).await?);
    }
    let from = Clock::system().read().wall;
    let drain = Drain { node, address: String::new(), from, reason, by: user() };
    Journal::open(&settings, from)?.drain(drain.clone()).await?;
    say(&controls_view::drain(&drain))?;
    say_who_listens(&settings, "it will find the order when it starts")?;
    Ok(Exit::Done)
}

/// Takes the order to empty a node back.
pub async fn undrain(config: Config, args: UndrainArgs) -> Result<Exit, AppError> {
    let UndrainArgs { node, daemon: named } = args;
    let path = format!("/v1/nodes/{node}/undrain");
    if named.admin.is_some() {
        return obeyed(AdminClient::new(&config.admin, &named)?.order(&path, &PlainOrder {}).await?);
    }
    let settings = tell_journal(&config);
    if let Some(daemon) = beside_journal(&config, &settings).await? {
        return obeyed(daemon.order(&path, &PlainOrder {}).await?);
    }
    let now = Clock::system().read().wall;
    match Journal::open(&settings, now)?.undrain(node, now, user()).await? {
        Some(drain) => say(&format!("ended: {}", controls_view::drain(&drain)))?,
        None => say(&format!("node {node} was not ordered to be emptied"))?,
    }
    Ok(Exit::Done)
}

/// Says what is in force after the daemon has taken an order.
fn obeyed(controls: ControlsView) -> Result<Exit, AppError> {
    say("the daemon has taken the order; in force now:")?;
    for line in &controls.lines {
        say(line)?;
    }
    Ok(Exit::Done)
}

/// Shows what is in force.
pub async fn controls(config: Config, args: ControlsArgs) -> Result<Exit, AppError> {
    let now = Clock::system().read().wall;
    let settings = tell_journal(&config);
    let kill_switch = KillSwitch::at(config.gate.kill_switch.clone());
    let (controls, memory) = if settings.path.exists() {
        let journal = Journal::open(&settings, now)?;
        let memory = journal.load_state(GATE_MEMORY).await?;
        let memory: GateMemory = memory.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        (control_loop::orders(&journal, &kill_switch).await?, memory)
    } else {
        // Looking must not make one: the next look would find an empty journal in the wrong folder.
        let path = settings.path.display();
        tracing::warn!(%path, "there is no journal here, so no daemon has run with it; journal.path names another");
        (Controls { kill_switch: kill_switch.thrown(), ..Controls::default() }, GateMemory::default())
    };
    let report = controls_view::ControlsReport::new(&config.gate, &controls, memory.held_plan.as_ref(), now);
    let text = match args.format {
        OutputFormat::Table => controls_view::lines(&report),
        OutputFormat::Json => crate::cli::plan_view::json(&report),
    };
    stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

fn after(from: Timestamp, length: std::time::Duration) -> Result<Timestamp, AppError> {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    from.checked_add(length).map_err(|_| AppError::TooFar)
}

/// Who gives the order, as far as the environment tells.
pub(super) fn user() -> String {
    let names = USER_VARIABLES.iter().filter_map(|variable| std::env::var(variable).ok());
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

/// Says whether a daemon reads what was just written: with another journal.path, nobody would.
fn say_who_listens(settings: &JournalSettings, otherwise: &str) -> Result<(), AppError> {
    let path = settings.path.display();
    match DaemonLock::holder(&settings.path) {
        Some(process) => {
            say(&format!("the daemon that works with {path} (process {process}) reads it within a turn"))
        }
        None => say(&format!("no daemon works with {path} at the moment; {otherwise}")),
    }
}

fn say(line: &str) -> Result<(), AppError> {
    writeln!(stdout(), "{}", shown(line))?;
    Ok(())
}
