//! The subcommand `load-balance`, and what people have ordered where a command looks once.

use std::io::{Write, stdout};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::client::beside_journal;
use super::{AppError, ByHand, connect};
use crate::admin::orders::{LoadBalanceAnswer, LoadBalanceOrder};
use crate::cli::move_view::{self, MovedSegment};
use crate::cli::{Exit, LoadBalanceArgs, OutputFormat};
use crate::clock::Clock;
use crate::config::Config;
use crate::control_loop;
use crate::execute::manual::ManualRequest;
use crate::journal::{Choice, DaemonLock, Journal, JournalSettings, Located};
use crate::kill_switch::KillSwitch;
use crate::model::Controls;
use crate::telemetry::Chain;

/// What people have ordered, for a plan that is only shown: a journal is not begun for that, and one that cannot be read
/// is no reason to show nothing.
pub(super) async fn orders(settings: &JournalSettings, kill_switch: &KillSwitch, now: Timestamp) -> Controls {
    let only_switch = Controls { kill_switch: kill_switch.thrown(), ..Controls::default() };
    // Without a daemon nobody pauses; with one, the journal is sound, and opening it changes nothing.
    if DaemonLock::holder(&settings.path).is_none() {
        return only_switch;
    }
    let read = match Journal::open(settings, now) {
        Ok(journal) => control_loop::orders(&journal, kill_switch).await,
        Err(error) => Err(error),
    };
    read.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "this plan knows of no pause and no approval");
        only_switch
    })
}

/// The journal of the daemon beside which a command runs, and says which one that is: in another one, nobody would read
/// what is written, and moves would be somebody else's.
pub(super) fn tell_journal(config: &Config) -> JournalSettings {
    let located = Located::beside_the_daemon(&config.journal);
    match located.choice {
        Choice::Default { forbidden: Some(_) } => tracing::warn!("{located}"),
        _ => tracing::info!("{located}"),
    }
    located.settings
}

/// Moves what a person asked for and prints where each segment went, as seen.
pub async fn load_balance(config: Config, args: LoadBalanceArgs) -> Result<Exit, AppError> {
    let LoadBalanceArgs { collection, db, src_node, dst_nodes, segments, timeout, format, connection: _ } =
        args;
    let kill_switch = KillSwitch::at(config.gate.kill_switch.clone());
    if let Some(reason) = kill_switch.refusal() {
        return Err(AppError::Stopped { reason });
    }
    let clock = Arc::new(Clock::system());
    let pages = connect::Pages::for_one_look(&config);
    let connected = connect::connect(&config.connection, &config.connections, &pages, &clock)?;
    let settings = tell_journal(&config);
    if let Some(daemon) = beside_journal(&config, &settings).await? {
        let order = LoadBalanceOrder {
            collection,
            database: db,
            src_node: src_node.to_string(),
            dst_nodes: dst_nodes.iter().map(ToString::to_string).collect(),
            segments: segments.iter().map(ToString::to_string).collect(),
            timeout: timeout.map(crate::config::duration::display),
        };
        let moved: LoadBalanceAnswer = daemon.order("/v1/load-balance", &order).await?;
        return show_moved(&moved.segments, format);
    }
    if let Some(process) = DaemonLock::holder(&settings.path) {
        tracing::warn!(
            process,
            "a daemon works with this journal: it will see these moves as yours, and may plan around them"
        );
    }
    let journal = Journal::open(&settings, clock.read().wall)?;
    journal.belongs_to(&connected.client.target().endpoint).await?;

    let request = ManualRequest {
        database: db.unwrap_or_default(),
        collection,
        src_node,
        dst_nodes,
        segments,
        timeout,
    };
    let (_, in_force) = watch::channel(Arc::new(config));
    let by_hand = Arc::new(ByHand::new(&connected, in_force, None, clock));
    // Nobody else can have its turn.
    let Some(turn) = by_hand.begin() else { return Ok(Exit::NotEverythingMoved) };
    let (outcomes, staying) = turn.load_balance(request, journal).await?;
    show_moved(&move_view::segments(&outcomes, &staying), format)
}

/// Prints where each segment went.
pub(super) fn show_moved(segments: &[MovedSegment], format: OutputFormat) -> Result<Exit, AppError> {
    let text = match format {
        OutputFormat::Table => move_view::table(segments),
        OutputFormat::Json => move_view::json(segments),
    };
    stdout().write_all(text.as_bytes())?;
    let all_moved = segments.iter().all(|segment| segment.to.is_none() || segment.has_moved());
    Ok(if all_moved { Exit::Done } else { Exit::NotEverythingMoved })
}
