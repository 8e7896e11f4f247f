//! What `controls` prints: everything that holds the daemon by somebody's order, and what of it is in force.

use jiff::{Timestamp, Unit};
use serde::Serialize;

use crate::gate::{ApprovalRule, GateSettings, windows};
use crate::model::{Approval, Controls, Drain, HeldPlan, Pause, Thrown};
use crate::plan::PlanDigest;
use crate::reason::Reason;
use crate::telemetry::shown;

/// What holds the daemon by somebody's order.
#[derive(Clone, Debug, Serialize)]
pub struct ControlsReport {
    /// The pause that is in force.
    pub pause: Option<Pause>,
    /// Nodes that were ordered to be emptied.
    pub drains: Vec<Drain>,
    /// What the kill switch says, when it stops the daemon.
    pub kill_switch: Option<Thrown>,
    /// Whether there is a kill switch.
    pub has_kill_switch: bool,
    /// Whether maintenance windows are configured.
    pub has_windows: bool,
    /// Whether they let moves through now.
    pub windows_are_open: bool,
    /// When they close, or open next.
    pub windows_change_at: Option<Timestamp>,
    /// Whether plans need approval.
    pub approval: ApprovalRule,
    /// The plan that the daemon holds until it is approved.
    pub waiting_plan: Option<PlanDigest>,
    /// The approval under which it works.
    pub approved: Option<Approval>,
}

impl ControlsReport {
    /// Of these settings and orders, at this time.
    pub fn new(
        settings: &GateSettings,
        controls: &Controls,
        held: Option<&HeldPlan>,
        now: Timestamp,
    ) -> ControlsReport {
        let windows_are_open = windows::is_open(&settings.windows, now);
        let change = if windows_are_open { windows::open_until } else { windows::next_opening };
        let held = held.filter(|_| settings.approval == ApprovalRule::Required);
        ControlsReport {
            pause: controls.pause.clone().filter(|pause| pause.holds_at(now)),
            drains: controls.drains.clone(),
            kill_switch: controls.kill_switch.clone(),
            has_kill_switch: settings.kill_switch.is_some(),
            has_windows: !settings.windows.is_empty(),
            windows_are_open,
            windows_change_at: change(&settings.windows, now),
            approval: settings.approval,
            waiting_plan: held.filter(|held| held.approval.is_none()).map(|held| held.digest),
            approved: held.and_then(|held| held.approval.clone()),
        }
    }
}

/// A pause in one line.
pub fn pause(pause: &Pause) -> String {
    let Pause { until, reason, by, .. } = pause;
    Reason::Paused { until: *until, by: by.clone(), why: reason.clone() }.to_string()
}

/// A drain in one line.
pub fn drain(drain: &Drain) -> String {
    let Drain { node, address, from, reason, by } = drain;
    let address = if address.is_empty() { String::new() } else { format!(" ({address})") };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("node {node}{address} is to be emptied, ordered by {by} at {}{why}", to_the_second(*from))
}

/// The whole report for people.
pub fn lines(report: &ControlsReport) -> String {
    let entries = [
        ("pause", report.pause.as_ref().map_or("none".to_owned(), pause)),
        ("kill switch", kill_switch(report)),
        ("windows", windows_line(report)),
        ("approval", approval(report)),
    ];
    let drains = report.drains.iter().map(|order| ("drain", drain(order)));
    let entries = entries.into_iter().chain(drains);
    entries.map(|(name, text)| format!("{:<13}{}\n", format!("{name}:"), shown(&text))).collect()
}

fn kill_switch(report: &ControlsReport) -> String {
    match &report.kill_switch {
        Some(Thrown { path, unreadable }) => {
            Reason::KillSwitch { path: path.clone(), unreadable: unreadable.clone() }.to_string()
        }
        None if report.has_kill_switch => "not thrown".to_owned(),
        None => "none".to_owned(),
    }
}

fn windows_line(report: &ControlsReport) -> String {
    if !report.has_windows {
        return "none: moves may be made at all times".to_owned();
    }
    match report.windows_change_at {
        Some(closes) if report.windows_are_open => format!("open until {}", to_the_second(closes)),
        None if report.windows_are_open => "open".to_owned(),
        next => Reason::OutsideWindow { next }.to_string(),
    }
}

fn approval(report: &ControlsReport) -> String {
    match (&report.approval, &report.approved, report.waiting_plan) {
        (ApprovalRule::Off, _, _) => "not required".to_owned(),
        (_, Some(Approval { digest, at, by }), _) => {
            format!("plan {digest} was approved by {by} at {}", to_the_second(*at))
        }
        (_, None, Some(digest)) => Reason::AwaitingApproval { digest }.to_string(),
        (_, None, None) => "required; no plan waits for it".to_owned(),
    }
}

fn to_the_second(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}
