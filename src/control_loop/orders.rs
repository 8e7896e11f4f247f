//! What people have ordered, as the loop finds it: read from the journal and from the kill switch every turn, and
//! between turns while moves wait to be sent.

use jiff::Timestamp;

use super::ControlLoop;
use crate::journal::{self, Journal, JournalError};
use crate::kill_switch::KillSwitch;
use crate::lease::SharedOrders;
use crate::model::{Approval, Controls};
use crate::telemetry::Chain;
use crate::turn::GateMemory;
use crate::units::Bytes;

/// Name of the gates' memory among the journal's documents.
pub const GATE_MEMORY: &str = "gates";

/// What people have ordered so far.
pub async fn orders(journal: &Journal, kill_switch: &KillSwitch) -> Result<Controls, JournalError> {
    let journal::Controls { pause, approvals, drains } = journal.controls().await?;
    let approvals = approvals.into_iter().filter_map(approval).collect();
    Ok(Controls { pause, approvals, drains, kill_switch: kill_switch.thrown() })
}

impl ControlLoop {
    /// Reads what people have ordered; it holds for the next turn.
    pub(super) async fn obey(&mut self) -> Result<(), JournalError> {
        let orders = orders(&self.journal, self.executor.kill_switch()).await?;
        self.thinking.obey(orders);
        Ok(())
    }

    /// What a successor must obey as well.
    pub(super) fn shared_orders(&self) -> SharedOrders {
        let Controls { pause, drains, .. } = self.thinking.controls();
        SharedOrders { pause: pause.clone(), drains: drains.clone() }
    }

    /// Takes back what waits to be sent, if somebody wants it stopped: the next turn may be minutes away.
    pub(super) async fn brake(&mut self, now: Timestamp) {
        if !self.executor.has_waiting() {
            return;
        }
        let is_stopped = match orders(&self.journal, self.executor.kill_switch()).await {
            Ok(orders) => {
                let is_paused = orders.pause.is_some_and(|pause| pause.holds_at(now));
                is_paused || orders.kill_switch.is_some()
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "nothing is sent while orders cannot be read");
                true
            }
        };
        if is_stopped {
            tracing::info!("what waited to be sent is taken back");
            self.executor.offer(Vec::new(), Bytes::ZERO);
            self.publish_happenings();
        }
    }

    /// Takes over what the gates knew when the process before ended.
    pub(super) async fn recall_gates(&mut self) -> Result<(), JournalError> {
        let Some(text) = self.journal.load_state(GATE_MEMORY).await? else { return Ok(()) };
        match serde_json::from_str::<GateMemory>(&text) {
            Ok(memory) => self.thinking.recall_gates(memory),
            Err(error) => {
                tracing::warn!(
                    error = %Chain(&error),
                    "what the gates remembered cannot be read: no node counts as new, and plans must be approved anew"
                );
            }
        }
        Ok(())
    }

    /// Keeps what the gates must know after a restart, when it has changed since the last time.
    pub(super) async fn keep_gates(&self, kept: &mut Option<String>) {
        let Ok(text) = serde_json::to_string(&self.thinking.gate_memory()) else { return };
        if kept.as_ref() == Some(&text) {
            return;
        }
        match self.journal.save_state(GATE_MEMORY, text.clone()).await {
            Ok(()) => *kept = Some(text),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "a restart would forget what the gates know")
            }
        }
    }
}

/// An approval as the pure half knows it; `None` for a text that no plan of this version has as its digest.
fn approval(written: journal::Approval) -> Option<Approval> {
    let journal::Approval { plan_digest, at, by } = written;
    Some(Approval { digest: plan_digest.parse().ok()?, at, by })
}
